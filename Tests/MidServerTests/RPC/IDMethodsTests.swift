import MidCore
import MidTestKit
import NIOCore
import Synchronization
import Testing

@testable import MidRPC
@testable import MidServer

@Suite("The id methods over a socket", .timeLimit(.minutes(10)))
struct IDMethodsTests {
  private static let make = "/pb.IDMaker/MakeIDService"
  private static let one = "/mid.v1.IDService/GenerateID"
  private static let many = "/mid.v1.IDService/GenerateBatch"
  private static let stream = "/mid.v1.IDService/StreamIDs"

  /// A message's bytes.
  private static func bytes(_ message: some ProtobufMessage) -> [UInt8] {
    var buffer = ByteBuffer()
    message.encode(into: &buffer)
    return Array(buffer.readableBytesView)
  }

  private static func id(_ reply: WireClient.Reply) throws -> Int64 {
    #expect(reply.status == "0", "\(reply.text)")
    return try reply.message.withUnsafeBytes { try IDResponse(decoding: $0).id }
  }

  private static func ranges(_ reply: WireClient.Reply) throws -> [IDRange] {
    #expect(reply.status == "0", "\(reply.text)")
    return try reply.message.withUnsafeBytes { try GenerateBatchResponse(decoding: $0) }.ranges.map {
      IDRange(start: $0.start, count: Int64($0.count), stride: $0.stride)
    }
  }

  private static let snowflake = Self.bytes(IDRequest(mode: "snowflake"))
  private static let segment = Self.bytes(IDRequest(mode: "segment"))

  private static func expect(
    _ reply: WireClient.Reply, _ code: RPCStatus.Code, _ parts: String...,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(reply.status == "\(code.rawValue)", "\(reply.text)", sourceLocation: sourceLocation)
    for part in parts {
      #expect(reply.text.contains(part), "'\(part)' in '\(reply.text)'", sourceLocation: sourceLocation)
    }
    #expect(reply.message.isEmpty, sourceLocation: sourceLocation)
  }

  @Test func `both modes give ids that grow, by either method`() async throws {
    try await IDServer.with { server, client in
      for mode in ["snowflake", "segment"] {
        var last: Int64 = 0
        for index in 0..<50 {
          let isOriginal = index.isMultiple(of: 2)
          let message = isOriginal ? Self.bytes(IDRequest(mode: mode)) : Self.bytes(GenerateIDRequest(mode: mode))
          let id = try Self.id(try await client.call(isOriginal ? Self.make : Self.one, message))
          #expect(id > last)
          last = id
        }
      }
      #expect(server.log.events.first == "load default 1000")
    }
  }

  @Test(arguments: ["", "uuid9", "Snowflake", "segment ", "séquence%\n"])
  func `another mode is refused, and the allowed ones named`(mode: String) async throws {
    try await IDServer.with { _, client in
      for path in [Self.make, Self.one, Self.many] {
        let message = GenerateBatchRequest(mode: mode, count: 1)
        let reply = try await client.call(
          path, path == Self.make ? Self.bytes(IDRequest(mode: mode)) : Self.bytes(message))
        Self.expect(
          reply, .invalidArgument, "allowed: snowflake, segment, ticket", mode.isEmpty ? "no mode" : "'\(mode)'")
      }
    }
  }

  @Test func `an unknown tag is not found, and told how to make it`() async throws {
    try await IDServer.with { server, client in
      let call = try await client.begin(Self.one, Self.bytes(GenerateIDRequest(mode: "segment", tag: "orders")))
      await server.log.wait(for: "refresh")
      server.directory.refreshed([TagRecord(tag: .default, maxID: 0, step: 10)])
      Self.expect(try await call.reply.get(), .notFound, "no tag 'orders'", "mid tag create orders")
      // From the list of a moment ago: no read.
      let message = GenerateBatchRequest(mode: "segment", tag: "orders", count: 5)
      Self.expect(try await client.call(Self.many, Self.bytes(message)), .notFound, "orders")
      #expect(server.log.count(of: "refresh") == 1)
    }
  }

  @Test func `a tag that was just made is found`() async throws {
    try await IDServer.with { server, client in
      let message = Self.bytes(GenerateIDRequest(mode: "segment", tag: "orders"))
      let call = try await client.begin(Self.one, message)
      await server.log.wait(for: "refresh")
      server.directory.refreshed([TagRecord(tag: try Tag("orders"), maxID: 0, step: 10)])
      let first = try Self.id(try await call.reply.get())
      #expect(try Self.id(try await client.call(Self.one, message)) == first + 1)
    }
  }

  @Test(arguments: [" x", "x ", "a\u{1}b", String(repeating: "x", count: 129)])
  func `a bad tag is refused`(tag: String) async throws {
    try await IDServer.with { server, client in
      let one = GenerateIDRequest(mode: "segment", tag: tag)
      let many = GenerateBatchRequest(mode: "segment", tag: tag, count: 1)
      Self.expect(try await client.call(Self.one, Self.bytes(one)), .invalidArgument, "a tag")
      Self.expect(try await client.call(Self.many, Self.bytes(many)), .invalidArgument, "a tag")
      #expect(server.log.count(of: "refresh") == 0)
    }
  }

  @Test(arguments: ["snowflake", "segment"])
  func `a batch holds exactly as many ids as were asked for`(mode: String) async throws {
    try await IDServer.with(maximumBatch: 10_000, step: 1000) { _, client in
      var last: Int64 = 0
      for count: UInt32 in [1, 2, 999, 10_000, 1, 4097, 10_000] {
        let message = Self.bytes(GenerateBatchRequest(mode: mode, count: count))
        let ranges = try Self.ranges(try await client.call(Self.many, message))
        #expect(ranges.total == Int64(count))
        for range in ranges {
          #expect(range.start > last && range.count >= 1 && range.stride >= 1)
          last = try #require(range.last)
        }
      }
    }
  }

  @Test(arguments: ["snowflake", "segment"])
  func `a stream's message is served and refused as a batch is`(mode: String) async throws {
    try await IDServer.with(maximumBatch: 10_000) { server, client in
      let message = Self.bytes(GenerateBatchRequest(mode: mode, count: 5000))
      let first = try Self.ranges(try await client.call(Self.stream, message))
      let second = try Self.ranges(try await client.call(Self.many, message))
      #expect(first.total == 5000 && second.total == 5000)
      let last = try #require(first.last?.last)
      let next = try #require(second.first?.start)
      #expect(next > last)
      for bad in [GenerateBatchRequest(mode: mode, count: 10_001), GenerateBatchRequest(mode: mode + "s", count: 1)] {
        Self.expect(try await client.call(Self.stream, Self.bytes(bad)), .invalidArgument)
      }
    }
  }

  @Test func `a stream's messages are answered one by one, in order, until one fails`() async throws {
    try await IDServer.with(maximumBatch: 10_000, step: 1000) { server, client in
      // The first finds nothing loaded; the others must not overtake it.
      server.loads.withLock { $0 = .held }
      let messages = [1, 10, 600, 2].map { Self.bytes(GenerateBatchRequest(mode: "segment", count: $0)) }
      let bad = Self.bytes(GenerateBatchRequest(mode: "segment", count: 0))
      let last = Self.bytes(GenerateBatchRequest(mode: "segment", count: 1))
      let call = try await client.begin(Self.stream, messages[0], messages[1], messages[2], messages[3], bad, last)
      await server.log.wait(for: "load default")
      #expect(server.directory.defaultGenerator?.snapshot.waiters == 1)
      server.directory.defaultGenerator?.loaded(IDRange(start: 1, count: 1000))
      let reply = try await call.reply.get()
      #expect(reply.status == "\(RPCStatus.Code.invalidArgument.rawValue)", "\(reply.text)")
      let ranges = try reply.messages.map { try GenerateBatchResponse(decoding: $0).ranges.map(\.start) }
      #expect(ranges == [[1], [2], [12], [612]])
      // What came after the failure took nothing.
      #expect(try Self.ranges(try await client.call(Self.many, last)) == [IDRange(start: 614, count: 1)])
    }
  }

  @Test func `a call that waits goes on where another generator takes its tag over`() async throws {
    try await IDServer.with { server, client in
      server.loads.withLock { $0 = .held }
      let orders = try MidCore.Tag("orders")
      let residue = try #require(TableDialect.Residue(delta: 2, remainder: 0))
      server.directory.refreshed([TagRecord(tag: orders, maxID: 0, step: 10, residue: residue)])
      let message = Self.bytes(GenerateBatchRequest(mode: "segment", tag: "orders", count: 10))
      let call = try await client.begin(Self.many, message)
      await server.log.wait(for: "load orders")
      let old = try #require(server.directory.cached(orders))
      #expect(server.directory.adopt(IDRange(start: 61, count: 10, stride: 3), of: old) == nil)
      #expect(try Self.ranges(try await call.reply.get()) == [IDRange(start: 61, count: 10, stride: 3)])
    }
  }

  @Test func `a stream's message waits for the store as a batch does, until its caller gives up`() async throws {
    try await IDServer.with { server, client in
      server.loads.withLock { $0 = .held }
      let message = Self.bytes(GenerateBatchRequest(mode: "segment", count: 10))
      let first = try await client.begin(Self.stream, message)
      await server.log.wait(for: "load default")
      let second = try await client.begin(Self.stream, message)
      try await client.cancel(first.stream)
      #expect(server.directory.defaultGenerator?.snapshot.waiters == 1)
      server.directory.defaultGenerator?.loaded(IDRange(start: 1, count: 1000))
      #expect(try Self.ranges(try await second.reply.get()) == [IDRange(start: 1, count: 10)])
    }
  }

  @Test(arguments: ["snowflake", "segment"])
  func `a batch of none or too many is refused`(mode: String) async throws {
    try await IDServer.with(maximumBatch: 10_000) { _, client in
      for count: UInt32 in [0, 10_001, .max] {
        let reply = try await client.call(Self.many, Self.bytes(GenerateBatchRequest(mode: mode, count: count)))
        Self.expect(reply, .invalidArgument, "count is \(count)", "1 to 10000")
      }
    }
  }

  @Test func `bytes that are no message are refused`() async throws {
    try await IDServer.with { _, client in
      for path in IDServer.paths {
        for garbage: [UInt8] in [[0x0a, 0xff], [0xff], [0x0a, 2, 0xc3, 0x28], [0x0f, 0]] {
          Self.expect(try await client.call(path, garbage), .internalError, "not a protobuf message")
        }
      }
    }
  }

  @Test func `with the store away callers hear so before their deadline`() async throws {
    try await IDServer.with { server, client in
      server.loads.withLock { $0 = .failing }
      let reply = try await client.call(Self.make, Self.segment, timeout: "1S")
      Self.expect(reply, .unavailable, "the store does not answer")
      // By the server's own watch: it waited, and did not give up at once.
      let page = server.registry.scrape()
      let name = #"mid_rpc_duration_seconds_bucket{method="pb.IDMaker/MakeIDService",le="#
      let hasWaited = page.contains(name + "\"0.5\"} 0\n")
      #expect(hasWaited)
    }
  }

  @Test func `without a deadline the server's own counts`() async throws {
    try await IDServer.with(maximumWait: .milliseconds(50)) { server, client in
      server.loads.withLock { $0 = .held }
      Self.expect(try await client.call(Self.make, Self.segment), .deadlineExceeded, "tag 'default'")
      let message = Self.bytes(GenerateIDRequest(mode: "segment", tag: "new"))
      Self.expect(try await client.call(Self.one, message), .deadlineExceeded, "tag list")
      server.directory.refreshFailed(FaultyStore.unavailable)
    }
  }

  @Test func `a caller that gave up waits no more, and takes no ids`() async throws {
    try await IDServer.with { server, client in
      server.loads.withLock { $0 = .held }
      let first = try await client.begin(Self.make, Self.segment)
      await server.log.wait(for: "load default")
      let second = try await client.begin(Self.make, Self.segment)
      try await client.cancel(first.stream)
      #expect(server.directory.defaultGenerator?.snapshot.waiters == 1)
      server.directory.defaultGenerator?.loaded(IDRange(start: 1, count: 1000))
      #expect(try Self.id(try await second.reply.get()) == 1)
    }
  }

  @Test func `a caller that gave up while its tag was looked up is forgotten`() async throws {
    try await IDServer.with(maximumWaiters: 1) { server, client in
      let message = Self.bytes(GenerateIDRequest(mode: "segment", tag: "new"))
      for _ in 0..<3 {
        let call = try await client.begin(Self.one, message)
        await server.log.wait(for: "refresh")
        try await client.cancel(call.stream)
      }
      let call = try await client.begin(Self.one, message)
      try await client.ping()
      server.directory.refreshed([TagRecord(tag: try Tag("new"), maxID: 0, step: 10)])
      _ = try Self.id(try await call.reply.get())
    }
  }

  @Test func `no more calls wait for a segment than allowed`() async throws {
    try await IDServer.with(maximumWaiters: 1) { server, client in
      server.loads.withLock { $0 = .held }
      let first = try await client.begin(Self.make, Self.segment)
      await server.log.wait(for: "load default")
      Self.expect(try await client.call(Self.make, Self.segment), .resourceExhausted, "1 callers wait")
      server.directory.defaultGenerator?.loaded(IDRange(start: 1, count: 10))
      #expect(try Self.id(try await first.reply.get()) == 1)
    }
  }

  @Test func `with the clock behind callers hear both times before their deadline`() async throws {
    try await IDServer.with { server, client in
      let first = try Self.id(try await client.call(Self.make, Self.snowflake))
      server.clock.stepWall(by: -60_000)
      let batch = Self.bytes(GenerateBatchRequest(mode: "snowflake", count: 10))
      for (path, message) in [(Self.make, Self.snowflake), (Self.many, batch)] {
        let reply = try await client.call(path, message, timeout: "200m")
        Self.expect(reply, .unavailable, "2023-11-14T22:12:21.000Z", "2023-11-14T22:13:21", "worker 7")
      }
      // Back again within the wait: served.
      let call = try await client.begin(Self.make, Self.snowflake)
      server.clock.stepWall(by: 60_000)
      #expect(try Self.id(try await call.reply.get()) > first)
    }
  }

  @Test func `no more calls wait for the clock than allowed, and who gave up counts no more`() async throws {
    try await IDServer.with(maximumWaiters: 1) { server, client in
      _ = try await client.call(Self.make, Self.snowflake)
      server.clock.stepWall(by: -60_000)
      let first = try await client.begin(Self.make, Self.snowflake)
      Self.expect(try await client.call(Self.make, Self.snowflake), .resourceExhausted, "1 calls wait")
      try await client.cancel(first.stream)
      Self.expect(try await client.call(Self.make, Self.snowflake, timeout: "50m"), .unavailable, "the clock reads")
    }
  }

  @Test func `a used-up tick is waited for`() async throws {
    try await IDServer.with { server, client in
      let batch = Self.bytes(GenerateBatchRequest(mode: "snowflake", count: 4096))
      let taken = try Self.ranges(try await client.call(Self.many, batch))
      let call = try await client.begin(Self.make, Self.snowflake)
      server.clock.advance(by: 1)
      #expect(try Self.id(try await call.reply.get()) > taken[0].end - taken[0].stride)
    }
  }

  @Test func `without a worker id snowflake is unavailable and segment is not`() async throws {
    try await IDServer.with { server, client in
      server.snowflake.revoke(IDError(.leaseLost, "worker id 7 is held by another"))
      let batch = Self.bytes(GenerateBatchRequest(mode: "snowflake", count: 10))
      Self.expect(try await client.call(Self.make, Self.snowflake), .unavailable, "held by another")
      Self.expect(try await client.call(Self.many, batch), .unavailable, "held by another")
      _ = try Self.id(try await client.call(Self.make, Self.segment))
    }
  }

  // MARK: - Health

  @Test(arguments: [(true, true), (true, false), (false, true), (false, false)])
  func `health tells each name's state`(snowflake: Bool, segment: Bool) async throws {
    try await IDServer.with { server, client in
      server.readiness.withLock { $0 = (snowflake, segment) }
      let names = [
        "": snowflake && segment, "pb.IDMaker": snowflake && segment, "mid.v1.IDService": snowflake && segment,
        "snowflake": snowflake, "segment": segment, "grpc.health.v1.Health": true,
        "grpc.reflection.v1.ServerReflection": true, "grpc.reflection.v1alpha.ServerReflection": true,
      ]
      for (name, isServing) in names {
        let reply = try await client.call(IDServer.check, Self.bytes(HealthCheckRequest(service: name)))
        #expect(reply.status == "0")
        let status = try reply.message.withUnsafeBytes { try HealthCheckResponse(decoding: $0).status }
        #expect(status == (isServing ? .serving : .notServing), "\(name)")
      }
    }
  }

  @Test func `health knows no other name, and nothing is well once the server stops`() async throws {
    try await IDServer.with { server, client in
      for name in ["pb", "Segment", "nobody"] {
        let reply = try await client.call(IDServer.check, Self.bytes(HealthCheckRequest(service: name)))
        Self.expect(reply, .notFound, "pb.IDMaker, mid.v1.IDService, snowflake, segment, ticket")
      }
      server.health.stopping.raise()
      for name in ["", "pb.IDMaker", "mid.v1.IDService", "snowflake", "segment"] + server.health.otherServices {
        #expect(server.health.isServing(name) == false)
      }
    }
  }

  @Test func `health knows reflection only where the server has it`() {
    let health = HealthMethods(
      isSnowflakeReady: { true }, isSegmentReady: { true }, isTicketReady: { true }, hasReflection: false)
    #expect(health.isServing("grpc.health.v1.Health") == true)
    for name in ReflectionMethods.services { #expect(health.isServing(name) == nil) }
  }

  @Test(arguments: [true, false])
  func `health knows opaque numbers where there are keys for them, and the whole is well without`(isReady: Bool) {
    let without = HealthMethods(isSnowflakeReady: { true }, isSegmentReady: { true }, isTicketReady: { true })
    #expect(without.isServing("opaque") == nil)
    let health = HealthMethods(
      isSnowflakeReady: { true }, isSegmentReady: { true }, isTicketReady: { true }, isOpaqueReady: { isReady })
    #expect(health.isServing("opaque") == isReady && health.isServing("") == true)
    let readiness = Readiness(health: health) { ["\($0) is off"] }
    #expect(readiness.isReady && readiness.modes.map(\.name) == ["snowflake", "segment", "ticket", "opaque"])
    #expect(readiness.modes.last?.reasons == (isReady ? [] : ["opaque is off"]))
    #expect(Readiness(health: without) { _ in [] }.modes.count == 3)
    health.stopping.raise()
    #expect(health.isServing("opaque") == false)
  }

  @Test func `health has no watch`() async throws {
    try await IDServer.with { _, client in
      let reply = try await client.call(
        "/grpc.health.v1.Health/Watch", Self.bytes(HealthCheckRequest(service: "segment")))
      Self.expect(reply, .unimplemented)
    }
  }

  // MARK: - Metrics

  @Test func `calls become the metrics that dashboards know, and those of the server`() async throws {
    try await IDServer.with(step: 100) { server, client in
      for _ in 0..<3 { _ = try await client.call(Self.make, Self.snowflake) }
      for _ in 0..<2 { _ = try await client.call(Self.make, Self.segment) }
      _ = try await client.call(Self.many, Self.bytes(GenerateBatchRequest(mode: "segment", count: 5)))
      _ = try await client.call(Self.many, Self.bytes(GenerateBatchRequest(mode: "snowflake", count: 0)))
      _ = try await client.call("/no.Such/Method", [])
      server.metrics.loaded(tag: .default, duration: .milliseconds(7), error: nil)
      server.metrics.loaded(tag: .default, duration: .milliseconds(20), error: FaultyStore.unavailable)
      server.registry.gauge(MetricCatalogue.ntpOffsetMilliseconds).set(-2.5)
      server.metrics.collect(segments: server.directory, health: server.health, keeper: nil)
      let page = server.registry.scrape().split(separator: "\n")
      for line in [
        #"id_generate_total{mode="snowflake"} 3"#, #"id_generate_total{mode="segment"} 7"#,
        #"buffer_usage{mode="segment",buffer="buffer1"} 93"#, #"buffer_usage{mode="segment",buffer="buffer2"} 0"#,
        #"mysql_query_duration_seconds_bucket{le="0.005"} 0"#, #"mysql_query_duration_seconds_bucket{le="0.01"} 1"#,
        "mysql_query_duration_seconds_count 2", "ntp_offset_milliseconds -2.5",
        #"mid_rpc_calls_total{method="pb.IDMaker/MakeIDService",code="OK"} 5"#,
        #"mid_rpc_calls_total{method="mid.v1.IDService/GenerateBatch",code="OK"} 1"#,
        #"mid_rpc_calls_total{method="mid.v1.IDService/GenerateBatch",code="INVALID_ARGUMENT"} 1"#,
        #"mid_rpc_calls_total{method="unknown",code="UNIMPLEMENTED"} 1"#,
        #"mid_rpc_duration_seconds_count{method="pb.IDMaker/MakeIDService"} 5"#, "mid_rpc_connections 1",
        #"mid_segment_loads_total{tag="default",result="ok"} 1"#,
        #"mid_segment_loads_total{tag="default",result="storeUnavailable"} 1"#,
        #"mid_segment_ids_left{tag="default",buffer="serving"} 93"#, #"mid_segment_waiters{tag="default"} 0"#,
        #"mid_ready{mode="snowflake"} 1"#, #"mid_ready{mode="segment"} 1"#,
      ] {
        let isThere = page.contains(Substring(line))
        #expect(isThere, "\(line)")
      }
    }
  }
}
