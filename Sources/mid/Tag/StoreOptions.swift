import ArgumentParser
import Foundation
import MidCore
import MidServer

/// The options of every command that works on a store.
struct StoreOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      The store: sqlite:PATH or mysql://USER@HOST:PORT/DATABASE. Default: MID_STORE_URL from the environment, else \
      \(StoreOpener.defaultURL).
      """, valueName: "url"))
  var store: String?

  @Option(
    help: ArgumentHelp(
      """
      The table of tags: \(tableKinds). Default: MID_SEGMENT_TABLE_DIALECT from the environment, where \
      MID_SEGMENT_TABLE_NAME and the like name table and columns, else mid.
      """, valueName: "dialect"))
  var table: String?

  /// The dialects, for help texts.
  static let tableKinds = TableDialect.Kind.named.map(\.rawValue).joined(separator: ", ")

  func validate() throws {
    if let table = self.table, !TableDialect.Kind.named.map(\.rawValue).contains(table) {
      throw ValidationError("--table is one of \(Self.tableKinds), not \(table).")
    }
    guard let store = self.store else { return }
    do { _ = try StoreOpener.location(argument: store) } catch { throw ValidationError(error.description) }
  }

  /// Opens the store, lets `body` work on it and closes it.
  ///
  /// - Parameter create: Whether a SQLite file that is missing is made. Otherwise it is an error, so that a wrong path
  ///   does not look like an empty store.
  func withStore<Value: Sendable>(
    create: Bool, environment: [String: String] = ProcessInfo.processInfo.environment,
    _ body: (any IDStore) async throws(IDError) -> Value
  ) async throws -> Value {
    let location: StoreLocation
    do {
      location = try self.location(environment)
    } catch {
      FileHandle.standardError.write(Data("Error: \(error)\n".utf8))
      throw ExitCode.brokenConfiguration
    }
    if !create, case .sqlite(let path) = location, !FileManager.default.fileExists(atPath: path) {
      throw CommandFailure(
        "there is no store at \(path); `mid serve` or `mid tag create` makes it, or name another with --store")
    }
    let table = try self.tableDialect(environment)
    let store: any IDStore
    do throws(IDError) {
      store = try StoreOpener.store(at: location, table: table, password: environment["MID_STORE_PASSWORD"])
    } catch {
      throw CommandFailure(error.message)
    }
    do throws(IDError) {
      try await store.prepare()
      let value = try await body(store)
      await store.close()
      return value
    } catch {
      await store.close()
      throw CommandFailure(error.description)
    }
  }

  /// The table of tags: the option and the environment's names.
  ///
  /// - Throws: Exit code 2 after every error there is was printed.
  func tableDialect(_ environment: [String: String]) throws -> TableDialect {
    do throws(ConfigurationErrors) {
      return try ServerConfiguration.Table.load(kind: self.table, environment: environment).dialect
    } catch {
      throw ServerOptions.broken(error.errors.map(\.description))
    }
  }

  /// Where the store is: the option, else the environment, else the default.
  func location(_ environment: [String: String]) throws(CommandFailure) -> StoreLocation {
    if let store = self.store { return try StoreOpener.location(argument: store) }
    if let url = environment["MID_STORE_URL"], !url.isEmpty {
      return try StoreOpener.location(url, from: "MID_STORE_URL")
    }
    return try StoreOpener.location(argument: StoreOpener.defaultURL)
  }
}
