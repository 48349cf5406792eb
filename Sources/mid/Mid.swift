import ArgumentParser
import MidServer

/// The command `mid`.
@main struct Mid: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mid",
    abstract: "Ids that never repeat, fast, from one node or many.",
    discussion: """
      Three kinds of ids that are 64-bit integers:
        snowflake  time, worker and sequence in one number; increasing per node
        segment    1, 2, 3 ... per tag, in ranges from a table that nodes share
        ticket     one number per call, committed; increasing over all nodes
      And kinds that are texts: UUIDs, ULIDs, ObjectIds. Any of them in other digits, numbers opaque.

      Start a server, then ask it:
        mid serve
        mid next

      What does an id say?
        mid decode 742137416151572480

      Is all well on this machine?
        mid doctor

      Exit codes: 0 done, 1 it failed (one line on standard error says why), 2 the configuration is \
      broken, 64 the command line is wrong.
      """,
    version: "mid \(MidVersion.current)",
    subcommands: [
      ServeCommand.self, NextCommand.self, DecodeCommand.self, BenchCommand.self, TagCommand.self, ImportCommand.self,
      WorkerCommand.self,
      DoctorCommand.self,
    ]
  )
}
