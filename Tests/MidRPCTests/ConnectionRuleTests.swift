import NIOCore
import NIOHPACK
import Testing

@testable import MidRPC

@Suite("A connection")
struct ConnectionRuleTests {
  @Test func `opens with settings and a larger window`() throws {
    var peer = Peer()
    var output = ByteBuffer()
    peer.machine.open(output: &output)
    let seen = try peer.reader.frames(output)
    #expect(
      seen == [.settings([3: 1000, 4: 66_560, 6: 16_384]), .window(stream: 0, 1_048_576 - 65_535)])
    #expect(!peer.machine.isEstablished)
  }

  @Test(arguments: ["GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX", "\u{16}\u{3}\u{1}"])
  func `that does not begin with the preface ends with GOAWAY`(_ text: String) throws {
    var peer = Peer()
    try peer.expect(Array(text.utf8), gives: [.goAway(last: 0, .protocolError)])
    #expect(peer.machine.isClosed)
    try peer.expect([1, 2, 3], gives: [])
  }

  @Test func `takes its preface byte by byte`() throws {
    var peer = Peer()
    for byte in connectionPreface { try peer.expect([byte], gives: []) }
    try peer.expect(Peer.frame(FrameType.settings, 0, 0), gives: [.settingsAck])
    #expect(peer.machine.isEstablished)
  }

  @Test func `whose first frame is not SETTINGS ends`() throws {
    var peer = Peer()
    let seen = try peer.send(connectionPreface + Peer.frame(FrameType.ping, 0, 0, [UInt8](repeating: 0, count: 8)))
    #expect(seen.goAwayCode == .protocolError)
  }

  /// Frames that end a connection, and the code that RFC 9113 asks for.
  static let fatal: [(String, [UInt8], HTTP2ErrorCode)] = [
    ("a frame too large", Peer.frame(FrameType.data, 0, 1, [UInt8](repeating: 0, count: 16_385)), .frameSizeError),
    ("DATA on stream 0", Peer.data(0, []), .protocolError),
    ("DATA on an idle stream", Peer.data(5, [0]), .protocolError),
    ("DATA on an even stream", Peer.data(2, [0]), .protocolError),
    ("padded DATA without length", Peer.frame(FrameType.data, FrameFlags.padded, 1), .frameSizeError),
    ("DATA all padding", Peer.frame(FrameType.data, FrameFlags.padded, 1, [1]), .protocolError),
    ("HEADERS on stream 0", Peer.frame(FrameType.headers, 4, 0), .protocolError),
    ("HEADERS on an even stream", Peer.frame(FrameType.headers, 4, 2), .protocolError),
    ("padded HEADERS without length", Peer.frame(FrameType.headers, 4 | 8, 1), .frameSizeError),
    ("HEADERS all padding", Peer.frame(FrameType.headers, 4 | 8, 1, [9, 0]), .protocolError),
    ("HEADERS without their priority", Peer.frame(FrameType.headers, 4 | 0x20, 1, [0, 0]), .frameSizeError),
    ("HEADERS that HPACK can't decode", Peer.frame(FrameType.headers, 4, 1, [0xff, 0xff, 0xff]), .compressionError),
    ("CONTINUATION out of place", Peer.frame(FrameType.continuation, 4, 1), .protocolError),
    ("PRIORITY on stream 0", Peer.frame(FrameType.priority, 0, 0, [0, 0, 0, 0, 0]), .protocolError),
    ("RST_STREAM on stream 0", Peer.frame(FrameType.resetStream, 0, 0, [0, 0, 0, 0]), .protocolError),
    ("RST_STREAM on an idle stream", Peer.frame(FrameType.resetStream, 0, 9, [0, 0, 0, 0]), .protocolError),
    ("RST_STREAM of 3 bytes", Peer.frame(FrameType.resetStream, 0, 1, [0, 0, 0]), .frameSizeError),
    ("SETTINGS on a stream", Peer.frame(FrameType.settings, 0, 1), .protocolError),
    ("SETTINGS of 5 bytes", Peer.frame(FrameType.settings, 0, 0, [0, 0, 0, 0, 0]), .frameSizeError),
    ("a SETTINGS ACK with payload", Peer.frame(FrameType.settings, 1, 0, [0, 0, 0, 0, 0, 0]), .frameSizeError),
    ("ENABLE_PUSH of 2", Peer.setting(SettingID.enablePush, 2), .protocolError),
    ("INITIAL_WINDOW_SIZE of 2^31", Peer.setting(SettingID.initialWindowSize, 1 << 31), .flowControlError),
    ("MAX_FRAME_SIZE of 16383", Peer.setting(SettingID.maxFrameSize, 16_383), .protocolError),
    ("MAX_FRAME_SIZE of 2^24", Peer.setting(SettingID.maxFrameSize, 1 << 24), .protocolError),
    ("PUSH_PROMISE", Peer.frame(FrameType.pushPromise, 4, 1, [0, 0, 0, 2]), .protocolError),
    ("PING on a stream", Peer.frame(FrameType.ping, 0, 1, [UInt8](repeating: 0, count: 8)), .protocolError),
    ("PING of 7 bytes", Peer.frame(FrameType.ping, 0, 0, [UInt8](repeating: 0, count: 7)), .frameSizeError),
    ("GOAWAY on a stream", Peer.frame(FrameType.goAway, 0, 1, [UInt8](repeating: 0, count: 8)), .protocolError),
    ("GOAWAY of 7 bytes", Peer.frame(FrameType.goAway, 0, 0, [UInt8](repeating: 0, count: 7)), .frameSizeError),
    ("WINDOW_UPDATE of 3 bytes", Peer.frame(FrameType.windowUpdate, 0, 0, [0, 0, 1]), .frameSizeError),
    ("WINDOW_UPDATE by 0", Peer.window(0, 0), .protocolError),
    ("WINDOW_UPDATE on an idle stream", Peer.window(7, 1), .protocolError),
    ("the connection's window past 2^31-1", Peer.window(0, 0x7fff_ffff), .flowControlError),
  ]

  @Test(arguments: Self.fatal)
  func `ends with the right code at`(_ what: String, _ bytes: [UInt8], _ code: HTTP2ErrorCode) throws {
    var peer = try Peer.established()
    try peer.expect(bytes, ends: code, "\(what)")
    #expect(peer.machine.isClosed)
  }

  /// Request headers that RFC 9113, section 8, calls malformed.
  static let malformed: [(String, [(String, String)])] = [
    ("no method", [(":scheme", "http"), (":path", "/")]),
    ("no scheme", [(":method", "POST"), (":path", "/")]),
    ("no path", [(":method", "POST"), (":scheme", "http")]),
    ("an empty path", [(":method", "POST"), (":scheme", "http"), (":path", "")]),
    ("two paths", Peer.head() + [(":path", "/")]),
    ("two paths in front", [(":path", "/")] + Peer.head()),
    ("two methods", [(":method", "POST")] + Peer.head()),
    ("two schemes", [(":scheme", "POST")] + Peer.head()),
    ("two authorities", [(":authority", "a")] + Peer.head()),
    ("a pseudo-header after others", [("a", "b")] + Peer.head()),
    ("an unknown pseudo-header", [(":status", "200")] + Peer.head()),
    ("upper case", Peer.head(extra: [("Upper", "x")])),
    ("a space in a name", Peer.head(extra: [("a b", "x")])),
    ("connection", Peer.head(extra: [("connection", "close")])),
    ("keep-alive", Peer.head(extra: [("keep-alive", "1")])),
    ("proxy-connection", Peer.head(extra: [("proxy-connection", "close")])),
    ("transfer-encoding", Peer.head(extra: [("transfer-encoding", "chunked")])),
    ("upgrade", Peer.head(extra: [("upgrade", "h2c")])),
    ("te that is not trailers", Peer.head(extra: [("te", "gzip")])),
    ("NUL in a value", Peer.head(extra: [("a", "x\0y")])),
    ("CR in a value", Peer.head(extra: [("a", "x\ry")])),
    ("LF in a value", Peer.head(extra: [("a", "x\ny")])),
    ("CR and LF in a path", Peer.head(path: "/a\r\nb")),
    ("a blank before a value", Peer.head(extra: [("a", " x")])),
    ("a tab after a value", Peer.head(extra: [("a", "x\t")])),
    ("a length that is none", Peer.head(extra: [("content-length", "8x")])),
    ("an empty length", Peer.head(extra: [("content-length", "")])),
    ("two lengths", Peer.head(extra: [("content-length", "8"), ("content-length", "8")])),
    ("a length below the body's", Peer.head(extra: [("content-length", "7")])),
    ("a length past the body's", Peer.head(extra: [("content-length", "99999999999")])),
  ]

  @Test(arguments: Self.malformed)
  func `resets a stream whose request is malformed and goes on`(_ what: String, _ fields: [(String, String)]) throws {
    var peer = try Peer.established()
    let seen = try peer.send(peer.call(1, fields: fields))
    #expect(seen == [.reset(stream: 1, .protocolError)], "\(what)")
    try peer.expect(peer.call(3), gives: Peer.answered(3, [3, 2, 1]))
    #expect(peer.dispatcher.calls.count == 1)
  }

  @Test func `answers PING, and ignores unknown frames, settings and priorities`() throws {
    var peer = try Peer.established()
    try peer.expect(Peer.frame(FrameType.ping, 0, 0, [0, 0, 0, 0, 0, 0, 1, 2]), gives: [.ping(0x102, ack: true)])
    try peer.expect(Peer.frame(FrameType.ping, FrameFlags.ack, 0, [0, 0, 0, 0, 0, 0, 1, 2]), gives: [])
    try peer.expect(Peer.frame(0xfa, 0xff, 77, [1, 2, 3]), gives: [])
    #expect(try peer.send(Peer.setting(0x99, 5) + Peer.setting(SettingID.enablePush, 0)).count == 2)
    try peer.expect(Peer.frame(FrameType.priority, 0, 9, [0, 0, 0, 0, 1]), gives: [])
    try peer.expect(Peer.frame(FrameType.goAway, 0, 0, [UInt8](repeating: 0, count: 8)), gives: [])
    try peer.expect(peer.call(1), gives: Peer.answered(1, [3, 2, 1]))
  }

  @Test func `resets the stream of a PRIORITY of the wrong size`() throws {
    var peer = try Peer.established()
    _ = try peer.send(peer.headers(1))
    try peer.expect(Peer.frame(FrameType.priority, 0, 1, [0]), gives: [.reset(stream: 1, .frameSizeError)])
    #expect(peer.machine.openStreams == 0)
  }

  @Test func `refuses one stream more than the limit, and keeps its table in step`() throws {
    var limits = RPCLimits()
    limits.maxConcurrentStreams = 2
    var peer = try Peer.established(limits: limits)
    let bytes = peer.headers(1) + peer.headers(3) + peer.headers(5, indexing: .indexable)
    try peer.expect(bytes, gives: [.reset(stream: 5, .refusedStream)])
    try peer.expect(Peer.data(5, Peer.message([]), end: true), gives: [], "what was under way is ignored")
    try peer.expect(peer.headers(5, end: true, fields: [("a", "b")]), gives: [])
    try peer.expect(Peer.data(1, Peer.message([4]), end: true), gives: Peer.answered(1, [4]))
    try peer.expect(peer.call(7, indexing: .indexable), gives: Peer.answered(7, [3, 2, 1]))
  }

  @Test func `ends when a stream that is over gets HEADERS, resets it when it gets DATA`() throws {
    var peer = try Peer.established()
    _ = try peer.send(peer.call(1))
    try peer.expect(Peer.data(1, [1]), gives: [.reset(stream: 1, .streamClosed)])
    try peer.expect(Peer.window(1, 5) + Peer.frame(FrameType.resetStream, 0, 1, [0, 0, 0, 8]), gives: [])
    _ = try peer.send(peer.call(3))
    try peer.expect(peer.headers(3), ends: .streamClosed)
  }

  @Test func `takes a length that is the body's, however it is cut`() throws {
    var peer = try Peer.established()
    let fields = Peer.head(extra: [("content-length", "8")])
    try peer.expect(peer.call(1, fields: fields), gives: Peer.answered(1, [3, 2, 1]))
    _ = try peer.send(peer.headers(3, fields: fields) + Peer.data(3, [0, 0, 0, 0]))
    try peer.expect(Peer.data(3, [3, 1, 2, 3], end: true), gives: Peer.answered(3, [3, 2, 1]))
    _ = try peer.send(peer.headers(5, fields: fields) + Peer.data(5, [0, 0, 0, 0]))
    try peer.expect(Peer.data(5, [2, 1, 2], end: true), gives: [.reset(stream: 5, .protocolError)])
    try peer.expect(peer.headers(7, end: true, fields: fields), gives: [.reset(stream: 7, .protocolError)])
    #expect(peer.machine.openStreams == 0)
  }

  @Test func `does not judge the length of a request that its head refuses`() throws {
    var peer = try Peer.established()
    let unknown = Peer.head(path: "/no/thing", extra: [("content-length", "7")])
    #expect(try peer.send(peer.call(1, fields: unknown)).trailersOnlyStatus == "12")
    let other = Peer.head(type: "text/plain", extra: [("content-length", "7")])
    try peer.expect(
      peer.call(3, fields: other), gives: [.headers(stream: 3, fields: [":status": "415"], end: true)])
  }

  @Test func `tells a stream that was left out from one that is over`() throws {
    for (stream, code) in [(1, .protocolError), (3, .protocolError), (5, .streamClosed)] as [(UInt32, HTTP2ErrorCode)] {
      var peer = try Peer.established()
      _ = try peer.send(peer.call(5))
      try peer.expect(peer.headers(stream), ends: code)
    }
  }

  @Test func `treats more after the end of a request that waits as the RFC asks`() throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.later, []) }
    _ = try peer.send(peer.call(1) + peer.call(3))
    try peer.expect(Peer.data(1, [1]), gives: [.reset(stream: 1, .streamClosed)])
    #expect(peer.dispatcher.cancellations == [1])
    try peer.expect(peer.headers(3, end: true), ends: .streamClosed)
    #expect(peer.dispatcher.cancellations == [1, 3])
  }

  @Test func `resets a stream whose trailers do not end it or are none`() throws {
    var peer = try Peer.established()
    _ = try peer.send(peer.headers(1) + peer.headers(3))
    try peer.expect(peer.headers(1, fields: [("a", "b")]), gives: [.reset(stream: 1, .protocolError)])
    try peer.expect(peer.headers(3, end: true), gives: [.reset(stream: 3, .protocolError)])
  }

  @Test func `takes a header block in many frames, and nothing between them`() throws {
    var peer = try Peer.established()
    let block = peer.block(Peer.head())
    var bytes = Peer.frame(FrameType.headers, 0, 1, Array(block[..<5]))
    bytes += Peer.frame(FrameType.continuation, 0, 1, Array(block[5..<20]))
    bytes += Peer.frame(FrameType.continuation, FrameFlags.endHeaders, 1, Array(block[20...]))
    try peer.expect(bytes + Peer.data(1, Peer.message([8]), end: true), gives: Peer.answered(1, [8]))
    let broken = Peer.frame(FrameType.headers, 0, 3, block) + Peer.frame(FrameType.ping, 0, 0, [])
    try peer.expect(broken, ends: .protocolError)
  }

  @Test func `takes CONTINUATION of its own stream only, and reports what it holds`() throws {
    var peer = try Peer.established()
    _ = try peer.send(Peer.frame(FrameType.headers, 0, 1))
    try peer.expect(Peer.frame(FrameType.continuation, 4, 3), ends: .protocolError)
    var other = try Peer.established()
    _ = try other.send(Peer.frame(FrameType.headers, 0, 1))
    try other.expect(Peer.frame(FrameType.continuation, 4, 1, [0xff, 0xff]), ends: .compressionError)
  }

  @Test func `ends at too long a header list, plain, compressed or in endless parts`() throws {
    var plain = try Peer.established()
    let long = String(repeating: "x", count: 9000)
    #expect(try plain.send(plain.call(1, fields: Peer.head(extra: [("a", long), ("b", long)]))).goAwayCode != nil)
    var bomb = try Peer.established()
    let fields = Peer.head(extra: [("a", String(repeating: "y", count: 3000))])
    _ = try bomb.send(bomb.call(1, fields: fields, indexing: .indexable))
    let many = Peer.head(extra: Array(repeating: ("a", String(repeating: "y", count: 3000)), count: 10))
    try bomb.expect(bomb.call(3, fields: many, indexing: .indexable), ends: .enhanceYourCalm)
    var endless = try Peer.established()
    _ = try endless.send(Peer.frame(FrameType.headers, 0, 1))
    var seen: [SeenFrame] = []
    for _ in 0..<64 { seen += try endless.send(Peer.frame(FrameType.continuation, 0, 1)) }
    #expect(seen.goAwayCode == .enhanceYourCalm)
  }

  @Test func `ends at too many frames that bring no call forward, but not when calls come between`() throws {
    var limits = RPCLimits()
    limits.maxUnproductiveFrames = 50
    limits.maxResets = 50
    let ping = Peer.frame(FrameType.ping, 0, 0, [UInt8](repeating: 0, count: 8))
    var calm = try Peer.established(limits: limits)
    for index in 0..<200 {
      let seen = try calm.send(ping + calm.call(UInt32(2 * index + 1)))
      #expect(seen.goAwayCode == nil)
    }
    let floods: [(inout Peer, UInt32) -> [UInt8]] = [
      { _, _ in ping },
      { _, _ in Peer.frame(FrameType.settings, 0, 0) },
      { _, _ in Peer.frame(FrameType.priority, 0, 1, [0, 0, 0, 0, 1]) },
      { _, _ in Peer.window(0, 1) },
      { _, _ in Peer.frame(0xee, 0, 0) },
      { peer, stream in peer.headers(stream) + Peer.frame(FrameType.resetStream, 0, stream, [0, 0, 0, 8]) },
      { peer, stream in peer.headers(stream, fields: [("x", "y")]) },
      { peer, stream in stream == 1 ? peer.headers(1) : Peer.data(1, []) },
    ]
    for flood in floods {
      var peer = try Peer.established(limits: limits)
      var last: [SeenFrame] = []
      for index in 0..<200 where !peer.machine.isClosed {
        last = try peer.send(flood(&peer, UInt32(2 * index + 1)))
      }
      #expect(last.goAwayCode == .enhanceYourCalm)
    }
  }

  @Test func `counts on through requests that no method answers, and not through those that fail in one`() throws {
    var limits = RPCLimits()
    limits.maxUnproductiveFrames = 50
    let window = Peer.window(0, 1)
    var failing = try Peer.established(limits: limits)
    failing.dispatcher.answer = { _ in (.failure(RPCStatus(.notFound)), []) }
    for index in 0..<200 { _ = try failing.send(window + failing.call(UInt32(2 * index + 1))) }
    #expect(!failing.machine.isClosed)
    var later = try Peer.established(limits: limits)
    later.dispatcher.answer = { _ in (.later, []) }
    for index in 0..<200 where !later.machine.isClosed {
      let stream = UInt32(2 * index + 1)
      _ = try later.send(window + later.call(stream))
      _ = try later.fail(stream, RPCStatus(.notFound))
    }
    #expect(!later.machine.isClosed)
    for fields in [Peer.head(path: "/no/thing"), Peer.head(method: "GET")] {
      var refused = try Peer.established(limits: limits)
      var last: [SeenFrame] = []
      for index in 0..<200 where !refused.machine.isClosed {
        last = try refused.send(window + refused.call(UInt32(2 * index + 1), fields: fields))
      }
      #expect(last.goAwayCode == .enhanceYourCalm)
    }
  }

  @Test func `is not ended by frames that come slowly`() throws {
    var limits = RPCLimits()
    limits.maxUnproductiveFrames = 50
    limits.maxResets = 5
    var peer = try Peer.established(limits: limits)
    for round in 0..<10 {
      for _ in 0..<40 { _ = try peer.send(Peer.window(0, 1)) }
      for index in 0..<4 {
        let stream = UInt32(8 * round + 2 * index + 1)
        _ = try peer.send(peer.headers(stream) + Peer.frame(FrameType.resetStream, 0, stream, [0, 0, 0, 8]))
      }
      peer.machine.refillBudget()
    }
    #expect(!peer.machine.isClosed)
  }

  @Test func `ends gracefully: says so, serves what comes before the peer knows, then ignores new streams`() throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.later, []) }
    _ = try peer.send(peer.call(1))
    var output = ByteBuffer()
    peer.machine.beginDrain(output: &output)
    #expect(
      try peer.reader.frames(output) == [
        .goAway(last: 0x7fff_ffff, .noError), .ping(ConnectionStateMachine.drainPing, ack: false),
      ])
    _ = try peer.send(peer.call(3))
    let other = Peer.frame(FrameType.ping, FrameFlags.ack, 0, [UInt8](repeating: 0, count: 8))
    try peer.expect(other, gives: [], "the answer to another PING says nothing")
    let pong = Peer.frame(
      FrameType.ping, FrameFlags.ack, 0,
      withUnsafeBytes(of: ConnectionStateMachine.drainPing.bigEndian) { Array($0) })
    try peer.expect(pong, gives: [.goAway(last: 3, .noError)])
    try peer.expect(peer.call(5), gives: [], "streams past the last one are ignored")
    try peer.expect(Peer.window(5, 1) + Peer.frame(FrameType.resetStream, 0, 5, [0, 0, 0, 8]), gives: [])
    #expect(!peer.machine.isDrained)
    _ = try peer.reply(1)
    _ = try peer.reply(3)
    #expect(peer.machine.isDrained)
    #expect(peer.dispatcher.calls.count == 2)
  }

  @Test func `that never spoke ends at once when asked to`() throws {
    var peer = Peer()
    var output = ByteBuffer()
    peer.machine.beginDrain(output: &output)
    #expect(try peer.reader.frames(output) == [.goAway(last: 0, .noError)])
    #expect(peer.machine.isClosed)
    var again = ByteBuffer()
    peer.machine.beginDrain(output: &again)
    peer.machine.sendFinalGoAway(output: &again)
    try peer.expect(connectionPreface, gives: [])
  }

  @Test func `that breaks off gives up what waits`() throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.later, []) }
    _ = try peer.send(peer.call(1) + peer.headers(3))
    peer.machine.close(dispatcher: &peer.dispatcher)
    peer.machine.close(dispatcher: &peer.dispatcher)
    #expect(peer.dispatcher.cancellations == [1])
    try peer.expect(peer.call(5), gives: [])
  }
}
