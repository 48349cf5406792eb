import Foundation
import MidCore
import MidTestKit
import Synchronization
import Testing

@testable import MidServer

@Suite("A look at the worker's state file") struct WorkerStateReadingTests {
  private let folder: TemporaryFolder

  init() throws { self.folder = try TemporaryFolder() }

  private func read(_ wish: WorkerWish = .fixed(7)) throws -> WorkerStateReading? {
    try WorkerStateReading.read(folder: self.folder.path, wish: wish)
  }

  @Test func `sees what was written last, and whether a server is running`() throws {
    #expect(try self.read() == nil)
    #expect(try FileManager.default.contentsOfDirectory(atPath: self.folder.path) == [])
    for count in 1...3 {
      let file = try WorkerStateFile(folder: self.folder.path, wish: .fixed(7))
      for bound in 1...Int64(count) {
        try file.write(
          WorkerState(token: file.state.token, memory: WorkerMemory(worker: 7, term: 2, bound: bound)))
      }
      let running = try #require(try self.read())
      #expect(running.state == file.state && running.state?.memory.bound == Int64(count))
      #expect(running.isLocked)
    }
    #expect(try self.read()?.isLocked == false)
    #expect(try self.read(.any(0...1023)) == nil, "the file of leased ids is another")
  }

  @Test(.timeLimit(.minutes(10))) func `keeps no server out, also one that starts at the same moment`() throws {
    do { _ = try WorkerStateFile(folder: self.folder.path, wish: .fixed(7)) }
    let looks = Mutex<Result<Int, any Error>>(.success(0))
    let isDone = Atomic(false)
    // A thread, as neither side ever suspends.
    Thread { [folder = self.folder.path] in
      while !isDone.load(ordering: .relaxed) {
        let look = Result { try WorkerStateReading.read(folder: folder, wish: .fixed(7)) }
        looks.withLock { looks in looks = Result { (try looks.get(), try look.get()).0 + 1 } }
      }
    }.start()
    defer { isDone.store(true, ordering: .relaxed) }
    repeat {
      _ = try WorkerStateFile(folder: self.folder.path, wish: .fixed(7))
    } while try looks.withLock({ try $0.get() }) < 1000
  }

  @Test func `a line that is torn leaves the one before`() throws {
    do {
      let file = try WorkerStateFile(folder: self.folder.path, wish: .fixed(7))
      for bound: Int64 in [8, 9] {
        try file.write(WorkerState(token: file.state.token, memory: WorkerMemory(bound: bound)))
      }
    }
    let url = URL(fileURLWithPath: self.folder.path + "/worker-7.state")
    var data = try Data(contentsOf: url)
    let newest = try #require(data.range(of: Data(" bound=9 ".utf8)))
    data.replaceSubrange(newest, with: Data(" bound=7 ".utf8))
    try data.write(to: url)
    #expect(try self.read()?.state?.memory.bound == 8)
    try Data("something else".utf8).write(to: url)
    let error = try #require(throws: IDError.self) { _ = try self.read() }
    #expect(error.code == .storeRejected)
  }

  /// The owner that a server on the folder is in the store, by the keeper that makes it.
  @Test func `tells the owner's token`() async throws {
    let clock = ManualClock(wallMilliseconds: 1_700_000_000_000)
    let store = MemoryStore(clock: clock)
    let node = try SnowflakeNode(
      layout: .original, clock: clock, maxAhead: .seconds(1), sequenceJitter: 0, salt: 1)
    let settings = WorkerLeaseSettings(
      lease: 600_000, renewal: 10_000, localBound: 3000, ahead: 1000, patience: 3000)
    let keeper = WorkerKeeper(
      .fixed(7), snowflake: node, store: store, isStoreReady: { true },
      file: try WorkerStateFile(folder: self.folder.path, wish: .fixed(7)), host: "here", process: 1, clock: clock,
      clockMonitor: .reading(clock, log: EventLog()), settings: settings, logger: EventLog().logger)
    await keeper.start()
    let row = try #require(try await store.workers().records.first)
    #expect(try self.read()?.ownerToken(host: "here") == row.owner.token)
    #expect(try self.read()?.ownerToken(host: "there") != row.owner.token)
    #expect(try self.read()?.state?.memory.worker == 7)
  }
}
