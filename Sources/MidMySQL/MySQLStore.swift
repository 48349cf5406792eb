public import MidCore
import Synchronization

/// The shared store: a database of MySQL, MariaDB, Galera or TiDB that any number of nodes use at once.
///
/// A load is one statement in one round trip. What the server took back by itself (a deadlock, a lock not got in time)
/// is sent again after a while, for at most 10 s; a lost connection is reported at once, and the next call opens a new
/// one. Every call ends within the sum of the three timeouts, plus those retries.
///
/// How durable a commit is, is the server's setting: see ``durabilityWarnings``.
public final class MySQLStore: IDStore {
  /// Called once for every operation, with its name, how long it took with its retries, and its error if it failed.
  ///
  /// Names: `prepare`, `inspect`, `allocate`, `give_back`, `tags`, `create_tag`, `update_tag`, `claim_worker`,
  /// `renew_worker`, `release_worker`, `free_worker`, `workers`, `semi_sync`, `stripe`, `close_stripe`, `open_stripe`,
  /// `create_stripe`, `tokens`, `facts`, `agree`. Called on the task of the operation's caller; must not block.
  public typealias Observer = @Sendable (_ operation: String, _ duration: Duration, _ error: IDError?) -> Void

  /// `mysql`.
  public var kind: String { "mysql" }
  /// Host, port and database.
  public var location: String { self.configuration.location }
  /// `true`.
  public var isShared: Bool { true }

  /// What about the server's settings lets a crash of it take back a commit, one sentence each, for the log. Known after
  /// ``prepare()`` or ``inspect()``; empty where all is well or the server would not say.
  public var durabilityWarnings: [String] { self.warnings.withLock { $0 } }

  let configuration: MySQLConfiguration
  let warnings = Mutex<[String]>([])
  /// Whether a load's number did not come back; see `moved(_:by:_:)`.
  let hidesInsertIDs = Atomic(false)
  /// Which numbers are ids, by tag, as last seen in a table that says so. Every load checks it against the row.
  let residues = Mutex<[Tag: TableDialect.Residue]>([:])
  private let pool: MySQLPool
  private let observer: Observer?

  /// The table of tags.
  var table: MySQLTable { MySQLTable(dialect: self.configuration.table) }

  /// Describes a store. Nothing is connected before the first call.
  ///
  /// - Precondition: The names of `configuration.table` are valid.
  public init(_ configuration: MySQLConfiguration, observer: Observer? = nil) {
    for (what, name) in configuration.table.names {
      precondition(TableDialect.isName(name), "the \(what) name is valid")
    }
    self.configuration = configuration
    self.pool = MySQLPool(configuration)
    self.observer = observer
  }

  /// Connects, checks tables and rights, and creates the tables that are missing, except one of another system's.
  ///
  /// A table that is there is used as it is and never altered. Two nodes may do this at once.
  ///
  /// - Throws: ``IDError/Code/storeUnavailable``, or ``IDError/Code/storeRejected`` with what the operator has to do.
  public func prepare() async throws(IDError) {
    let found = try await self.run("prepare") { connection in
      try MySQLSchema.prepare(connection, self.table)
      return try MySQLSchema.durabilityWarnings(connection, self.table)
    }
    self.warnings.withLock { $0 = found }
  }

  /// Connects, and checks the tables that are there and the rights on them, with statements that touch no row.
  ///
  /// - Returns: The tables that are missing, as `the table …`.
  /// - Throws: As ``prepare()``.
  public func inspect() async throws(IDError) -> [String] {
    let (missing, warnings) = try await self.run("inspect") { connection in
      (try MySQLSchema.missing(connection, self.table), try MySQLSchema.durabilityWarnings(connection, self.table))
    }
    self.warnings.withLock { $0 = warnings }
    return missing
  }

  /// Asks the server whether semi-synchronous replication is at work: MariaDB's `Rpl_semi_sync_master_status`, or MySQL's
  /// `Rpl_semi_sync_source_status`. Needs no right. Nil where the server has neither.
  public func semiSync() async throws(IDError) -> Bool? {
    try await self.run("semi_sync") { connection in
      let rows = try connection.rows(
        """
        SHOW GLOBAL STATUS WHERE Variable_name IN ('Rpl_semi_sync_master_status', 'Rpl_semi_sync_source_status')
        """)
      let states = rows.compactMap { $0.count == 2 ? $0[1] : nil }
      return states.isEmpty ? nil : states.contains("ON")
    }
  }

  /// Fails waiting calls and closes all connections.
  public func close() async {
    await self.pool.close()
  }

  /// Runs `body` on a connection, again where the server took its work back, and reports it to the observer.
  func run<T: Sendable>(
    _ operation: String, _ body: @escaping @Sendable (MySQLConnection) throws -> T
  ) async throws(IDError) -> T {
    let start = ContinuousClock.now
    do {
      let value = try await self.retrying(since: start, body)
      self.observer?(operation, start.duration(to: .now), nil)
      return value
    } catch {
      self.observer?(operation, start.duration(to: .now), error)
      throw error
    }
  }

  private func retrying<T: Sendable>(
    since start: ContinuousClock.Instant, _ body: @escaping @Sendable (MySQLConnection) throws -> T
  ) async throws(IDError) -> T {
    var backoff = Backoff()
    while true {
      switch await self.pool.run(body) {
      case .success(let value):
        return value
      case .failure(let error):
        let failure = Self.translate(error, self.configuration)
        let wait = backoff.next(.random(in: 0...1))
        guard let cause = error as? MySQLFailure, cause.isTransient, start.duration(to: .now) + wait < Backoff.limit
        else { throw failure }
        // A caller that was cancelled does not wait for another attempt.
        do { try await Task.sleep(for: wait) } catch { throw failure }
      }
    }
  }

  /// The store's error for whatever a job threw.
  static func translate(_ error: any Error, _ configuration: MySQLConfiguration) -> IDError {
    switch error {
    case let error as IDError: return error
    case let failure as MySQLFailure: return MySQLErrors.translate(failure, configuration)
    default: return IDError(.storeUnavailable, "MySQL at \(configuration.location) failed: \(error)")
    }
  }
}
