/// How a table of tags is laid out and read: its names, and which ids a row stands for.
///
/// The tables of other systems are used as they are, beside the system that made them. What makes that safe is that both
/// read a row by the same rule: each dialect has its own, ``RangeRule``. Reading one kind with the rule of another issues
/// an id twice, so the rule can't be set apart from the dialect.
///
/// A value: the stores build their SQL from it. Names hold only characters that need no escaping within quotation marks,
/// which ``validate()`` checks.
public struct TableDialect: Sendable, Hashable {
  /// Which tables are known, by the name that settings and flags give them.
  public enum Kind: String, Sendable, Hashable, CaseIterable {
    /// `id_segments`, mid's own and the Go original's.
    case mid
    /// `leaf_alloc`, Leaf's.
    case leaf
    /// `leaf-segment` with the column `desc`: the same table as an older text of Leaf's names it.
    case leafSegment = "leaf-segment"
    /// `tiny_id_info`, Tinyid's.
    case tinyid
    /// `mid_stripes`, mid's own where several databases share every tag.
    case stripe

    /// The kinds that are named by hand. ``stripe`` is not: it is what ``mid`` becomes where databases share tags.
    public static let named = Kind.allCases.filter { $0 != .stripe }
  }

  /// Which numbers belong to whoever moves a row's `max_id` from `old` to `new`. Both are half-open ranges.
  public enum RangeRule: Sendable, Hashable {
    /// `(old, new]`: `max_id` is the last number that is given out. `id_segments`, `tiny_id_info`, `mid_stripes`.
    case showsLast
    /// `[old, new)`: `max_id` is the next number to be given out. `leaf_alloc`, `leaf-segment`.
    case showsNext
  }

  /// Columns of a table in which only some of the numbers are ids: those whose remainder of a division by `delta` is
  /// `remainder`, so that several databases share a tag without meeting.
  public struct ResidueColumns: Sendable, Hashable {
    /// The distance between ids.
    public var delta: String
    /// The remainder that ids have, 0 to `delta` - 1.
    public var remainder: String
  }

  /// Which table it is.
  public let kind: Kind
  /// The table's name.
  public var table: String
  /// The column with the tag, which is a key.
  public var tagColumn: String
  /// The column that all ids come from.
  public var maxColumn: String
  /// The column that says how many numbers a load takes.
  public var stepColumn: String
  /// The column of the last change, or nil where the table has none.
  public var updatedColumn: String?
  /// The column that counts changes, by which an old server notices that another was first; nil where there is none.
  public var versionColumn: String?
  /// The column that keeps what `max_id` was at first, or nil where there is none.
  public var beginColumn: String?
  /// The columns that make only some numbers ids, or nil where all are.
  public var residueColumns: ResidueColumns?

  /// The dialect of `kind`, with that table's own names.
  public init(_ kind: Kind) {
    self.kind = kind
    (self.tagColumn, self.maxColumn, self.stepColumn) = ("biz_tag", "max_id", "step")
    switch kind {
    case .mid: (self.table, self.updatedColumn) = ("id_segments", "updated_at")
    case .leaf: (self.table, self.updatedColumn) = ("leaf_alloc", "update_time")
    case .leafSegment: (self.table, self.updatedColumn) = ("leaf-segment", "update_time")
    case .tinyid:
      (self.table, self.tagColumn, self.updatedColumn) = ("tiny_id_info", "biz_type", "update_time")
      (self.versionColumn, self.beginColumn) = ("version", "begin_id")
      self.residueColumns = ResidueColumns(delta: "delta", remainder: "remainder")
    case .stripe:
      (self.table, self.updatedColumn) = ("mid_stripes", "updated_at")
      self.residueColumns = ResidueColumns(delta: "delta", remainder: "remainder")
    }
  }

  /// mid's own table under its own names.
  public static let mid = TableDialect(.mid)
  /// mid's own table for tags that several databases share, under its own names.
  public static let stripe = TableDialect(.stripe)

  /// Whether a store makes the table where it is missing: mid's own, under their own names.
  public var isOwn: Bool { self == .mid || self == .stripe }

  /// Which ids a row stands for.
  public var rule: RangeRule {
    switch self.kind {
    case .mid, .tinyid, .stripe: .showsLast
    case .leaf, .leafSegment: .showsNext
    }
  }

  /// All names that are in use, with what each stands for.
  public var names: [(what: String, name: String)] {
    let all: [(String, String?)] = [
      ("table", self.table), ("tag", self.tagColumn), ("max", self.maxColumn), ("step", self.stepColumn),
      ("updated", self.updatedColumn), ("version", self.versionColumn), ("begin", self.beginColumn),
      ("delta", self.residueColumns?.delta), ("remainder", self.residueColumns?.remainder),
    ]
    return all.compactMap { what, name in name.map { (what, $0) } }
  }

  /// The names of all columns in use.
  public var columns: [String] { self.names.dropFirst().map(\.name) }

  /// The longest name of a table or column, in characters: MySQL's own limit.
  public static let maximumNameLength = 64

  /// Whether `name` may name a table or column: 1 to 64 ASCII letters, digits, `_`, `-` or `$`. Nothing else could be put
  /// in quotation marks without a second thought.
  public static func isName(_ name: String) -> Bool {
    (1...self.maximumNameLength).contains(name.utf8.count)
      && name.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "$"): true
        default: false
        }
      }
  }

  /// Checks all names.
  ///
  /// - Throws: ``IDError/Code/invalidArgument`` with every reason: a name of other characters, or one column named twice.
  public func validate() throws(IDError) {
    var reasons = self.names.filter { !Self.isName($0.name) }.map { what, name in
      "the \(what) name '\(name)' is not 1 to \(Self.maximumNameLength) letters, digits, _, - or $"
    }
    var seen: Set<String> = []
    // Databases take `Step` for `step`.
    reasons += self.columns.filter { !seen.insert($0.lowercased()).inserted }.map { "two columns are named \($0)" }
    guard reasons.isEmpty else { throw IDError(.invalidArgument, "tag table: " + reasons.joined(separator: "; ")) }
  }
}

extension TableDialect {
  /// Which of the numbers that a row hands out are ids: those with `number mod delta == remainder`.
  public struct Residue: Sendable, Hashable {
    /// The distance between ids, 1 to ``maximumDelta``.
    public let delta: Int64
    /// 0 to `delta` - 1.
    public let remainder: Int64

    /// Every number.
    public static let all = Residue(unchecked: 1, 0)

    /// The largest delta, far more than there are databases for one tag.
    public static let maximumDelta: Int64 = 1_000_000

    private init(unchecked delta: Int64, _ remainder: Int64) { (self.delta, self.remainder) = (delta, remainder) }

    /// Takes what a row says, or nil where no number could have that remainder.
    public init?(delta: Int64, remainder: Int64) {
      guard (1...Self.maximumDelta).contains(delta), (0..<delta).contains(remainder) else { return nil }
      self.init(unchecked: delta, remainder)
    }

    /// The first id above `number`, or nil where none fits below the largest.
    public func first(above number: Int64) -> Int64? {
      // How far `number` lies above the id at or below it.
      let signed = (number % self.delta - self.remainder) % self.delta
      let past = signed < 0 ? signed + self.delta : signed
      let (first, isPastEnd) = number.addingReportingOverflow(self.delta - past)
      return isPastEnd ? nil : first
    }
  }

  /// The largest `max_id` from which a load of `count` ids fits, its half-open end included; nil where none does.
  public func lastMaxID(for count: Int64, _ residue: Residue) -> Int64? {
    let (width, isTooWide) = count.multipliedReportingOverflow(by: residue.delta)
    // The end of a range lies up to `delta` past a mark that shows the last number.
    let end = self.rule == .showsNext ? Int64.max : Int64.max - residue.delta
    return isTooWide || width > end ? nil : end - width
  }

  /// The `count` ids that belong to whoever moved `max_id` by `count` times the delta to `maxID`, or nil where the numbers
  /// are not possible.
  public func range(endingAt maxID: Int64, count: Int64, _ residue: Residue) -> IDRange? {
    let (width, isTooWide) = count.multipliedReportingOverflow(by: residue.delta)
    let (old, isTooLow) = maxID.subtractingReportingOverflow(width)
    guard !isTooWide, !isTooLow else { return nil }
    guard let start = self.rule == .showsNext ? old : residue.first(above: old) else { return nil }
    return start.addingReportingOverflow(width).overflow
      ? nil : IDRange(start: start, count: count, stride: residue.delta)
  }

  /// What `max_id` is where `next`, 1 or more, is the first number that may be given out.
  public func maxID(beforeNext next: Int64) -> Int64 {
    switch self.rule {
    case .showsLast: next - 1
    case .showsNext: next
    }
  }

  /// What `max_id` of a row becomes where its next id is moved forward to `next`.
  ///
  /// - Throws: ``IDError/Code/wentBackwards`` where `next` does not lie above all that may be given out.
  public func moving(_ record: TagRecord, to next: Int64) throws(IDError) -> Int64 {
    guard next > record.lastID else {
      throw IDError(
        .wentBackwards,
        "tag \(record.tag) has given out ids up to \(record.lastID): its next id can't become \(next)")
    }
    return self.maxID(beforeNext: next)
  }

  /// What a table shows for loads of `step` ids: tables count numbers.
  ///
  /// - Throws: ``IDError/Code/invalidArgument`` where that is too many.
  public func storedStep(_ step: Int64, _ residue: Residue) throws(IDError) -> Int64 {
    let (stored, isTooLarge) = step.multipliedReportingOverflow(by: residue.delta)
    guard !isTooLarge else { throw IDError(.invalidArgument, "a step of \(step) ids is too large for the table") }
    return stored
  }

  /// The record of a row. A step below 1 counts as 1.
  ///
  /// - Parameters:
  ///   - tag: Whose row.
  ///   - maxID: As the table shows it.
  ///   - step: As the table shows it, in numbers.
  ///   - residue: Which numbers are the row's ids.
  public func record(_ tag: Tag, maxID: Int64, step: Int64, _ residue: Residue = .all) -> TagRecord {
    TagRecord(tag: tag, maxID: maxID, step: max(1, step / residue.delta), rule: self.rule, residue: residue)
  }

  /// Where a row stands for `rest` to be the last that was taken from it, where it stands once `rest` is given back, and
  /// which numbers its ids are. Nil where `rest` can't be given back: it is empty, or none of this table's.
  public func marks(of rest: IDRange) -> (taken: ClosedRange<Int64>, before: Int64, residue: Residue)? {
    guard let last = rest.last, rest.start > Int64.min, self.residueColumns != nil || rest.stride == 1 else {
      return nil
    }
    let remainder = (rest.start % rest.stride + rest.stride) % rest.stride
    guard let residue = Residue(delta: rest.stride, remainder: remainder) else { return nil }
    switch self.rule {
    case .showsNext: return (rest.end...rest.end, rest.start, residue)
    // The mark may stand on any number from the last id to just before the next.
    case .showsLast: return (last...(rest.end - 1), rest.start - 1, residue)
    }
  }
}
