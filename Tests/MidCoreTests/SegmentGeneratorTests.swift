import MidCore
import MidTestKit
import Synchronization
import Testing

@Suite("A segment generator")
struct SegmentGeneratorTests {
  @Test("asks for its first range at the first call that waits, by the table's step, and only once")
  func firstLoad() throws {
    let tag = try SegmentHarness(step: 7)
    #expect(tag.generator.next() == nil)
    #expect(tag.call(1) != nil)
    #expect(tag.call(2) != nil)
    #expect(tag.loads == [7])
    tag.load(1, 7)
    #expect(tag.ids(1) == [1])
    #expect(tag.ids(2) == [2])
    #expect((0..<5).map { _ in tag.generator.next() } == [3, 4, 5, 6, 7])
    #expect(tag.generator.next() == nil)
  }

  @Test("can ask for its first range before anyone calls")
  func prefetch() throws {
    let tag = try SegmentHarness()
    tag.generator.prefetch()
    tag.generator.prefetch()
    #expect(tag.loads == [10])
    tag.load(1, 10)
    tag.generator.prefetch()
    #expect(tag.loads == [10])
  }

  @Test("asks for the standby range once 10 % are used, once")
  func mark() throws {
    let tag = try SegmentHarness(step: 100)
    tag.generator.prefetch()
    tag.load(1, 100)
    for _ in 0..<9 { _ = tag.generator.next() }
    #expect(tag.loads == [100])
    _ = tag.generator.next()
    #expect(tag.loads == [100, 100])
    for _ in 0..<50 { _ = tag.generator.next() }
    #expect(tag.loads == [100, 100])
    tag.load(101, 100)
    #expect(tag.generator.snapshot.standbyLeft == 100)
    #expect((61...200).map { _ in tag.generator.next() } == Array(61...200))
    // The second range had its own mark.
    #expect(tag.loads == [100, 100, 100])
  }

  @Test(
    "asks at once, or when all is used, where the setting says so", arguments: [(0, 0), (100, 10), (1, 1), (50, 5)])
  func markSetting(percent: Int64, used: Int) throws {
    let tag = try SegmentHarness(settings: SegmentSettings(loadAfterPercent: percent))
    tag.generator.prefetch()
    tag.load(1, 10)
    for taken in 0..<10 {
      #expect(tag.loads.count == (taken >= used ? 2 : 1), "after \(taken)")
      _ = tag.generator.next()
    }
    #expect(tag.loads.count == 2)
  }

  @Test("never serves what lies between two ranges")
  func gap() throws {
    let tag = try SegmentHarness(step: 3)
    tag.generator.prefetch()
    tag.load(1, 3)
    #expect(tag.generator.next() == 1)
    tag.load(1001, 3)
    #expect((0..<6).map { _ in tag.generator.next() } == [2, 3, 1001, 1002, 1003, nil])
  }

  @Test("takes exactly what is asked for out of the serving range, or nothing")
  func exactly() throws {
    let tag = try SegmentHarness()
    tag.generator.prefetch()
    tag.load(1, 10)
    #expect(tag.generator.take(exactly: 11) == nil)
    #expect(tag.generator.take(exactly: 0) == nil)
    #expect(tag.generator.take(exactly: 1_000_001) == nil)
    #expect(tag.generator.take(exactly: 4) == IDRange(start: 1, count: 4))
    #expect(tag.generator.take(exactly: 7) == nil)
    #expect(tag.generator.take(exactly: 6) == IDRange(start: 5, count: 6))
    #expect(tag.generator.take(exactly: 1) == nil)
  }

  @Test("refuses a range below what an earlier generator of the tag had received")
  func highWater() throws {
    let loads = Loads()
    let generator = try SegmentGenerator(
      tag: .default, step: 10, highWater: 101, clock: ManualClock(wallMilliseconds: 0)
    ) { _, _ in loads.add() }
    generator.prefetch()
    _ = generator.loaded(IDRange(start: 100, count: 10))
    #expect(generator.next() == nil)
    #expect(generator.snapshot.lastError?.code == .wentBackwards)
    let other = try SegmentGenerator(tag: .default, step: 10, highWater: 101, clock: ManualClock(wallMilliseconds: 0)) {
      _, _ in loads.add()
    }
    other.prefetch()
    _ = other.loaded(IDRange(start: 101, count: 10))
    #expect(other.next() == 101)
    // One each, and the standby of the second, whose mark is passed.
    #expect(loads.count == 3)
  }

  /// Counts the loads that generators ask for.
  private final class Loads: Sendable {
    private let state = Atomic<Int>(0)

    var count: Int { self.state.load(ordering: .relaxed) }

    func add() { self.state.wrappingAdd(1, ordering: .relaxed) }
  }

  @Test("takes batches out of one range, and what is missing out of standby")
  func batches() throws {
    let tag = try SegmentHarness(step: 10)
    tag.generator.prefetch()
    tag.load(1, 10)
    #expect(tag.generator.take(upTo: 4) == IDRange(start: 1, count: 4))
    tag.load(21, 10)
    #expect(tag.generator.take(upTo: 100) == IDRange(start: 5, count: 6))
    #expect(tag.generator.take(upTo: 4) == IDRange(start: 21, count: 4))
    tag.load(41, 10)
    tag.call(1, count: 10)
    #expect(tag.ids(1) == Array(25...30) + Array(41...44))
    #expect(tag.generator.next() == 45)
    #expect(tag.generator.take(upTo: 0) == nil)
    #expect(tag.generator.take(upTo: 1_000_001) == nil)
  }

  @Test("strides as the store's ranges do, and refuses ranges with another stride or none at all")
  func strides() throws {
    let tag = try SegmentHarness(step: 3, stride: 4)
    tag.call(1, count: 2)
    tag.load(3, 3, stride: 4)
    #expect(tag.ids(1) == [3, 7])
    #expect(tag.generator.take(upTo: 9) == IDRange(start: 11, count: 1, stride: 4))
    tag.call(2)
    tag.load(15, 3, stride: 1)
    #expect(tag.error(2)?.code == .storeRejected)
    let empty = try SegmentHarness()
    empty.call(1)
    empty.load(1, 0)
    #expect(empty.error(1)?.code == .storeRejected)
  }

  @Test("skips ids below 1, and refuses a range that has no others")
  func belowOne() throws {
    let tag = try SegmentHarness(step: 5)
    tag.call(1)
    tag.load(-2, 5)
    #expect(tag.ids(1) == [1])
    #expect(tag.generator.next() == 2)
    #expect(tag.generator.next() == nil)
    let other = try SegmentHarness(step: 5)
    other.call(1)
    other.load(-4, 5)
    #expect(other.error(1)?.code == .storeRejected)
  }

  @Test("uses a changed step from the next load on")
  func step() throws {
    let tag = try SegmentHarness(step: 10)
    tag.generator.prefetch()
    tag.generator.update(step: 50, next: 1)
    tag.load(1, 10)
    _ = tag.generator.next()
    #expect(tag.loads == [10, 50])
    tag.generator.update(step: 0, next: 1)
    #expect(tag.generator.snapshot.step == 1)
  }

  @Test("refuses counts outside 1 to 1,000,000 and names the limit", arguments: [0, -1, 1_000_001, .min, .max])
  func counts(count: Int64) throws {
    let tag = try SegmentHarness()
    #expect(tag.call(1, count: count) == nil)
    #expect(tag.error(1)?.code == .invalidArgument)
    #expect(tag.error(1)?.message.contains("1000000") == true)
    #expect(tag.loads.isEmpty)
  }

  @Test("shows its state as numbers")
  func snapshot() throws {
    let tag = try SegmentHarness(step: 10)
    tag.call(1, count: 3)
    #expect(tag.generator.snapshot.isLoading)
    #expect(tag.generator.snapshot.waitingIDs == 3)
    tag.load(1, 10)
    tag.load(11, 10)
    let snapshot = tag.generator.snapshot
    #expect(snapshot.servingLeft == 7)
    #expect(snapshot.standbyLeft == 10)
    #expect(snapshot.loads == 2)
    #expect(snapshot.waiters == 0)
    #expect(!snapshot.isLoading)
    #expect(tag.generator.tag == .default)
  }

  @Test("names every setting that is out of bounds")
  func settings() {
    let settings = SegmentSettings(
      loadAfterPercent: 101, maximumWaiters: -1, maximumLoad: 0, firstRetryDelay: .seconds(3))
    let error = #expect(throws: IDError.self) { try settings.validate() }
    for word in ["percent", "wait", "load", "retry"] { #expect(error?.message.contains(word) == true) }
    #expect(throws: IDError.self) { try SegmentHarness(stride: 0) }
  }
}
