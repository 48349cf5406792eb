import Logging
import MidCore
import MidTestKit
import ServiceLifecycle
import Synchronization
import Testing

@testable import MidServer

@Suite("Tinyid's segments")
struct TinyidSegmentTests {
  /// The walk of Tinyid's client.
  private static func walk(_ segment: TinyidSegment) -> [Int64] {
    var ids: [Int64] = []
    var id = segment.currentID
    while id % segment.delta != segment.remainder {
      id += 1
      if id % segment.delta == segment.remainder {
        id -= segment.delta
        break
      }
    }
    while id + segment.delta <= segment.maxID {
      id += segment.delta
      ids.append(id)
    }
    return ids
  }

  @Test func theClientsWalkIsExactlyTheRange() {
    let seed = UInt64.random(in: 0 ... .max)
    print("seed \(seed)")
    var random = SplitMix64(seed: seed)
    for _ in 0..<2_000 {
      let stride = Int64.random(in: 1...9, using: &random)
      let range = IDRange(
        start: .random(in: 1...10_000, using: &random), count: .random(in: 1...300, using: &random), stride: stride)
      let segment = TinyidSegment(range)
      #expect(Self.walk(segment) == (0..<range.count).map { range.start + $0 * stride }, "\(range)")
      #expect(segment.maxID - segment.currentID == range.count * stride)
      #expect(segment.loadingID - segment.currentID == range.count * stride * 20 / 100)
    }
  }

  @Test func theLargestNumbersFit() {
    let range = IDRange(start: 1, count: .max - 1)
    #expect(TinyidSegment(range).loadingID == 1_844_674_407_370_955_161)
    #expect(TinyidSegment(IDRange(start: 8, count: 2, stride: 3)).simple == "7,8,13,3,2")
    #expect(
      TinyidSegment(IDRange(start: 2, count: 100)).json
        == #"{"currentId":1,"loadingId":21,"maxId":101,"delta":1,"remainder":0}"#)
  }
}

@Suite("Tinyid's tokens", .timeLimit(.minutes(5)))
struct TinyidTokensTests {
  /// Hands out what a test says, and counts how often it is asked.
  private final class Tokens: TokenStore {
    let reads = EventLog()
    let answer = Mutex<Result<[ClientToken], IDError>>(.success([]))

    func clientTokens() async throws(IDError) -> [ClientToken] {
      defer { self.reads.note("read") }
      return try self.answer.withLock { $0 }.get()
    }
  }

  private func with(
    _ store: Tokens, interval: Duration = .seconds(3600), _ body: (TinyidTokens, EventLog) async throws -> Void
  ) async throws {
    let log = EventLog()
    let tokens = TinyidTokens(store: store, interval: interval, logger: log.logger)
    let group = ServiceGroup(
      services: [tokens], logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
    let task = Task { try await group.run() }
    do { try await body(tokens, log) } catch { Issue.record(error) }
    await group.triggerGracefulShutdown()
    try await task.value
    await #expect(throws: Never.self) { _ = try await tokens.allow("x", for: "y") == false }
  }

  @Test func theTableIsReadOnlyOnceSomebodyAsks() async throws {
    let store = Tokens()
    store.answer.withLock {
      $0 = .success([.init(tag: "a", secret: "one"), .init(tag: "a", secret: "two"), .init(tag: "b", secret: "two")])
    }
    try await self.with(store) { tokens, log async throws in
      #expect(store.reads.events.isEmpty)
      for (token, tag, isAllowed) in [
        ("one", "a", true), ("two", "a", true), ("two", "b", true), ("one", "b", false), ("one", "A", false),
        ("", "a", false), ("on", "a", false), ("onee", "a", false), ("oneone", "a", false), ("one", "", false),
      ] {
        #expect(try await tokens.allow(token, for: tag) == isAllowed, "\(token) \(tag)")
      }
      #expect(store.reads.events.count == 1)
      #expect(log.events == ["tokens read tokens=3"])
    }
  }

  @Test func whatWasReadGoesOnToCountWhileTheStoreIsAway() async throws {
    let store = Tokens()
    store.answer.withLock { $0 = .success([.init(tag: "a", secret: "one")]) }
    try await self.with(store, interval: .milliseconds(1)) { tokens, log async throws in
      #expect(try await tokens.allow("one", for: "a"))
      store.answer.withLock { $0 = .failure(IDError(.storeUnavailable, "away")) }
      await log.wait(for: "tokens not read")
      #expect(try await tokens.allow("one", for: "a"))
      store.answer.withLock { $0 = .success([.init(tag: "a", secret: "new")]) }
      await store.reads.wait(for: "read", count: store.reads.events.count + 2)
      #expect(try await tokens.allow("one", for: "a") == false)
      #expect(try await tokens.allow("new", for: "a"))
      // Once a failure, not once a read.
      #expect(log.count(of: "tokens not read") == 1)
      #expect(!log.events.joined().contains("one"))
    }
  }

  @Test func nobodyHasATokenOnceTheTableOrTheRightToItIsGone() async throws {
    let store = Tokens()
    store.answer.withLock { $0 = .success([.init(tag: "a", secret: "one")]) }
    try await self.with(store, interval: .milliseconds(1)) { tokens, log async throws in
      #expect(try await tokens.allow("one", for: "a"))
      store.answer.withLock { $0 = .failure(IDError(.storeRejected, "no such table")) }
      await log.wait(for: "tokens not read")
      #expect(try await tokens.allow("one", for: "a") == false)
      // Away after that: nobody knows whether the table is back.
      store.answer.withLock { $0 = .failure(IDError(.storeUnavailable, "away")) }
      await log.wait(for: "tokens not read", count: 2)
      await #expect(throws: IDError.self) { try await tokens.allow("one", for: "a") }
      store.answer.withLock { $0 = .success([.init(tag: "a", secret: "one")]) }
      await log.wait(for: "tokens read", count: 2)
      #expect(try await tokens.allow("one", for: "a"))
    }
  }

  @Test func withoutAStoreACallFailsAndWithoutATableNobodyHasAToken() async throws {
    let store = Tokens()
    store.answer.withLock { $0 = .failure(IDError(.storeUnavailable, "away")) }
    let tokens = TinyidTokens(store: store, interval: .seconds(3600), logger: EventLog().logger)
    let task = Task { try await tokens.run() }
    await #expect(throws: IDError(.storeUnavailable, "away")) { try await tokens.allow("one", for: "a") }
    task.cancel()
    try await task.value
    store.answer.withLock { $0 = .failure(IDError(.storeRejected, "no table")) }
    let none = TinyidTokens(store: store, interval: .seconds(3600), logger: EventLog().logger)
    let other = Task { try await none.run() }
    #expect(try await none.allow("one", for: "a") == false)
    other.cancel()
    try await other.value
  }

  @Test func aCallThatWaitsAtTheEndIsLetGo() async throws {
    let tokens = TinyidTokens(store: Tokens(), interval: .seconds(1), logger: EventLog().logger)
    // Nobody has run it yet: the call waits until it is over.
    let call = Task { try await tokens.allow("one", for: "a") }
    let ended = Task { try await tokens.run() }
    ended.cancel()
    try await ended.value
    let result = await call.result
    // Read before it ended, or let go.
    if case .failure(let error) = result { #expect((error as? IDError)?.code == .notReady) }
  }

  @Test func tokensAreComparedByEveryByte() {
    #expect(TinyidTokens.isSame([], []) && TinyidTokens.isSame([1, 2], [1, 2]))
    for (given, known) in [
      ([1], [1, 1]), ([1, 1], [1]), ([], [1]), ([0], []), ([1, 2], [1, 3]), ([1, 2], [2, 2]),
    ]
      as [(
        [UInt8], [UInt8]
      )]
    {
      #expect(!TinyidTokens.isSame(given, known))
    }
  }

  @Test func aTokenPrintsAsNone() {
    let token = ClientToken(tag: "orders", secret: "hunter2")
    #expect("\(token)" == "token of orders")
    #expect(!String(reflecting: token).contains("hunter2"))
    var dumped = ""
    dump(token, to: &dumped)
    #expect(!dumped.contains("hunter2"))
  }
}
