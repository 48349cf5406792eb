public import MidCore

/// Finds ids that were given out twice, are not above 0, or did not grow for their caller.
///
/// Built for many millions: an id costs eight bytes and a comparison when it is recorded; the search for duplicates
/// merges the callers' sorted runs at the end. Not thread safe: give each thread a recorder of its own
/// (``Recorder``) and put them together.
public struct UniquenessChecker: Sendable {
  /// What is wrong with an id.
  public enum Violation: Sendable, Hashable, CustomStringConvertible {
    /// The id was given out more than once, in all.
    case duplicate(id: Int64)
    /// The id is 0 or below.
    case notPositive(id: Int64, caller: String)
    /// The caller got `id` after `previous`, which is not smaller.
    case notIncreasing(previous: Int64, id: Int64, caller: String)

    /// The violation as a sentence.
    public var description: String {
      switch self {
      case .duplicate(let id): "\(id) was given out twice"
      case .notPositive(let id, let caller): "\(caller) got \(id)"
      case .notIncreasing(let previous, let id, let caller): "\(caller) got \(id) after \(previous)"
      }
    }
  }

  /// The ids of one caller, in the order in which it got them.
  public struct Recorder: Sendable {
    /// The caller's name.
    public let caller: String
    /// All its ids.
    public private(set) var ids: [Int64] = []
    /// What was found while recording, at most 100.
    public private(set) var violations: [Violation] = []
    private let mustIncrease: Bool
    private var previous = Int64.min

    /// Creates a recorder.
    ///
    /// - Parameters:
    ///   - caller: For messages.
    ///   - mustIncrease: Whether each id has to be above the one before.
    public init(caller: String, mustIncrease: Bool = true) {
      self.caller = caller
      self.mustIncrease = mustIncrease
    }

    /// Makes room for `count` ids.
    public mutating func reserve(_ count: Int) { self.ids.reserveCapacity(count) }

    /// Takes note of one id.
    public mutating func record(_ id: Int64) {
      if id <= 0 { self.note(.notPositive(id: id, caller: self.caller)) }
      if self.mustIncrease, id <= self.previous {
        self.note(.notIncreasing(previous: self.previous, id: id, caller: self.caller))
      }
      self.previous = id
      self.ids.append(id)
    }

    /// Takes note of all ids of a range.
    public mutating func record(_ range: IDRange) {
      var id = range.start
      for _ in 0..<range.count {
        self.record(id)
        id += range.stride
      }
    }

    private mutating func note(_ violation: Violation) {
      if self.violations.count < 100 { self.violations.append(violation) }
    }
  }

  private var ids: [Int64] = []
  private var found: [Violation] = []

  /// Creates a checker that has seen nothing.
  public init() {}

  /// How many ids were seen.
  public var count: Int { self.ids.count }

  /// Takes over what a caller recorded.
  public mutating func add(_ recorder: Recorder) {
    self.ids.append(contentsOf: recorder.ids)
    self.found.append(contentsOf: recorder.violations)
  }

  /// All violations, at most 100 duplicates among them. Sorts the ids: a merge where the callers' runs ascend.
  public mutating func violations() -> [Violation] {
    self.ids.sort()
    var violations = self.found
    var duplicates = 0
    self.ids.withUnsafeBufferPointer { ids in
      // SAFETY: the pointer stays within this closure and every index within 0..<ids.count.
      var index = 1
      while index < ids.count, duplicates < 100 {
        if ids[index] == ids[index - 1] {
          violations.append(.duplicate(id: ids[index]))
          duplicates += 1
        }
        index += 1
      }
    }
    return violations
  }
}
