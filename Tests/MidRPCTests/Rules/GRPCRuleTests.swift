import NIOCore
import NIOHPACK
import Testing

@testable import MidRPC

@Suite("A gRPC call")
struct GRPCRuleTests {
  @Test(arguments: [
    "application/grpc", "application/grpc+proto", "application/grpc+json", "application/grpc+", "application/grpc;x=y",
  ])
  func `has a content type that begins with application/grpc`(_ type: String) throws {
    var peer = try Peer.established()
    try peer.expect(peer.call(1, fields: Peer.head(type: type)), gives: Peer.answered(1, [3, 2, 1]))
  }

  @Test(arguments: [
    "application/grpc-web", "application/grpcx", "application/grp", "text/plain", "", "x application/grpc",
  ])
  func `of another content type is answered HTTP 415`(_ type: String) throws {
    var peer = try Peer.established()
    let answer = SeenFrame.headers(stream: 1, fields: [":status": "415"], end: true)
    try peer.expect(peer.call(1, fields: Peer.head(type: type)), gives: [answer])
    let none = Peer.head().filter { $0.0 != "content-type" }
    let other = SeenFrame.headers(stream: 3, fields: [":status": "415"], end: true)
    try peer.expect(peer.call(3, fields: none), gives: [other])
    #expect(peer.dispatcher.calls.isEmpty)
  }

  @Test(arguments: [
    "/test.Echo/reverse", "/test.echo/Reverse", "/test.Echo/Reverse/", "/test.Echo", "//", "/test.Echo/Reverse?x",
  ])
  func `finds its method by the path, letter for letter`(_ path: String) throws {
    var peer = try Peer.established()
    let seen = try peer.send(peer.call(1, fields: Peer.head(path: path)))
    #expect(seen.trailersOnlyStatus == "12")
    try peer.expectService()
  }

  @Test(arguments: ["1n", "99999999H", "00000001S", "0m", "7u", "59M"])
  func `may have a timeout of eight digits and a unit`(_ text: String) throws {
    var peer = try Peer.established()
    peer.machine.now = 1000
    let seen = try peer.send(peer.call(1, fields: Peer.head(extra: [("grpc-timeout", text)])))
    #expect(seen == Peer.answered(1, [3, 2, 1]))
    let timeout = try #require(GRPCTimeout.nanoseconds(text))
    #expect(peer.dispatcher.calls.map(\.deadline) == [timeout == .max ? .max : 1000 + timeout])
    try peer.expect(peer.call(3), gives: Peer.answered(3, [3, 2, 1]))
    #expect(peer.dispatcher.calls.last?.deadline == .max, "none means none")
  }

  @Test(arguments: ["", "5", "S", "123456789S", "5h", "5 S", "+5S", "5SS", "0x5S"])
  func `of a timeout that is none fails with INTERNAL and reaches no method`(_ text: String) throws {
    var peer = try Peer.established()
    let seen = try peer.send(peer.call(1, fields: Peer.head(extra: [("grpc-timeout", text)])))
    #expect(seen.trailersOnlyStatus == "13")
    #expect(peer.dispatcher.calls.isEmpty)
  }

  @Test(arguments: ["gzip", "deflate", "snappy", "Identity", ""])
  func `of an encoding that is not known is UNIMPLEMENTED and told what is`(_ encoding: String) throws {
    var peer = try Peer.established()
    let seen = try peer.send(peer.call(1, fields: Peer.head(extra: [("grpc-encoding", encoding)])))
    guard case .headers(1, let fields, true)? = seen.first else { throw FrameReader.Broken() }
    #expect(fields["grpc-status"] == "12")
    #expect(fields["grpc-accept-encoding"] == "identity")
    #expect(fields["grpc-message"]?.contains("identity") == true)
    try peer.expectService()
  }

  @Test func `whose message is marked as compressed without an encoding fails with INTERNAL`() throws {
    for extra in [[], [("grpc-encoding", "identity")]] {
      var peer = try Peer.established()
      let headers = peer.headers(1, fields: Peer.head(extra: extra))
      let seen = try peer.send(headers + Peer.data(1, Peer.message([1], flag: 1), end: true))
      guard case .headers(1, let fields, true)? = seen.first else { throw FrameReader.Broken() }
      #expect(fields["grpc-status"] == "13")
      #expect(fields["grpc-message"]?.contains("compressed") == true)
    }
  }

  /// Bodies of a unary call that hold not exactly one message, and the status that each leads to.
  static let bodies: [(String, [UInt8], String)] = [
    ("no message", [], "12"),
    ("two messages", Peer.message([1]) + Peer.message([2]), "12"),
    ("two messages, the second cut short", Peer.message([1]) + [0], "12"),
    ("a prefix cut short", [0, 0, 0, 0], "13"),
    ("a message cut short", [0, 0, 0, 0, 3, 1, 2], "13"),
    ("a prefix that starts with 2", Peer.message([1], flag: 2), "13"),
    ("a message over the limit", [0, 0, 1, 0, 1], "8"),
    ("a length of 2^32-1", [0, 0xff, 0xff, 0xff, 0xff], "8"),
  ]

  @Test(arguments: Self.bodies)
  func `of one message fails where it has not exactly one`(_ what: String, _ body: [UInt8], _ status: String) throws {
    var peer = try Peer.established()
    let seen = try peer.send(peer.headers(1) + Peer.data(1, body, end: true))
    #expect(Array(seen.prefix(1)).trailersOnlyStatus == status, "\(what)")
    #expect(peer.dispatcher.calls.isEmpty)
    let parts = peer.headers(3) + body.flatMap { Peer.data(3, [$0]) } + Peer.data(3, [], end: true)
    #expect(Array(try peer.send(parts).prefix(1)).trailersOnlyStatus == status, "\(what), in parts")
    try peer.expectService()
  }

  @Test func `has messages that frames cut anywhere`() throws {
    let body = Peer.message([1, 2, 3, 4])
    for cut in 0...body.count {
      var peer = try Peer.established()
      let data = Peer.data(1, Array(body[..<cut])) + Peer.data(1, Array(body[cut...]), end: true)
      try peer.expect(peer.headers(1) + data, gives: Peer.answered(1, [4, 3, 2, 1]))
    }
  }

  @Test func `may have metadata and more headers of gRPC, which are not looked at`() throws {
    var peer = try Peer.established()
    let extra = [
      ("user-agent", "grpc-go/1.76.0"), ("grpc-accept-encoding", "identity,deflate,gzip"), ("trace-bin", "AAEC"),
      ("padded-bin", "AAE="), ("two-bin", "AAE,AAI="), ("authorization", "Bearer x"),
      ("x.y_z-0", " ~".dropFirst() + "!"),
      ("grpc-message-type", "x.Y"), ("grpc-previous-rpc-attempts", "1"), ("grpc-future", "?"),
    ].map { ($0.0, String($0.1)) }
    try peer.expect(peer.call(1, fields: Peer.head(extra: extra)), gives: Peer.answered(1, [3, 2, 1]))
  }

  @Test func `that is answered early has its client stop with NO_ERROR`() throws {
    var peer = try Peer.established()
    let seen = try peer.send(peer.headers(1) + Peer.data(1, [0, 0xff, 0, 0, 0]))
    #expect(Array(seen.prefix(1)).trailersOnlyStatus == "8")
    #expect(Array(seen.dropFirst()) == [.reset(stream: 1, .noError)])
    try peer.expect(Peer.data(1, [1]) + Peer.reset(1, code: 0), gives: [])
    let whole = try peer.send(peer.headers(3) + Peer.data(3, [0, 0xff, 0, 0, 0], end: true))
    #expect(whole.count == 1, "nothing is left to stop")
  }

  @Test(arguments: RPCStatus.Code.allCases.filter { $0 != .ok })
  func `that fails carries its status as a number without zeros`(_ code: RPCStatus.Code) throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.failure(RPCStatus(code)), []) }
    guard case .headers(1, let fields, true)? = try peer.send(peer.call(1)).first else { throw FrameReader.Broken() }
    #expect(fields["grpc-status"] == String(code.rawValue))
    #expect(fields[":status"] == "200" && fields["content-type"] == "application/grpc")
    #expect(fields["grpc-message"] == nil)
  }

  /// Texts, and how they are written in `grpc-message`.
  static let texts: [(String, String)] = [
    ("plain ~!#$", "plain ~!#$"), ("100%", "100%25"), ("a\nb\t\u{7f}", "a%0Ab%09%7F"), ("ä€", "%C3%A4%E2%82%AC"),
    (" both ends ", "%20both ends%20"), (" ", "%20"), ("\0", "%00"),
  ]

  @Test(arguments: Self.texts)
  func `that fails carries its text percent-encoded`(_ text: String, _ encoded: String) throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.failure(RPCStatus(.aborted, text)), []) }
    guard case .headers(1, let fields, true)? = try peer.send(peer.call(1)).first else { throw FrameReader.Broken() }
    #expect(fields["grpc-message"] == encoded)
  }

  @Test func `that fails has a long text cut between characters`() {
    for filler in 0..<12 {
      let text = String(repeating: "x", count: filler) + String(repeating: "€", count: 500)
      let encoded = ResponseEncoding.percentEncoded(text)
      #expect(encoded.utf8.count <= 1024 && encoded.utf8.count > 1024 - 9)
      #expect((encoded.utf8.count - filler) % 9 == 0, "nine bytes each")
    }
    let blanks = ResponseEncoding.percentEncoded("x" + String(repeating: " ", count: 2000) + "y")
    #expect(!blanks.hasSuffix(" "))
  }
}
