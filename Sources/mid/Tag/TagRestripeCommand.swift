import ArgumentParser
import Foundation
import MidCore
import MidServer

/// `mid tag restripe`: tags over other databases than before, while servers run.
struct TagRestripeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restripe",
    abstract: "Spread tags over other databases than before.",
    discussion: """
      For one tag, or with --all for every one, the ids of all databases are put in step with a new list: the k-th of N, \
      from 0, hands out those whose remainder by N is k. Servers go on meanwhile, with what they have cached; what they \
      load next comes from the new layout, also where they do not know the new list yet. Every database of the old list \
      and of the new one has to answer; otherwise nothing is changed. While it runs, no database may fail over.

        mid tag restripe --all --from URL0,URL1 --stripes URL0,URL1,URL2 --dry-run
        mid tag restripe --all --from URL0,URL1 --stripes URL0,URL1,URL2

      --from names all databases that the tags are in so far. It can be left out where the new list has them all. Where a \
      run was interrupted, rows are left closed and no ids come from them: run the same command again. Where a database has \
      lost commits before, its rows show less than was given out: name the highest number that servers complain of with \
      --past. Where several runs came between each other and no lists lead on any more: --recover, with every database \
      that the tag was ever in as --from.

      Exit codes: 0 all tags are as wanted, 1 one is not, 2 the command line or the environment is broken.
      """
  )

  @Argument(help: "The tag.")
  var name: String?

  @Flag(help: "Every tag that one of the databases has.")
  var all = false

  @Option(help: ArgumentHelp("The databases from now on, in order, separated by commas.", valueName: "urls"))
  var stripes: String

  @Option(help: ArgumentHelp("The databases so far, in any order, separated by commas.", valueName: "urls"))
  var from: String?

  @Option(help: ArgumentHelp("The table of tags: mid or tinyid.", valueName: "dialect"))
  var table: String?

  @Option(help: "All new ids lie above this number, and above all that the rows show.")
  var past: Int64 = 0

  @Flag(
    help:
      "Begin anew whatever the rows say. --from then names every database that the tag was ever in: one left out could repeat ids."
  )
  var recover = false

  @Flag(help: "Only look: print the rows as they are and what would become of them. Nothing is created.")
  var dryRun = false

  func validate() throws {
    guard self.all != (self.name != nil) else { throw ValidationError("Give the name of one tag, or --all.") }
    if let name = self.name { _ = try TagArgument.tag(name) }
    _ = try Self.locations(self.stripes, "--stripes")
    guard (0...Int64.max - 2).contains(self.past) else {
      throw ValidationError("--past takes a number from 0 to \(Int64.max - 2), not \(self.past).")
    }
    guard !self.recover || self.from != nil else {
      throw ValidationError("--recover needs --from, with every database that the tag was ever in.")
    }
    if let from = self.from { _ = try Self.locations(from, "--from") }
  }

  func run() async throws {
    try await CommandOutput.print { output throws in try await self.run(into: &output) }
  }

  /// The command, printing into `output`.
  func run(
    into output: inout OutputBuffer, environment: [String: String] = ProcessInfo.processInfo.environment
  ) async throws {
    var plan = try self.plan(environment)
    let outcomes: [RestripePlan.Outcome]
    do throws(IDError) { outcomes = try await plan.carryOut(self.name, isDryRun: self.dryRun) } catch {
      await plan.close()
      throw CommandFailure(error.message)
    }
    await plan.close()
    var isWell = true
    for (tag, result) in outcomes {
      switch result {
      case .success(let lines): for line in lines { try output.line(line) }
      case .failure(let error):
        isWell = false
        FileHandle.standardError.write(Data("Error: tag \(tag): \(error.message)\n".utf8))
      }
    }
    guard isWell else {
      try output.flush()
      throw ExitCode.failure
    }
  }

  private func plan(_ environment: [String: String]) throws -> RestripePlan {
    let new = try Self.locations(self.stripes, "--stripes")
    let old = try self.from.map { try Self.locations($0, "--from") }
    let table: ServerConfiguration.Table
    do throws(ConfigurationErrors) {
      table = try ServerConfiguration.Table.load(kind: self.table, environment: environment)
    } catch {
      throw ServerOptions.broken(error.errors.map(\.description))
    }
    let dialect = table.dialect(isStriped: true)
    guard dialect.residueColumns != nil else {
      throw ServerOptions.broken(["tables of the dialect \(table.kind.rawValue) can't be striped; allowed: mid, tinyid"]
      )
    }
    var all = new
    for each in old ?? [] where !all.contains(where: { $0.description == each.description }) { all.append(each) }
    do throws(IDError) {
      var databases: [SegmentDatabases.Database] = []
      for location in all {
        let store = try StoreOpener.segmentDatabase(
          at: location, table: dialect, password: environment["MID_STORE_PASSWORD"], connections: 1,
          timeout: .seconds(5), observer: nil)
        databases.append(SegmentDatabases.Database(name: store.location, store: store))
      }
      let indices = old?.map { each in all.firstIndex { $0.description == each.description } ?? 0 }
      return RestripePlan(
        databases: databases, table: dialect.table, new: Array(new.indices), old: indices, past: self.past,
        isRecovery: self.recover)
    } catch {
      throw ServerOptions.broken([error.message])
    }
  }

  /// Reads a list of 1 to 16 databases.
  private static func locations(_ text: String, _ option: String) throws(ValidationError) -> [StoreLocation] {
    var locations: [StoreLocation] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let location = StoreLocation(part.trimmingCharacters(in: .whitespaces)) else {
        throw ValidationError(
          "\(option) takes mysql://USER@HOST:PORT/DATABASE or sqlite:PATH, separated by commas.")
      }
      guard !location.hasPassword else {
        throw ValidationError(
          "\(option) holds a password, which every user of this machine can read; set MID_STORE_PASSWORD instead.")
      }
      locations.append(location)
    }
    guard (1...16).contains(locations.count), Set(locations.map(\.description)).count == locations.count else {
      throw ValidationError("\(option) takes 1 to 16 databases, no two alike.")
    }
    return locations
  }
}
