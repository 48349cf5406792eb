/// A tag's row, as a store's table shows it, and what follows from it by the table's own rule.
public struct TagRecord: Sendable, Hashable {
  /// The tag.
  public var tag: Tag
  /// The table's high-water mark. Which id it stands for depends on the table: ``lastID`` and ``next`` don't.
  public var maxID: Int64
  /// How many ids a load takes at least, 1 or more.
  public var step: Int64
  /// Which ids the row stands for.
  public var rule: TableDialect.RangeRule
  /// Which numbers are ids. All of them where the row ``isClosed``, which says nothing then.
  public var residue: TableDialect.Residue
  /// Whether nobody can load from the row, since the tag is being restriped:
  /// ``StripeStore/closeStripe(of:ifStill:token:step:)``.
  /// The tag is there all the same.
  public var isClosed: Bool

  /// Creates a record. Without a rule, that of `id_segments`.
  public init(
    tag: Tag, maxID: Int64, step: Int64, rule: TableDialect.RangeRule = .showsLast,
    residue: TableDialect.Residue = .all, isClosed: Bool = false
  ) {
    self.tag = tag
    self.maxID = maxID
    self.step = step
    self.rule = rule
    self.residue = residue
    self.isClosed = isClosed
  }

  /// The distance between neighbouring ids, 1 or more.
  public var stride: Int64 { self.residue.delta }

  /// The largest number that can have been given out, by whoever uses the table.
  public var lastID: Int64 {
    switch self.rule {
    case .showsLast: self.maxID
    case .showsNext: self.maxID == .min ? .min : self.maxID - 1
    }
  }

  /// The first id of the next range, or nil at the end of the numbers.
  public var next: Int64? { self.lastID >= .max - 1 ? nil : self.residue.first(above: self.lastID) }
}

/// Where segments come from: a table with one row per tag, shared by all nodes.
///
/// Every store keeps these promises; one contract test is run against them all:
/// - A range that was returned is committed durably and overlaps no other that this or any other caller was ever given.
/// - Where the outcome of a commit is unknown (a lost connection), the call throws and the range counts as taken.
/// - Ranges of one tag grow. Ids are at least 1 unless an operator set the row lower.
/// - Calls never block the caller's thread on I/O, may run side by side, and end within the store's timeout.
///
/// Errors: ``IDError/Code/unknownTag``, ``IDError/Code/exhausted``, ``IDError/Code/storeUnavailable`` (worth a retry),
/// ``IDError/Code/storeRejected`` (not worth one).
public protocol SegmentStore: Sendable {
  /// Takes the next ids of `tag` in one durable transaction, as many as `claim` says and where it says.
  ///
  /// - Throws: Beside the errors of every call ``IDError/Code/wentBackwards`` where the row stands below
  ///   ``SegmentClaim/notBelow``, and ``IDError/Code/invalidArgument`` for a count below 1. Nothing is taken then.
  ///   A row that is closed is ``IDError/Code/storeUnavailable``.
  func allocate(_ claim: SegmentClaim, for tag: Tag) async throws(IDError) -> IDRange

  /// Gives the unused rest of a range back, if nobody has allocated since: a compare-and-set on the row.
  ///
  /// - Returns: Whether the row was put back. `false` is no error; the ids are simply not used.
  func giveBack(_ rest: IDRange, of tag: Tag) async throws(IDError) -> Bool

  /// All tags, in no particular order.
  func tags() async throws(IDError) -> [TagRecord]

  /// Creates a tag whose first id will be `first` (1 or more).
  ///
  /// - Throws: ``IDError/Code/tagExists``, or ``IDError/Code/invalidArgument`` where the store's columns can't hold it.
  func createTag(_ tag: Tag, step: Int64, first: Int64) async throws(IDError) -> TagRecord

  /// Changes a tag's step and, where given, moves its next id forward to `next`. Never backwards.
  ///
  /// - Throws: ``IDError/Code/unknownTag``, or ``IDError/Code/wentBackwards`` where `next` is not above all ids given out.
  func updateTag(_ tag: Tag, step: Int64?, next: Int64?) async throws(IDError) -> TagRecord

  /// Why a tag that is in no list of ``tags()`` is not there: ``IDError/Code/unknownTag``, or
  /// ``IDError/Code/storeUnavailable`` where the database that would hold it was never read.
  ///
  /// Answered from what the store knows, without a look at any database.
  func absence(of tag: Tag) -> IDError
}

extension SegmentStore {
  /// Takes the next `count` ids (1 or more) of `tag`, wherever they lie: ``allocate(_:for:)`` without a wish.
  public func allocate(_ count: Int64, for tag: Tag) async throws(IDError) -> IDRange {
    try await self.allocate(SegmentClaim(count: count), for: tag)
  }

  /// ``IDError/Code/unknownTag``: one database holds all tags there are.
  public func absence(of tag: Tag) -> IDError { .unknown(tag) }
}

extension IDError {
  /// The error for a tag that has no row.
  package static func unknown(_ tag: Tag) -> IDError {
    IDError(.unknownTag, "there is no tag \(tag); create it first")
  }
}
