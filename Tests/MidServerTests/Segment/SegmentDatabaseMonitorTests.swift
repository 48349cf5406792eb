import MidCore
import MidTestKit
import ServiceLifecycle
import Synchronization
import Testing

@testable import MidServer

@Suite("The monitor of segments' databases", .timeLimit(.minutes(10))) struct SegmentDatabaseMonitorTests {
  @Test func `one that is down is tried until it is back, one that is up is left alone`() async throws {
    let clock = ManualClock(wallMilliseconds: 1_700_000_000_000)
    let stores = (0..<2).map { _ in FaultyStore(MemoryStore(clock: clock, hasDefault: false)) }
    let log = EventLog()
    let databases = SegmentDatabases(
      stores.enumerated().map { SegmentDatabases.Database(name: "db\($0)", store: $1) }, patience: .seconds(30),
      observer: { log.note("\($0.name) \($0.isUp ? "up" : "down")") })
    stores[1].failNext(3)
    let store = StripedStore(databases)
    try await store.prepare()
    #expect(log.events == ["db0 up"])
    let calls = stores[0].calls
    let (pauses, pause) = AsyncStream<Void>.makeStream()
    let waits = Mutex(0)
    let monitor = SegmentDatabaseMonitor(
      databases, isOpen: {},
      sleep: { duration in
        #expect(duration == .seconds(5))
        guard
          waits.withLock({ waits in
            waits += 1
            return waits < 20
          })
        else {
          pause.yield()
          // Ended by the cancellation below.
          return try await untilCancelled()
        }
        await Task.yield()
      })
    let task = Task { try await monitor.run() }
    for await _ in pauses { break }
    #expect(log.events == ["db0 up", "db1 up"])
    #expect(stores[0].calls == calls)
    task.cancel()
    try await task.value
    await store.close()
  }
}
