import MidRPC
import MidServer
import NIOCore
import NIOEmbedded
import Testing

@testable import mid

@Suite("A connection's run, in a world with its own time")
struct BenchLaneTests {
  private func plan(
    inFlight: Int = 1, length: BenchPlan.Length = .duration(.seconds(10)), rate: Double? = nil
  ) -> BenchPlan {
    var plan = BenchPlan()
    plan.connections = 1
    plan.inFlight = inFlight
    plan.length = length
    plan.rate = rate
    return plan
  }

  /// Two seconds in which a server that answers within a millisecond stands still for 200 ms.
  private func stall(rate: Double?) throws -> BenchRecorder.Record {
    let world = try BenchWorld(self.plan(inFlight: rate == nil ? 1 : 50, length: .duration(.seconds(2)), rate: rate))
    world.begin()
    try world.advance(2_001) { !(1_000..<1_200).contains($0) }
    #expect(world.isDone)
    _ = world.end()
    return world.recorder.record
  }

  @Test func `with a rate a stalled server shows in the percentiles; in a closed loop it hides in the maximum`() throws
  {
    let closed = try self.stall(rate: nil)
    #expect(closed.latency.maximum >= 200_000_000)
    #expect(closed.latency.value(at: 99.9) <= 2_000_000)

    let open = try self.stall(rate: 1_000)
    #expect(open.latency.count == 2_000)
    #expect(open.unsent == 0)
    #expect(open.latency.value(at: 99.9) >= 196_000_000)
    #expect(open.latency.value(at: 99) >= 178_000_000)
    #expect(open.latency.value(at: 95) >= 98_000_000)
    #expect(open.latency.value(at: 50) <= 2_000_000)
  }

  @Test func `calls that could not be sent in time count from when they were due`() throws {
    // One in flight: the others wait in the client, and their wait counts all the same.
    let world = try BenchWorld(self.plan(inFlight: 1, length: .calls(100), rate: 1_000))
    world.begin()
    try world.advance(200) { $0 >= 150 && $0 % 2 == 0 }
    try world.advance(300)
    #expect(world.isDone)
    _ = world.end()
    let latency = world.recorder.record.latency
    #expect(latency.count == 100)
    #expect(latency.value(at: 1) >= 140_000_000)
    #expect(latency.maximum >= 150_000_000)
  }

  @Test func `what was due and never sent is told, and counts with the time it had waited`() throws {
    let world = try BenchWorld(self.plan(inFlight: 2, length: .duration(.seconds(1)), rate: 100))
    world.begin()
    try world.advance(1_000) { _ in false }
    try world.advance(10)
    #expect(world.isDone)
    _ = world.end()
    let record = world.recorder.record
    #expect(record.calls == 2)
    #expect(record.unsent == 98)
    // Those due after 20, 30 … 990 ms had waited for 980, 970 … 10 ms.
    #expect(record.latency.count == 100)
    #expect(abs(Double(record.latency.value(at: 90)) - 910e6) < 11e6)
    #expect(abs(Double(record.latency.value(at: 50)) - 510e6) < 11e6)
  }

  @Test func `a server that stands still until the end shows in the percentiles of a rate`() throws {
    let world = try BenchWorld(self.plan(inFlight: 5, length: .duration(.seconds(2)), rate: 1_000))
    world.begin()
    try world.advance(2_100) { !(1_500..<2_050).contains($0) }
    #expect(world.isDone)
    _ = world.end()
    let latency = world.recorder.record.latency
    #expect(latency.count == 2_000)
    // Calls were due for half a second, a quarter of all, of which five could be sent.
    #expect(latency.value(at: 99) >= 478_000_000)
    #expect(latency.value(at: 90) >= 298_000_000)
    #expect(latency.value(at: 74) <= 2_000_000)
  }

  @Test func `what is due when the run is stopped still goes out where there is room`() throws {
    let world = try BenchWorld(self.plan(inFlight: 1, rate: 1_000))
    world.begin()
    try world.advance(4) { _ in false }
    // The reply is read and makes room; nothing has been sent since.
    let reply = try world.connections[0].frames.reply(1, IDResponse(id: 1).encoded())
    world.connections[0].channel.pipeline.syncOperations.fireChannelRead(NIOAny(ByteBuffer(bytes: reply)))
    world.connections[0].waiting = []
    world.stop()
    try world.answerAll()
    #expect(world.isDone)
    _ = world.end()
    // Of those due after 0 to 3 ms two were sent.
    #expect(world.recorder.record.calls == 2)
    #expect(world.recorder.record.unsent == 2)
  }

  @Test func `a closed loop keeps as many calls in flight as it is told, and ends after its calls`() throws {
    let world = try BenchWorld(self.plan(inFlight: 7, length: .calls(30)))
    world.begin()
    try world.advance(4)
    #expect(!world.isDone)
    try world.advance(1)
    #expect(world.isDone)
    #expect(world.connections[0].mostAtOnce == 7)
    let log = try #require(world.end())
    #expect(world.recorder.record.latency.count == 30)
    #expect(world.recorder.record.ids == 30)
    #expect(log.logged == 30)
  }

  @Test func `the server's limit on calls at once holds the client back, not up`() throws {
    let world = try BenchWorld(self.plan(inFlight: 10, length: .calls(30)))
    world.settings = [(SettingID.maxConcurrentStreams, 3)]
    world.begin()
    try world.advance(10)
    #expect(world.isDone)
    #expect(world.connections[0].mostAtOnce == 3)
    _ = world.end()
  }

  @Test func `after GOAWAY it finishes, makes again what was not looked at, and goes on with a new connection`() throws
  {
    let world = try BenchWorld(self.plan(inFlight: 4, length: .calls(20)))
    world.begin()
    try world.advance(1)
    try world.read()
    // Streams 1 to 7 are answered, 9 to 15 are out; the server takes 9 and 11.
    try world.send(0, ServerFrames.goAway(last: 11))
    world.connections[0].waiting.removeAll { $0 > 11 }
    try world.advance(20)
    #expect(world.isDone)
    #expect(world.connections.count == 2)
    #expect(!world.connections[0].channel.isActive)
    let log = try #require(world.end())
    let record = world.recorder.record
    #expect(record.latency.count == 20)
    #expect(record.errors == [:])
    #expect(record.repeated == 2)
    #expect(record.drained == 1)
    #expect(record.lost == 0)
    #expect(log.logged == 20)
  }

  @Test func `calls on a connection that is lost are errors, and the run goes on`() throws {
    let world = try BenchWorld(self.plan(inFlight: 4, length: .calls(20)))
    world.begin()
    try world.advance(1)
    world.isAway = true
    world.drop(0)
    try world.advance(300)
    world.isAway = false
    try world.advance(1_000)
    #expect(world.isDone)
    _ = world.end()
    let record = world.recorder.record
    #expect(record.errors == [.unavailable: 4])
    #expect(record.latency.count == 16)
    #expect(record.lost == 1)
  }

  @Test func `a server that is away for longer than the timeout ends the run`() throws {
    let world = try BenchWorld(self.plan(inFlight: 4, length: .calls(1_000_000)))
    world.begin()
    try world.advance(5)
    world.isAway = true
    world.drop(0)
    try world.advance(4_900)
    #expect(!world.isDone)
    try world.advance(700)
    #expect(world.isDone)
    _ = world.end()
    #expect(world.recorder.record.givenUp == 1)
    #expect(world.recorder.record.errors == [.unavailable: 5])
  }

  @Test func `a server that takes connections and ends them at once is not asked in a tight loop`() throws {
    let world = try BenchWorld(self.plan(inFlight: 1, length: .duration(.seconds(4))))
    world.begin()
    try world.advance(5)
    for _ in 0..<1_000 {
      if let last = world.connections.indices.last { world.drop(last) }
      try world.advance(1) { _ in false }
    }
    #expect(world.connections.count < 30)
    #expect(world.connections.count > 3)
    world.stop()
    _ = world.end()
  }

  @Test func `a call without an answer is given up after the timeout and its place used again`() throws {
    let world = try BenchWorld(self.plan(inFlight: 2, length: .duration(.seconds(8))))
    world.begin()
    try world.advance(5_300) { _ in false }
    #expect(world.recorder.record.errors == [.deadlineExceeded: 2])
    #expect(world.connections[0].resets == [1, 3])
    try world.advance(2_800)
    #expect(world.isDone)
    #expect(world.recorder.record.latency.count > 4_000)
    _ = world.end()
  }

  @Test func `streams carry one request after the other and end in order`() throws {
    var plan = self.plan(inFlight: 3, length: .calls(31))
    plan.method = .v1
    plan.batch = 1
    plan.isStream = true
    let world = try BenchWorld(plan)
    world.begin()
    try world.advance(10)
    #expect(!world.isDone)
    try world.advance(3)
    #expect(world.isDone)
    #expect(world.connections[0].answered == [1, 3, 5])
    #expect(world.connections[0].resets == [])
    let log = try #require(world.end())
    #expect(world.recorder.record.latency.count == 31)
    #expect(world.recorder.record.errors == [:])
    #expect(log.logged == 31)
  }

  @Test func `Ctrl-C makes no more calls and waits for those under way`() throws {
    let world = try BenchWorld(self.plan(inFlight: 3))
    world.begin()
    try world.advance(10)
    world.stop()
    #expect(!world.isDone)
    try world.advance(1)
    #expect(world.isDone)
    _ = world.end()
    #expect(world.recorder.record.errors == [:])
    #expect(world.recorder.record.latency.count == 33)
  }
}
