public import MidCore

extension MySQLStore {
  /// Takes worker `worker` where it is free or held by the same token.
  public func claimWorker(
    _ worker: Int64, owner: WorkerOwner, leaseMilliseconds: Int64, bound: Int64
  ) async throws(IDError) -> WorkerClaim {
    try await self.change("claim_worker", worker) { previous, time throws(IDError) in
      try WorkerRecord.claiming(
        worker, previous: previous, owner: owner, leaseMilliseconds: leaseMilliseconds, bound: bound, at: time)
    }
  }

  /// Extends the lease of a row that `token` holds under `term`.
  public func renewWorker(
    _ worker: Int64, token: String, term: Int64, leaseMilliseconds: Int64, bound: Int64
  ) async throws(IDError) -> WorkerClaim {
    try await self.change("renew_worker", worker) { previous, time throws(IDError) in
      guard let previous else { throw WorkerRecord.missing(worker) }
      return try previous.renewing(
        token: token, term: term, leaseMilliseconds: leaseMilliseconds, bound: bound, at: time)
    }
  }

  /// Gives back a row that `token` holds under `term`, with the exact `bound`.
  public func releaseWorker(_ worker: Int64, token: String, term: Int64, bound: Int64) async throws(IDError) {
    _ = try await self.change("release_worker", worker) { previous, time throws(IDError) in
      guard let previous else { throw WorkerRecord.missing(worker) }
      return try previous.releasing(token: token, term: term, bound: bound, at: time)
    }
  }

  /// Frees a row that has `term`, and keeps its bound.
  public func freeWorker(_ worker: Int64, ifTerm term: Int64, force: Bool) async throws(IDError) -> WorkerClaim {
    try await self.change("free_worker", worker) { previous, time throws(IDError) in
      guard let previous else { throw WorkerRecord.missing(worker) }
      return try previous.freeing(ifTerm: term, force: force, at: time)
    }
  }

  /// All rows, in order of worker number, and the server's time.
  public func workers() async throws(IDError) -> WorkerList {
    try await self.run("workers") { connection in
      // The time first: a lease that ended in between is taken for one that still runs, not the other way round.
      let time = try self.time(connection)
      let records = try connection.rows("\(Self.selectWorkers) ORDER BY worker").map(Self.record)
      return WorkerList(records: records, storeTime: time)
    }
  }

  /// The server's time in milliseconds since the Unix epoch. The session's time zone is UTC.
  private func time(_ connection: MySQLConnection) throws -> Int64 {
    let time = try connection.rows("SELECT CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)").first?.first
    guard let time = (time ?? nil).flatMap({ Int64($0) }) else {
      throw IDError(.storeRejected, "\(self.location) does not tell its time; check UNIX_TIMESTAMP(SYSDATE(3))")
    }
    return time
  }

  private static let selectWorkers = "SELECT worker, owner_token, owner, term, expires_at, bound FROM mid_workers"

  /// Reads a row under a lock, asks `rule` for its new state at the server's time, and writes that, in one transaction.
  private func change(
    _ operation: String, _ worker: Int64,
    _ rule: @escaping @Sendable (WorkerRecord?, Int64) throws(IDError) -> WorkerRecord
  ) async throws(IDError) -> WorkerClaim {
    try await self.run(operation) { connection in
      try connection.transaction {
        let row = try connection.rows("\(Self.selectWorkers) WHERE worker = \(worker) FOR UPDATE").first
        let previous = try row.map(Self.record)
        // Asked after the lock was got, which may have taken a while.
        let time = try self.time(connection)
        let current = try rule(previous, time)
        try Self.write(current, isNew: previous == nil, connection)
        return WorkerClaim(current: current, previous: previous, storeTime: time)
      }
    }
  }

  private static func write(_ record: WorkerRecord, isNew: Bool, _ connection: MySQLConnection) throws {
    let token = try connection.literal(record.owner.token)
    let owner = try connection.literal(record.owner.description)
    let values =
      "owner_token = \(token), owner = \(owner), term = \(record.term), expires_at = \(record.expiresAt), "
      + "bound = \(record.bound)"
    guard isNew else {
      try connection.execute("UPDATE mid_workers SET \(values) WHERE worker = \(record.worker)")
      return
    }
    do {
      try connection.execute("INSERT INTO mid_workers SET worker = \(record.worker), \(values)")
    } catch let failure as MySQLFailure where failure.isDuplicate {
      // Another node was first, on a server that does not lock absent rows. Looking again shows its row.
      throw MySQLFailure.lostRace(failure.message)
    }
  }

  private static func record(_ row: [String?]) throws(IDError) -> WorkerRecord {
    func number(_ column: Int) -> Int64? { row[column].flatMap { Int64($0) } }
    guard
      let worker = number(0), let token = row[1], let description = row[2], let term = number(3),
      let expiresAt = number(4), let bound = number(5)
    else { throw IDError(.storeRejected, "a row of mid_workers holds NULL or a fraction; delete or mend it") }
    return WorkerRecord(
      worker: worker, owner: WorkerOwner(token: token, description: description), term: term, expiresAt: expiresAt,
      bound: bound)
  }
}
