import ArgumentParser
import Foundation
import MidCore
import MidServer

/// `mid tag list`: all tags.
struct TagListCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list",
    abstract: "List the tags of a store.",
    discussion: """
      NEXT is the first id of the next range a server will take; running servers still hold ids below it. MAX_ID is \
      what stands in the table: the last id taken, or with Leaf's tables the next one. STEP counts ids. With --json, ids are strings, because JSON readers often round \
      numbers above 2^53.

        mid tag list
        mid tag list --json | jq -r '.[].name'

      Where tags are kept in several databases, each row is a line, with its database and IDS: which numbers are ids there \
      (those of a remainder, or all), closed while the tag is restriped, or unused where the tag lives in another database.

        mid tag list --stripes mysql://mid@db0.example/ids,mysql://mid@db1.example/ids

      With --live it asks a running server instead, on its metrics address: what it has cached of the tags in use, how \
      many ids the next load takes and why (the table's step, the rate of use, or segment.max_load), how fast ids are \
      used, and when they would run out if nothing more were loaded.

        mid tag list --live
        mid tag list --live --metrics 10.0.0.7:9190
      """
  )

  @Flag(help: "Print a JSON array.")
  var json = false

  @Flag(help: "Ask a running server for what it has cached, instead of the store.")
  var live = false

  @Option(help: ArgumentHelp("The metrics address of the server that --live asks.", valueName: "address"))
  var metrics = "127.0.0.1:9190"

  @OptionGroup var store: SegmentOptions

  func validate() throws {
    guard HostPort(self.metrics) != nil else {
      throw ValidationError("--metrics takes HOST:PORT, not '\(self.metrics)'.")
    }
  }

  func run() async throws {
    try await CommandOutput.print { output throws in try await self.run(into: &output) }
  }

  /// The command, printing into `output`.
  func run(into output: inout OutputBuffer) async throws {
    if self.live { return try await self.runLive(into: &output) }
    let environment = ProcessInfo.processInfo.environment
    if let databases = try self.store.composite(environment) { return try await self.run(databases, into: &output) }
    let records = try await self.store.withSegments(create: false) { store throws(IDError) in try await store.tags() }
    let table = TagTable(records)
    for line in self.json ? [table.json] : table.lines { try output.line(line) }
  }

  /// Lists the rows of several databases, those that answer. One that does not is exit code 1.
  private func run(_ databases: any CompositeStore, into output: inout OutputBuffer) async throws {
    var rows: [DatabaseTagTable.Row] = []
    var errors: [String] = []
    let homes = (databases as? ShardedStore)?.homes
    for (index, database) in databases.databases.all.enumerated() {
      do throws(IDError) {
        try await database.store.prepare()
        rows += try await database.store.tags().map { record in
          DatabaseTagTable.Row(
            database: database.name, record: record, isUsed: homes.map { $0.home(of: record.tag) == index } ?? true)
        }
      } catch {
        errors.append("\(database.name): \(error.message)")
      }
    }
    await databases.close()
    let table = DatabaseTagTable(rows)
    for line in self.json ? [table.json] : table.lines { try output.line(line) }
    guard errors.isEmpty else {
      try output.flush()
      throw CommandFailure(errors.joined(separator: "\n"))
    }
  }

  private func runLive(into output: inout OutputBuffer) async throws {
    guard let address = HostPort(self.metrics) else { return }
    let text: String
    do {
      text = try await MetricsPage.text(from: address, timeout: .seconds(5))
    } catch {
      throw CommandFailure("no metrics from \(address): \(RPCClient.reason(error)); name the server's with --metrics")
    }
    guard text.contains("\nmid_build_info{") else { throw CommandFailure("\(address) is no mid's metrics address") }
    let table = LiveTagTable(MetricsPage(text))
    for line in self.json ? [table.json] : table.lines { try output.line(line) }
  }
}
