import Testing

@testable import MidServer

@Suite("The return of memory")
struct MemoryReturnTests {
  /// Whether it is due after each of these, one after the other.
  private func due(_ held: [Int]) -> [Bool] {
    var rule = MemoryReturnRule()
    return held.map { rule.isDue(held: $0) }
  }

  @Test func `is due once, when much less is held than was`() {
    let peak = 8 << 20
    #expect(
      self.due([peak / 8, peak, peak / 2, peak / 4 + 1, peak / 4, 0, peak, 0])
        == [false, false, false, false, true, true, false, true])
  }

  @Test func `is not due after what everyday calls hold, nor again when nothing has come since`() {
    #expect(self.due([MemoryReturnRule.leastPeak - 1, 0]) == [false, false])
    #expect(self.due([MemoryReturnRule.leastPeak, 0, 0]) == [false, true, false])
  }
}
