import ArgumentParser
import MidCore

/// `mid worker release`: a worker id for others to take.
struct WorkerReleaseCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "release",
    abstract: "Release a worker id, so that it can be taken again.",
    discussion: """
      For a worker id whose holder can't give it back itself. A lease that has ended can be taken by anybody without \
      this; one that still runs is released with --force only.

      No id repeats by it: the time bound stays in the store. The holder, if it is alive, issues only below the bound, \
      and stops at its next renewal (snowflake.renew_interval, 10 s by default). The next holder issues only from the \
      bound on, which lies about as far ahead as the lease runs, so a forced release mostly brings no ids sooner. And a \
      holder that is alive takes the id again: to move an id to another node, stop its holder first; that gives it back \
      with the exact bound.

        mid worker release 7
        mid worker release 7 --force --store mysql://mid@db.example:3306/ids
      """
  )

  @Argument(help: "The worker id, as `mid worker list` shows it.")
  var worker: Int64

  @Flag(help: "Release it also while its lease runs.")
  var force = false

  @OptionGroup var store: StoreOptions

  func validate() throws {
    guard self.worker >= 0 else { throw ValidationError("A worker id is a number from 0, not \(self.worker).") }
  }

  func run() async throws {
    try await CommandOutput.print { output throws in try await self.run(into: &output) }
  }

  /// The command, printing into `output`.
  func run(into output: inout OutputBuffer) async throws {
    let result = try await self.store.withStore(create: false) {
      store throws(IDError) -> Result<[String], CommandFailure> in
      let release = WorkerRelease(of: self.worker, force: self.force, in: try await store.workers())
      switch release.decision {
      case .refused(let failure): return .failure(failure)
      case .free(let text): return .success([text])
      case .release(let term):
        // The rules are looked at once more where the row is changed: it may have been renewed or taken since.
        return .success(
          WorkerRelease.lines(try await store.freeWorker(self.worker, ifTerm: term, force: self.force)))
      }
    }
    for line in try result.get() { try output.line(line) }
  }
}
