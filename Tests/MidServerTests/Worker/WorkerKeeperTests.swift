import Foundation
import Logging
import MidCore
import MidTestKit
import ServiceLifecycleTestKit
import Synchronization
import Testing

@testable import MidServer

@Suite("The keeper of the worker id", .timeLimit(.minutes(10)))
struct WorkerKeeperTests {
  private static let start: Int64 = 1_700_000_000_000
  private static let slow = WorkerKeeper.Times(
    localBound: .seconds(3), lease: .seconds(600), renewInterval: .seconds(600))
  /// For clocks that leap: no bound has to be extended on the way.
  private static let far = WorkerKeeper.Times(
    localBound: .seconds(300), lease: .seconds(600), renewInterval: .seconds(600))
  private static let other = WorkerOwner(token: "other@elsewhere", description: "elsewhere, process 4")

  private let folder: TemporaryFolder
  private let clock = ManualClock(wallMilliseconds: Self.start)
  private let log = EventLog()
  private let memory: MemoryStore
  private let faulty: FaultyStore

  init() throws {
    self.folder = try TemporaryFolder()
    self.memory = MemoryStore(clock: self.clock)
    self.faulty = FaultyStore(self.memory)
  }

  /// A keeper as a process makes it. `ready` stands for the store being up, now or once it opens.
  private func makeKeeper(_ times: WorkerKeeper.Times = Self.slow, away: Gate? = nil) async throws -> WorkerKeeper {
    let layout = SnowflakeLayout.original
    let generator = try SnowflakeGenerator(
      layout: layout, worker: WorkerID(7, layout: layout), clock: self.clock, maxAhead: .seconds(1), sequenceJitter: 0,
      salt: 1)
    return WorkerKeeper(
      generator: generator, store: WatchedStore(self.faulty, log: self.log), isStoreReady: { away == nil },
      storeReady: { try await away?.wait() }, file: try await self.openFile(),
      host: "here", process: 1, clock: self.clock, times: times, logger: self.log.logger)
  }

  /// A whole life of a keeper: start, `body`, graceful shutdown.
  private func live(
    _ times: WorkerKeeper.Times = Self.slow, away: Gate? = nil,
    _ body: @Sendable (WorkerKeeper) async throws -> Void
  ) async throws {
    let keeper = try await self.makeKeeper(times, away: away)
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

  /// A life that ends as a crash does: the bounds stay as they were, the file's lock goes. What it issued last.
  private func crash(after count: Int) async throws -> Int64 {
    let keeper = try await self.makeKeeper()
    await keeper.start()
    var last: Int64 = 0
    for _ in 0..<count { last = try self.id(keeper) }
    return last
  }

  private func id(_ keeper: WorkerKeeper) throws -> Int64 {
    switch keeper.generator.next() {
    case .id(let id): return id
    case .wait(let wait): throw keeper.generator.deadlineError(for: wait)
    case .failure(let error): throw error
    }
  }

  private func isWaiting(_ keeper: WorkerKeeper) -> Bool {
    if case .wait = keeper.generator.next() { true } else { false }
  }

  /// The millisecond that an id carries.
  private func time(of id: Int64) throws -> Int64 {
    let layout = SnowflakeLayout.original
    return layout.wallMilliseconds(ofTick: try layout.decompose(id).tick)
  }

  private func row() async throws -> WorkerRecord { try #require(try await self.memory.workers().first) }

  private func stored() async throws -> WorkerState { try await self.openFile().state }

  /// The state file, as soon as the keeper before has let go of it, which may be a moment after its run returned.
  private func openFile() async throws -> sending WorkerStateFile {
    while true {
      do throws(IDError) {
        return try WorkerStateFile(folder: self.folder.path, worker: 7)
      } catch {
        guard error.message.hasPrefix("another process") else { throw error }
        await Task.yield()
      }
    }
  }

  @Test func `a first start issues at once, within two bounds`() async throws {
    try await self.live { keeper in
      #expect(try self.time(of: self.id(keeper)) == Self.start)
      #expect(keeper.isReady && keeper.bound == Self.start + 3000)
      let row = try await self.row()
      #expect(row.bound == Self.start + 600_000 && row.expiresAt == Self.start + 600_000 && row.term == 1)
      // Nothing extends a bound here, so nothing is issued at or past it.
      self.clock.advance(by: 2999)
      #expect(try self.time(of: self.id(keeper)) == Self.start + 2999)
      self.clock.advance(by: 1)
      let error = #expect(throws: IDError.self) { try self.id(keeper) }
      #expect(error?.code == .leaseLost && keeper.isReady == false)
    }
  }

  @Test func `the earlier one of both bounds counts`() async throws {
    let times = WorkerKeeper.Times(localBound: .seconds(10), lease: .seconds(2), renewInterval: .seconds(600))
    try await self.live(times) { keeper in
      #expect(keeper.bound == Self.start + 2000)
      self.clock.advance(by: 1999)
      _ = try self.id(keeper)
      self.clock.advance(by: 1)
      #expect(throws: IDError.self) { try self.id(keeper) }
      // A batch may run ahead of the clock, but not past the bound either.
      let batch = keeper.generator.take(upTo: 10)
      if case .failure(let error) = batch { #expect(error.code == .leaseLost) } else { Issue.record("\(batch)") }
    }
  }

  @Test func `both bounds are extended as time goes on`() async throws {
    let times = WorkerKeeper.Times(
      localBound: .milliseconds(30), lease: .seconds(600), renewInterval: .milliseconds(1))
    try await self.live(times) { keeper in
      for _ in 0..<5 {
        self.clock.advance(by: 1000)
        // A renewal that began after the step, and then the local bound.
        await self.log.wait(for: "store: renew", count: self.log.count(of: "store: renew") + 2)
        let row = try await self.row()
        #expect(row.bound >= self.clock.wallMilliseconds() + 600_000)
        while keeper.bound < self.clock.wallMilliseconds() {
          await self.log.wait(for: "store: renew", count: self.log.count(of: "store: renew") + 1)
        }
        #expect(try self.time(of: self.id(keeper)) == self.clock.wallMilliseconds())
        #expect(keeper.bound <= self.clock.wallMilliseconds() + 30)
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
    let stored = try await self.stored()
    #expect(stored.bound == Self.start + 1)
    // A millisecond later: only the exact bound lets it go on.
    self.clock.advance(by: 1)
    try await self.live { keeper in
      let next = try self.id(keeper)
      #expect(next > last.withLock { $0 })
      #expect(try self.time(of: next) == Self.start + 1)
    }
    let later = try await self.row()
    #expect(later.term == 2)
  }

  @Test func `a run that was cancelled stores the exact bound too`() async throws {
    let keeper = try await self.makeKeeper()
    await keeper.start()
    _ = try self.id(keeper)
    let run = Task { try await keeper.run() }
    run.cancel()
    try await run.value
    let row = try await self.row()
    #expect(row.bound == Self.start + 1)
  }

  @Test func `after a crash and a clock set back nothing is issued twice`() async throws {
    let last = try await self.crash(after: 50)
    self.clock.stepWall(by: -10_000)
    try await self.live(Self.far) { keeper in
      // The folder's bound, 3 s past the crash, holds: not the row's, which lies 10 min ahead.
      let floor = Self.start + 3000
      #expect(throws: IDError.self) { try self.id(keeper) }
      let batch = keeper.generator.take(upTo: 10)
      if case .wait(let wait) = batch {
        #expect(wait.untilWallMilliseconds == floor - 1000)
      } else {
        Issue.record("\(batch)")
      }
      self.clock.setWall(to: floor - 1001)
      #expect(self.isWaiting(keeper))
      self.clock.setWall(to: floor - 1000)
      let next = try self.id(keeper)
      #expect(next > last)
      #expect(try self.time(of: next) >= floor)
    }
  }

  @Test func `after a crash with the folder lost the row's bound holds`() async throws {
    _ = try await self.crash(after: 1)
    try FileManager.default.removeItem(atPath: self.folder.path + "/worker-7.state")
    // Another token: the lease is somebody else's until it ends.
    self.clock.advance(by: 600_000)
    self.clock.stepWall(by: 1)
    try await self.live { keeper in
      let time = try self.time(of: self.id(keeper))
      #expect(time >= Self.start + 600_000)
    }
  }

  @Test func `a folder copied back from a backup does not bring old ids back`() async throws {
    _ = try await self.crash(after: 1)
    let url = URL(fileURLWithPath: self.folder.path + "/worker-7.state")
    let backup = try Data(contentsOf: url)
    self.clock.advance(by: 5000)
    let last = try await self.crash(after: 10)
    try backup.write(to: url)
    self.clock.stepWall(by: -2000)
    try await self.live { keeper in
      #expect(self.isWaiting(keeper), "what was issued reaches \(last)")
    }
  }

  @Test func `a backup of the same run does not bring old ids back`() async throws {
    let times = WorkerKeeper.Times(localBound: .seconds(3), lease: .seconds(600), renewInterval: .milliseconds(1))
    let url = URL(fileURLWithPath: self.folder.path + "/worker-7.state")
    let backup = Mutex(Data())
    try await self.live(times) { keeper in
      _ = try self.id(keeper)
      let copy = try Data(contentsOf: url)
      backup.withLock { $0 = copy }
      self.clock.advance(by: 1000)
      await self.log.wait(for: "store: renew", count: self.log.count(of: "store: renew") + 2)
    }
    // As after kill -9: the row as the last renewal left it, the folder as the backup had it.
    let row = try await self.row()
    _ = try await self.memory.claimWorker(
      7, owner: row.owner, leaseMilliseconds: 600_000, bound: self.clock.wallMilliseconds() + 600_000)
    try backup.withLock { $0 }.write(to: url)
    try await self.live { keeper in
      #expect(self.isWaiting(keeper))
    }
  }

  @Test func `a copy of a running node's folder is another owner, also on the same host`() async throws {
    let first = try await self.makeKeeper()
    await first.start()
    _ = try self.id(first)
    let copy = try TemporaryFolder()
    try FileManager.default.removeItem(atPath: copy.path)
    try FileManager.default.copyItem(atPath: self.folder.path, toPath: copy.path)
    let layout = SnowflakeLayout.original
    let second = WorkerKeeper(
      generator: try SnowflakeGenerator(
        layout: layout, worker: WorkerID(7, layout: layout), clock: self.clock, maxAhead: .seconds(1),
        sequenceJitter: 0, salt: 1),
      store: self.memory, isStoreReady: { true }, storeReady: {},
      file: try WorkerStateFile(folder: copy.path, worker: 7), host: "here", process: 2, clock: self.clock,
      times: Self.slow, logger: self.log.logger)
    await second.start()
    let error = #expect(throws: IDError.self) { try self.id(second) }
    #expect(error?.code == .leaseLost && error?.message.contains("here, process 1") == true)
    _ = try self.id(first)
  }

  @Test func `while another node holds the id nothing is issued`() async throws {
    _ = try await self.memory.claimWorker(7, owner: Self.other, leaseMilliseconds: 60_000, bound: Self.start + 90_000)
    let before = try await self.row()
    try await self.live { keeper in
      let error = #expect(throws: IDError.self) { try self.id(keeper) }
      #expect(error?.code == .leaseLost && error?.message.contains("elsewhere, process 4") == true)
      #expect(!keeper.isReady && keeper.bound == 0)
    }
    // A run that was never granted anything leaves the row as it is, bound and all.
    #expect(try await self.row() == before)
    let stored = try await self.stored()
    #expect(stored.bound == 0)
    // The other's lease ends; its bound still holds.
    self.clock.advance(by: 60_001)
    try await self.live(Self.far) { keeper in
      #expect(self.isWaiting(keeper))
      self.clock.advance(by: 29_999)
      let time = try self.time(of: self.id(keeper))
      #expect(time >= Self.start + 90_000)
    }
  }

  @Test func `with the store away it issues alone, and joins the store without a gap`() async throws {
    let away = Gate()
    try await self.live(away: away) { keeper in
      let first = try self.id(keeper)
      #expect(try await self.memory.workers().isEmpty)
      #expect(keeper.bound == Self.start + 3000)
      away.open()
      await self.log.wait(for: "worker id taken")
      let next = try self.id(keeper)
      #expect(next > first)
      #expect(try self.time(of: next) <= Self.start + 1)
      #expect(self.log.count(of: "snowflake waits for the clock") == 0)
    }
    let row = try await self.row()
    #expect(row.expiresAt == 0)
  }

  @Test func `with the store away a restart keeps to the folder's bound`() async throws {
    let last = try await self.crash(after: 5)
    self.clock.stepWall(by: -500)
    try await self.live(Self.far, away: Gate()) { keeper in
      #expect(self.isWaiting(keeper))
      self.clock.advance(by: 3500)
      let next = try self.id(keeper)
      #expect(next > last)
    }
  }

  @Test func `a claim whose answer was lost costs no wait at the next start`() async throws {
    self.faulty.failAfterCommit(1)
    let last = try await self.crash(after: 5)
    var stored = try await self.stored()
    #expect(stored.isClaiming)
    self.clock.advance(by: 3000)
    try await self.live { keeper in
      let next = try self.id(keeper)
      #expect(next > last)
      #expect(try self.time(of: next) == Self.start + 3000)
    }
    stored = try await self.stored()
    #expect(!stored.isClaiming)
  }

  @Test func `a lease that was lost ends the issuing, until the id is free again`() async throws {
    let times = WorkerKeeper.Times(localBound: .seconds(600), lease: .seconds(60), renewInterval: .milliseconds(1))
    try await self.live(times) { keeper in
      let first = try self.id(keeper)
      self.faulty.hold()
      while self.faulty.heldCalls == 0 { await Task.yield() }
      // Frozen past the end of the lease; another node took the id meanwhile.
      self.clock.advance(by: 60_001)
      let claim = try await self.memory.claimWorker(
        7, owner: Self.other, leaseMilliseconds: 60_000, bound: Self.start + 120_000)
      #expect(throws: IDError.self) { try self.id(keeper) }
      self.faulty.release()
      await self.log.wait(for: "worker id not renewed")
      let error = #expect(throws: IDError.self) { try self.id(keeper) }
      #expect(error?.code == .leaseLost && error?.message.contains("elsewhere, process 4") == true)
      #expect(!keeper.isReady && keeper.bound == 0)

      let taken = self.log.count(of: "worker id taken")
      try await self.memory.releaseWorker(
        7, token: Self.other.token, term: claim.current.term, bound: Self.start + 90_000)
      await self.log.wait(for: "worker id taken", count: taken + 1)
      #expect(self.isWaiting(keeper))
      self.clock.setWall(to: Self.start + 90_000)
      let next = try self.id(keeper)
      #expect(next > first)
      #expect(try self.time(of: next) >= Self.start + 90_000)
    }
  }
}
