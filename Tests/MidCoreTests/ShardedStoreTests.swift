import MidCore
import MidTestKit
import Testing

@Suite("Tags shared out over databases") struct ShardedStoreTests {
  private func tags(_ count: Int) throws -> [MidCore.Tag] { try (0..<count).map { try MidCore.Tag("tag\($0)") } }

  @Test func `where a tag lives does not hang on the order, and a database more takes only what it wins`() throws {
    let tags = try self.tags(10_000)
    let names = ["a", "b", "c"]
    let homes = try ShardHomes(names: names, pins: [:])
    let turned = try ShardHomes(names: names.reversed(), pins: [:])
    let more = try ShardHomes(names: names + ["d"], pins: [:])
    var counts = [0, 0, 0]
    var moved = 0
    for tag in tags {
      let home = homes.home(of: tag)
      counts[home] += 1
      #expect(names[home] == names.reversed()[turned.home(of: tag)])
      let next = more.home(of: tag)
      if next != home {
        #expect(next == 3)
        moved += 1
      }
    }
    // A third and a quarter, give or take five standard deviations.
    #expect(counts.allSatisfy { abs($0 - 3333) < 240 }, "\(counts)")
    #expect(abs(moved - 2500) < 220, "\(moved)")
  }

  @Test func `weights never change: tags would move`() throws {
    #expect(try ShardHomes(names: ["a", "b"], pins: [:]).home(of: MidCore.Tag("orders")) == 0)
    let homes = try ShardHomes(names: ["a", "b", "c"], pins: [:])
    #expect(try self.tags(12).map(homes.home) == [2, 2, 2, 0, 0, 2, 0, 2, 1, 0, 0, 1])
  }

  @Test func `a pin wins over the name, and has to name a database`() throws {
    let orders = try MidCore.Tag("orders")
    for name in ["a", "b"] {
      let homes = try ShardHomes(names: ["a", "b"], pins: [orders: name])
      #expect(homes.home(of: orders) == (name == "a" ? 0 : 1))
    }
    let error = #expect(throws: IDError.self) { try ShardHomes(names: ["a", "b"], pins: [orders: "z"]) }
    #expect(error?.message.contains("there are only: a, b") == true)
  }

  @Test func `one database down takes its own tags and no others`() async throws {
    let two = try StripedDatabases(2)
    let (first, second) = (try MidCore.Tag("first"), try MidCore.Tag("second"))
    let homes = try ShardHomes(names: ["db0", "db1"], pins: [first: "db0", second: "db1"])
    let store = ShardedStore(two.databases, homes: homes)
    try await store.prepare()
    _ = try await store.createTag(first, step: 10, first: 1)
    _ = try await store.createTag(second, step: 10, first: 1)
    #expect(Set(try await store.tags().map(\.tag)) == [first, second])
    two.stores[1].failNext(1000)
    #expect(try await store.allocate(2, for: first) == IDRange(start: 1, count: 2))
    let error = await #expect(throws: IDError.self) { try await store.allocate(2, for: second) }
    #expect(error?.code == .storeUnavailable && error?.message.hasPrefix("db1: ") == true)
    #expect(store.isAway(second) && !store.isAway(first))
    // What is known of its tags stands; what is not known is not unknown.
    #expect(Set(try await store.tags().map(\.tag)) == [first, second])
    for name in (0..<20).map({ "other\($0)" }) {
      let other = try MidCore.Tag(name)
      let code = homes.home(of: other) == 1 ? IDError.Code.storeUnavailable : .unknownTag
      #expect(store.absence(of: other).code == code)
    }
    two.stores[1].failNext(0)
    await two.databases.probe(1)
    #expect(!store.isAway(second))
    #expect(try await store.allocate(2, for: second) == IDRange(start: 1, count: 2))
  }

  @Test func `a database that was never read makes no tag of its unknown`() async throws {
    let two = try StripedDatabases(2)
    let (first, second) = (try MidCore.Tag("first"), try MidCore.Tag("second"))
    let homes = try ShardHomes(names: ["db0", "db1"], pins: [first: "db0", second: "db1"])
    two.stores[1].failNext(1000)
    let store = ShardedStore(two.databases, homes: homes)
    try await store.prepare()
    #expect(try await store.tags().isEmpty)
    #expect(store.absence(of: first).code == .unknownTag)
    #expect(store.absence(of: second).code == .storeUnavailable)
    let error = await #expect(throws: IDError.self) { try await store.allocate(1, for: second) }
    #expect(error?.code == .storeUnavailable)
  }

  @Test func `a row elsewhere than at home is not looked at`() async throws {
    let two = try StripedDatabases(2)
    let orders = two.orders
    let homes = try ShardHomes(names: ["db0", "db1"], pins: [orders: "db1"])
    let store = ShardedStore(two.databases, homes: homes)
    try await store.prepare()
    _ = try await two.memories[0].createTag(orders, step: 10, first: 500)
    #expect(try await store.tags().isEmpty)
    let error = await #expect(throws: IDError.self) { try await store.allocate(1, for: orders) }
    #expect(error?.code == .unknownTag)
    let absence = store.absence(of: orders)
    #expect(absence.code == .unknownTag && absence.message.contains("db0: pin it there"))
  }

  @Test func `a tag is created only above what another database has given out of it`() async throws {
    let two = try StripedDatabases(2)
    let orders = two.orders
    let homes = try ShardHomes(names: ["db0", "db1"], pins: [orders: "db1"])
    let store = ShardedStore(two.databases, homes: homes)
    try await store.prepare()
    _ = try await two.memories[0].createTag(orders, step: 10, first: 500)
    for first: Int64 in [1, 499] {
      let error = await #expect(throws: IDError.self) { try await store.createTag(orders, step: 10, first: first) }
      #expect(error?.code == .storeRejected && error?.message.contains("up to 499") == true)
    }
    // One that does not answer may have it.
    two.stores[0].failNext(1)
    let error = await #expect(throws: IDError.self) { try await store.createTag(orders, step: 10, first: 500) }
    #expect(error?.code == .storeUnavailable)
    #expect(try await two.memories[1].tags().isEmpty)
    #expect(try await store.createTag(orders, step: 10, first: 500).next == 500)
  }
}
