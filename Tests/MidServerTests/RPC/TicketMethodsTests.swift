import MidCore
import MidTestKit
import NIOCore
import Testing

@testable import MidRPC
@testable import MidServer

@Suite("Tickets over a socket", .timeLimit(.minutes(5)))
struct TicketMethodsTests {
  private static let one = "/mid.v1.IDService/GenerateID"

  private static func bytes(_ message: some ProtobufMessage) -> [UInt8] {
    var buffer = ByteBuffer()
    message.encode(into: &buffer)
    return Array(buffer.readableBytesView)
  }

  private static let request = Self.bytes(GenerateIDRequest(mode: "ticket"))

  private static func id(_ reply: WireClient.Reply) throws -> Int64 {
    #expect(reply.status == "0", "\(reply.text)")
    return try reply.message.withUnsafeBytes { try IDResponse(decoding: $0).id }
  }

  @Test func `tickets grow by each method, and are counted`() async throws {
    try await IDServer.with { server, client in
      let make = Self.bytes(IDRequest(mode: "ticket"))
      #expect(try Self.id(try await client.call("/pb.IDMaker/MakeIDService", make)) == 1)
      #expect(try Self.id(try await client.call(Self.one, Self.request)) == 2)
      let named = Self.bytes(GenerateIDRequest(mode: "ticket", tag: "default"))
      #expect(try Self.id(try await client.call(Self.one, named)) == 3)
      for path in ["/mid.v1.IDService/GenerateBatch", "/mid.v1.IDService/StreamIDs"] {
        let reply = try await client.call(path, Self.bytes(GenerateBatchRequest(mode: "ticket", count: 10)))
        #expect(reply.status == "0", "\(reply.text)")
        if path.hasSuffix("Batch") {
          let ranges = try reply.message.withUnsafeBytes { try GenerateBatchResponse(decoding: $0) }.ranges
          #expect(ranges.map(\.start) == [4] && ranges.map(\.count) == [10])
        }
      }
      #expect(server.registry.scrape().contains("id_generate_total{mode=\"ticket\"} 23"))
    }
  }

  @Test func `those who wait at once share a statement that began after they came`() async throws {
    try await IDServer.with { server, client in
      server.statements.set(.held)
      var calls = [try await client.begin(Self.one, Self.request)]
      for _ in 0..<5 { calls.append(try await client.begin(Self.one, Self.request)) }
      try await client.ping()
      #expect(server.statements.held == 1)
      server.statements.release()
      var ids: [Int64] = []
      for call in calls { ids.append(try Self.id(try await call.reply.get())) }
      #expect(ids == [1, 2, 3, 4, 5, 6])
    }
  }

  @Test func `a call that can't be served hears why`() async throws {
    try await IDServer.with { server, client in
      let other = try await client.call(Self.one, Self.bytes(GenerateIDRequest(mode: "ticket", tag: "orders")))
      #expect(other.status == "\(RPCStatus.Code.notFound.rawValue)" && other.text.contains("ticket.tables"))
      let many = try await client.call(
        "/mid.v1.IDService/GenerateBatch", Self.bytes(GenerateBatchRequest(mode: "ticket", count: 51)))
      #expect(many.status == "\(RPCStatus.Code.invalidArgument.rawValue)" && many.text.contains("1 to 50"))
      server.statements.set(.failing, error: IDError(.exhausted, "the table stands at its end"))
      let used = try await client.call(Self.one, Self.request)
      #expect(used.status == "\(RPCStatus.Code.outOfRange.rawValue)" && used.text.contains("its end"))
      #expect(server.health.isServing("ticket") == false)
      #expect(server.health.isServing("") == true)
      server.clock.advance(by: 60_000)
      server.statements.set(.failing)
      let away = try await client.call(Self.one, Self.request, timeout: "200m")
      #expect(away.status == "\(RPCStatus.Code.unavailable.rawValue)", "\(away.text)")
      server.clock.advance(by: 60_000)
      server.statements.set(.served)
      _ = try Self.id(try await client.call(Self.one, Self.request))
      #expect(server.health.isServing("ticket") == true)
    }
  }
}

/// The settings of tickets.
@Suite struct TicketSettingsTests {
  @Test func `databases and tables are read in their order`() throws {
    let configuration = try ServerConfiguration.load(environment: [
      "MID_TICKET_DATABASES": "mysql://mid@a/ids, mysql://mid:pw@b:3307/ids",
      "MID_TICKET_TABLES": "default=T1,orders=T2",
    ])
    #expect(configuration.ticket.databases.map(\.description) == ["mysql://mid@a/ids", "mysql://mid@b:3307/ids"])
    #expect(configuration.ticket.tables == [.default: try TicketTable("T1"), try Tag("orders"): try TicketTable("T2")])
    let plain = try ServerConfiguration.load()
    #expect(plain.ticket.databases.isEmpty && plain.ticket.tables == [.default: .default])
  }

  @Test(arguments: [
    ("MID_TICKET_DATABASES", "mysql://mid:se,cret@a/ids,sqlite:x"), ("MID_TICKET_DATABASES", "mysql://mid:secret@a"),
    ("MID_TICKET_TABLES", "default"), ("MID_TICKET_TABLES", "default=a b"), ("MID_TICKET_TABLES", "a=T,b=T"),
    ("MID_TICKET_TABLES", "a=T,a=U"),
  ])
  func `what can't be is refused, and no password shown`(name: String, text: String) {
    let error = #expect(throws: ConfigurationErrors.self) { try ServerConfiguration.load(environment: [name: text]) }
    #expect(error?.errors.count == 1)
    #expect(error?.errors.first?.description.contains("cret") == false)
  }
}
