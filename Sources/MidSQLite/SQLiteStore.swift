import Dispatch
import Foundation
import GRDB
public import MidCore
import Synchronization

/// The embedded store: one SQLite file on this machine, shared by the processes of this machine only.
///
/// Every change is one immediate transaction in write-ahead mode with `synchronous = FULL`: it is on the disk when the
/// call returns. ``prepare()`` proves that and refuses to work otherwise. Another process may use the same file at the
/// same time; a write waits for the other's for at most the busy timeout.
///
/// Calls run one after another on a queue of the store's own, never on the cooperative pool. A caller's cancellation does
/// not interrupt a transaction.
public final class SQLiteStore: IDStore {
  /// Called once for every operation, with its name, how long it took, and its error if it failed.
  ///
  /// Names: `prepare`, `inspect`, `allocate`, `give_back`, `tags`, `create_tag`, `update_tag`, `claim_worker`,
  /// `renew_worker`, `release_worker`, `free_worker`, `workers`, `stripe`, `close_stripe`, `open_stripe`,
  /// `create_stripe`, `tokens`, `facts`, `agree`. Called on the task of the operation's caller; must not block.
  public typealias Observer = @Sendable (_ operation: String, _ duration: Duration, _ error: IDError?) -> Void

  private enum State {
    case unopened
    case open(DatabaseQueue)
    case closed
  }

  /// The database file. Next to it SQLite keeps `…-wal` and `…-shm`.
  public let path: String

  /// `sqlite`.
  public var kind: String { "sqlite" }
  /// The path of the file.
  public var location: String { self.path }
  /// `false`: SQLite's locks do not reach past one machine.
  public var isShared: Bool { false }

  /// The store's clock in milliseconds since the Unix epoch: this machine's wall clock, as all who share the file have it.
  let now: @Sendable () -> Int64
  /// The table of tags.
  let table: SQLiteTable
  private let busyTimeout: Duration
  private let observer: Observer?
  private let queue = DispatchQueue(label: "mid.sqlite")
  private let state = Mutex<State>(.unopened)

  /// Describes a store. Nothing is opened before ``prepare()``.
  ///
  /// - Parameters:
  ///   - path: The database file. It and its folder are created where they are missing.
  ///   - table: The table of tags, with valid names. Only mid's own are created where they are missing.
  ///   - busyTimeout: How long a write waits for another process's. At least 1 ms.
  ///   - now: The wall clock in milliseconds since the Unix epoch, by which worker leases expire.
  ///   - observer: Told of every operation.
  public init(
    path: String,
    table: TableDialect = .mid,
    busyTimeout: Duration = .seconds(5),
    now: @escaping @Sendable () -> Int64 = SQLiteStore.wallMilliseconds,
    observer: Observer? = nil
  ) {
    precondition(busyTimeout >= .milliseconds(1), "the busy timeout is at least 1 ms")
    for (what, name) in table.names { precondition(TableDialect.isName(name), "the \(what) name is valid") }
    self.path = path
    self.table = SQLiteTable(dialect: table)
    self.busyTimeout = busyTimeout
    self.now = now
    self.observer = observer
  }

  /// Opens the file, proves that commits are durable, and creates the tables that are missing.
  ///
  /// - Throws: ``IDError/Code/storeRejected`` where the path can't be used, ``IDError/Code/storeUnavailable`` where the
  ///   file is locked or the disk fails.
  public func prepare() async throws(IDError) {
    try await self.run("prepare") {
      if case .closed = self.state.withLock({ $0 }) { throw Self.closedError }
      let database = try SQLiteFile.connect(self.path, busyTimeout: self.busyTimeout)
      try database.writeWithoutTransaction { try SQLiteSchema.create(in: $0, self.table) }
      try self.keep(database)
    }
  }

  /// Opens the file where it is there and only reads it: the tables, and the columns that are needed. What is missing is
  /// `the file …`, `the table …`, or write-ahead mode.
  ///
  /// SQLite itself may make `…-wal` and `…-shm` beside the file for as long as the store is open, and finishes what a
  /// process that was killed had committed.
  ///
  /// - Throws: As ``prepare()``, also where this user can't write the file, or can't make it.
  public func inspect() async throws(IDError) -> [String] {
    try await self.run("inspect") {
      try SQLiteFile.checkWritable(self.path)
      guard FileManager.default.fileExists(atPath: self.path) else { return ["the file \(self.path)"] }
      let database = try SQLiteFile.connection(to: self.path, busyTimeout: self.busyTimeout)
      let missing = try database.read { db in
        try SQLiteSchema.missing(in: db, self.table) + SQLiteFile.missingMode(of: db)
      }
      try self.keep(database)
      return missing
    }
  }

  private func keep(_ database: DatabaseQueue) throws(IDError) {
    let kept = self.state.withLock { state in
      if case .closed = state { return false }
      state = .open(database)
      return true
    }
    guard kept else { throw Self.closedError }
  }

  /// Closes the file once the operations before are done.
  public func close() async {
    let last: State = self.state.withLock { state in
      let last = state
      state = .closed
      return last
    }
    guard case .open(let database) = last else { return }
    await withCheckedContinuation { continuation in
      self.queue.async {
        // A statement still held makes SQLite close the file later by itself; there is nothing to tell the caller.
        do { try database.close() } catch { self.observer?("close", .zero, SQLiteErrors.translate(error, self.path)) }
        continuation.resume()
      }
    }
  }

  /// Runs `body` in one immediate transaction on the store's queue and reports it to the observer.
  func transaction<T: Sendable>(
    _ operation: String, _ body: @escaping @Sendable (Database) throws -> T
  ) async throws(IDError) -> T {
    try await self.run(operation) {
      try self.database().writeWithoutTransaction { db in
        var result: T?
        try db.inTransaction(.immediate) {
          result = try body(db)
          return .commit
        }
        guard let result else { throw IDError(.storeUnavailable, "the transaction on \(self.path) was not run") }
        return result
      }
    }
  }

  /// Runs `body`, which only reads, on the store's queue and reports it to the observer.
  func read<T: Sendable>(
    _ operation: String, _ body: @escaping @Sendable (Database) throws -> T
  ) async throws(IDError) -> T {
    try await self.run(operation) { try self.database().read(body) }
  }

  /// What a caller gets once the store is closed.
  private static let closedError = IDError(.storeUnavailable, "the store is closed")

  private func database() throws(IDError) -> DatabaseQueue {
    switch self.state.withLock({ $0 }) {
    case .open(let database): return database
    case .unopened: throw IDError(.storeUnavailable, "the SQLite file \(self.path) is not open yet")
    case .closed: throw Self.closedError
    }
  }

  private func run<T: Sendable>(
    _ operation: String, _ body: @escaping @Sendable () throws -> T
  ) async throws(IDError) -> T {
    let start = ContinuousClock.now
    let result: Result<T, IDError> = await withCheckedContinuation { continuation in
      self.queue.async {
        do {
          continuation.resume(returning: .success(try body()))
        } catch {
          continuation.resume(returning: .failure(SQLiteErrors.translate(error, self.path)))
        }
      }
    }
    var failure: IDError?
    if case .failure(let error) = result { failure = error }
    self.observer?(operation, start.duration(to: .now), failure)
    return try result.get()
  }
}
