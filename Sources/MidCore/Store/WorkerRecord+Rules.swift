/// The rules of a worker row, in one place for every store. A store reads the row and its clock under a lock, asks
/// here for the row's new state, and writes that.
extension WorkerRecord {
  /// The row after `owner` took `worker` at the store's `time`, given the row before, if there was one.
  ///
  /// - Throws: ``IDError/Code/leaseLost`` where another token holds it, ``IDError/Code/invalidArgument`` for a negative
  ///   worker number or a lease under 1 ms or past the end of time.
  package static func claiming(
    _ worker: Int64, previous: WorkerRecord?, owner: WorkerOwner, leaseMilliseconds: Int64, bound: Int64, at time: Int64
  ) throws(IDError) -> WorkerRecord {
    guard worker >= 0 else { throw IDError(.invalidArgument, "a worker id is 0 or more, not \(worker)") }
    if let previous, previous.owner.token != owner.token, previous.expiresAt > time {
      throw previous.conflict(at: time)
    }
    return WorkerRecord(
      worker: worker, owner: owner, term: (previous?.term ?? 0) + 1,
      expiresAt: try Self.expiry(at: time, leaseMilliseconds), bound: max(bound, previous?.bound ?? bound))
  }

  /// This row after its holder extended the lease at the store's `time`.
  ///
  /// - Throws: ``IDError/Code/leaseLost`` where `token` and `term` do not hold the row, or it was given back;
  ///   ``IDError/Code/invalidArgument`` as in ``claiming(_:previous:owner:leaseMilliseconds:bound:at:)``.
  package func renewing(
    token: String, term: Int64, leaseMilliseconds: Int64, bound: Int64, at time: Int64
  ) throws(IDError) -> WorkerRecord {
    try self.checkHeld(token: token, term: term, at: time)
    var record = self
    record.expiresAt = try Self.expiry(at: time, leaseMilliseconds)
    record.bound = max(bound, self.bound)
    return record
  }

  /// This row after its holder gave it back with the exact `bound`.
  ///
  /// - Throws: ``IDError/Code/leaseLost`` where `token` and `term` do not hold the row, or it was given back already.
  package func releasing(token: String, term: Int64, bound: Int64, at time: Int64) throws(IDError) -> WorkerRecord {
    try self.checkHeld(token: token, term: term, at: time)
    var record = self
    record.expiresAt = Self.givenBack
    record.bound = bound
    return record
  }

  /// This row after an operator freed it. Term and bound stay: its holder, who may be alive, reaches nothing at or past
  /// the bound, and whoever claims the row next issues from there on, under the next term.
  ///
  /// - Throws: ``IDError/Code/leaseLost`` where the row has another term, or its lease goes on at the store's `time` and
  ///   `force` is not set.
  package func freeing(ifTerm term: Int64, force: Bool, at time: Int64) throws(IDError) -> WorkerRecord {
    guard self.term == term, force || self.expiresAt <= time else { throw self.conflict(at: time) }
    guard self.isLeased else { return self }
    var record = self
    record.expiresAt = Self.freed
    return record
  }

  /// Whether there is a lease, ended or not: the row was neither given back nor freed.
  package var isLeased: Bool { self.expiresAt > Self.givenBack }

  /// The error for a holder whose row is not there at all.
  package static func missing(_ worker: Int64) -> IDError {
    IDError(.leaseLost, "worker id \(worker) has no row in the store any more")
  }

  private func checkHeld(token: String, term: Int64, at time: Int64) throws(IDError) {
    guard self.owner.token == token, self.term == term else { throw self.conflict(at: time) }
    // A row given back is nobody's, also for a renewal of its last holder that comes late: the bound may be lower now.
    // Of one that was freed the operator wants to be sure that it can be taken.
    guard self.isLeased else { throw IDError(.leaseLost, "worker id \(self.worker) \(self.end(at: time))") }
  }

  private func conflict(at time: Int64) -> IDError {
    let (verb, and) = self.isLeased ? ("is", "") : ("was", "and ")
    return IDError(
      .leaseLost,
      "worker id \(self.worker) \(verb) held by \(self.owner.description), in term \(self.term) \(and)"
        + self.end(at: time))
  }

  private func end(at time: Int64) -> String {
    switch self.expiresAt {
    case Self.givenBack: "was given back"
    case ...Self.freed: "was released by an operator"
    default:
      "until \(WallTime(milliseconds: self.expiresAt)) (now \(WallTime(milliseconds: time)) by the store's clock)"
    }
  }

  private static func expiry(at time: Int64, _ leaseMilliseconds: Int64) throws(IDError) -> Int64 {
    let (end, overflow) = time.addingReportingOverflow(leaseMilliseconds)
    guard leaseMilliseconds >= 1, !overflow else {
      throw IDError(.invalidArgument, "a lease lasts 1 ms at least, and ends within Int64: not \(leaseMilliseconds) ms")
    }
    return end
  }
}
