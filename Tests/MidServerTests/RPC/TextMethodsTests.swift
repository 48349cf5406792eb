import MidCore
import MidTestKit
import NIOCore
import Synchronization
import Testing

@testable import MidRPC
@testable import MidServer

@Suite("Ids that are texts, over a socket", .timeLimit(.minutes(10)))
struct TextMethodsTests {
  private static let one = "/mid.v1.IDService/GenerateID"
  private static let many = "/mid.v1.IDService/GenerateBatch"

  private static func bytes(_ message: some ProtobufMessage) -> [UInt8] {
    var buffer = ByteBuffer()
    message.encode(into: &buffer)
    return Array(buffer.readableBytesView)
  }

  private static func texts(_ reply: WireClient.Reply) throws -> [String] {
    #expect(reply.status == "0", "\(reply.text)")
    let batch = try reply.message.withUnsafeBytes { try GenerateBatchResponse(decoding: $0) }
    #expect(batch.ranges.isEmpty)
    return batch.texts
  }

  /// Whether a text is an id of a mode, by reading it.
  private static func isID(_ text: String, of mode: TextMode) -> Bool {
    switch mode {
    case .uuid1: UUIDValue(text)?.version == 1
    case .uuid4: UUIDValue(text)?.version == 4
    case .uuid6: UUIDValue(text)?.version == 6
    case .uuid7: UUIDValue(text)?.version == 7
    case .objectid: ObjectID(text) != nil
    case .ulid: ULID(text) != nil
    }
  }

  @Test(arguments: TextMode.allCases) func `have other digits where they are asked for`(mode: TextMode) async throws {
    let bits = mode == .objectid ? 96 : 128
    try await IDServer.with { server, client in
      for format in TagForms.none.formats {
        let form = try #require(try format.form(bits: bits))
        let name = format.description
        let one = GenerateIDRequest(mode: mode.rawValue, format: name).encoded()
        let many = GenerateBatchRequest(mode: mode.rawValue, count: 20, format: name).encoded()
        let single = try GenerateIDResponse(decoding: try await client.call(Self.one, one).message)
        let texts = [single.text] + (try Self.texts(try await client.call(Self.many, many)))
        let ids = try texts.map { text -> String in
          let bits = try form.parse(text).number
          switch mode {
          case .objectid: return String(bits, radix: 16)
          case .ulid: return ULID(bits: bits).description
          default: return UUIDValue(bits: bits).description
          }
        }
        #expect(Set(ids).count == 21)
        #expect(mode == .objectid || ids.allSatisfy { Self.isID($0, of: mode) }, "\(ids)")
        #expect(format == .digits(.decimal) || Set(texts.map(\.count)).count == 1)
      }
      for format in ["tag", "opaque"] {
        let reply = try await client.call(Self.one, Self.bytes(GenerateIDRequest(mode: mode.rawValue, format: format)))
        #expect(reply.text.contains("have no tag, and so no format \(format)"))
      }
    }
  }

  @Test(arguments: TextMode.allCases) func `come alone and in batches, each once, and are counted`(
    mode: TextMode
  ) async throws {
    try await IDServer.with { server, client in
      var texts: [String] = []
      for _ in 0..<10 {
        let reply = try await client.call(Self.one, Self.bytes(GenerateIDRequest(mode: mode.rawValue, tag: "any")))
        #expect(reply.status == "0", "\(reply.text)")
        let response = try reply.message.withUnsafeBytes { try GenerateIDResponse(decoding: $0) }
        #expect(response.id == 0)
        texts.append(response.text)
      }
      let batch = try await client.call(Self.many, Self.bytes(GenerateBatchRequest(mode: mode.rawValue, count: 500)))
      texts += try Self.texts(batch)
      #expect(texts.count == 510)
      #expect(texts.allSatisfy { Self.isID($0, of: mode) }, "\(texts.prefix(3))")
      #expect(Set(texts).count == texts.count)
      if [.uuid7, .objectid, .ulid].contains(mode) { #expect(texts == texts.sorted()) }
      #expect(server.registry.scrape().contains("id_generate_total{mode=\"\(mode)\"} 510"))
    }
  }

  @Test func `uuid7 counts or takes random steps, as it is set`() throws {
    for increment in UUID7Increment.allCases {
      let ids = TextIDs(
        increment: increment, clock: ManualClock(wallMilliseconds: IDServer.start), random: SeededRandom(seed: 1))
      var buffer = ByteBuffer()
      try ids.write(.uuid7, count: 100, before: [], after: [0x20], to: &buffer)
      let counters = try String(buffer: buffer).split(separator: " ").map(String.init).map { text in
        UInt16(truncatingIfNeeded: try #require(UUIDValue(text)).bits >> 32)
      }
      let neighbours = zip(counters, counters.dropFirst()).count { $1 == $0 &+ 1 }
      // A random step carries into these bits in one of two.
      #expect(increment == .counter ? neighbours == 99 : neighbours < 80, "\(increment) \(neighbours)")
    }
  }

  @Test func `modes that are in order tell of following the clock back, the others do not`() throws {
    let clock = ManualClock(wallMilliseconds: IDServer.start)
    let registry = PrometheusRegistry()
    let metrics = ServerMetrics(registry: registry, methods: [])
    let steps = Mutex<[String]>([])
    let ids = TextIDs(increment: .counter, clock: clock, random: SeededRandom(seed: 1)) { mode, step in
      metrics.clockReturned(mode)
      steps.withLock { $0.append("\(mode) \(step)") }
    }
    for step in [0, -9_000, -12_000, 5_000] as [Int64] {
      clock.stepWall(by: step)
      for mode in TextMode.allCases { for _ in 0..<2 { _ = try ids.next(mode) } }
    }
    // 9 s behind they stay, 21 s behind they follow, all of them once; the first ones were of a whole second.
    #expect(steps.withLock { $0 } == ["uuid7 21.0 seconds", "objectid 21.0 seconds", "ulid 21.0 seconds"])
    for mode in TextMode.allCases {
      let line = "mid_clock_returns_total{mode=\"\(mode)\"} 1\n"
      #expect(registry.scrape().contains(line) == mode.isOrdered, "\(mode)")
    }
  }

  @Test func `a batch that fails on its way leaves the answer as it was`() throws {
    /// Has bits for a few ids, and none after that.
    final class Ending: RandomSource {
      let seeded = SeededRandom(seed: 1)
      func words(_ count: Int) throws(IDError) -> [UInt64] {
        guard self.seeded.draws < 2 else { throw IDError(.notReady, "there are no random bits") }
        return self.seeded.words(count)
      }
    }
    let ids = TextIDs(increment: .counter, clock: ManualClock(wallMilliseconds: IDServer.start), random: Ending())
    var buffer = ByteBuffer(string: "before")
    #expect(throws: IDError(.notReady, "there are no random bits")) {
      try ids.write(.uuid4, count: 1_000, before: [1], to: &buffer)
    }
    #expect(String(buffer: buffer) == "before")
  }

  @Test func `eight of the largest batches at once on one connection are all answered`() async throws {
    try await IDServer.with(maximumBatch: 10_000) { _, client in
      var replies: [EventLoopFuture<WireClient.Reply>] = []
      for _ in 0..<8 {
        let batch = Self.bytes(GenerateBatchRequest(mode: "uuid7", count: 10_000))
        replies.append(try await client.begin(Self.many, batch).reply)
      }
      var texts: Set<String> = []
      for reply in replies { texts.formUnion(try Self.texts(try await reply.get())) }
      #expect(texts.count == 80_000)
    }
  }

  @Test func `a batch that is too large or has a key, and the original's call, are refused`() async throws {
    try await IDServer.with(maximumBatch: 1_000_000) { _, client in
      for (path, message, part) in [
        (Self.many, Self.bytes(GenerateBatchRequest(mode: "ulid", count: 10_001)), "1 to 10000 ids"),
        (Self.many, Self.bytes(GenerateBatchRequest(mode: "ulid", count: 0)), "count is 0"),
        (Self.many, Self.bytes(GenerateBatchRequest(mode: "ulid", count: 1, requestKey: [1])), "request_key"),
        ("/pb.IDMaker/MakeIDService", Self.bytes(IDRequest(mode: "uuid7")), "mid.v1.IDService/GenerateID"),
        (Self.one, Self.bytes(GenerateIDRequest(mode: "uuid2")), "ticket, uuid1, uuid4, uuid6, uuid7, objectid, ulid"),
      ] {
        let reply = try await client.call(path, message)
        #expect(reply.status == "3")
        #expect(reply.text.contains(part), "\(reply.text)")
        #expect(reply.message.isEmpty)
      }
    }
  }
}
