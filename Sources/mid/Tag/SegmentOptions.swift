import ArgumentParser
import Foundation
import Logging
import MidCore
import MidServer

/// The options of every command that works on tags, wherever they are kept: in the store, or in several databases.
struct SegmentOptions: ParsableArguments {
  @OptionGroup var store: StoreOptions

  @Option(
    help: ArgumentHelp(
      """
      Instead of the store, the databases that each have all tags, in order, separated by commas. Default: \
      MID_SEGMENT_STRIPES from the environment.
      """, valueName: "urls"))
  var stripes: String?

  @Option(
    help: ArgumentHelp(
      """
      Instead of the store, the databases that tags are shared out over: NAME=URL, separated by commas. Default: \
      MID_SEGMENT_SHARDS from the environment, with MID_SEGMENT_PINS.
      """, valueName: "names=urls"))
  var shards: String?

  func validate() throws {
    guard self.stripes == nil || self.shards == nil else {
      throw ValidationError("--stripes and --shards exclude each other.")
    }
    for (option, text) in [("--stripes", self.stripes), ("--shards", self.shards)] {
      for part in text?.split(separator: ",") ?? [] {
        let url = option == "--shards" ? part.drop { $0 != "=" }.dropFirst() : part
        if StoreLocation(url.trimmingCharacters(in: .whitespaces))?.hasPassword == true {
          throw ValidationError(
            "\(option) holds a password, which every user of this machine can read; set MID_STORE_PASSWORD instead.")
        }
      }
    }
  }

  /// Opens the store of tags, lets `body` work on it and closes it.
  ///
  /// - Parameter create: As for ``StoreOptions/withStore(create:environment:_:)``.
  func withSegments<Value: Sendable>(
    create: Bool, environment: [String: String] = ProcessInfo.processInfo.environment,
    _ body: (any SegmentStore) async throws(IDError) -> Value
  ) async throws -> Value {
    guard let databases = try self.composite(environment) else {
      return try await self.store.withStore(create: create, environment: environment) { store throws(IDError) in
        try await body(store)
      }
    }
    if !create {
      let missing = try self.configured(environment).databases.named.first { each in
        guard case .sqlite(let path) = each.location else { return false }
        return !FileManager.default.fileExists(atPath: path)
      }
      if let missing { throw CommandFailure("there is no store at \(missing.location)") }
    }
    do throws(IDError) {
      try await databases.prepare()
      let value = try await body(databases)
      await databases.close()
      return value
    } catch {
      await databases.close()
      throw CommandFailure(error.description)
    }
  }

  /// The databases, or nil where tags are in the store.
  func composite(_ environment: [String: String]) throws -> (any CompositeStore)? {
    let (databases, table) = try self.configured(environment)
    guard !databases.isEmpty else { return nil }
    do throws(IDError) {
      let source = try StoreOpener.segmentSource(
        databases, table: table.dialect(isStriped: !databases.stripes.isEmpty),
        password: environment["MID_STORE_PASSWORD"], connections: 1)
      // Long enough that nothing is decided by who was slow: these commands want to hear every database.
      return try source.open(patience: .seconds(60), logger: Self.quiet)
    } catch {
      throw CommandFailure(error.message)
    }
  }

  private func configured(
    _ environment: [String: String]
  ) throws -> (databases: ServerConfiguration.Databases, table: ServerConfiguration.Table) {
    var flags: [String: String] = [:]
    flags["segment.stripes"] = self.stripes
    flags["segment.shards"] = self.shards
    flags["segment.table.dialect"] = self.store.table
    // A store that is named on the command line is meant, whatever the environment says of several databases.
    let isStore = self.store.store != nil && self.stripes == nil && self.shards == nil
    do throws(ConfigurationErrors) {
      return try ServerConfiguration.Databases.load(
        flags: flags, environment: isStore ? environment.filter { $0.key.hasPrefix("MID_SEGMENT_TABLE_") } : environment
      )
    } catch {
      throw ServerOptions.broken(error.errors.map(\.description))
    }
  }

  private static let quiet = Logger(label: "mid.tag", factory: { _ in SwiftLogNoOpLogHandler() })
}
