/// What a node remembers of its worker id from one run to the next, in its data folder. Times are milliseconds since the
/// Unix epoch.
public struct WorkerMemory: Sendable, Hashable {
  /// The worker number that the rest speaks of, or nil before the first.
  public var worker: Int64?
  /// The term of the last claim that was confirmed, or a later one of its own that its row was seen under. 0 where the row
  /// was another's, or there was none.
  public var term: Int64
  /// Whether a claim was under way: the row may show a later term, under which nothing was issued.
  public var isClaiming: Bool
  /// The first millisecond that no id of ``worker`` issued from this folder has reached or will reach. Stored before any
  /// id comes near it.
  public var bound: Int64
  /// The bound in the store's row as it was last confirmed or seen.
  public var rowBound: Int64
  /// The highest bound that the store was asked to write since: the row may show it, or one in between, though no answer
  /// came.
  public var askedBound: Int64

  /// Creates a memory; without arguments that of a folder that never had a worker id.
  public init(
    worker: Int64? = nil, term: Int64 = 0, isClaiming: Bool = false, bound: Int64 = 0, rowBound: Int64 = 0,
    askedBound: Int64 = 0
  ) {
    self.worker = worker
    self.term = term
    self.isClaiming = isClaiming
    self.bound = bound
    self.rowBound = rowBound
    self.askedBound = askedBound
  }

  /// From which time on its owner may issue under a worker id: above whatever an earlier holder can have issued.
  ///
  /// The memory's bound is the exact one, as it was stored before anything up to it was issued; but only for a row of its
  /// own, and only where it is as young as the row. A folder put back from a backup knows of an earlier term, or has
  /// missed renewals of the same; a claim whose answer was lost is one term further on, and with more than one between,
  /// another node may have been there. In doubt the row's bound counts.
  ///
  /// - Parameters:
  ///   - row: the row as it stood before the claim, or nil where there was none.
  ///   - worker: whose row that is.
  ///   - token: whom the claim is for.
  /// - Returns: Milliseconds since the Unix epoch, 0 where nothing was ever issued.
  public func floor(above row: WorkerRecord?, of worker: Int64, token: String) -> Int64 {
    let own = self.worker == worker ? self.bound : 0
    guard let row else { return own }
    return self.isCurrent(with: row, token: token) ? own : max(own, row.bound)
  }

  /// Whether the row shows nothing that this memory knows nothing of.
  private func isCurrent(with row: WorkerRecord, token: String) -> Bool {
    guard row.owner.token == token, self.worker == row.worker else { return false }
    let isOfTerm = row.term == self.term || (self.isClaiming && row.term == self.term + 1)
    return isOfTerm && row.bound >= self.rowBound && row.bound <= max(self.rowBound, self.askedBound)
  }

  /// What to remember before `worker` is claimed, whose row was just seen.
  ///
  /// Its own row can't be changed by others without the term telling: a claim whose answer is lost leaves it one term
  /// further on, however many such claims follow each other, as each is seen before the next. Another's row may change
  /// until the claim is carried out; so its term is not remembered, and where the answer is lost the row's bound counts.
  ///
  /// - Returns: that, and whether what was remembered still holds.
  func beforeClaim(
    of worker: Int64, seeing row: WorkerRecord?, token: String
  ) -> (memory: WorkerMemory, isCurrent: Bool) {
    let isOwn = self.worker == worker
    guard let row else { return (isOwn ? self : WorkerMemory(worker: worker), isOwn) }
    var memory = WorkerMemory(
      worker: worker, bound: self.floor(above: row, of: worker, token: token), rowBound: row.bound,
      askedBound: max(row.bound, isOwn ? self.askedBound : 0))
    if row.owner.token == token { memory.term = row.term }
    return (memory, self.isCurrent(with: row, token: token))
  }
}
