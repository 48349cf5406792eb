import MidCore
import MidTestKit
import ServiceLifecycleTestKit
import Testing

@testable import MidServer

/// Tags of several databases that nobody uses any more.
@Suite("What goes back to several databases", .timeLimit(.minutes(10)))
struct SegmentRetiringTests {
  private let clock = ManualClock(wallMilliseconds: 1_700_000_000_000)
  private let log = EventLog()
  private let memories: [MemoryStore]
  private let stores: [FaultyStore]
  private let databases: SegmentDatabases

  init() {
    let clock = self.clock
    self.memories = (0..<2).map { _ in MemoryStore(clock: clock, hasDefault: false) }
    self.stores = self.memories.map { FaultyStore($0) }
    self.databases = SegmentDatabases(
      self.stores.enumerated().map { SegmentDatabases.Database(name: "db\($0)", store: $1) }, patience: .seconds(30))
  }

  /// Runs a service over `store` with one id of each of `tags` used, then a minute without a call.
  private func live(
    _ store: any CompositeStore, _ tags: [Tag], _ body: @Sendable (SegmentService, [Tag: Int64]) async throws -> Void,
    atEnd: @Sendable (_ cancel: () -> Void) async throws -> Void = { _ in }
  ) async throws {
    try await store.prepare()
    for tag in tags { _ = try await store.createTag(tag, step: 1000, first: 1) }
    let log = self.log
    let service = try SegmentService(
      store: store, storeReady: {}, settings: SegmentSettings(), refreshInterval: .seconds(600), unused: .seconds(60),
      hasFixedStrides: false, clock: self.clock, logger: log.logger, observer: { _, _, _ in })
    try await testGracefulShutdown { trigger in
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await service.run() }
        while !service.directory.isReady { await Task.yield() }
        var ids: [Tag: Int64] = [:]
        for tag in tags {
          guard case .found(let generator) = service.directory.generator(for: tag, completion: { _ in }) else {
            throw IDError(.unknownTag, "\(tag)")
          }
          ids[tag] = try await generator.nextID()
        }
        service.directory.sample()
        self.clock.advance(by: 60_000)
        service.directory.sample()
        try await body(service, ids)
        trigger.triggerGracefulShutdown()
        try await atEnd { group.cancelAll() }
        try await group.waitForAll()
      }
    }
  }

  private func tags(_ count: Int) throws -> [Tag] { try (0..<count).map { try Tag("tag\($0)") } }

  /// The first is held: all of the others go back, and looks meanwhile leave it alone. Then it goes on.
  private func expectOthersGoBack(_ service: SegmentService, held: [Tag], others: [Tag]) async throws {
    self.stores[0].hold()
    async let first: Void = service.retireUnused()
    await self.log.wait(for: "unused ids given back", count: others.count)
    while self.stores[0].heldCalls < 1 { await Task.yield() }
    #expect(others.allSatisfy { service.directory.cached($0) == nil })
    // Only the one whose turn it is waits.
    #expect(held.count { service.directory.cached($0) != nil } == held.count - 1)
    await service.retireUnused()
    #expect(self.stores[0].heldCalls == 1)
    #expect(held.count { service.directory.cached($0) != nil } == held.count - 1)
    self.stores[0].release()
    await first
    #expect(held.allSatisfy { service.directory.cached($0) == nil })
    #expect(self.log.count(of: "unused ids given back") == held.count + others.count)
  }

  @Test func `a database that hangs does not keep another's tags from going back`() async throws {
    let tags = try self.tags(6)
    let homes = try ShardHomes(
      names: ["db0", "db1"],
      pins: Dictionary(uniqueKeysWithValues: tags.enumerated().map { ($1, $0 < 3 ? "db0" : "db1") }))
    try await self.live(ShardedStore(self.databases, homes: homes), tags) { service, _ in
      try await self.expectOthersGoBack(service, held: Array(tags[..<3]), others: Array(tags[3...]))
    }
    for memory in self.memories { #expect(try await memory.tags().map(\.maxID) == [1, 1, 1]) }
  }

  @Test func `nor does one of several that share the tags`() async throws {
    // Each begins at a database of its own choice, so that both have some.
    let tags = try self.tags(40)
    try await self.live(StripedStore(self.databases), tags) { service, ids in
      let held = tags.filter { ids[$0].map { $0 % 2 == 0 } ?? false }
      let others = tags.filter { !held.contains($0) }
      #expect(!held.isEmpty && !others.isEmpty)
      try await self.expectOthersGoBack(service, held: held, others: others)
    }
  }

  /// Tags that live in one database or the other.
  private func sharded(_ first: ArraySlice<Tag>, _ second: ArraySlice<Tag>) throws -> ShardedStore {
    let pins = first.map { ($0, "db0") } + second.map { ($0, "db1") }
    return ShardedStore(
      self.databases, homes: try ShardHomes(names: ["db0", "db1"], pins: Dictionary(uniqueKeysWithValues: pins)))
  }

  private func rows(_ database: Int) async throws -> [Int64] { try await self.memories[database].tags().map(\.maxID) }

  @Test func `at the end a database that hangs, then fails, costs its own tags and no other's`() async throws {
    let tags = try self.tags(60)
    try await self.live(try self.sharded(tags[..<40], tags[40...]), tags) { _, _ in
      self.stores[0].hold()
    } atEnd: { _ in
      await self.log.wait(for: "unused ids given back", count: 20)
      while self.stores[0].heldCalls < 8 { await Task.yield() }
      self.stores[0].failNext(.max)
      self.stores[0].release()
    }
    #expect(try await self.rows(0) == Array(repeating: 1000, count: 40))
    #expect(try await self.rows(1) == Array(repeating: 1, count: 20))
    // Those under way fail; none begins after them.
    #expect(self.log.count(of: "unused ids skipped error") == 8)
    #expect(self.log.count(of: "unused ids of tags skipped database=db0 reason=storeUnavailable") == 1)
    #expect(self.log.events.count { $0.hasPrefix("unused ids of tags skipped") && $0.hasSuffix("tags=32") } == 1)
  }

  @Test func `nothing more begins to go back once the time to stop is over`() async throws {
    let tags = try self.tags(40)
    try await self.live(try self.sharded(tags[...], []), tags) { _, _ in
      self.stores[0].hold()
    } atEnd: { cancel in
      while self.stores[0].heldCalls < 16 { await Task.yield() }
      cancel()
      self.stores[0].release()
    }
    #expect(try await self.rows(0).count { $0 == 1 } == 16)
    #expect(
      self.log.count(of: "unused ids of tags skipped database=db0 reason=the time to stop is over tags=24") == 1)
  }

  @Test func `of several that share the tags one that is down keeps no call waiting, and costs nothing`() async throws {
    let tags = try self.tags(40)
    let store = StripedStore(self.databases)
    try await self.live(store, tags) { service, ids in
      let away = tags.filter { ids[$0].map { $0 % 2 == 0 } ?? false }
      self.stores[0].failNext(.max)
      _ = try await store.tags()
      let calls = self.stores[0].calls
      await service.retireUnused()
      #expect(Set(tags.filter { service.directory.cached($0) != nil }) == Set(away) && !away.isEmpty)
      #expect(self.stores[0].calls == calls)
      #expect(self.log.count(of: "unused ids skipped") == 0)
      self.stores[0].failNext(0)
      await self.databases.probe(0)
      await service.retireUnused()
      #expect(self.log.count(of: "unused ids given back") == 40)
    }
  }

  @Test func `of a database that is down nothing is given up`() async throws {
    let tags = try self.tags(4)
    let homes = try ShardHomes(
      names: ["db0", "db1"], pins: [tags[0]: "db0", tags[1]: "db0", tags[2]: "db1", tags[3]: "db1"])
    let store = ShardedStore(self.databases, homes: homes)
    try await self.live(store, tags) { service, _ in
      self.stores[0].failNext(.max)
      _ = try await store.tags()
      #expect(store.isAway(tags[0]))
      await service.retireUnused()
      #expect(tags.map { service.directory.cached($0) == nil } == [false, false, true, true])
      #expect(self.log.count(of: "unused ids skipped") == 0)
      self.stores[0].failNext(0)
      await self.databases.probe(0)
      await service.retireUnused()
      #expect(tags.allSatisfy { service.directory.cached($0) == nil })
      #expect(self.log.count(of: "unused ids given back") == 4)
    }
  }
}
