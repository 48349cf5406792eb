import MidCore
import MidTestKit
import NIOCore
import Synchronization
import Testing

@testable import MidServer

/// A queue whose time, clock and alarms are in the test's hands.
private final class QueueHarness: Sendable {
  private struct Work {
    var now = NIODeadline.uptimeNanoseconds(1_000_000_000)
    var alarms: [(time: NIODeadline, body: @Sendable () -> Void)] = []
    var rounds = 0
  }

  private final class Hands: Sendable {
    let work = Mutex(Work())
  }

  let clock = ManualClock(wallMilliseconds: 1_700_000_000_000)
  let snowflake: SnowflakeNode
  let queue: ClockQueue
  let results = Mutex<[(name: String, result: Result<[IDRange], IDError>)]>([])
  private let hands = Hands()

  init(maximumWaiters: Int = 1000) throws {
    self.snowflake = try SnowflakeNode(
      layout: .original, clock: self.clock, maxAhead: .seconds(1), sequenceJitter: 0, salt: 1)
    try self.snowflake.grant(
      worker: 7, floorWallMilliseconds: 0, boundWallMilliseconds: 1_700_003_600_000, leaseEnd: .max)
    self.queue = ClockQueue(
      snowflake: self.snowflake, maximumWaiters: maximumWaiters,
      now: { [hands] in hands.work.withLock { $0.now } })
  }

  /// Uses up all that ids may run ahead of the clock.
  func useUp() { while case .ids = self.snowflake.take(upTo: BatchLimit.maximum) {} }

  @discardableResult
  func enqueue(_ name: String, _ count: Int64?, seconds: Int64 = 8) -> ClockQueue.State.WaiterID? {
    let call = ClockQueue.Call(
      schedule: { [hands] time, body in hands.work.withLock { $0.alarms.append((time, body)) } },
      answer: { result in self.results.withLock { $0.append((name, result)) } })
    return self.queue.enqueue(call, count: count, deadline: self.now + .seconds(seconds))
  }

  var now: NIODeadline { self.hands.work.withLock { $0.now } }
  /// How many alarms went off.
  var rounds: Int { self.hands.work.withLock { $0.rounds } }

  /// Sets off what is due.
  func run() {
    while true {
      let body = self.hands.work.withLock { work -> (@Sendable () -> Void)? in
        guard let index = work.alarms.firstIndex(where: { $0.time <= work.now }) else { return nil }
        work.rounds += 1
        return work.alarms.remove(at: index).body
      }
      guard let body else { return }
      body()
    }
  }

  /// Lets a millisecond pass, then sets off what is due.
  func tick() {
    self.clock.advance(by: 1)
    self.hands.work.withLock { $0.now = $0.now + .milliseconds(1) }
    self.run()
  }

  /// The names of those that got ids, and the ids.
  var served: [(name: String, ranges: [IDRange])] {
    self.results.withLock { $0 }.compactMap { entry in
      guard case .success(let ranges) = entry.result else { return nil }
      return (entry.name, ranges)
    }
  }

  var errors: [IDError.Code] {
    self.results.withLock { $0 }.compactMap { entry in
      guard case .failure(let error) = entry.result else { return nil }
      return error.code
    }
  }
}

@Suite("The queue for the clock", .timeLimit(.minutes(10))) struct ClockQueueTests {
  @Test func `of 300 huge batches as many succeed as the layout has ids for, one range a tick`() throws {
    let harness = try QueueHarness()
    harness.useUp()
    for index in 0..<300 { harness.enqueue("\(index)", 1_000_000) }
    for _ in 0..<8001 { harness.tick() }
    // 4096 ids a millisecond for 8 s.
    #expect(harness.served.map(\.name) == (0..<32).map(String.init))
    #expect(harness.served.allSatisfy { $0.ranges.total == 1_000_000 && $0.ranges.count <= 246 })
    #expect(harness.errors == Array(repeating: .deadlineExceeded, count: 268))
    #expect(harness.queue.count == 0)
    #expect(harness.rounds <= 8002)
    var last: Int64 = 0
    for range in harness.served.flatMap(\.ranges) {
      #expect(range.start > last)
      last = range.end - range.stride
    }
    // What nobody could use is not used up: 32 batches, and what was left of 8 s is there.
    guard case .ids(let reach) = harness.snowflake.reach() else {
      Issue.record("ids were taken for batches that could not be finished")
      return
    }
    #expect(reach == 8001 * 4096 - 32_000_000)
  }

  @Test func `single calls are served in the next round, whatever waits`() throws {
    let harness = try QueueHarness()
    harness.useUp()
    for index in 0..<300 { harness.enqueue("\(index)", 1_000_000) }
    for round in 0..<500 {
      harness.enqueue("single", nil)
      harness.tick()
      let count = harness.served.count { $0.name == "single" }
      #expect(count == round + 1)
    }
  }

  @Test func `a cancelled batch takes no more ids, and the next is begun`() throws {
    let harness = try QueueHarness()
    harness.useUp()
    let first = try #require(harness.enqueue("first", 1_000_000))
    harness.enqueue("second", 4096)
    harness.tick()
    harness.queue.cancel(first)
    harness.tick()
    #expect(harness.served.map(\.name) == ["second"])
    #expect(harness.queue.count == 0)
  }

  @Test func `a round answers a bounded number of calls`() throws {
    let harness = try QueueHarness(maximumWaiters: 5000)
    harness.useUp()
    for _ in 0..<3000 { harness.enqueue("single", nil) }
    for round in 1...3 {
      harness.tick()
      #expect(harness.served.count == min(3000, round * 1024))
    }
  }

  @Test func `a revoked worker id ends all waits`() throws {
    let harness = try QueueHarness()
    harness.useUp()
    harness.enqueue("batch", 1_000_000)
    harness.enqueue("single", nil)
    harness.tick()
    harness.enqueue("another", nil)
    harness.snowflake.revoke(IDError(.leaseLost, "gone"))
    harness.tick()
    #expect(harness.errors == [.leaseLost, .leaseLost])
    #expect(harness.queue.count == 0)
  }

  @Test func `too many are turned away`() throws {
    let harness = try QueueHarness(maximumWaiters: 1)
    harness.useUp()
    #expect(harness.enqueue("a", nil) != nil)
    #expect(harness.enqueue("b", nil) == nil)
  }
}
