import MidCore
import MidTestKit
import Testing

@Suite("Tokens of several databases") struct DatabaseTokenTests {
  private static func token(_ secret: String) -> ClientToken { ClientToken(tag: "orders", secret: secret) }

  private static func shards(_ databases: StripedDatabases) async throws -> ShardedStore {
    let homes = try ShardHomes(names: databases.databases.names, pins: [:])
    let store = ShardedStore(databases.databases, homes: homes)
    try await store.prepare()
    return store
  }

  /// A store of each kind over two databases whose tokens are "one", "both" and "both", "two"; nil is no table.
  private static func with(
    _ tokens: [[String]?] = [["one", "both"], ["both", "two"]],
    _ body: (StripedDatabases, any CompositeStore) async throws -> Void
  ) async throws {
    for isStriped in [true, false] {
      let databases = try StripedDatabases(2)
      for (memory, secrets) in zip(databases.memories, tokens) {
        memory.setClientTokens(secrets.map { $0.map(Self.token) })
      }
      let store: any CompositeStore =
        isStriped ? try await databases.striped(creating: false) : try await Self.shards(databases)
      try await body(databases, store)
      await store.close()
    }
  }

  private static func secrets(_ store: any CompositeStore) async throws -> [String] {
    try await store.clientTokens().map(\.secret).sorted()
  }

  @Test func `a token that one database holds is good, and one in both counts once`() async throws {
    try await Self.with { _, store async throws in
      #expect(try await Self.secrets(store) == ["both", "one", "two"])
    }
  }

  @Test func `what a database said last stands while it is away, and goes with it once it says otherwise`() async throws
  {
    try await Self.with { databases, store async throws in
      _ = try await store.clientTokens()
      databases.stores[1].failNext(1000)
      databases.memories[0].setClientTokens([])
      #expect(try await Self.secrets(store) == ["both", "two"])
      #expect(store.databases.statuses.map(\.isUp) == [true, false])
      databases.stores[1].failNext(0)
      await store.databases.probe(1)
      databases.memories[1].setClientTokens([Self.token("new")])
      #expect(try await Self.secrets(store) == ["new"])
    }
  }

  @Test func `a database that was away from the start adds its tokens once it is there`() async throws {
    try await Self.with { databases, store async throws in
      databases.stores[1].failNext(1000)
      await store.databases.probe(1)
      #expect(try await Self.secrets(store) == ["both", "one"])
      databases.stores[1].failNext(0)
      await store.databases.probe(1)
      #expect(try await Self.secrets(store) == ["both", "one", "two"])
    }
  }

  @Test func `a database without the table has no tokens and serves all the same`() async throws {
    try await Self.with([["one"], nil]) { databases, store async throws in
      #expect(try await Self.secrets(store) == ["one"])
      #expect(store.databases.statuses.map(\.isUp) == [true, true])
    }
    try await Self.with([nil, nil]) { _, store async throws in
      let error = await #expect(throws: IDError.self) { try await store.clientTokens() }
      #expect(error?.code == .storeRejected)
      #expect(error?.message.contains("db0: ") == true && error?.message.contains("db1: ") == true)
    }
  }

  @Test func `a database whose table is gone has no tokens any more`() async throws {
    try await Self.with { databases, store async throws in
      _ = try await store.clientTokens()
      databases.memories[1].setClientTokens(nil)
      #expect(try await Self.secrets(store) == ["both", "one"])
      databases.memories[0].setClientTokens(nil)
      let error = await #expect(throws: IDError.self) { try await store.clientTokens() }
      #expect(error?.code == .storeRejected)
    }
  }

  @Test func `where one has no table and the other can't be asked, nobody knows`() async throws {
    try await Self.with([nil, ["two"]]) { databases, store async throws in
      databases.stores[1].failNext(1000)
      let error = await #expect(throws: IDError.self) { try await store.clientTokens() }
      #expect(error?.code == .storeUnavailable)
    }
  }
}
