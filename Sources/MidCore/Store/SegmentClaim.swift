/// What is asked of a store: how many ids, and what has to hold for them.
///
/// The two numbers serve a node that takes the ids of one tag from several databases in turn: ``above`` keeps its ids in
/// order though each database counts for itself, and ``notBelow`` finds a database that has lost what it had committed.
public struct SegmentClaim: Sendable, Hashable {
  /// How many ids, 1 or more.
  public var count: Int64
  /// Every id lies above this number: where the row stands lower it is moved up to it first, and the numbers between are
  /// given to nobody. `Int64.min` is no wish.
  public var above: Int64
  /// The row must not stand lower than this: the last number of this very row that the node has taken and not given back.
  /// Where it does, the database has lost commits: ``IDError/Code/wentBackwards``. `Int64.min` is no wish.
  public var notBelow: Int64

  /// Creates a claim, without wishes where none are named.
  public init(count: Int64, above: Int64 = .min, notBelow: Int64 = .min) {
    self.count = count
    self.above = above
    self.notBelow = notBelow
  }
}

extension TableDialect {
  /// A claim in terms of a row's `max_id`, for rows of one residue.
  package struct Load: Sendable, Hashable {
    /// How far `max_id` moves, 1 or more.
    package let width: Int64
    /// Where `max_id` is moved up to first, or nil for no wish.
    package let floor: Int64?
    /// The lowest that `max_id` may be, or nil for no wish.
    package let least: Int64?
    /// The highest that `max_id` may be, so that the load fits. `floor` is not higher.
    package let limit: Int64
  }

  /// What `claim` means for a row of `residue`, or nil where it can be met by no row.
  package func load(_ claim: SegmentClaim, _ residue: Residue) -> Load? {
    guard let limit = self.lastMaxID(for: claim.count, residue) else { return nil }
    guard let floor = self.mark(claim.above), let least = self.mark(claim.notBelow), floor <= limit else { return nil }
    return Load(
      width: claim.count * residue.delta, floor: claim.above == .min ? nil : floor,
      least: claim.notBelow == .min ? nil : least, limit: limit)
  }

  /// Where a row comes to by `claim`, and the ids that are taken with that.
  ///
  /// - Throws: Why they can't be: ``IDError/Code/storeUnavailable`` where the row is closed,
  ///   ``IDError/Code/wentBackwards``, ``IDError/Code/exhausted``.
  package func taking(
    _ claim: SegmentClaim, from record: TagRecord
  ) throws(IDError) -> (maxID: Int64, range: IDRange) {
    guard !record.isClosed else { throw .restriped(record.tag) }
    guard record.lastID >= claim.notBelow else {
      throw IDError(
        .wentBackwards,
        "tag \(record.tag) stands at \(record.lastID) in the table, below \(claim.notBelow), which this node has been given "
          + "already: the database has lost commits (a failover?); move it past every id in use: mid tag advance \(record.tag) --past N"
      )
    }
    if let load = self.load(claim, record.residue), record.maxID <= load.limit {
      let maxID = max(record.maxID, load.floor ?? record.maxID) + load.width
      if let range = self.range(endingAt: maxID, count: claim.count, record.residue) { return (maxID, range) }
    }
    let wish = claim.above > record.lastID ? " and is to go on above \(claim.above)" : ""
    throw IDError(
      .exhausted,
      "tag \(record.tag) stands at \(record.maxID)\(wish): \(claim.count) more ids would pass the largest, "
        + "\(Int64.max - 1)")
  }

  /// `max_id` of a row whose last number is `last`, or nil where there is none so high.
  private func mark(_ last: Int64) -> Int64? {
    switch self.rule {
    case .showsLast: last
    case .showsNext: last == .max ? nil : last + 1
    }
  }
}

extension SegmentClaim {
  /// Checks the count.
  ///
  /// - Throws: ``IDError/Code/invalidArgument`` for one below 1.
  package func validate() throws(IDError) {
    guard self.count >= 1 else { throw IDError(.invalidArgument, "a load takes at least 1 id, not \(self.count)") }
  }
}
