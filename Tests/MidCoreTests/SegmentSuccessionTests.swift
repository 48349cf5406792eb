import MidTestKit
import Testing

@testable import MidCore

/// A generator that takes a tag over from another.
@Suite("The succession of segment generators")
struct SegmentSuccessionTests {
  private let settings = SegmentSettings(target: .seconds(100), outage: .zero)

  /// A generator that has settled at loads of 1000 ids, at 10 ids a second.
  private func seasoned() throws -> SegmentHarness {
    let harness = try SegmentHarness(step: 10, stride: 2, settings: self.settings)
    var next: Int64 = 2
    harness.generator.prefetch()
    for _ in 0..<3000 {
      while harness.generator.snapshot.isLoading {
        let count = harness.loads.last ?? 0
        harness.load(next, count, stride: 2)
        next += 2 * count
      }
      harness.clock.advance(by: 100)
      _ = harness.generator.next()
    }
    #expect(harness.loads.last == 1000)
    return harness
  }

  @Test func `goes on with the size, the rate and the count of the one before`() throws {
    let old = try self.seasoned()
    let before = old.generator.snapshot
    let new = try SegmentHarness(step: 10, stride: 3, settings: self.settings)
    new.clock.advance(by: 300_000)
    new.generator.prefetch()
    new.load(1_000_003, 1000, stride: 3)
    new.generator.inherit(old.generator.supersede())
    let after = new.generator.snapshot
    #expect(after.size == 1000 && after.used == before.used && after.averageRate == before.averageRate)
    #expect(after.rate == before.rate && after.sizeChanges == before.sizeChanges)
    #expect(new.loads == [10])
    for _ in 0..<100 {
      #expect(new.generator.next() != nil)
      new.clock.advance(by: 100)
    }
    #expect(new.loads.count == 2 && (990...1010).contains(new.loads.last ?? 0), "\(new.loads)")
    #expect(new.generator.snapshot.used == before.used + 100)
    #expect((9.0...11.0).contains(new.generator.snapshot.averageRate))
  }

  @Test func `what was used in between counts too`() throws {
    let old = try self.seasoned()
    let used = old.generator.snapshot.used
    let new = try SegmentHarness(step: 10, stride: 3, settings: self.settings)
    new.clock.advance(by: 300_000)
    new.generator.prefetch()
    new.load(1_000_003, 1000, stride: 3)
    #expect(new.generator.next() == 1_000_003)
    new.generator.sample()
    new.generator.inherit(old.generator.supersede())
    #expect(new.generator.snapshot.used == used + 1)
    // Not used for a minute since: the last use is known by the new count.
    new.load(2_000_003, 1000, stride: 3)
    new.clock.advance(by: 60_000)
    new.generator.sample()
    #expect(new.generator.isUnused(for: .seconds(60)))
    #expect(new.generator.retire(ifUnusedFor: .seconds(60)) != nil)
  }

  @Test func `what a range would be refused for is known beforehand, and changes nothing`() throws {
    let harness = try SegmentHarness(step: 10, stride: 2)
    harness.generator.prefetch()
    harness.load(2, 10, stride: 2)
    let generator = harness.generator
    #expect(generator.refusal(of: IDRange(start: 22, count: 5, stride: 2)) == nil)
    #expect(generator.refusal(of: IDRange(start: 20, count: 5, stride: 2))?.code == .wentBackwards)
    #expect(generator.refusal(of: IDRange(start: 22, count: 5, stride: 3))?.code == .storeRejected)
    #expect(generator.refusal(of: IDRange(start: 22, count: 5, stride: 3), inAnyLayout: true) == nil)
    #expect(generator.refusal(of: IDRange(start: 21, count: 5, stride: 3), inAnyLayout: true)?.code == .wentBackwards)
    #expect(generator.snapshot.lastError == nil)
    harness.load(20, 5, stride: 2)
    // It refuses whatever comes now.
    #expect(generator.refusal(of: IDRange(start: 22, count: 5, stride: 2))?.code == .wentBackwards)
    _ = generator.close()
    #expect(generator.refusal(of: IDRange(start: 20, count: 5, stride: 2)) == nil)
  }

  @Test func `remainders say where cached ids go back to`() throws {
    let harness = try SegmentHarness(step: 4, stride: 3)
    #expect(harness.generator.remainders == [])
    harness.generator.prefetch()
    harness.load(4, 4, stride: 3)
    #expect(harness.generator.remainders == [1])
    #expect(harness.generator.next() == 4)
    harness.load(20, 4, stride: 3)
    #expect(harness.generator.remainders == [1, 2])
    for _ in 0..<3 { _ = harness.generator.next() }
    #expect(harness.generator.remainders == [2])
  }
}
