import MidCore
import MidTestKit
import Testing

@Suite("A segment generator whose loads fail")
struct SegmentFailureTests {
  @Test("keeps waiters through failures, retries with growing pauses, and names the error at the deadline")
  func failures() throws {
    let tag = try SegmentHarness()
    let first = try #require(tag.call(1))
    tag.call(2)
    let pauses = (0..<7).map { _ in
      let pause = tag.generator.loadFailed(SegmentHarness.unavailable, random: 0.5)
      tag.generator.retry()
      tag.generator.retry()
      return pause
    }
    #expect(pauses == [50, 100, 200, 400, 800, 1000, 1000].map { Duration.milliseconds($0) })
    #expect(tag.loads == Array(repeating: 10, count: 8))
    #expect(tag.generator.snapshot.failures == 7)
    tag.generator.expire(first)
    #expect(tag.error(1)?.code == .storeUnavailable)
    #expect(tag.error(1)?.message.contains("connection refused") == true)
    #expect(tag.answer(2) == nil)
    tag.load(1, 10)
    #expect(tag.ids(2) == [1])
    #expect(tag.generator.snapshot.lastError == nil)
    #expect(tag.generator.loadFailed(SegmentHarness.unavailable, random: 0.999) ?? .zero < .milliseconds(100))
  }

  @Test("asks in a retry for all who wait by then, and starts no second load before it")
  func retrySize() throws {
    let tag = try SegmentHarness(step: 10)
    tag.call(1)
    _ = tag.generator.loadFailed(SegmentHarness.unavailable, random: 0)
    tag.call(2, count: 40)
    #expect(tag.loads == [10])
    tag.generator.retry()
    #expect(tag.loads == [10, 41])
  }

  @Test(
    "fails all at once where asking again changes nothing, and asks once a second at most",
    arguments: [IDError.Code.unknownTag, .exhausted])
  func finalFailures(code: IDError.Code) throws {
    let tag = try SegmentHarness()
    tag.call(1)
    tag.call(2)
    #expect(tag.generator.loadFailed(IDError(code, "no"), random: 0.5) == .seconds(1))
    for call in 3...1000 { tag.call(call) }
    for call in 1...1000 { #expect(tag.error(call) == IDError(code, "no")) }
    #expect(tag.loads == [10])
    // It heals: after the pause the next call asks again, and nothing before it.
    tag.generator.retry()
    #expect(tag.loads == [10])
    tag.call(1001)
    #expect(tag.loads == [10, 10])
    tag.load(1, 10)
    #expect(tag.ids(1001) == [1])
  }

  @Test("asks at once where the list says meanwhile that the tag's row is there")
  func finalFailureMended() throws {
    let tag = try SegmentHarness()
    tag.call(1)
    _ = tag.generator.loadFailed(IDError(.unknownTag, "no"), random: 0.5)
    tag.generator.update(step: 20, next: 1)
    tag.call(2)
    #expect(tag.loads == [10, 20])
    // The pause that was begun before ends without a word.
    tag.generator.retry()
    #expect(tag.loads == [10, 20])
    tag.load(1, 20)
    #expect(tag.ids(2) == [1])
  }

  @Test("refuses a table that went backwards, naming both numbers, after the ids cached before")
  func wentBackwards() throws {
    let tag = try SegmentHarness(step: 10)
    tag.generator.prefetch()
    tag.load(1001, 10)
    _ = tag.generator.next()
    tag.load(501, 10)
    #expect((1002...1010).map { _ in tag.generator.next() } == Array(1002...1010))
    #expect(tag.generator.next() == nil)
    tag.call(1)
    #expect(tag.error(1)?.code == .wentBackwards)
    for number in ["501", "1011"] { #expect(tag.error(1)?.message.contains(number) == true) }
    #expect(tag.loads.count == 2)
    #expect(tag.generator.snapshot.highWater == 1011)
    // Nothing more is taken in, not even a good range or a retry.
    #expect(tag.load(5001, 10) == nil)
    #expect(tag.generator.loadFailed(SegmentHarness.unavailable, random: 0) == nil)
    #expect(tag.generator.next() == nil)
  }

  @Test("fails those who wait when the table went backwards, by as little as one id")
  func wentBackwardsByOne() throws {
    let tag = try SegmentHarness(step: 10)
    tag.call(1, count: 10)
    tag.load(1, 10)
    tag.call(2)
    tag.load(10, 10)
    #expect(tag.error(2)?.code == .wentBackwards)
  }
}
