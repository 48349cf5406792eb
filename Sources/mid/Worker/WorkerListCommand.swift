import ArgumentParser
import MidCore

/// `mid worker list`: all worker ids that were ever held.
struct WorkerListCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list",
    abstract: "List the worker ids of a store.",
    discussion: """
      One line for each worker id that was ever held. EXPIRES and LEFT are by the store's clock:
        a time               the lease runs until then; LEFT is how long that is
        ended TIME           not renewed: its holder crashed, or can't reach the store
        given back           its holder stopped cleanly
        released             by `mid worker release`

      BOUND is the first millisecond that no id under this worker id has reached or will reach; whoever takes it next \
      issues from there on. It is stored ahead of the ids, for as long as the lease, so the newest id mostly lies well \
      before it. Only where the id was given back is the newest id's time known: LAST_TICK, a millisecond before BOUND; \
      about the layout's epoch where there was no id.

      With --json, terms and milliseconds are strings, because JSON readers often round numbers above 2^53.

        mid worker list
        mid worker list --json | jq -r '.[] | select(.state == "held") | .owner'
      """
  )

  @Flag(help: "Print a JSON array.")
  var json = false

  @OptionGroup var store: StoreOptions

  func run() async throws {
    try await CommandOutput.print { output throws in try await self.run(into: &output) }
  }

  /// The command, printing into `output`.
  func run(into output: inout OutputBuffer) async throws {
    let list = try await self.store.withStore(create: false) { store throws(IDError) in try await store.workers() }
    let table = WorkerTable(list)
    for line in self.json ? [table.json] : table.lines { try output.line(line) }
  }
}
