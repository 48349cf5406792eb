import GRDB
public import MidCore

extension SQLiteStore {
  /// Takes worker `worker` where it is free or held by the same token.
  public func claimWorker(
    _ worker: Int64, owner: WorkerOwner, leaseMilliseconds: Int64, bound: Int64
  ) async throws(IDError) -> WorkerClaim {
    try await self.transaction("claim_worker") { db in
      let time = self.now()
      let previous = try self.worker(worker, in: db)
      let current = try WorkerRecord.claiming(
        worker, previous: previous, owner: owner, leaseMilliseconds: leaseMilliseconds, bound: bound, at: time)
      try Self.write(current, in: db)
      return WorkerClaim(current: current, previous: previous, storeTime: time)
    }
  }

  /// Extends the lease of a row that `token` holds under `term`.
  public func renewWorker(
    _ worker: Int64, token: String, term: Int64, leaseMilliseconds: Int64, bound: Int64
  ) async throws(IDError) -> WorkerClaim {
    try await self.transaction("renew_worker") { db in
      let time = self.now()
      guard let previous = try self.worker(worker, in: db) else { throw WorkerRecord.missing(worker) }
      let current = try previous.renewing(
        token: token, term: term, leaseMilliseconds: leaseMilliseconds, bound: bound, at: time)
      try Self.write(current, in: db)
      return WorkerClaim(current: current, previous: previous, storeTime: time)
    }
  }

  /// Gives back a row that `token` holds under `term`, with the exact `bound`.
  public func releaseWorker(_ worker: Int64, token: String, term: Int64, bound: Int64) async throws(IDError) {
    try await self.transaction("release_worker") { db in
      guard let previous = try self.worker(worker, in: db) else { throw WorkerRecord.missing(worker) }
      try Self.write(try previous.releasing(token: token, term: term, bound: bound, at: self.now()), in: db)
    }
  }

  /// Frees a row that has `term`, and keeps its bound.
  public func freeWorker(_ worker: Int64, ifTerm term: Int64, force: Bool) async throws(IDError) -> WorkerClaim {
    try await self.transaction("free_worker") { db in
      let time = self.now()
      guard let previous = try self.worker(worker, in: db) else { throw WorkerRecord.missing(worker) }
      let current = try previous.freeing(ifTerm: term, force: force, at: time)
      try Self.write(current, in: db)
      return WorkerClaim(current: current, previous: previous, storeTime: time)
    }
  }

  /// All rows, in order of worker number, and this machine's time.
  public func workers() async throws(IDError) -> WorkerList {
    try await self.read("workers") { db in
      let time = self.now()
      let records = try Row.fetchAll(db, sql: "\(Self.selectWorkers) ORDER BY worker").map { try self.record($0) }
      return WorkerList(records: records, storeTime: time)
    }
  }

  private static let selectWorkers = "SELECT worker, owner_token, owner, term, expires_at, bound FROM mid_workers"

  private func worker(_ worker: Int64, in db: Database) throws -> WorkerRecord? {
    let row = try Row.fetchOne(db, sql: "\(Self.selectWorkers) WHERE worker = ?", arguments: [worker])
    return try row.map { try self.record($0) }
  }

  private static func write(_ record: WorkerRecord, in db: Database) throws {
    try db.execute(
      sql: """
        INSERT INTO mid_workers (worker, owner_token, owner, term, expires_at, bound) VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT (worker) DO UPDATE SET owner_token = excluded.owner_token, owner = excluded.owner,
        term = excluded.term, expires_at = excluded.expires_at, bound = excluded.bound
        """,
      arguments: [
        record.worker, record.owner.token, record.owner.description, record.term, record.expiresAt, record.bound,
      ])
  }

  /// Reads a row without trusting its types: SQLite lets anything stand in any column.
  private func record(_ row: Row) throws(IDError) -> WorkerRecord {
    guard
      let worker = Int64.fromDatabaseValue(row[0]), let token = String.fromDatabaseValue(row[1]),
      let description = String.fromDatabaseValue(row[2]), let term = Int64.fromDatabaseValue(row[3]),
      let expiresAt = Int64.fromDatabaseValue(row[4]), let bound = Int64.fromDatabaseValue(row[5])
    else {
      throw IDError(.storeRejected, "a row of mid_workers in \(self.path) holds a value of the wrong type: \(row)")
    }
    return WorkerRecord(
      worker: worker, owner: WorkerOwner(token: token, description: description), term: term, expiresAt: expiresAt,
      bound: bound)
  }
}
