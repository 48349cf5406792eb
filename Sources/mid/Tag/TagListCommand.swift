import ArgumentParser
import MidCore

/// `mid tag list`: all tags.
struct TagListCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list",
    abstract: "List the tags of a store.",
    discussion: """
      NEXT is the first id of the next range a server will take; running servers still hold ids below it. MAX_ID is \
      what stands in the table: the last id taken. With --json, ids are strings, because JSON readers often round \
      numbers above 2^53.

        mid tag list
        mid tag list --json | jq -r '.[].name'
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
    let records = try await self.store.withStore(create: false) { store throws(IDError) in try await store.tags() }
    let table = TagTable(records)
    for line in self.json ? [table.json] : table.lines { try output.line(line) }
  }
}
