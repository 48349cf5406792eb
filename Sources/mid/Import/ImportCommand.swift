import ArgumentParser
import Foundation
import MidCore
import MidServer

/// `mid import`: tags out of one table into another.
struct ImportCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import",
    abstract: "Copy tags from another system's table, with a proof that no id repeats.",
    discussion: """
      For each tag the source's row says, by the rule of its own table, which numbers it has given out or could have. \
      The target's next id becomes higher than those and the margin: a tag that is missing is created, one that stands \
      lower is moved forward, one that stands higher is left. No tag ever goes backwards, and the source is only read.

        mid import --from mysql://old@db:3306/leaf --from-table leaf --dry-run
        mid import --from mysql://old@db:3306/leaf --from-table leaf --to mysql://mid@db:3306/ids

      The old system must have stopped: what it takes from its table after that is not known to the new one. After \
      writing, the source is read again, and the command fails where it went on. To let both issue at once, don't \
      import: point mid at the old system's own table (--table, segment.table.dialect).

      Where several Tinyid databases share a tag, give a --from for each. The password of the sources comes from \
      MID_IMPORT_PASSWORD, that of the target from MID_STORE_PASSWORD.

      Exit codes: 0 done, or the dry run found a plan; 1 it failed, or there is no safe plan; 2 the configuration is \
      broken; 64 the command line is wrong.
      """
  )

  @Option(
    help: ArgumentHelp("A store with the old system's table: a URL as for --to. May be repeated.", valueName: "url"))
  var from: [String]

  @Option(help: ArgumentHelp("The old system's table: \(StoreOptions.tableKinds).", valueName: "dialect"))
  var fromTable: String

  @Option(
    help: ArgumentHelp(
      """
      A name in the source that differs from its dialect's own: name=TABLE, tag_column=COLUMN, max_column=COLUMN, and \
      so on as in segment.table. May be repeated.
      """, valueName: "key=name"))
  var fromName: [String] = []

  @Option(
    help: ArgumentHelp(
      """
      The store to write: sqlite:PATH or mysql://USER@HOST:PORT/DATABASE. Default: MID_STORE_URL from the environment, \
      else \(StoreOpener.defaultURL).
      """, valueName: "url"))
  var to: String?

  @Option(
    help: ArgumentHelp(
      """
      The table to write: \(StoreOptions.tableKinds). Default: MID_SEGMENT_TABLE_DIALECT from the environment, where \
      MID_SEGMENT_TABLE_NAME and the like name table and columns, else mid.
      """, valueName: "dialect"))
  var toTable: String?

  @Option(name: .customLong("tag"), help: "A tag to import; all where none is given. May be repeated.")
  var tags: [String] = []

  @Option(help: "How many numbers to leave out above the source's last.")
  var margin: Int64 = 0

  @Flag(help: "Print the plan and change nothing.")
  var dryRun = false

  @Flag(help: "Print a JSON object.")
  var json = false

  /// The most databases that one import reads.
  private static let mostSources = 64

  func validate() throws {
    let kinds = TableDialect.Kind.named.map(\.rawValue)
    for kind in [self.fromTable, self.toTable].compactMap({ $0 }) where !kinds.contains(kind) {
      throw ValidationError("--from-table and --to-table are one of \(StoreOptions.tableKinds), not \(kind).")
    }
    guard self.from.count <= Self.mostSources else {
      throw ValidationError("--from is given at most \(Self.mostSources) times.")
    }
    guard self.margin >= 0 else { throw ValidationError("--margin takes a number from 0, not \(self.margin).") }
    for url in self.from + [self.to].compactMap({ $0 }) {
      do { _ = try Self.location(argument: url) } catch { throw ValidationError(error.description) }
    }
    for name in self.tags { _ = try TagArgument.tag(name) }
    do { _ = try self.fromDialect() } catch { throw ValidationError(error.description) }
  }

  func run() async throws {
    try await CommandOutput.print { output throws in try await self.run(into: &output) }
  }

  /// The command, printing into `output`.
  func run(
    into output: inout OutputBuffer, environment: [String: String] = ProcessInfo.processInfo.environment
  ) async throws {
    let target = try StoreOptions.parse(
      (self.to.map { ["--store", $0] } ?? []) + (self.toTable.map { ["--table", $0] } ?? []))
    let work = ImportRun(
      sources: try self.sources(environment), only: Set(try self.tags.map { try TagArgument.tag($0) }),
      margin: self.margin)
    let (location, dialect) = (try target.location(environment), try target.tableDialect(environment))
    for source in work.sources where source.location == location && source.dialect.table == dialect.table {
      throw CommandFailure("source and target are one table; there is nothing to import")
    }
    let store = try Self.store(location, dialect, password: environment["MID_STORE_PASSWORD"])
    let plan: ImportPlan
    do {
      plan = try await self.dryRun ? work.plan(for: store, dialect) : work.carryOut(on: store, dialect)
    } catch {
      await work.close()
      await store.close()
      throw error
    }
    await work.close()
    await store.close()
    let text = self.json ? [plan.json(isDryRun: self.dryRun, margin: self.margin)] : plan.text
    for line in text { try output.line(line) }
    guard !self.json else { return }
    try output.line(
      self.dryRun
        ? "Nothing was changed. Stop the old system before you import."
        : "Every next id lies above all that the source can have given out. Keep the old system stopped: two systems may "
          + "issue at once only from one and the same table.")
  }

  private func sources(_ environment: [String: String]) throws -> [ImportSource] {
    try self.from.map { url in
      let location = try Self.location(argument: url)
      if case .sqlite(let path) = location, !FileManager.default.fileExists(atPath: path) {
        throw CommandFailure("there is no source at \(path)")
      }
      let dialect = try self.fromDialect()
      let store = try Self.store(location, dialect, password: environment["MID_IMPORT_PASSWORD"])
      return ImportSource(location: location, dialect: dialect, store: store)
    }
  }

  /// The source's table with the names that `--from-name` gives.
  private func fromDialect() throws(CommandFailure) -> TableDialect {
    var names: [String: String] = [:]
    for argument in self.fromName {
      let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2 else { throw CommandFailure("--from-name is KEY=NAME, not \(argument)") }
      names["MID_SEGMENT_TABLE_" + parts[0].uppercased()] = String(parts[1])
    }
    do throws(ConfigurationErrors) {
      return try ServerConfiguration.Table.load(kind: self.fromTable, environment: names).dialect
    } catch {
      let reasons = error.errors.map { ($0.key.map { "\($0): " } ?? "") + $0.message }
      throw CommandFailure("--from-table or --from-name: \(reasons.joined(separator: "; "))")
    }
  }

  private static func location(argument: String) throws(CommandFailure) -> StoreLocation {
    let location = try StoreOpener.location(argument, from: "--from or --to")
    guard !location.hasPassword else {
      throw CommandFailure(
        "a URL holds a password, which every user of this machine can read; set MID_IMPORT_PASSWORD for --from and "
          + "MID_STORE_PASSWORD for --to instead")
    }
    return location
  }

  private static func store(
    _ location: StoreLocation, _ dialect: TableDialect, password: String?
  ) throws(CommandFailure) -> any IDStore {
    do throws(IDError) {
      return try StoreOpener.store(at: location, table: dialect, password: password)
    } catch {
      throw CommandFailure(error.message)
    }
  }
}
