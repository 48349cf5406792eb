import MidCore
import MidTestKit
import Testing

@Suite("A segment generator that stops")
struct SegmentStopTests {
  @Test("returns its tails when closed, joined, and serves nothing more")
  func close() throws {
    let tag = try SegmentHarness(step: 10)
    tag.generator.prefetch()
    tag.load(1, 10)
    _ = tag.generator.take(upTo: 3)
    tag.load(11, 10)
    #expect(tag.generator.close() == [IDRange(start: 4, count: 17)])
    #expect(tag.generator.next() == nil)
    tag.call(1)
    #expect(tag.error(1)?.code == .notReady)
    #expect(tag.generator.close().isEmpty)
    tag.generator.prefetch()
    #expect(tag.loads.count == 2)
  }

  @Test("fails those who wait when closed, and hands a load that arrives later back")
  func closeWhileLoading() throws {
    let tag = try SegmentHarness(step: 10)
    tag.call(1)
    #expect(tag.generator.close().isEmpty)
    #expect(tag.error(1)?.code == .notReady)
    #expect(tag.load(1, 10) == IDRange(start: 1, count: 10))
    #expect(tag.generator.next() == nil)
    #expect(tag.generator.loadFailed(SegmentHarness.unavailable, random: 0) == nil)
  }

  @Test("keeps apart tails that do not adjoin")
  func apartTails() throws {
    let tag = try SegmentHarness(step: 10)
    tag.generator.prefetch()
    tag.load(1, 10)
    _ = tag.generator.next()
    tag.load(21, 10)
    #expect(tag.generator.close() == [IDRange(start: 2, count: 9), IDRange(start: 21, count: 10)])
  }

  @Test("does not retry after it was closed in the pause")
  func closeInPause() throws {
    let tag = try SegmentHarness()
    tag.call(1)
    _ = tag.generator.loadFailed(SegmentHarness.unavailable, random: 1)
    _ = tag.generator.close()
    tag.generator.retry()
    #expect(tag.loads == [10])
  }

  @Test("answers unknown tag once its tag was deleted")
  func remove() throws {
    let tag = try SegmentHarness()
    tag.generator.prefetch()
    tag.load(1, 10)
    tag.generator.remove()
    #expect(tag.generator.next() == nil)
    tag.call(1)
    #expect(tag.error(1)?.code == .unknownTag)
  }

  @Test("knows where what it has given out ends, before and after it is closed")
  func usedEnd() throws {
    let tag = try SegmentHarness(step: 10)
    var used: Int64? { tag.generator.snapshot.usedEnd }
    tag.generator.prefetch()
    tag.load(1, 10)
    #expect(used == nil, "a range that nobody has taken from")
    _ = tag.generator.take(upTo: 3)
    #expect(used == 4)
    _ = tag.generator.take(upTo: 7)
    tag.load(21, 10)
    #expect(used == 11, "the next range is not used by being there")
    // More than the serving range has: out of the standby one.
    tag.call(1, count: 12)
    tag.load(41, 10)
    #expect(tag.ids(1)?.last == 42)
    #expect(used == 43)
    #expect(tag.generator.close() == [IDRange(start: 43, count: 8)])
    #expect(used == 43)
  }

  @Test("knows that nothing was given out of a range that served unused when it is closed")
  func usedEndOfUnused() throws {
    let tag = try SegmentHarness(step: 10)
    tag.call(1, count: 10)
    tag.load(1, 10)
    tag.generator.prefetch()
    tag.load(31, 10)
    #expect(tag.generator.close() == [IDRange(start: 31, count: 10)])
    #expect(tag.generator.snapshot.usedEnd == 11)
  }
}
