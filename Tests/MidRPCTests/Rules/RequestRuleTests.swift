import NIOCore
import NIOHPACK
import Testing

@testable import MidRPC

@Suite("A request's head")
struct RequestRuleTests {
  typealias Fields = [(String, String)]

  private static func with(
    method: String? = "POST", scheme: String? = "http", path: String? = "/test.Echo/Reverse",
    authority: String? = "here", _ extra: Fields = []
  ) -> Fields {
    let pseudo = [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority)]
    return pseudo.compactMap { name, value in value.map { (name, $0) } } + [("content-type", "application/grpc")]
      + extra
  }

  static let malformed: [RuleCase<Fields>] = [
    RuleCase("nothing at all", []),
    RuleCase("an empty method", Self.with(method: "")),
    RuleCase("a method that is no token", Self.with(method: "PO ST")),
    RuleCase("an empty scheme", Self.with(scheme: "")),
    RuleCase("a scheme that is none", Self.with(scheme: "1http")),
    RuleCase("a path without a slash", Self.with(path: "test.Echo/Reverse")),
    RuleCase("a path of an asterisk without OPTIONS", Self.with(path: "*")),
    RuleCase("a blank in a path", Self.with(path: "/test.Echo/Reverse x")),
    RuleCase("a path that is not ASCII", Self.with(path: "/test.Echo/Revérse")),
    RuleCase("user information in the authority", Self.with(authority: "me@here")),
    RuleCase("a status in front", [(":status", "200")] + Self.with()),
    RuleCase("a protocol", [(":protocol", "websocket")] + Self.with()),
    RuleCase("a pseudo-header field without a name", [(":", "x")] + Self.with()),
    RuleCase("a pseudo-header field in upper case", [(":Path", "/")] + Self.with(path: nil)),
    RuleCase("a colon in a name", Self.with([("a:b", "x")])),
    RuleCase("DEL in a name", Self.with([("a\u{7f}", "x")])),
    RuleCase("a name that is not ASCII", Self.with([("ä", "x")])),
    RuleCase("a name that is no token", Self.with([("a(b)", "x")])),
    RuleCase("a bell in a value", Self.with([("a", "x\u{7}y")])),
    RuleCase("DEL in a value", Self.with([("a", "x\u{7f}")])),
    RuleCase("a tab before a value", Self.with([("a", "\tx")])),
    RuleCase("a blank after a value", Self.with([("a", "x ")])),
    RuleCase("NUL in the authority", Self.with(authority: "he\0re")),
    RuleCase("LF in the method", Self.with(method: "POST\n")),
    RuleCase("a host that differs", Self.with([("host", "there")])),
    RuleCase("a host with another port", Self.with([("host", "here:8080")])),
    RuleCase("two hosts", Self.with([("host", "here"), ("host", "here")])),
    RuleCase("te of trailers and more", Self.with([("te", "trailers, gzip")])),
    RuleCase("an empty te", Self.with([("te", "")])),
    RuleCase("a length below zero", Self.with([("content-length", "-8")])),
    RuleCase("two lengths in one", Self.with([("content-length", "8, 8")])),
    RuleCase("CONNECT with a path", Self.with(method: "CONNECT", scheme: nil)),
    RuleCase("CONNECT with a scheme", Self.with(method: "CONNECT", path: nil)),
    RuleCase("CONNECT without an authority", Self.with(method: "CONNECT", scheme: nil, path: nil, authority: nil)),
  ]

  @Test(arguments: Self.malformed)
  func `that is malformed has its stream reset`(_ rule: RuleCase<Fields>) throws {
    var peer = try Peer.established()
    try peer.expect(Peer.literalCall(1, rule.value), gives: [.reset(stream: 1, .protocolError)])
    try peer.expect(Peer.literalEnd(3, rule.value), gives: [.reset(stream: 3, .protocolError)])
    #expect(peer.machine.openStreams == 0 && peer.dispatcher.calls.isEmpty)
    try peer.expectService()
  }

  static let wellFormed: [RuleCase<Fields>] = [
    RuleCase("no authority", Self.with(authority: nil)),
    RuleCase("a host instead of an authority", Self.with(authority: nil, [("host", "here")])),
    RuleCase("a host that is the authority", Self.with([("host", "here")])),
    RuleCase("a host in other letters", Self.with(authority: "Here", [("host", "hERE")])),
    RuleCase("a host with the scheme's port", Self.with([("host", "here:80")])),
    RuleCase("an authority with the scheme's port", Self.with(scheme: "https", authority: "h:443", [("host", "h")])),
    RuleCase("an authority of IPv6", Self.with(authority: "[::1]:50051")),
    RuleCase("the scheme https", Self.with(scheme: "https")),
    RuleCase("another scheme", Self.with(scheme: "grpc+unix")),
    RuleCase("the pseudo-header fields in any order", Self.with().prefix(4).reversed() + Self.with().dropFirst(4)),
    RuleCase("no te", Self.with()),
    RuleCase("te of trailers", Self.with([("te", "trailers")])),
    RuleCase("te in other letters", Self.with([("te", "Trailers")])),
    RuleCase("an empty value", Self.with([("a", "")])),
    RuleCase("a tab within a value", Self.with([("a", "x\ty")])),
    RuleCase("a value that is not ASCII", Self.with([("a", "ä")])),
    RuleCase("names with all characters of a token", Self.with([("!#$%&'*+-.^_`|~09az", "x")])),
    RuleCase("cookies in parts", Self.with([("cookie", "a=b"), ("cookie", "c=d")])),
    RuleCase("priority and expect", Self.with([("priority", "u=1"), ("expect", "x")])),
    RuleCase("the length of its body", Self.with([("content-length", "8")])),
    RuleCase("the length of its body with zeros before it", Self.with([("content-length", "008")])),
    RuleCase("a field twice", Self.with([("x", "1"), ("x", "1")])),
  ]

  @Test(arguments: Self.wellFormed)
  func `that is well-formed is served`(_ rule: RuleCase<Fields>) throws {
    var peer = try Peer.established()
    try peer.expect(Peer.literalCall(1, rule.value), gives: Peer.answered(1, [3, 2, 1]))
  }

  /// Trailers that make a request malformed.
  static let badTrailers: [RuleCase<Fields>] = [
    RuleCase("a pseudo-header field", [(":path", "/")]),
    RuleCase("a status", [(":status", "200")]),
    RuleCase("connection", [("connection", "close")]),
    RuleCase("transfer-encoding", [("transfer-encoding", "chunked")]),
    RuleCase("te of gzip", [("te", "gzip")]),
    RuleCase("upper case", [("X-Note", "bye")]),
    RuleCase("a colon in a name", [("x:y", "bye")]),
    RuleCase("NUL in a value", [("x", "\0")]),
    RuleCase("a blank after a value", [("x", "y ")]),
  ]

  @Test(arguments: Self.badTrailers)
  func `may be followed by trailers, but not by`(_ rule: RuleCase<Fields>) throws {
    var peer = try Peer.established()
    _ = try peer.send(peer.headers(1) + Peer.data(1, Peer.message([1])))
    try peer.expect(Peer.literalEnd(1, rule.value), gives: [.reset(stream: 1, .protocolError)])
    _ = try peer.send(peer.headers(3) + Peer.data(3, Peer.message([1])))
    try peer.expect(peer.headers(3, end: true, fields: [("x-note", "bye")]), gives: Peer.answered(3, [1]))
    #expect(peer.dispatcher.calls.count == 1)
  }

  @Test func `for a tunnel is answered 405 at once, not when its client is done`() throws {
    var peer = try Peer.established()
    let fields: Fields = [(":method", "CONNECT"), (":authority", "there:443")]
    let answer = SeenFrame.headers(stream: 1, fields: [":status": "405", "allow": "POST"], end: true)
    try peer.expect(peer.headers(1, fields: fields), gives: [answer, .reset(stream: 1, .noError)])
    try peer.expect(Peer.data(1, [1, 2, 3], end: true), gives: [], "what was under way is ignored")
    let ended = SeenFrame.headers(stream: 3, fields: [":status": "405", "allow": "POST"], end: true)
    try peer.expect(peer.headers(3, end: true, fields: fields), gives: [ended])
    #expect(peer.machine.openStreams == 0 && peer.dispatcher.rejections.count == 2)
    try peer.expectService()
  }

  @Test(arguments: ["GET", "HEAD", "PUT", "OPTIONS", "post", "PRI"])
  func `with another method is answered 405 without a body`(_ method: String) throws {
    var peer = try Peer.established()
    let answer = SeenFrame.headers(stream: 1, fields: [":status": "405", "allow": "POST"], end: true)
    let path = method == "OPTIONS" ? "*" : "/"
    try peer.expect(peer.headers(1, end: true, fields: Self.with(method: method, path: path)), gives: [answer])
  }

  @Test func `is answered with a status first, in lower case, without fields of the connection`() throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.failure(RPCStatus(.notFound, " a text ")), []) }
    let requests: [[UInt8]] = [
      peer.call(1), peer.call(3, fields: Self.with(path: "/no")),
      peer.headers(5, end: true, fields: Self.with(method: "GET")),
      peer.call(7, fields: Peer.head(type: "text/html")),
    ]
    for request in requests {
      var output = ByteBuffer()
      request.withUnsafeBytes { peer.machine.receive($0, dispatcher: &peer.dispatcher, output: &output) }
      #expect(try Self.names(output).first == ":status")
      guard case .headers(_, let fields, true)? = try peer.reader.frames(output).first else {
        throw FrameReader.Broken()
      }
      #expect(fields[":status"] != nil && fields.keys.count { $0.hasPrefix(":") } == 1)
      for (name, value) in fields {
        #expect(name == name.lowercased() && !value.hasPrefix(" ") && !value.hasSuffix(" "), "\(name): \(value)")
        #expect(!["connection", "keep-alive", "transfer-encoding", "upgrade", "te"].contains(name))
      }
    }
    var served = try Peer.established()
    var output = ByteBuffer()
    served.call(1).withUnsafeBytes {
      served.machine.receive($0, dispatcher: &served.dispatcher, output: &output)
    }
    #expect(try Self.names(output) == [":status", "content-type"])
    for case .headers(_, let fields, _) in try served.reader.frames(output) {
      #expect(fields.keys.allSatisfy { $0 == $0.lowercased() })
    }
  }

  /// The names of the fields in the first frame of `output`, in their order.
  private static func names(_ output: ByteBuffer) throws -> [String] {
    guard let head = output.getInteger(at: output.readerIndex, as: UInt32.self),
      var block = output.getSlice(at: output.readerIndex + FrameHeader.size, length: Int(head >> 8))
    else { throw FrameReader.Broken() }
    var decoder = HPACKDecoder(allocator: ByteBufferAllocator())
    return try decoder.decodeHeaders(from: &block).map(\.name)
  }
}
