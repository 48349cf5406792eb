import Testing

@testable import MidServer

@Suite("The selection among NTP servers")
struct NTPSelectionTests {
  private static func sample(_ offset: Int64, delay: Int64 = 1, distance: Int64 = 0) -> SNTPSample {
    SNTPSample(
      offset: .milliseconds(offset), delay: .milliseconds(delay), stratum: 2, rootDistance: .milliseconds(distance))
  }

  private func select(_ samples: [SNTPSample]) -> NTPSelection<Int> {
    NTPSelection(samples.enumerated().map { (server: $0.offset, sample: $0.element) })
  }

  @Test func `believes the one there is, and nobody where nobody answers`() {
    let one = self.select([Self.sample(90_000)])
    #expect(one.offset == .seconds(90) && one.truechimers == [0] && one.falsetickers.isEmpty)
    let none = self.select([])
    #expect(none.offset == nil && none.truechimers.isEmpty)
  }

  @Test func `leaves falsetickers out, also where they would move the median`() {
    // The median of all would be 40 ms.
    let selection = self.select([
      Self.sample(1), Self.sample(2), Self.sample(1), Self.sample(40), Self.sample(90_000), Self.sample(80_000),
      Self.sample(2),
    ])
    #expect(selection.truechimers == [0, 1, 2, 6])
    #expect(selection.falsetickers == [3, 4, 5])
    #expect(selection.offset == .microseconds(1500))
  }

  @Test func `believes a server far away where its answer can be true`() {
    let selection = self.select([Self.sample(0), Self.sample(1), Self.sample(100, delay: 220)])
    #expect(selection.truechimers == [0, 1, 2] && selection.offset == .milliseconds(1))
    // And one that says itself that it may be off.
    #expect(self.select([Self.sample(0), Self.sample(1), Self.sample(100, distance: 110)]).truechimers.count == 3)
    #expect(self.select([Self.sample(0), Self.sample(1), Self.sample(100)]).falsetickers == [2])
  }

  @Test(arguments: [[0, 1000], [0, 1, 1000, 1001], [0, 1000, 2000]])
  func `believes nobody without a majority`(offsets: [Int64]) {
    let selection = self.select(offsets.map { Self.sample($0) })
    #expect(selection.offset == nil && selection.truechimers.isEmpty && selection.falsetickers.isEmpty)
  }

  @Test func `tells how far off it may be, by the best of those it believes`() {
    let selection = self.select([Self.sample(0, delay: 20, distance: 5), Self.sample(1, delay: 4, distance: 1)])
    #expect(selection.offset == .microseconds(500))
    #expect(selection.uncertainty == .microseconds(4500), "the better one's 4 ms, and the way to it")
  }
}
