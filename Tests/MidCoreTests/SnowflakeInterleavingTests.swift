import Testing

/// The keeper of the bound, which revokes and grants again, and two callers of a `SnowflakeGenerator`, step by step as in
/// its code. Positions stand for ids.
private struct RevokeModel: InterleavingModel {
  /// What is done differently from the code.
  enum Change: Hashable { case none, loadsThenStores, resumesInPlace }

  enum Caller: Hashable {
    case loadsWord
    case loadsBound(position: Int)
    case swaps(position: Int)
    case ended
  }

  enum Keeper: Hashable {
    case revokes
    /// Only with ``Change/loadsThenStores``.
    case storesClosed(last: Int)
    case clearsBound(last: Int)
    case grantsBound(last: Int)
    case grantsWord(last: Int)
    case ended
  }

  static let closed = Int.max

  let change: Change
  let secondBound: Int
  var callers: [Caller] = [.loadsWord, .loadsWord]
  var callsLeft = [3, 3]
  var keeper = Keeper.revokes
  var word = 5
  var bound = 8
  var issued: Set<Int> = []
  /// The bound of the grant in force, whatever the generator has stored of it; 0 where none is.
  var granted = 8
  var violations: Set<String> = []

  /// - Parameter secondBound: The bound of the second grant; the first one's is 8.
  init(change: Change, secondBound: Int) {
    self.change = change
    self.secondBound = secondBound
  }

  var threads: Int { 3 }

  mutating func step(_ thread: Int) -> Bool {
    thread < 2 ? self.stepCaller(thread) : self.stepKeeper()
  }

  private mutating func stepCaller(_ index: Int) -> Bool {
    switch self.callers[index] {
    // var position = self.word.load(ordering: .acquiring)
    case .loadsWord:
      guard self.callsLeft[index] > 0 else {
        self.callers[index] = .ended
        return true
      }
      self.callsLeft[index] -= 1
      self.callers[index] = self.word == Self.closed ? .loadsWord : .loadsBound(position: self.word)
    // let bound = self.boundPosition.load(ordering: .acquiring); guard start < bound
    case .loadsBound(let position):
      self.callers[index] = position < self.bound ? .swaps(position: position) : .loadsWord
    // self.word.compareExchange(expected: position, desired: start + 1); position = current
    case .swaps(let position):
      guard self.word == position else {
        self.callers[index] =
          self.word == Self.closed ? .loadsWord : .loadsBound(position: self.word)
        return true
      }
      self.word = position + 1
      self.issue(position)
      self.callers[index] = .loadsWord
    case .ended: return false
    }
    return true
  }

  private mutating func stepKeeper() -> Bool {
    switch self.keeper {
    // let last = self.word.exchange(Self.closed, ordering: .acquiringAndReleasing)
    case .revokes where self.change != .loadsThenStores:
      self.keeper = .clearsBound(last: self.word)
      self.word = Self.closed
    case .revokes: self.keeper = .storesClosed(last: self.word)
    case .storesClosed(let last):
      self.word = Self.closed
      self.keeper = .clearsBound(last: last)
    // self.boundPosition.store(0, ordering: .releasing), and revoke returns
    case .clearsBound(let last):
      self.bound = 0
      self.granted = 0
      if self.issued.contains(where: { $0 >= last }) {
        self.violations.insert("past the end that revoke returned")
      }
      self.keeper = .grantsBound(last: last)
    // self.boundPosition.store(self.boundPosition(of: bound), ordering: .releasing)
    case .grantsBound(let last):
      self.bound = self.secondBound
      self.granted = self.secondBound
      self.keeper = .grantsWord(last: last)
    // self.word.store(resume, ordering: .releasing), with resume = control.resume + 1
    case .grantsWord(let last):
      self.word = self.change == .resumesInPlace ? last : last + 1
      self.keeper = .ended
    case .ended: return false
    }
    return true
  }

  private mutating func issue(_ position: Int) {
    if position >= self.granted { self.violations.insert("past the bound") }
    if !self.issued.insert(position).inserted { self.violations.insert("twice") }
  }
}

@Suite("Revoking a grant while others take ids")
struct SnowflakeInterleavingTests {
  @Test(
    "ends where it says, and gives nothing out twice or past a bound, in whatever order the steps come",
    arguments: 5...9)
  func revoke(secondBound: Int) {
    let (violations, ends) = RevokeModel(change: .none, secondBound: secondBound).explore()
    #expect(violations.isEmpty)
    // A model in which nobody gets anything would pass too.
    #expect(ends.contains { $0.issued == [5, 6, 7] })
    #expect(ends.contains { $0.issued.contains(8) } == (secondBound > 8))
  }

  @Test("would go on past its end, and repeat ids later, if the word were loaded and then stored")
  func loadThenStore() {
    let (violations, _) = RevokeModel(change: .loadsThenStores, secondBound: 8).explore()
    #expect(violations == ["past the end that revoke returned", "twice"])
  }

  @Test(
    "would let a call that slept through it past the next bound, if the next grant left no position out"
  )
  func resumeInPlace() {
    let (violations, _) = RevokeModel(change: .resumesInPlace, secondBound: 5).explore()
    #expect(violations == ["past the bound"])
  }
}
