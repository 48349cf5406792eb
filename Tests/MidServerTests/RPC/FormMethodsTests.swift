import Dispatch
import MidCore
import MidTestKit
import NIOCore
import Synchronization
import Testing

@testable import MidRPC
@testable import MidServer

@Suite("Ids with texts, and what ids say, over a socket", .timeLimit(.minutes(10)))
struct FormMethodsTests {
  private static let one = "/mid.v1.IDService/GenerateID"
  private static let many = "/mid.v1.IDService/GenerateBatch"
  private static let stream = "/mid.v1.IDService/StreamIDs"
  private static let decode = "/mid.v1.IDService/DecodeID"

  private static func single(_ reply: WireClient.Reply) throws -> GenerateIDResponse {
    #expect(reply.status == "0", "\(reply.text)")
    return try GenerateIDResponse(decoding: Array(reply.message))
  }

  private static func batch(_ reply: WireClient.Reply) throws -> GenerateBatchResponse {
    #expect(reply.status == "0", "\(reply.text)")
    return try GenerateBatchResponse(decoding: Array(reply.message))
  }

  private static func refused(
    _ reply: WireClient.Reply, _ part: String, _ code: RPCStatus.Code = .invalidArgument,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(reply.status == "\(code.rawValue)", sourceLocation: sourceLocation)
    #expect(reply.text.contains(part), "'\(part)' in '\(reply.text)'", sourceLocation: sourceLocation)
  }

  /// All ids of a response.
  private static func ids(_ response: GenerateBatchResponse) -> [Int64] {
    response.ranges.flatMap { range in (0..<Int64(range.count)).map { range.start + $0 * range.stride } }
  }

  @Test(arguments: ["snowflake", "segment", "ticket"])
  func `one id comes with its text, in every mode of numbers`(mode: String) async throws {
    try await IDServer.with { server, client in
      for _ in 0..<3 {
        let message = GenerateIDRequest(mode: mode, format: "base62").encoded()
        let response = try Self.single(try await client.call(Self.one, message))
        #expect(response.id > 0)
        let form = try TextForm(.base62, padding: .full)
        #expect(try form.parse(response.text).number == UInt128(response.id))
      }
      #expect(server.registry.scrape().contains("id_generate_total{mode=\"\(mode)\"} 3"))
    }
  }

  @Test(arguments: ["snowflake", "segment"])
  func `a batch has a text for each id, in order`(mode: String) async throws {
    try await IDServer.with(step: 1000) { server, client in
      let message = GenerateBatchRequest(mode: mode, count: 1200, format: "hex").encoded()
      for path in [Self.many, Self.stream] {
        let response = try Self.batch(try await client.call(path, message))
        let ids = Self.ids(response)
        #expect(ids.count == 1200)
        #expect(
          response.texts
            == ids.map { String(repeating: "0", count: 16 - String($0, radix: 16).count) + String($0, radix: 16) })
      }
      #expect(server.registry.scrape().contains("id_generate_total{mode=\"\(mode)\"} 2400"))
    }
  }

  @Test func `a Snowflake id's text shows the day that is in the id`() async throws {
    let forms = try TagForms(templates: [.default: try TextTemplate("{day}/{decimal}")])
    try await IDServer.with(forms: forms) { server, client in
      // The clock begins at 2023-11-14T22:13:21Z, and is set back over midnight, which ids do not follow.
      for (step, day) in [(0, "20231114"), (6_399_100, "20231115"), (-200, "20231115")] as [(Int64, String)] {
        server.clock.stepWall(by: step)
        let message = GenerateIDRequest(mode: "snowflake", format: "tag").encoded()
        let response = try Self.single(try await client.call(Self.one, message))
        #expect(response.text == "\(day)/\(response.id)")
        #expect(server.snowflake.extend(boundWallMilliseconds: IDServer.start + 100_000_000, leaseEnd: .max))
      }
      // A segment's id is of now.
      #expect(server.clock.wallMilliseconds() < 1_700_006_400_000)
      let segment = GenerateIDRequest(mode: "segment", format: "tag").encoded()
      #expect(try Self.single(try await client.call(Self.one, segment)).text == "20231114/1")
    }
  }

  @Test func `an opaque tag gives both numbers, and its texts are opened`() async throws {
    let forms = try TagFormsTests.make()
    try await IDServer.with(forms: forms) { server, client in
      server.directory.refreshed(
        try ["default", "parcels", "invoices", "orders"].map { TagRecord(tag: try Tag($0), maxID: 0, step: 1000) })
      let parcel = GenerateIDRequest(mode: "segment", tag: "parcels", format: "tag").encoded()
      // The first waits for its load, the second is at hand.
      for _ in 0..<2 {
        let response = try Self.single(try await client.call(Self.one, parcel))
        #expect(response.text.hasPrefix("P") && response.text.count == 10)
        let reply = try await client.call(Self.decode, DecodeIDRequest(id: response.text, tag: "parcels").encoded())
        #expect(reply.status == "0", "\(reply.text)")
        let decoded = try DecodeIDResponse(decoding: Array(reply.message))
        #expect(decoded.id == response.id && decoded.slot == 0 && decoded.date.isEmpty)
        #expect(decoded.readings.contains { $0.kind == "number" && $0.canonical == "\(response.id)" })
      }
      // The number alone opens as well, and a time past the year 9999 has no text.
      let number = GenerateIDRequest(mode: "segment", tag: "parcels", format: "opaque").encoded()
      let single = try Self.single(try await client.call(Self.one, number))
      for kind in ["", "opaque"] {
        let request = DecodeIDRequest(id: single.text, tag: "parcels", kind: kind).encoded()
        let reply = try await client.call(Self.decode, request)
        #expect(reply.status == "0", "\(reply.text)")
        #expect(try DecodeIDResponse(decoding: Array(reply.message)).id == single.id)
      }
      let late = try await client.call(Self.decode, DecodeIDRequest(id: "7ZZZZZZZZZZZZZZZZZZZZZZZZZ").encoded())
      let reading = try #require(try DecodeIDResponse(decoding: Array(late.message)).readings.first)
      #expect(reading.time.isEmpty && reading.unixMilliseconds == 281_474_976_710_655)
      let invoice = GenerateBatchRequest(mode: "segment", tag: "invoices", count: 3, format: "opaque").encoded()
      let response = try Self.batch(try await client.call(Self.many, invoice))
      #expect(try response.texts.map { try forms.open($0, tag: try Tag("invoices")).id } == Self.ids(response))
      let order = GenerateIDRequest(mode: "segment", tag: "orders", format: "tag").encoded()
      let text = try Self.single(try await client.call(Self.one, order)).text
      #expect(text.hasPrefix("ORD-20231114-"))
      let reply = try await client.call(Self.decode, DecodeIDRequest(id: text, tag: "orders").encoded())
      #expect(try DecodeIDResponse(decoding: Array(reply.message)).date == "2023-11-14T00:00:00.000Z")
    }
  }

  @Test func `what can't be had is refused, and uses up no id`() async throws {
    try await IDServer.with { server, client in
      let first = try Self.single(
        try await client.call(Self.one, GenerateIDRequest(mode: "segment", format: "decimal").encoded()))
      for (format, part) in [("base64", "unknown format"), ("tag", "no form of its own"), ("opaque", "no opaque")] {
        Self.refused(
          try await client.call(Self.one, GenerateIDRequest(mode: "segment", format: format).encoded()), part)
        Self.refused(
          try await client.call(Self.many, GenerateBatchRequest(mode: "segment", count: 5, format: format).encoded()),
          part)
      }
      for count: UInt32 in [0, 10_001] {
        let message = GenerateBatchRequest(mode: "segment", count: count, format: "hex").encoded()
        Self.refused(try await client.call(Self.many, message), "1 to 10000 ids")
      }
      let keyed = GenerateBatchRequest(mode: "segment", count: 1, requestKey: [1], format: "hex").encoded()
      Self.refused(try await client.call(Self.many, keyed), "request_key and format")
      Self.refused(
        try await client.call(Self.one, GenerateIDRequest(mode: "segment", tag: "orders", format: "tag").encoded()),
        "no form of its own")
      let second = try Self.single(
        try await client.call(Self.one, GenerateIDRequest(mode: "segment", format: "decimal").encoded()))
      #expect(second.id == first.id + 1 && second.text == "\(second.id)")
    }
  }

  @Test func `opaque numbers wait for the store's word, all else does not, and no id is used up`() async throws {
    let settings = try OpaqueAgreementTests.memory(["invoices": 63, "parcels": 53])
    let agreement = OpaqueAgreement(remembered: OpaqueMemory(), wanted: settings, currentSlot: 0, store: "s")
    let gate = OpaqueGate(agreement)
    try await IDServer.with(forms: try TagFormsTests.make().guarded(by: gate)) { server, client in
      server.directory.refreshed(
        try ["invoices", "parcels"].map { TagRecord(tag: try Tag($0), maxID: 0, step: 1000) })
      for (tag, format) in [("invoices", "opaque"), ("parcels", "opaque"), ("parcels", "tag")] {
        let (one, many) = (
          GenerateIDRequest(mode: "segment", tag: tag, format: format).encoded(),
          GenerateBatchRequest(mode: "segment", tag: tag, count: 3, format: format).encoded()
        )
        for (path, message) in [(Self.one, one), (Self.many, many), (Self.stream, many)] {
          Self.refused(try await client.call(path, message), "before the store has said", .unavailable)
        }
      }
      let plain = GenerateIDRequest(mode: "segment", tag: "parcels", format: "hex").encoded()
      #expect(try Self.single(try await client.call(Self.one, plain)).id == 1)
      guard case .confirmed = gate.answered(agreement.facts) else { throw IDError(.notReady, "not confirmed") }
      let opaque = GenerateIDRequest(mode: "segment", tag: "parcels", format: "tag").encoded()
      #expect(try Self.single(try await client.call(Self.one, opaque)).id == 2)
    }
  }

  @Test func `Snowflake ids that have no opaque number are refused before one is used`() async throws {
    let forms = try TagFormsTests.make()
    try await IDServer.with(forms: forms) { server, client in
      // The layout's ids of 2023 have 2^58 and more; 53 bits with 4 for the slot end at 2^49.
      let message = GenerateIDRequest(mode: "snowflake", tag: "parcels", format: "tag").encoded()
      Self.refused(try await client.call(Self.one, message), "fewer opaque.slot_bits leave more room")
      #expect(server.registry.scrape().contains("id_generate_total{mode=\"snowflake\"} 0\n"))
      let fits = GenerateIDRequest(mode: "snowflake", tag: "invoices", format: "opaque").encoded()
      let response = try Self.single(try await client.call(Self.one, fits))
      #expect(try forms.open(response.text, tag: try Tag("invoices")).id == response.id)
    }
  }

  @Test func `texts of an answer are bounded, whatever their form`() async throws {
    let prefix = String(repeating: "x", count: 64)
    let forms = try TagForms(templates: [.default: try TextTemplate("\(prefix){day}\(prefix){decimal:64}")])
    try await IDServer.with(forms: forms) { _, client in
      let message = GenerateBatchRequest(mode: "segment", count: 10_000, format: "tag").encoded()
      Self.refused(try await client.call(Self.many, message), "up to 200 characters: a batch has at most 5165 of them")
    }
  }

  @Test func `where the texts of so many calls are being made, no other call for many begins`() async throws {
    let lane = TextLane()
    let gate = DispatchSemaphore(value: 0)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<TextLane.maximumCalls {
        try lane.check(count: 65)
        let under = lane.count
        group.addTask { try await lane.run(count: 65) { gate.wait() } }
        while lane.count == under { await Task.yield() }
      }
      let error = try #require(throws: IDError.self) { try lane.check(count: 65) }
      #expect(error.code == .overloaded && error.message.contains("256 calls"))
      // A few texts are none of these.
      try lane.check(count: 64)
      #expect(try await lane.admit(count: 64) { 7 } == 7)
      gate.signal()
      try await group.next()
      try lane.check(count: 65)
      for _ in 1..<TextLane.maximumCalls { gate.signal() }
      try await group.waitForAll()
    }
    #expect(lane.count == 0)
  }

  @Test func `batches that come together wait for room, and none for the ids of another`() async throws {
    try await IDServer.with(maximumWaiters: 1_000) { server, client in
      server.loads.withLock { $0 = .held }
      // Of 2,000 ids as 16 digits, with what stands before each, and as many ranges at most: 94,000 bytes.
      let message = GenerateBatchRequest(mode: "segment", count: 2_000, format: "hex").encoded()
      let fits = RPCLimits().maxHeldBytes / (2_000 * (3 + 16 + 28) + 5)
      var calls: [(stream: UInt32, reply: EventLoopFuture<WireClient.Reply>)] = []
      for _ in 0..<(2 * fits) { calls.append(try await client.begin(Self.many, message)) }
      while server.directory.defaultGenerator?.snapshot.waiters != 2 * fits { await Task.yield() }
      // Those that need no store go on meanwhile.
      let other = GenerateBatchRequest(mode: "snowflake", count: 100, format: "hex").encoded()
      #expect(try Self.batch(try await client.call(Self.many, other)).texts.count == 100)
      try await client.cancel(calls.removeFirst().stream)
      while server.directory.defaultGenerator?.snapshot.waiters != 2 * fits - 1 { await Task.yield() }
      server.release()
      var seen: Set<Int64> = []
      for call in calls { seen.formUnion(Self.ids(try Self.batch(try await call.reply.get()))) }
      #expect(seen.count == (2 * fits - 1) * 2_000)
    }
  }

  @Test func `a call that waits is answered at its deadline, and leaves when its caller does`() async throws {
    try await IDServer.with(maximumWait: .milliseconds(50)) { server, client in
      server.loads.withLock { $0 = .held }
      let message = GenerateBatchRequest(mode: "segment", count: 5, format: "hex").encoded()
      Self.refused(try await client.call(Self.many, message), "before the deadline", .deadlineExceeded)
    }
    try await IDServer.with { server, client in
      server.loads.withLock { $0 = .held }
      let message = GenerateIDRequest(mode: "segment", format: "hex").encoded()
      let call = try await client.begin(Self.one, message)
      while server.directory.defaultGenerator?.snapshot.waiters != 1 { await Task.yield() }
      try await client.cancel(call.stream)
      while server.directory.defaultGenerator?.snapshot.waiters != 0 { await Task.yield() }
    }
  }

  @Test func `an id says what it says, by this node's layout`() async throws {
    try await IDServer.with { server, client in
      let made = try Self.single(try await client.call(Self.one, GenerateIDRequest(mode: "snowflake").encoded()))
      func decode(_ request: DecodeIDRequest) async throws -> DecodeIDResponse {
        let reply = try await client.call(Self.decode, request.encoded())
        #expect(reply.status == "0", "\(reply.text)")
        return try DecodeIDResponse(decoding: Array(reply.message))
      }
      let own = try await decode(DecodeIDRequest(id: "\(made.id)")).readings[0]
      #expect(own.kind == "snowflake" && own.layout == "original" && own.worker == 7 && own.sequence == 0)
      #expect(own.datacenter == 0 && own.machine == 7 && own.time.hasPrefix("2023-11-14T22:13:2"))
      #expect(own.unixMilliseconds.map { $0 - IDServer.start } == 1000)
      // A small number is hardly a Snowflake id, a large one hardly anything else.
      let small = try await decode(DecodeIDRequest(id: "42"))
      #expect(small.readings.map(\.kind) == ["number", "snowflake"] && small.ambiguity.isEmpty)
      #expect(try await decode(DecodeIDRequest(id: "\(made.id)")).ambiguity.isEmpty)
      let all = try await decode(DecodeIDRequest(id: "\(made.id)", layout: "any"))
      #expect(all.readings.count > 2 && !all.ambiguity.isEmpty)
      let leaf = try await decode(DecodeIDRequest(id: "1169786042799259000", layout: "leaf")).readings
      #expect(leaf[0].worker == 39 && leaf[0].sequence == 3448)
      let uuid = try await decode(DecodeIDRequest(id: "c232ab00-9414-11ec-b3c8-9f6bdeced846")).readings[0]
      #expect(uuid.kind == "uuid" && uuid.version == 1 && uuid.maker == "9f6bdeced846" && uuid.worker == nil)
      for (request, part) in [
        (DecodeIDRequest(), "empty"), (DecodeIDRequest(id: "x y"), "no id that is known"),
        (DecodeIDRequest(id: "1", kind: "isbn"), "unknown kind 'isbn'; allowed: "),
        (DecodeIDRequest(id: "1", layout: "mine"), "unknown layout 'mine'; allowed: "),
        (DecodeIDRequest(id: "1", kind: "number", layout: "leaf"), "leave out the kind number"),
        (DecodeIDRequest(id: "1", tag: "default"), "no form of its own and no opaque ids"),
        (DecodeIDRequest(id: "1", tag: " x"), "a tag must not"),
        (DecodeIDRequest(id: String(repeating: "1", count: 513)), "at most 512"),
      ] {
        Self.refused(try await client.call(Self.decode, request.encoded()), part)
      }
      Self.refused(try await client.call(Self.decode, [0xFF]), "not a protobuf message", .internalError)
    }
  }
}
