import Foundation
import MidCore
import MidTestKit
import ServiceLifecycleTestKit
import Synchronization
import Testing

@testable import MidServer

@Suite("The loader of segments", .timeLimit(.minutes(10)))
struct SegmentServiceTests {
  private let clock = ManualClock(wallMilliseconds: 1_700_000_000_000)
  private let log = EventLog()
  private let memory: MemoryStore
  private let faulty: FaultyStore

  init() {
    self.memory = MemoryStore(clock: self.clock)
    self.faulty = FaultyStore(self.memory)
  }

  private func makeService(
    _ settings: SegmentSettings = SegmentSettings(), marks: SegmentMarks? = nil
  ) throws -> SegmentService {
    let log = self.log
    return try SegmentService(
      store: WatchedStore(self.faulty, log: log), storeReady: {}, settings: settings, refreshInterval: .seconds(600),
      unused: .seconds(60), marks: marks, clock: self.clock, logger: log.logger,
      observer: { tag, duration, error in
        log.note("observed \(tag) \(error?.code.description ?? "ok") \(duration >= .zero)")
      })
  }

  private static func marks(in folder: TemporaryFolder) throws -> [Tag: Int64] {
    try SegmentMarkFile.read("\(folder.path)/segments.state").ends
  }

  /// What the process has open of the folder's file is a full disk from now on, until the file is begun anew.
  private static func failNextWrite(in folder: TemporaryFolder) throws {
    let path = "\(folder.path)/segments.state"
    let numbers = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap { Int32($0) }
    let found = numbers.first { number in
      do {
        return try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(number)").hasPrefix(path)
      } catch {
        // Closed meanwhile: it is another test's.
        return false
      }
    }
    let descriptor = try #require(found)
    let full = open("/dev/full", O_WRONLY | O_CLOEXEC)
    defer { close(full) }
    #expect(dup2(full, descriptor) == descriptor)
  }

  private func live(
    _ settings: SegmentSettings = SegmentSettings(), folder: TemporaryFolder? = nil,
    _ body: @Sendable (SegmentService) async throws -> Void
  ) async throws {
    let marks = try folder.map { SegmentMarks(try SegmentMarkFile(folder: $0.path)) }
    let service = try self.makeService(settings, marks: marks)
    try await testGracefulShutdown { trigger in
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await service.run() }
        try await body(service)
        trigger.triggerGracefulShutdown()
        try await group.waitForAll()
      }
    }
  }

  /// The generator of a tag, waiting for the list where it must.
  private func generator(_ service: SegmentService, _ tag: Tag = .default) async throws -> SegmentGenerator {
    // The service's own first read has begun: no call asks for another one, which would take a fault meant for a load.
    await self.log.wait(for: "store: tags")
    let result = await withCheckedContinuation { continuation in
      switch service.directory.generator(for: tag, completion: { continuation.resume(returning: $0) }) {
      case .found(let generator): continuation.resume(returning: .success(generator))
      case .failed(let error): continuation.resume(returning: .failure(error))
      case .waiting: break
      }
    }
    return try result.get()
  }

  private func maxID() async throws -> Int64 {
    try #require(try await self.memory.tags().first { $0.tag == .default }).maxID
  }

  @Test func `loads what is asked for, and gives the rest back at the end`() async throws {
    try await self.live { service in
      let generator = try await self.generator(service)
      for id in 1...100 { #expect(try await generator.nextID() == Int64(id)) }
      #expect(self.log.count(of: "observed default ok true") == 1)
      #expect(self.log.count(of: "buffer filled") == 1)
      #expect(try await self.maxID() == MemoryStore.defaultStep)
    }
    #expect(try await self.maxID() == 100)
    #expect(self.log.count(of: "unused ids given back") == 1)
    // A second life goes on without a gap.
    try await self.live { service in
      let generator = try await self.generator(service)
      #expect(try await generator.nextID() == 101)
    }
  }

  @Test func `gives back both buffers, the last first`() async throws {
    try await self.live { service in
      let generator = try await self.generator(service)
      // A tenth is used: the standby range comes.
      #expect(try await generator.batch(of: 1000) == [IDRange(start: 1, count: 1000)])
      await self.log.wait(for: "buffer filled", count: 2)
      #expect(try await self.maxID() == 2 * MemoryStore.defaultStep)
    }
    #expect(try await self.maxID() == 1000)
  }

  @Test func `what another node has built on is skipped`() async throws {
    try await self.live { service in
      let generator = try await self.generator(service)
      #expect(try await generator.nextID() == 1)
      _ = try await self.memory.allocate(5, for: .default)
    }
    #expect(try await self.maxID() == MemoryStore.defaultStep + 5)
    #expect(self.log.count(of: "unused ids skipped") == 1)
  }

  @Test func `a failed load is tried again, and its callers wait`() async throws {
    let settings = SegmentSettings(firstRetryDelay: .milliseconds(1), maximumRetryDelay: .milliseconds(2))
    try await self.live(settings) { service in
      let generator = try await self.generator(service)
      self.faulty.failNext(3)
      #expect(try await generator.nextID() == 1)
      #expect(self.log.count(of: "observed default storeUnavailable") == 3)
      #expect(self.log.count(of: "segment not loaded") == 3)
    }
  }

  @Test func `a load whose outcome is unknown counts as taken`() async throws {
    let settings = SegmentSettings(firstRetryDelay: .milliseconds(1), maximumRetryDelay: .milliseconds(2))
    try await self.live(settings) { service in
      let generator = try await self.generator(service)
      self.faulty.failAfterCommit(1)
      #expect(try await generator.nextID() == MemoryStore.defaultStep + 1)
    }
  }

  @Test func `a table that went backwards is refused and told`() async throws {
    try await self.live { service in
      let generator = try await self.generator(service)
      #expect(try await generator.nextID() == 1)
      self.faulty.goBackwards(by: 500)
      #expect(try await generator.batch(of: 1000).first?.start == 2)
      await self.log.wait(for: "table went backwards")
      // What was cached is served, then nothing.
      _ = try await generator.batch(of: MemoryStore.defaultStep - 1001)
      let error = await #expect(throws: IDError.self) { try await generator.nextID() }
      #expect(error?.code == .wentBackwards)
    }
    // Nothing that can't be trusted is given back.
    #expect(try await self.maxID() == 2 * MemoryStore.defaultStep)
  }

  @Test func `a new layout that starts too low is refused, told and counted as any other range`() async throws {
    let tag = try Tag("orders")
    let (two, three) = (TableDialect.Residue(delta: 2, remainder: 1), TableDialect.Residue(delta: 3, remainder: 0))
    _ = try await self.memory.createStripe(tag, residue: try #require(two), step: 10, first: 1)
    try await self.live { service in
      let old = try await self.generator(service, tag)
      old.prefetch()
      await self.log.wait(for: "buffer filled")
      try await self.memory.closeStripe(of: tag, token: 7, step: 10)
      _ = try await self.memory.openStripe(
        of: tag, token: 7, residue: try #require(three), lastID: 100, step: 10)
      self.faulty.goBackwards(by: 99)
      #expect(old.next() == 1)
      await self.log.wait(for: "table went backwards")
      #expect(self.log.count(of: "observed orders wentBackwards true") == 1)
      #expect(self.log.count(of: "layout changed") == 0)
      #expect(try await old.batch(of: 9).last?.last == 19)
      let error = await #expect(throws: IDError.self) { try await old.nextID() }
      #expect(error?.code == .wentBackwards && error?.message.contains("mid tag advance orders --past") == true)
      // The operator's way out leads into the new layout.
      service.reload()
      while old.snapshot.lastError != nil { await Task.yield() }
      _ = await #expect(throws: IDError.self) { try await old.nextID() }
      await self.log.wait(for: "layout changed")
      #expect(try await self.generator(service, tag).nextID() == 132)
    }
  }

  @Test func `a tag that is made just after the list was read is found`() async throws {
    let tag = try Tag("new")
    try await self.live { service in
      _ = try await self.generator(service)
      async let asked = self.generator(service, tag)
      while service.directory.waitingCount < 1 { await Task.yield() }
      _ = try await self.memory.createTag(tag, step: 10, first: 1)
      // By the service's own watch the next read is a second away.
      self.clock.advance(by: 1000)
      #expect(try await asked.nextID() == 1)
      #expect(self.log.count(of: "store: tags") == 2)
    }
  }

  @Test func `a table that went backwards while the node was restarted is refused too`() async throws {
    let folder = try TemporaryFolder()
    try await self.live(folder: folder) { service in
      let generator = try await self.generator(service)
      #expect(try await generator.nextID() == 1)
    }
    // The rest came back by the clean stop: its end is no mark any more.
    #expect(try Self.marks(in: folder) == [.default: 2])
    // A run that crashed had received ids up to 499; the commit is lost.
    try SegmentMarkFile(folder: folder.path).set(StripedStore.Marks(ends: [.default: 500]))
    try await self.live(folder: folder) { service in
      let generator = try await self.generator(service)
      let error = await #expect(throws: IDError.self) { try await generator.nextID() }
      #expect(error?.code == .wentBackwards)
      #expect(error?.message.contains("mid tag advance default --past 499") == true)
      // The operator's way out, without a restart.
      _ = try await self.memory.updateTag(.default, step: nil, next: 5 * MemoryStore.defaultStep)
      service.reload()
      await self.log.wait(for: "store: tags", count: self.log.count(of: "store: tags") + 1)
      while generator.snapshot.lastError != nil { await Task.yield() }
      #expect(try await generator.nextID() == 5 * MemoryStore.defaultStep)
    }
  }

  @Test func `what other nodes give back after this one is no table that went backwards`() async throws {
    let folder = try TemporaryFolder()
    let others = Mutex<IDRange?>(nil)
    try await self.live(folder: folder) { service in
      let generator = try await self.generator(service)
      #expect(try await generator.nextID() == 1)
      let range = try await self.memory.allocate(5, for: .default)
      others.withLock { $0 = range }
      // A tenth is used: the standby range comes, and lies past the other node's.
      #expect(try await generator.batch(of: 1000).first?.start == 2)
      await self.log.wait(for: "buffer filled", count: 2)
    }
    // The standby range went back, the rest below the other node's did not.
    #expect(try await self.maxID() == MemoryStore.defaultStep + 5)
    #expect(try Self.marks(in: folder) == [.default: MemoryStore.defaultStep + 1])
    let range = try #require(others.withLock { $0 })
    #expect(try await self.memory.giveBack(range, of: .default))
    try await self.live(folder: folder) { service in
      let generator = try await self.generator(service)
      #expect(try await generator.nextID() == MemoryStore.defaultStep + 1)
    }
  }

  @Test func `a range of which nothing was used leaves no mark when it goes back`() async throws {
    let folder = try TemporaryFolder()
    try await self.live(folder: folder) { service in
      _ = try await self.memory.allocate(7, for: .default)
      let generator = try await self.generator(service)
      generator.prefetch()
      await self.log.wait(for: "buffer filled")
    }
    #expect(try await self.maxID() == 7)
    #expect(try Self.marks(in: folder) == [.default: 1])
  }

  @Test func `a list that can't be read is read again`() async throws {
    self.faulty.failNext(1)
    try await self.live { service in
      await self.log.wait(for: "tag list not read")
      #expect(!service.directory.isReady)
      // By itself a second later, or at once when a call comes after that time.
      let generator = try await self.generator(service)
      #expect(try await generator.nextID() == 1)
    }
  }

  @Test func `a deleted tag costs no round trip per call`() async throws {
    let gone = try Tag("gone")
    try await self.live { service in
      _ = try await self.memory.createTag(gone, step: 10, first: 1)
      self.clock.advance(by: 1000)
      let generator = try await self.generator(service, gone)
      let reads = self.log.count(of: "store: tags")
      self.clock.advance(by: 1000)
      self.faulty.failNext(1, with: IDError(.unknownTag, "gone"))
      let error = await #expect(throws: IDError.self) { try await generator.nextID() }
      #expect(error?.code == .unknownTag)
      await self.log.wait(for: "store: tags", count: reads + 1)
    }
  }

  @Test func `those who wait at the end are told`() async throws {
    let waiting = Mutex<Task<Result<Int64, IDError>, Never>?>(nil)
    try await self.live { service in
      let generator = try await self.generator(service)
      self.faulty.failNext(1000)
      let task = Task { () -> Result<Int64, IDError> in
        do throws(IDError) { return .success(try await generator.nextID()) } catch { return .failure(error) }
      }
      waiting.withLock { $0 = task }
      await self.log.wait(for: "segment not loaded")
    }
    let result = await waiting.withLock { $0 }?.value
    #expect(throws: IDError(.notReady, "the service is stopping")) { try result?.get() }
  }

  /// Two looks a minute apart, with nobody calling in between.
  private func rest(_ service: SegmentService) async {
    service.directory.sample()
    self.clock.advance(by: 60_000)
    service.directory.sample()
    await service.retireUnused()
  }

  private func orders() async throws -> Int64 {
    try #require(try await self.memory.tags().first { $0.tag.name == "orders" }).maxID
  }

  @Test func `what is cached of an unused tag goes back, and the tag goes on where it stopped`() async throws {
    let folder = try TemporaryFolder()
    let tag = try Tag("orders")
    _ = try await self.memory.createTag(tag, step: 1000, first: 1)
    try await self.live(folder: folder) { service in
      let first = try await self.generator(service, tag)
      for id in 1...50 { #expect(try await first.nextID() == Int64(id)) }
      #expect(try await self.orders() == 1000)
      // One that is used stays, also at the very end of the minute.
      service.directory.sample()
      self.clock.advance(by: 60_000)
      #expect(first.next() == 51)
      service.directory.sample()
      await service.retireUnused()
      #expect(service.directory.cached(tag) === first)
      await self.rest(service)
      #expect(try await self.orders() == 51)
      #expect(service.directory.cached(tag) == nil)
      #expect(try Self.marks(in: folder)[tag] == 52)
      #expect(first.next() == nil)
      let second = try await self.generator(service, tag)
      #expect(second !== first)
      #expect(try await second.nextID() == 52)
      #expect(try Self.marks(in: folder)[tag] == 1052)
    }
    #expect(try await self.orders() == 52)
  }

  @Test func `a clean stop leaves the mark of a tag that came into use again unused`() async throws {
    let folder = try TemporaryFolder()
    let tag = try Tag("orders")
    _ = try await self.memory.createTag(tag, step: 1000, first: 1)
    try await self.live(folder: folder) { service in
      for id in 1...50 { #expect(try await self.generator(service, tag).nextID() == Int64(id)) }
      await self.rest(service)
      let loads = self.log.count(of: "buffer filled")
      try await self.generator(service, tag).prefetch()
      await self.log.wait(for: "buffer filled", count: loads + 1)
    }
    #expect(try await self.orders() == 50)
    #expect(try Self.marks(in: folder)[tag] == 51)
  }

  @Test func `a store that takes nothing back at the end is not asked for every tag`() async throws {
    let tags = try (0..<60).map { try Tag("tag\($0)") }
    for tag in tags { _ = try await self.memory.createTag(tag, step: 1000, first: 1) }
    try await self.live { service in
      for tag in tags { _ = try await self.generator(service, tag).nextID() }
      self.faulty.failNext(.max)
    }
    let tried = self.log.count(of: "unused ids skipped")
    #expect((1...16).contains(tried))
    let line = "unused ids of tags skipped reason=storeUnavailable: the store was made to fail tags=\(60 - tried)"
    #expect(self.log.count(of: line) == 1)
  }

  @Test func `where the folder does not remember, the ids of one unused tag are given up and no more`() async throws {
    let folder = try TemporaryFolder()
    let tags = [try Tag("orders"), try Tag("users"), try Tag("invoices")]
    for tag in tags { _ = try await self.memory.createTag(tag, step: 1000, first: 1) }
    try await self.live(folder: folder) { service in
      for tag in tags { #expect(try await self.generator(service, tag).nextID() == 1) }
      try Self.failNextWrite(in: folder)
      await self.rest(service)
      let inUse = tags.filter { service.directory.cached($0) != nil }
      #expect(inUse.count == 2)
      #expect(self.log.count(of: "segment's end not remembered") == 1)
      await service.retireUnused()
      #expect(self.log.count(of: "unused ids given back") == 2)
    }
  }

  @Test func `where the store takes nothing back, an unused tag goes on above it all`() async throws {
    let tag = try Tag("orders")
    _ = try await self.memory.createTag(tag, step: 1000, first: 1)
    try await self.live { service in
      #expect(try await self.generator(service, tag).nextID() == 1)
      // Another node has built on it.
      _ = try await self.memory.allocate(10, for: tag)
      await self.rest(service)
      #expect(self.log.count(of: "unused ids skipped") == 1)
      #expect(try await self.generator(service, tag).nextID() == 1011)
      // Nobody knows: the row is below what was received, and that is right.
      self.faulty.failAfterCommit(1)
      await self.rest(service)
      let again = try await self.generator(service, tag)
      #expect(try await again.nextID() == 1012)
      #expect(again.snapshot.lastError == nil)
    }
  }

  @Test func `a call for a tag whose ids are just going back waits, and goes on`() async throws {
    let tag = try Tag("orders")
    _ = try await self.memory.createTag(tag, step: 1000, first: 1)
    try await self.live { service in
      #expect(try await self.generator(service, tag).nextID() == 1)
      self.faulty.hold()
      async let rest: Void = self.rest(service)
      // The list may be under way too, and be held: what counts is that the tag is out of use.
      while service.directory.cached(tag) != nil { await Task.yield() }
      async let second = self.generator(service, tag)
      while service.directory.waitingCount < 1 { await Task.yield() }
      // A list that comes meanwhile changes nothing.
      service.directory.refreshed(try await self.memory.tags())
      service.directory.refreshFailed(FaultyStore.unavailable)
      #expect(service.directory.waitingCount == 1)
      self.faulty.release()
      await rest
      #expect(try await second.nextID() == 2)
    }
  }

  @Test func `a tag whose loads fail, or that is asked for, keeps what it has`() async throws {
    let tag = try Tag("orders")
    _ = try await self.memory.createTag(tag, step: 10, first: 1)
    try await self.live { service in
      let generator = try await self.generator(service, tag)
      #expect(try await generator.nextID() == 1)
      self.faulty.failNext(.max)
      while generator.next() != nil {}
      await self.log.wait(for: "segment not loaded")
      await self.rest(service)
      #expect(service.directory.cached(tag) === generator)
      self.faulty.failNext(0)
    }
  }

  @Test func `a store that takes nothing back keeps no other tag out of use`() async throws {
    let tags = [try Tag("orders"), try Tag("users"), try Tag("invoices")]
    for tag in tags { _ = try await self.memory.createTag(tag, step: 1000, first: 1) }
    try await self.live { service in
      for tag in tags {
        let generator = try await self.generator(service, tag)
        #expect(try await generator.nextID() == 1)
      }
      self.faulty.failNext(1)
      await self.rest(service)
      // The first one has ended, and its ids are given up; the others go on with what they have.
      let inUse = tags.filter { service.directory.cached($0) != nil }
      #expect(inUse.count == 2)
      #expect(self.log.count(of: "unused ids skipped") == 1)
      await service.retireUnused()
      let left = tags.filter { service.directory.cached($0) != nil }
      #expect(left.isEmpty)
      #expect(self.log.count(of: "unused ids given back") == 2)
    }
  }
}
