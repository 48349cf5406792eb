import MidCore
import MidTestKit
import NIOCore
import Synchronization
import Testing

@testable import MidRPC
@testable import MidServer

@Suite("Huge batches over a socket", .timeLimit(.minutes(5))) struct ClockQueueServerTests {
  private static let many = "/mid.v1.IDService/GenerateBatch"
  private static let one = "/mid.v1.IDService/GenerateID"

  private static func bytes(_ message: some ProtobufMessage) -> [UInt8] {
    var buffer = ByteBuffer()
    message.encode(into: &buffer)
    return Array(buffer.readableBytesView)
  }

  /// Lets the clock tick until there is a reply, each time as soon as the ids of the tick before are gone.
  ///
  /// One tick is enough but for two things: a tick that falls between a round's single calls and its batches is the
  /// batches' (the next is not), and a reply may be on its way when the next tick begins. What waits in front would take
  /// 22,000 ticks.
  private static func ticks(
    until reply: EventLoopFuture<WireClient.Reply>, of server: IDServer, turn: () async throws -> Void
  ) async throws -> Int {
    let isAnswered = Mutex(false)
    reply.whenComplete { _ in isAnswered.withLock { $0 = true } }
    var ticks = 0
    while !isAnswered.withLock({ $0 }), ticks < 1000 {
      if case .wait = server.snowflake.reach() {
        server.clock.advance(by: 1)
        ticks += 1
      }
      try await turn()
    }
    return ticks
  }

  @Test func `a bystander is answered while hundreds of huge batches wait, and cancelled ones are forgotten`()
    async throws
  {
    try await IDServer.with(maximumWaiters: 1000, maximumBatch: 1_000_000) { server, client in
      while case .ids = server.snowflake.take(upTo: 1_000_000) {}
      let message = Self.bytes(GenerateBatchRequest(mode: "snowflake", count: 1_000_000))
      var calls: [(stream: UInt32, reply: EventLoopFuture<WireClient.Reply>)] = []
      for _ in 0..<90 { calls.append(try await client.begin(Self.many, message, timeout: "150S")) }
      try await client.ping()
      let bystander = try await WireClient.connect(to: server.address)
      for _ in 0..<5 {
        let call = try await bystander.begin(
          Self.one, Self.bytes(GenerateIDRequest(mode: "snowflake")), timeout: "150S")
        try await bystander.ping()
        let ticks = try await Self.ticks(until: call.reply, of: server) { try await bystander.ping() }
        #expect(try await call.reply.get().status == "0" && ticks <= 20)
        let segment = try await bystander.call(
          Self.one, Self.bytes(GenerateIDRequest(mode: "segment")), timeout: "150S")
        #expect(segment.status == "0")
      }
      try await bystander.close()
      // In the order in which they came.
      server.clock.advance(by: 300)
      let first = try await calls[0].reply.get()
      #expect(first.status == "0")
      let ranges = try first.message.withUnsafeBytes { try GenerateBatchResponse(decoding: $0) }.ranges
      #expect(ranges.reduce(0) { $0 + Int($1.count) } == 1_000_000 && ranges.count <= 266)
      for call in calls.dropFirst() { try await client.cancel(call.stream) }
    }
  }
}
