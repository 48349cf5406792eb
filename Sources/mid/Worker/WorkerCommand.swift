import ArgumentParser

/// `mid worker`: the group of the commands for worker ids.
struct WorkerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "worker",
    abstract: "List and release the worker ids in a store.",
    discussion: """
      A worker id stands in every Snowflake id, and no two nodes have the same. Each is leased from the store: its row \
      says who holds it, until when, and how far the ids under it can have come. These commands work on the store \
      itself; no server has to run.

        mid worker list
        mid worker list --store mysql://mid@db.example:3306/ids
        mid worker release 7

      The password of a MySQL store comes from MID_STORE_PASSWORD, never from the command line, where every user of \
      the machine could read it.
      """,
    subcommands: [WorkerListCommand.self, WorkerReleaseCommand.self]
  )
}
