import Foundation
import Logging
import MidCore
import MidTestKit
import ServiceLifecycleTestKit
import Synchronization
import Testing

@testable import MidServer

/// That what the rules say is carried out, in order; the rules themselves have tests of their own.
@Suite("The keeper of the worker id", .timeLimit(.minutes(10)))
struct WorkerKeeperTests {
  private static let start: Int64 = 1_700_000_000_000
  private static let settings = WorkerLeaseSettings(
    lease: 600_000, renewal: 10_000, localBound: 3000, ahead: 1000, patience: 3000)
  private static let other = WorkerOwner(token: "other@elsewhere", description: "elsewhere, process 4")

  private let folder: TemporaryFolder
  private let clock = ManualClock(wallMilliseconds: Self.start)
  private let log = EventLog()
  private let memory: MemoryStore
  private let faulty: FaultyStore
  private let clockMonitor: ClockMonitor

  init() throws {
    self.folder = try TemporaryFolder()
    self.memory = MemoryStore(clock: self.clock)
    self.faulty = FaultyStore(self.memory)
    self.clockMonitor = .reading(self.clock, log: self.log)
  }

  /// A keeper as a process makes it.
  private func makeKeeper(
    _ wish: WorkerWish = .fixed(7), isAway: Bool = false, folder: String? = nil
  ) async throws -> WorkerKeeper {
    let node = try SnowflakeNode(
      layout: .original, clock: self.clock, maxAhead: .seconds(1), sequenceJitter: 0, salt: 1)
    return WorkerKeeper(
      wish, snowflake: node, store: WatchedStore(self.faulty, log: self.log), isStoreReady: { !isAway },
      file: try await self.openFile(wish, folder), host: "here", process: 1, clock: self.clock,
      clockMonitor: self.clockMonitor, settings: Self.settings, logger: self.log.logger)
  }

  /// A whole life of a keeper: start, `body`, graceful shutdown.
  private func live(
    _ wish: WorkerWish = .fixed(7), _ body: @Sendable (WorkerKeeper) async throws -> Void
  ) async throws {
    let keeper = try await self.makeKeeper(wish)
    try await testGracefulShutdown { trigger in
      await keeper.start()
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await keeper.run() }
        try await body(keeper)
        trigger.triggerGracefulShutdown()
        try await group.waitForAll()
      }
    }
  }

  private func id(_ keeper: WorkerKeeper) throws -> Int64 {
    switch keeper.snowflake.next() {
    case .id(let id): return id
    case .wait(let wait): throw keeper.snowflake.deadlineError(for: wait)
    case .failure(let error): throw error
    }
  }

  /// The millisecond that an id carries.
  private func time(of id: Int64) throws -> Int64 {
    let layout = SnowflakeLayout.original
    return layout.wallMilliseconds(ofTick: try layout.decompose(id).tick)
  }

  private func row() async throws -> WorkerRecord { try #require(try await self.memory.workers().records.first) }

  /// The state file, as soon as the keeper before has let go of it, which may be a moment after its run returned.
  private func openFile(_ wish: WorkerWish = .fixed(7), _ folder: String? = nil) async throws -> sending WorkerStateFile
  {
    while true {
      do throws(IDError) {
        return try WorkerStateFile(folder: folder ?? self.folder.path, wish: wish)
      } catch {
        guard error.message.hasPrefix("another process") else { throw error }
        await Task.yield()
      }
    }
  }

  private func until(_ isTrue: () async throws -> Bool) async throws {
    while try await !isTrue() { await Task.yield() }
  }

  @Test(arguments: [WorkerWish.fixed(0), .any(0...1023)])
  func `a first start issues before anything else runs`(wish: WorkerWish) async throws {
    let keeper = try await self.makeKeeper(wish)
    #expect(throws: IDError.self) { try self.id(keeper) }
    await keeper.start()
    #expect(try self.time(of: self.id(keeper)) == Self.start)
    let status = keeper.status
    #expect(status.worker == 0 && status.term == 1 && status.bound == Self.start + 3000 && status.changes == 0)
    #expect(status.leaseLeft == .seconds(595) && keeper.isReady)
    let row = try await self.row()
    #expect(row.expiresAt == Self.start + 600_000 && row.owner.description == "here, process 1")
    // Nothing extends a bound here, so nothing is issued at or past it.
    self.clock.advance(by: 2999)
    #expect(try self.time(of: self.id(keeper)) == Self.start + 2999)
    self.clock.advance(by: 1)
    let error = #expect(throws: IDError.self) { try self.id(keeper) }
    #expect(error?.code == .leaseLost && keeper.isReady == false)
  }

  @Test func `both bounds are extended as time goes on`() async throws {
    try await self.live { keeper in
      for _ in 0..<4 {
        self.clock.advance(by: 20_000)
        let now = self.clock.wallMilliseconds()
        try await self.until { try await self.row().bound >= now + 600_000 && keeper.status.bound == now + 3000 }
        #expect(try self.time(of: self.id(keeper)) == now)
      }
    }
  }

  @Test func `a clean restart goes on at once, exactly above the last id`() async throws {
    let last = Mutex<Int64>(0)
    try await self.live { keeper in
      for _ in 0..<100 {
        let id = try self.id(keeper)
        last.withLock { $0 = id }
      }
    }
    let row = try await self.row()
    #expect(row.bound == Self.start + 1 && row.expiresAt == 0)
    let stored = try await self.openFile().state.memory
    #expect(stored.bound == Self.start + 1)
    // A millisecond later: only the exact bound lets it go on.
    self.clock.advance(by: 1)
    try await self.live { keeper in
      let next = try self.id(keeper)
      #expect(next > last.withLock { $0 })
      #expect(try self.time(of: next) == Self.start + 1)
    }
  }

  @Test func `a run that was cancelled stores the exact bound too`() async throws {
    let keeper = try await self.makeKeeper()
    await keeper.start()
    _ = try self.id(keeper)
    let run = Task { try await keeper.run() }
    run.cancel()
    try await run.value
    let row = try await self.row()
    #expect(row.bound == Self.start + 1 && row.expiresAt == 0)
  }

  @Test func `after a crash the same id comes back, above the folder's bound`() async throws {
    var first: WorkerKeeper? = try await self.makeKeeper(.any(0...1023))
    await first?.start()
    let last = try self.id(#require(first))
    first = nil
    self.clock.advance(by: 2500)
    let second = try await self.makeKeeper(.any(0...1023))
    await second.start()
    let next = try self.id(second)
    #expect(next > last && second.status.worker == 0 && second.status.term == 2)
    #expect(try self.time(of: next) == Self.start + 3000)
    #expect(self.log.count(of: "snowflake waits for the clock") == 1)
  }

  @Test func `after a crash and an hour back another id serves at once`() async throws {
    var first: WorkerKeeper? = try await self.makeKeeper(.any(0...1023))
    await first?.start()
    _ = try self.id(#require(first))
    first = nil
    self.clock.stepWall(by: -3_600_000)
    let second = try await self.makeKeeper(.any(0...1023))
    await second.start()
    #expect(try self.time(of: self.id(second)) == Self.start - 3_600_000)
    #expect(second.status.worker == 1)
  }

  @Test func `a copy of a running node's folder is another owner, also on the same host`() async throws {
    let first = try await self.makeKeeper()
    await first.start()
    _ = try self.id(first)
    let copy = try TemporaryFolder()
    try FileManager.default.removeItem(atPath: copy.path)
    try FileManager.default.copyItem(atPath: self.folder.path, toPath: copy.path)
    let second = try await self.makeKeeper(folder: copy.path)
    await second.start()
    let error = #expect(throws: IDError.self) { try self.id(second) }
    #expect(error?.message.contains("worker id 7 is held by here, process 1, in term 1 until") == true)
    _ = try self.id(first)
  }

  @Test func `an id that another holds is not issued, and its row is left as it is`() async throws {
    _ = try await self.memory.claimWorker(7, owner: Self.other, leaseMilliseconds: 60_000, bound: Self.start + 90_000)
    let before = try await self.row()
    try await self.live { keeper in
      let error = #expect(throws: IDError.self) { try self.id(keeper) }
      #expect(error?.code == .leaseLost && error?.message.contains("elsewhere, process 4") == true)
      #expect(!keeper.isReady && keeper.status.bound == 0 && keeper.status.worker == nil)
    }
    #expect(try await self.row() == before)
  }

  @Test func `with the store away a fixed id is issued alone`() async throws {
    let keeper = try await self.makeKeeper(isAway: true)
    await keeper.start()
    _ = try self.id(keeper)
    #expect(keeper.status.worker == 7 && keeper.status.term == nil)
    #expect(self.log.count(of: "worker id used without the store") == 1)
    #expect(try await self.memory.workers().records.isEmpty)
  }

  @Test func `with the store away nothing is leased, and calls are told so`() async throws {
    self.faulty.failNext(1, with: IDError(.storeUnavailable, "the database is away"))
    let keeper = try await self.makeKeeper(.any(0...9))
    await keeper.start()
    let error = #expect(throws: IDError.self) { try self.id(keeper) }
    #expect(error?.message == "the database is away")
  }

  @Test func `who lost the id takes another by itself`() async throws {
    try await self.live(.any(0...9)) { keeper in
      let first = try self.id(keeper)
      // Frozen past the end of the lease; another node took the id meanwhile.
      self.faulty.hold()
      self.clock.advance(by: 600_001)
      #expect(throws: IDError.self) { try self.id(keeper) }
      _ = try await self.memory.claimWorker(
        0, owner: Self.other, leaseMilliseconds: 600_000, bound: self.clock.wallMilliseconds() + 600_000)
      self.faulty.release()
      try await self.until { keeper.isReady }
      let next = try self.id(keeper)
      #expect(try SnowflakeLayout.original.decompose(next).worker == 1)
      #expect(next != first && keeper.status.changes == 1 && self.log.count(of: "worker id changed") == 1)
    }
  }

  @Test func `a clock set back an hour while running changes the id, and gives the old one back`() async throws {
    try await self.live(.any(0...9)) { keeper in
      _ = try self.id(keeper)
      self.clock.stepWall(by: -3_600_000)
      try await self.until { keeper.isReady }
      #expect(try self.time(of: self.id(keeper)) == Self.start - 3_600_000)
      let old = try await self.row()
      #expect(old.expiresAt == 0 && old.bound == Self.start + 1 && keeper.status.worker == 1)
    }
  }

  @Test func `a clock that NTP servers say is wrong keeps it from beginning, and not from going on`() async throws {
    self.clockMonitor.measured(
      ntp: NTPReading(offset: .seconds(60), servers: 1, clockDifference: self.clockMonitor.now.difference))
    let keeper = try await self.makeKeeper(.any(0...9))
    await keeper.start()
    let error = #expect(throws: IDError.self) { try self.id(keeper) }
    #expect(error?.code == .notReady && error?.message.contains("60000 ms behind the NTP servers'") == true)
    #expect(try await self.memory.workers().records.isEmpty)
    // Set right.
    self.clock.advance(by: 2000)
    self.clock.stepWall(by: 60_000)
    self.clockMonitor.measured(
      ntp: NTPReading(offset: .zero, servers: 1, clockDifference: self.clockMonitor.now.difference))
    await keeper.start()
    _ = try self.id(keeper)
    // Wrong again while it issues.
    self.clockMonitor.measured(
      ntp: NTPReading(offset: .seconds(60), servers: 1, clockDifference: self.clockMonitor.now.difference))
    _ = try self.id(keeper)
    #expect(self.log.count(of: "worker id not taken") == 1)
  }

  @Test func `the store's clock is watched at each renewal, and the other nodes are asked where it contradicts`()
    async throws
  {
    try await self.live(.any(0...9)) { keeper in
      try await self.until { try await self.row().bound >= Self.start + 600_000 }
      #expect(self.clockMonitor.storeOffset == .microseconds(500) && self.clockMonitor.isTrusted)
      // The store goes by the same clock: what it says now contradicts what it said before.
      self.clock.stepWall(by: 30_000)
      #expect(self.clockMonitor.storeOffset == .microseconds(-29_999_500))
      // A renewal's interval and a half, here of a second, and what is allowed for on top. No renewal is due: only the question for the
      // other nodes' rows tells that the store goes with us.
      try await self.until { self.log.count(of: "the clock was stepped") == 1 }
      self.clock.advance(by: 3500)
      try await self.until { self.clockMonitor.storeOffset == .microseconds(500) }
      #expect(self.clockMonitor.isTrusted)
    }
    #expect(self.log.count(of: "the clock was stepped") == 1)
  }
}
