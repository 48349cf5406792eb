internal import Synchronization

/// Segments whose tags all stand in each of N databases: database r hands out the ids that leave the remainder r when
/// divided by N. Any N - 1 of them may be down.
///
/// - An id comes from one database alone, since no two have ids of one remainder: that the rows say so is what
///   restriping guards, and what every list that is read is checked for.
/// - This node's ids of a tag grow strictly, whichever database they come from: each load asks for ids above all that the
///   node has had. Between nodes the order is a trend.
/// - A database that lost commits is found by ``SegmentClaim/notBelow`` and left out for that tag, while the others serve
///   it, until ``confirm()``.
///
/// A load goes to the tag's own database (see ``StripeChoice``); where that fails, or does not answer within the patience,
/// to the next within the same call. An answer that comes too late is given back.
public final class StripedStore: CompositeStore {
  /// Keeps for the next run that ids of `tag` up to `last` were had of `database`'s row, `Int64.min` where none are kept.
  /// Returns once that is durable, or could not be done.
  public typealias Memory = @Sendable (_ last: Int64, _ tag: Tag, _ database: String) async -> Void

  /// Is told once that `database` has lost commits of `tag` and is left out for it, with what it said. Must not block.
  public typealias RefusalObserver = @Sendable (_ tag: Tag, _ database: String, _ error: IDError) -> Void

  /// What earlier runs of this node have had.
  public struct Marks: Sendable, Hashable {
    /// The ends of the highest ranges.
    public var ends: [Tag: Int64]
    /// The last number of each database's row, by its name.
    public var rows: [Tag: [String: Int64]]

    /// Creates marks, none at all by default.
    public init(ends: [Tag: Int64] = [:], rows: [Tag: [String: Int64]] = [:]) {
      self.ends = ends
      self.rows = rows
    }
  }

  struct Row: Sendable {
    /// What was had of the row and not given back.
    var mark: StripeRowMark
    /// Which numbers the last load brought.
    var residue: TableDialect.Residue?
  }

  struct State: Sendable {
    var choice: StripeChoice
    var rows: [Tag: [Row]] = [:]
    var ends: [Tag: Int64]
    /// Tags whose rows contradict each other, with how.
    var conflicts: [Tag: IDError] = [:]
  }

  /// The databases.
  public let databases: SegmentDatabases
  private let marks: Marks
  let remember: Memory
  let onRefusal: RefusalObserver
  let random: @Sendable () -> Int
  let state: Mutex<State>

  /// Creates a store over databases that are not open yet.
  ///
  /// - Parameters:
  ///   - databases: In the order of the stripes.
  ///   - marks: What earlier runs have had.
  ///   - random: Says where tags begin, 0 or more.
  ///   - remember: Keeps what this run has had.
  ///   - onRefusal: Is told of databases that are left out.
  public init(
    _ databases: SegmentDatabases, marks: Marks = Marks(),
    random: @escaping @Sendable () -> Int = { Int.random(in: 0 ... .max) },
    remember: @escaping Memory = { _, _, _ in }, onRefusal: @escaping RefusalObserver = { _, _, _ in }
  ) {
    self.databases = databases
    self.marks = marks
    self.remember = remember
    self.onRefusal = onRefusal
    self.random = random
    self.state = Mutex(State(choice: StripeChoice(count: databases.count), ends: marks.ends))
  }

  public func confirm() { self.state.withLock { $0.choice.confirm() } }

  public var leftOut: [Int] { self.state.withLock { $0.choice.leftOut } }

  /// `false`: a tag is out of reach only where all databases are.
  public func isAway(_ tag: Tag) -> Bool { false }

  /// The one whose row brought ids of that residue last.
  public func database(of tag: Tag, _ residue: TableDialect.Residue) -> Int? {
    self.state.withLock { self.rows(of: tag, $0).firstIndex { $0.residue == residue } }
  }

  /// The rows of `tag` as this node knows them.
  func rows(of tag: Tag, _ state: State) -> [Row] {
    state.rows[tag] ?? self.databases.names.map { Row(mark: StripeRowMark(before: self.marks.rows[tag]?[$0])) }
  }

  @discardableResult
  func change<Value: Sendable>(_ tag: Tag, _ database: Int, _ body: (inout Row) -> sending Value) -> Value {
    self.state.withLock { state in
      var rows = self.rows(of: tag, state)
      defer { state.rows[tag] = rows }
      return body(&rows[database])
    }
  }

  // MARK: - Tags

  /// All tags that some database has. A tag's rows are one record: its step, and the highest id of all; closed where no
  /// row is open.
  public func tags() async throws(IDError) -> [TagRecord] {
    try await self.databases.readLists()
    var merged = self.merged
    if !merged.conflicts.isEmpty {
      // One list may be older than a restriping, the other younger: only what is there twice is a conflict.
      try await self.databases.readLists()
      merged = self.merged
    }
    let names = self.databases.names
    let conflicts = merged.conflicts.mapValues { pair in
      IDError(
        .storeRejected,
        "the rows of the tag in \(names[pair.0]) and \(names[pair.1]) share ids: nothing is loaded; put the databases in "
          + "step by `mid tag restripe`")
    }
    self.state.withLock { $0.conflicts = conflicts }
    let tags = Set(merged.records.map(\.tag))
    // What only a database had that does not answer is there all the same.
    return merged.records + StripeLists(self.databases.state.map(\.list)).records.filter { !tags.contains($0.tag) }
  }

  /// The lists of the databases that answer: what another said before may be older than a restriping.
  private var merged: StripeLists { StripeLists(self.databases.state.map { $0.isUp ? $0.list : nil }) }

  /// Why `tag` is in no list: every database has all tags, so one that was read knows.
  public func absence(of tag: Tag) -> IDError {
    self.databases.state.contains { $0.list != nil } ? .unknown(tag) : self.databases.unreachable
  }
}
