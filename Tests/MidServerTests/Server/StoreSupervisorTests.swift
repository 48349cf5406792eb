import MidCore
import MidTestKit
import ServiceLifecycle
import ServiceLifecycleTestKit
import Testing

@testable import MidServer

@Suite("The supervisor of the store", .timeLimit(.minutes(10)))
struct StoreSupervisorTests {
  private let log = EventLog()
  private let faulty: FaultyStore
  private let supervisor: StoreSupervisor

  init() {
    self.faulty = FaultyStore(MemoryStore(clock: ManualClock(wallMilliseconds: 0)))
    self.supervisor = StoreSupervisor(store: WatchedStore(self.faulty, log: self.log), logger: self.log.logger)
  }

  @Test func `what only an operator can mend is thrown`() async throws {
    for code in [IDError.Code.storeRejected, .invalidArgument] {
      self.faulty.failNext(1, with: IDError(code, "mend me"))
      let error = await #expect(throws: IDError.self) { try await self.supervisor.tryOnce() }
      #expect(error == IDError(code, "mend me"))
      #expect(!self.supervisor.isReady)
    }
  }

  @Test func `a store that is there is ready at once`() async throws {
    try await self.supervisor.tryOnce()
    #expect(self.supervisor.isReady)
    try await self.supervisor.waitUntilReady()
  }

  @Test func `a store that is away is tried until it is there, and closed at the end`() async throws {
    self.faulty.failNext(3)
    try await self.supervisor.tryOnce()
    #expect(!self.supervisor.isReady)
    let supervisor = self.supervisor
    try await testGracefulShutdown { trigger in
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await supervisor.run() }
        async let first: Void = supervisor.waitUntilReady()
        async let second: Void = supervisor.waitUntilReady()
        _ = try await (first, second)
        #expect(supervisor.isReady)
        #expect(self.log.count(of: "store: prepare failed") == 3 && self.log.count(of: "store: close") == 0)
        trigger.triggerGracefulShutdown()
        try await group.waitForAll()
      }
    }
    #expect(self.log.events.last == "store: close")
  }

  @Test func `a wait ends with its task, before or after it began`() async throws {
    let supervisor = self.supervisor
    // Cancelled first: the wait must not begin at all.
    let gate = Gate()
    let late = Task {
      do {
        try await gate.wait()
      } catch {
        // Cancelled, as it should be.
      }
      try await supervisor.waitUntilReady()
    }
    late.cancel()
    await #expect(throws: CancellationError.self) { try await late.value }
    // Again and again, at the same time as it begins, which every order of the two must survive.
    for _ in 0..<500 {
      let task = Task { try await supervisor.waitUntilReady() }
      await Task.yield()
      task.cancel()
      await #expect(throws: CancellationError.self) { try await task.value }
    }
    try await supervisor.tryOnce()
    try await supervisor.waitUntilReady()
  }

  @Test func `it ends while the store is away`() async throws {
    self.faulty.failNext(.max)
    try await self.supervisor.tryOnce()
    let supervisor = self.supervisor
    try await testGracefulShutdown { trigger in
      trigger.triggerGracefulShutdown()
      try await supervisor.run()
    }
    #expect(self.log.events.last == "store: close" && !supervisor.isReady)
  }

  @Test func `it closes after every service that was started later`() async throws {
    struct Last: Service {
      let log: EventLog
      func run() async throws {
        self.log.note("running")
        try await gracefulShutdown()
        self.log.note("stopped")
      }
    }
    let group = ServiceGroup(
      configuration: .init(
        services: [.init(service: self.supervisor), .init(service: Last(log: self.log))],
        logger: self.log.logger))
    async let run: Void = group.run()
    await self.log.wait(for: "running")
    await group.triggerGracefulShutdown()
    try await run
    let events = self.log.events.filter { $0 == "stopped" || $0 == "store: close" }
    #expect(events == ["stopped", "store: close"])
  }
}
