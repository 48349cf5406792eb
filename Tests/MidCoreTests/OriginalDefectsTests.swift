import MidCore
import MidTestKit
import Testing

/// What the Go original did wrong, each as a test that it can't happen here.
@Suite("Defects of the original that are impossible here")
struct OriginalDefectsTests {
  @Test("id 0 is not served after a buffer swap under load")
  func noZeroAfterSwap() throws {
    let tag = try SegmentHarness(step: 20)
    tag.generator.prefetch()
    tag.load(1, 20)
    let recorders = Collected<UniquenessChecker.Recorder>()
    onThreads(8) { index in
      var recorder = UniquenessChecker.Recorder(caller: "thread \(index)")
      for _ in 0..<2000 {
        if let id = tag.generator.next() { recorder.record(id) }
        if index == 0, tag.generator.snapshot.isLoading {
          let start = (tag.generator.snapshot.highWater ?? 1)
          tag.load(start, 20)
        }
      }
      recorders.append(recorder)
    }
    #expect(recorders.all.reduce(0) { $0 + $1.ids.count } >= 20)
    #expect(violations(of: recorders.all).isEmpty)
  }

  @Test("no zeros are served and nobody is stuck while the store is down, also from the start")
  func storeDown() throws {
    let tag = try SegmentHarness(step: 2)
    let waiters = try (1...3).map { try #require(tag.call($0)) }
    for _ in 0..<5 {
      #expect(tag.generator.loadFailed(FaultyStore.unavailable, random: 0.5) != nil)
      tag.generator.retry()
    }
    for waiter in waiters { tag.generator.expire(waiter) }
    #expect((1...3).allSatisfy { tag.error($0)?.code == .storeUnavailable })
    #expect(tag.generator.next() == nil)
    tag.load(1, 2)
    #expect(tag.generator.next() == 1)
  }

  @Test("two concurrent callers get no Snowflake id twice")
  func concurrentSnowflake() throws {
    let clock = ManualClock(wallMilliseconds: 1_700_000_000_000)
    let generator = try SnowflakeGenerator(
      layout: .original, worker: WorkerID(datacenter: 1, machine: 1, layout: .original), clock: clock,
      maxAhead: .seconds(1), sequenceJitter: 100, salt: 3)
    generator.grant(floorWallMilliseconds: 0, boundWallMilliseconds: .max)
    let recorders = Collected<UniquenessChecker.Recorder>()
    onThreads(2) { index in
      var recorder = UniquenessChecker.Recorder(caller: "caller \(index)")
      while recorder.ids.count < 50_000 {
        if let id = generator.next().id { recorder.record(id) } else { clock.advance(by: 1) }
      }
      recorders.append(recorder)
    }
    #expect(violations(of: recorders.all).isEmpty)
  }

  @Test("two replicas with different worker ids do not collide")
  func replicas() throws {
    let clock = ManualClock(wallMilliseconds: 1_700_000_000_000)
    let recorders = try (0..<4).map { number in
      let generator = try SnowflakeGenerator(
        layout: .original, worker: WorkerID(Int64(number), layout: .original), clock: clock, maxAhead: .seconds(1),
        sequenceJitter: 0, salt: 0)
      generator.grant(floorWallMilliseconds: 0, boundWallMilliseconds: .max)
      var recorder = UniquenessChecker.Recorder(caller: "replica \(number)")
      for range in generator.take(upTo: 5000).ranges { recorder.record(range) }
      return recorder
    }
    #expect(violations(of: recorders).isEmpty)
  }

  @Test("the step in the table counts")
  func step() async throws {
    let store = MemoryStore(clock: ManualClock(wallMilliseconds: 0))
    let record = try await store.updateTag(.default, step: 77, next: nil)
    let tag = try SegmentHarness(step: record.step)
    tag.call(1)
    #expect(tag.loads == [77])
  }

  @Test("the preloader throws no rest of a segment away")
  func nothingThrownAway() async throws {
    let store = MemoryStore(clock: ManualClock(wallMilliseconds: 0))
    let tag = try SegmentHarness(step: 100)
    tag.generator.prefetch()
    var done = 0
    var ids: [Int64] = []
    while ids.count < 1000 {
      if done < tag.loads.count {
        _ = tag.generator.loaded(try await store.allocate(tag.loads[done], for: .default))
        done += 1
      }
      ids.append(try #require(tag.generator.next()))
    }
    #expect(ids == Array(1...1000))
  }
}
