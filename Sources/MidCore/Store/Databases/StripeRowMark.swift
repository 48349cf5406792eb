/// The last number that a node has had of one database's row and has not given back, as a value.
///
/// What is given back can be followed by others' giving back theirs, so that the row rightly comes to stand anywhere above
/// what the node keeps. So the mark goes down to the range before, not just below the one that goes back.
struct StripeRowMark: Sendable {
  /// The ranges that were had, in ascending order: the first number and the last.
  private var had: [(first: Int64, last: Int64)] = []
  /// What was had before those.
  private var before: Int64?

  /// How many ranges are told apart, the newest ones. A generator keeps two or three, unless its loads are very small for its
  /// rate; where older ones go back after all, nothing is kept of the row, so that a loss is missed once.
  static let most = 32

  /// What went with ``returning(_:)``.
  struct Taken {
    fileprivate var had: [(first: Int64, last: Int64)]
    fileprivate var before: Int64?
  }

  /// Begins with what earlier runs have left, or nil.
  init(before: Int64?) { self.before = before }

  /// The mark; nil where nothing is kept.
  var last: Int64? { self.had.last?.last ?? self.before }

  /// A range has come.
  mutating func received(_ range: IDRange) {
    guard let last = range.last else { return }
    self.insert([(range.start, last)])
  }

  /// The rest of what was had is about to go back.
  ///
  /// - Returns: What ``keep(_:)`` needs where it does not.
  mutating func returning(_ rest: IDRange) -> Taken {
    var taken = Taken(had: self.had.filter { $0.last >= rest.start })
    self.had.removeAll { $0.last >= rest.start }
    // Of the range that the rest begins in, what lies below was given out.
    if let split = taken.had.first, split.first < rest.start { self.had.append((split.first, rest.start - 1)) }
    if let before = self.before, before >= rest.start { (taken.before, self.before) = (before, nil) }
    return taken
  }

  /// It did not go back.
  mutating func keep(_ taken: Taken) {
    // What was left of the first one; what has come since then stays.
    if let first = taken.had.first { self.had.removeAll { $0.first == first.first } }
    if let before = taken.before { self.before = max(self.before ?? before, before) }
    self.insert(taken.had)
  }

  private mutating func insert(_ ranges: [(first: Int64, last: Int64)]) {
    self.had += ranges
    self.had.sort { $0.last < $1.last }
    if self.had.count > Self.most {
      let dropped = self.had.count - Self.most
      self.before = max(self.before ?? .min, self.had[dropped - 1].last)
      self.had.removeFirst(dropped)
    }
  }
}
