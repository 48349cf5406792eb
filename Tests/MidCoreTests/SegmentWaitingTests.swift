import MidCore
import MidTestKit
import Testing

@Suite("A segment generator with calls that wait")
struct SegmentWaitingTests {
  @Test("serves waiters first, in order, and the rest to everyone")
  func order() throws {
    let tag = try SegmentHarness(step: 10)
    for call in 1...5 { tag.call(call) }
    tag.load(1, 10)
    #expect(tag.order == [1, 2, 3, 4, 5])
    #expect((1...5).map { tag.ids($0) } == (1...5).map { [Int64($0)] })
    #expect(tag.generator.next() == 6)
    // Half the range was used by the waiters: the next load is under way.
    #expect(tag.loads == [10, 10])
  }

  @Test("keeps a batch waiting when the load that arrives was asked for before it, and loads again to cover it")
  func lateBatch() throws {
    let tag = try SegmentHarness(step: 10)
    tag.call(1)
    tag.call(2, count: 50)
    tag.call(3)
    #expect(tag.loads == [10])
    tag.load(1, 10)
    #expect(tag.ids(1) == [1])
    #expect(tag.ids(2) == nil)
    #expect(tag.ids(3) == [2])
    #expect(tag.loads == [10, 50])
    #expect(tag.generator.next() == 3)
    tag.load(11, 50)
    #expect(tag.ids(2) == Array(4...53))
    #expect(tag.order == [1, 3, 2])
    #expect(tag.generator.next() == 54)
  }

  @Test("loads a batch bigger than both buffers, keeping them for smaller calls meanwhile")
  func bigBatch() throws {
    let tag = try SegmentHarness(step: 10)
    tag.generator.prefetch()
    tag.load(1, 10)
    _ = tag.generator.next()
    tag.load(11, 10)
    #expect(tag.call(1, count: 100) != nil)
    #expect(tag.loads == [10, 10, 100])
    #expect(tag.generator.next() == 2)
    #expect(tag.generator.take(upTo: 20) == IDRange(start: 3, count: 8))
    #expect(tag.generator.next() == 11)
    tag.load(21, 100)
    #expect(tag.ids(1) == Array(12...111))
    #expect(tag.generator.next() == 112)
  }

  @Test("covers all who wait with one load, within its limit, which a single batch may pass")
  func loadSize() throws {
    let tag = try SegmentHarness(step: 10, settings: SegmentSettings(maximumLoad: 100))
    tag.call(1)
    for call in 2...31 { tag.call(call, count: 5) }
    tag.load(1, 10)
    #expect(tag.loads == [10, 100])
    tag.load(11, 100)
    #expect(tag.ids(21) == Array(97...101))
    #expect(tag.loads == [10, 100, 45])
    tag.load(111, 45)
    #expect(tag.ids(31) == Array(147...151))
    let other = try SegmentHarness(step: 10, settings: SegmentSettings(maximumLoad: 100))
    other.call(1, count: 1000)
    #expect(other.loads == [1000])
  }

  @Test("answers an expired call once, and gives its ids to the others")
  func expire() throws {
    let tag = try SegmentHarness(step: 2)
    let first = try #require(tag.call(1))
    let second = try #require(tag.call(2))
    tag.generator.expire(first)
    #expect(tag.error(1)?.code == .deadlineExceeded)
    tag.load(1, 2)
    #expect(tag.ids(2) == [1])
    #expect(tag.generator.next() == 2)
    tag.generator.expire(second)
    tag.generator.expire(first)
    tag.generator.cancel(second)
    #expect(tag.order == [1, 2])
  }

  @Test("does not take a later call in the same place for an expired one")
  func expireReused() throws {
    let tag = try SegmentHarness()
    let first = try #require(tag.call(1))
    tag.generator.expire(first)
    let second = try #require(tag.call(2))
    #expect(first != second)
    tag.generator.expire(first)
    #expect(tag.answer(2) == nil)
    tag.generator.cancel(second)
    #expect(tag.error(2)?.code == .deadlineExceeded)
  }

  @Test("lets calls leave from anywhere in the line")
  func leaveTheLine() throws {
    let tag = try SegmentHarness(step: 10)
    let waiters = try (1...6).map { try #require(tag.call($0)) }
    for index in [0, 5, 2] { tag.generator.cancel(waiters[index]) }
    tag.call(7)
    tag.load(1, 10)
    #expect([2, 4, 5, 7].map { tag.ids($0) } == [[1], [2], [3], [4]])
    #expect(tag.generator.snapshot.waiters == 0)
  }

  @Test("refuses one waiter too many")
  func overloaded() throws {
    let tag = try SegmentHarness(settings: SegmentSettings(maximumWaiters: 3))
    for call in 1...3 { #expect(tag.call(call) != nil) }
    #expect(tag.call(4) == nil)
    #expect(tag.error(4)?.code == .overloaded)
    tag.load(1, 10)
    #expect(tag.ids(3) == [3])
    #expect(tag.call(5) == nil)
    #expect(tag.ids(5) == [4])
  }
}
