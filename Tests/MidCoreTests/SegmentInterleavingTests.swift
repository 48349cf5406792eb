import MidCore
import Testing

/// One installer and two takers of a `SegmentGenerator`, step by step as in its code.
private struct InstallModel: InterleavingModel {
  /// The order in which `install` stores.
  enum Order: Hashable { case nextThenLimit, limitThenNext }

  /// Where a taker is in `next()`, which takes 1, or `takeServing(upTo:)`, which takes more.
  enum Taker: Hashable {
    case loadsNext
    case loadsLimit(value: Int64)
    case swaps(value: Int64, taken: Int64)
    /// Nothing was cached: the slow path, which is the installer's part here.
    case ended
  }

  let order: Order
  /// What each taker asks for in a call; it calls until nothing is cached.
  let counts: [Int64]
  var takers: [Taker]
  /// The first range is being served with all its ids left. The second adjoins it, the third does not.
  var ranges = [IDRange(start: 3, count: 2), IDRange(start: 11, count: 2)]
  var isInstalling = false
  var next: Int64 = 1
  var limit: Int64 = 3
  var issued: Set<Int64> = []
  var violations: Set<String> = []

  init(order: Order, counts: [Int64]) {
    self.order = order
    self.counts = counts
    self.takers = counts.map { _ in .loadsNext }
  }

  var threads: Int { self.takers.count + 1 }

  mutating func step(_ thread: Int) -> Bool {
    thread < self.takers.count ? self.stepTaker(thread) : self.stepInstaller()
  }

  private mutating func stepTaker(_ index: Int) -> Bool {
    switch self.takers[index] {
    // var value = self.nextValue.load(ordering: .acquiring)
    case .loadsNext: self.takers[index] = .loadsLimit(value: self.next)
    // guard value < self.limit.load(ordering: .acquiring); taken = min(count, limit - value)
    case .loadsLimit(let value):
      self.takers[index] =
        value < self.limit
        ? .swaps(value: value, taken: min(self.counts[index], self.limit - value)) : .ended
    // self.nextValue.weakCompareExchange(expected: value, desired: value + taken); value = current
    case .swaps(let value, let taken):
      guard self.next == value else {
        self.takers[index] = .loadsLimit(value: self.next)
        return true
      }
      self.next = value + taken
      for id in value..<value + taken { self.issue(id) }
      self.takers[index] = .loadsNext
    case .ended: return false
    }
    return true
  }

  private mutating func stepInstaller() -> Bool {
    guard let range = self.ranges.first else { return false }
    if !self.isInstalling {
      // "Only under the lock, and only while the old one is used up": only the installer changes the limit.
      guard self.next == self.limit else { return false }
      self.isInstalling = true
      switch self.order {
      // self.nextValue.store(publication.range.start, ordering: .releasing)
      case .nextThenLimit: self.next = range.start
      case .limitThenNext: self.limit = range.end
      }
    } else {
      switch self.order {
      // self.limit.store(publication.range.end, ordering: .releasing)
      case .nextThenLimit: self.limit = range.end
      case .limitThenNext: self.next = range.start
      }
      self.isInstalling = false
      self.ranges.removeFirst()
    }
    return true
  }

  private mutating func issue(_ id: Int64) {
    if !(1..<5).contains(id), !(11..<13).contains(id) {
      self.violations.insert("outside every range")
    }
    if !self.issued.insert(id).inserted { self.violations.insert("twice") }
  }
}

@Suite("Installing a range while others take ids")
struct SegmentInterleavingTests {
  @Test(
    "gives nothing out twice or from outside the ranges, in whatever order the steps come",
    arguments: [[1, 1], [1, 2], [2, 3]] as [[Int64]])
  func install(counts: [Int64]) {
    let (violations, ends) = InstallModel(order: .nextThenLimit, counts: counts).explore()
    #expect(violations.isEmpty)
    // A model in which nobody gets anything would pass too.
    #expect(ends.contains { $0.issued == [1, 2, 3, 4, 11, 12] })
  }

  @Test("would do both if the limit were stored before the next id")
  func swappedOrder() {
    let (violations, _) = InstallModel(order: .limitThenNext, counts: [1, 1]).explore()
    #expect(violations == ["outside every range", "twice"])
  }
}
