import NIOCore
import Testing

@testable import MidRPC

@Suite("A call of many messages")
struct StreamingCallTests {
  private static let path = Peer.head(path: "/test.Echo/Stream")

  private static func messages(_ bodies: [[UInt8]]) -> [UInt8] { bodies.flatMap { Peer.message($0) } }

  private static let opened = SeenFrame.headers(
    stream: 1, fields: [":status": "200", "content-type": "application/grpc"], end: false)
  private static let closed = SeenFrame.headers(stream: 1, fields: ["grpc-status": "0"], end: true)

  private static func reply(_ message: [UInt8], _ stream: UInt32 = 1) -> SeenFrame {
    .data(stream: stream, Peer.message(message), end: false)
  }

  private func open(_ limits: RPCLimits = RPCLimits(), answersLater: Bool = false) throws -> Peer {
    var peer = try Peer.established(limits: limits)
    if answersLater { peer.dispatcher.answer = { _ in (.later, []) } }
    try peer.expect(peer.headers(1, fields: Self.path), gives: [])
    return peer
  }

  @Test func `gets one reply for each, in order, and its end after the last`() throws {
    var peer = try self.open()
    try peer.expect(Peer.data(1, Self.messages([[1, 2]])), gives: [Self.opened, Self.reply([2, 1])])
    try peer.expect(Peer.data(1, Self.messages([[3, 4], [], [5]])), gives: [[4, 3], [], [5]].map { Self.reply($0) })
    try peer.expect(Peer.data(1, Self.messages([[6]]), end: true), gives: [Self.reply([6]), Self.closed])
    #expect(peer.machine.openStreams == 0)
    #expect(peer.machine.bufferedBytes == 0)
    #expect(peer.dispatcher.calls.allSatisfy { $0.stream == 1 && $0.route == 2 })
  }

  @Test func `may come in any pieces`() throws {
    let bytes = Self.messages([[1, 2, 3], [], [UInt8](repeating: 9, count: 40), [4]])
    for size in 1...bytes.count {
      var peer = try self.open()
      var seen: [SeenFrame] = []
      var rest = bytes[...]
      while !rest.isEmpty {
        seen += try peer.send(Peer.data(1, Array(rest.prefix(size))))
        rest = rest.dropFirst(size)
      }
      seen += try peer.send(Peer.data(1, [], end: true))
      let replies = [[3, 2, 1], [], [UInt8](repeating: 9, count: 40), [4]].map { Self.reply($0) }
      #expect(seen == [Self.opened] + replies + [Self.closed], "pieces of \(size)")
    }
  }

  @Test func `may have none`() throws {
    var peer = try Peer.established()
    let seen = try peer.send(peer.headers(1, end: true, fields: Self.path))
    #expect(seen.trailersOnlyStatus == "0")
    var later = try self.open()
    #expect(try later.send(Peer.data(1, [], end: true)).trailersOnlyStatus == "0")
    var trailers = try self.open()
    let end = Peer.frame(
      FrameType.headers, FrameFlags.endHeaders | FrameFlags.endStream, 1, trailers.block([("x", "y")]))
    #expect(try trailers.send(end).trailersOnlyStatus == "0")
    #expect(trailers.machine.openStreams == 0)
  }

  @Test func `has the next message wait for the reply to the last`() throws {
    var peer = try self.open(answersLater: true)
    try peer.expect(Peer.data(1, Self.messages([[1], [2], [3]]), end: true), gives: [])
    #expect(peer.dispatcher.calls.map(\.message) == [[1]])
    #expect(try peer.reply(1, [10]) == [Self.opened, Self.reply([10])])
    #expect(peer.dispatcher.calls.map(\.message) == [[1], [2]])
    #expect(try peer.reply(1, [20]) == [Self.reply([20])])
    #expect(try peer.reply(1, [30]) == [Self.reply([30]), Self.closed])
    #expect(try peer.reply(1, [40]) == nil)
  }

  @Test func `fails as a whole, and its caller stops sending`() throws {
    var peer = try self.open()
    peer.dispatcher.answer = { call in
      call.message == [9] ? (.failure(RPCStatus(.notFound, "no 9")), [1, 1]) : (.message, call.message)
    }
    let failed = SeenFrame.headers(stream: 1, fields: ["grpc-status": "5", "grpc-message": "no 9"], end: true)
    try peer.expect(
      Peer.data(1, Self.messages([[1], [9], [2]])),
      gives: [Self.opened, Self.reply([1]), failed, .reset(stream: 1, .noError)])
    #expect(peer.dispatcher.calls.count == 2)
    #expect(peer.machine.bufferedBytes == 0)
    try peer.expect(Peer.data(1, Self.messages([[3]])), gives: [], "what was under way is ignored")

    var first = try self.open()
    first.dispatcher.answer = { _ in (.failure(RPCStatus(.unavailable)), []) }
    #expect(try first.send(Peer.data(1, Self.messages([[1]]), end: true)).trailersOnlyStatus == "14")

    var later = try self.open(answersLater: true)
    _ = try later.send(Peer.data(1, Self.messages([[1], [2]]), end: true))
    _ = try later.reply(1, [1])
    let status = SeenFrame.headers(stream: 1, fields: ["grpc-status": "8"], end: true)
    #expect(try later.fail(1, RPCStatus(.resourceExhausted)) == [status])
  }

  @Test func `fails at a message that is none`() throws {
    let cases: [([UInt8], Bool, String)] = [
      ([1, 0, 0, 0, 0], false, "13"), ([7, 0, 0, 0, 0], false, "13"), ([0, 1, 0, 0, 0], false, "8"),
      ([0, 0, 0], true, "13"), ([0, 0, 0, 0, 2, 1], true, "13"),
    ]
    for (bytes, isLast, code) in cases {
      var peer = try self.open()
      let seen = try peer.send(Peer.data(1, bytes, end: isLast))
      #expect(Array(seen.prefix(1)).trailersOnlyStatus == code, "\(bytes)")
      #expect(seen.count == (isLast ? 1 : 2))
      #expect(peer.machine.openStreams == 0 && peer.machine.bufferedBytes == 0)
      #expect(peer.dispatcher.rejections.count == 1)
    }
  }

  @Test func `given up by its caller is not gone on with`() throws {
    var peer = try self.open(answersLater: true)
    _ = try peer.send(Peer.data(1, Self.messages([[1], [2]])))
    try peer.expect(Peer.frame(FrameType.resetStream, 0, 1, [0, 0, 0, 8]), gives: [])
    #expect(peer.dispatcher.cancellations == [1])
    #expect(try peer.reply(1, [1]) == nil)
    #expect(peer.machine.bufferedBytes == 0)
    #expect(peer.dispatcher.calls.count == 1)
  }

  @Test func `is not taken further than its caller reads`() throws {
    var peer = try Peer.established()
    _ = try peer.send(Peer.setting(SettingID.initialWindowSize, 10))
    _ = try peer.send(peer.headers(1, fields: Self.path))
    // Six bytes of DATA a reply: the second does not fit into the window of ten.
    let seen = try peer.send(Peer.data(1, Self.messages([[1], [2], [3]]), end: true))
    #expect(seen == [Self.opened, Self.reply([1]), .data(stream: 1, [0, 0, 0, 0], end: false)])
    #expect(peer.dispatcher.calls.count == 2, "the third waits until the second has left")
    try peer.expect(Peer.window(1, 1), gives: [.data(stream: 1, [1], end: false)])
    #expect(peer.dispatcher.calls.count == 2)
    try peer.expect(
      Peer.window(1, 7), gives: [.data(stream: 1, [2], end: false), Self.reply([3]), Self.closed])
  }

  @Test func `takes no more from its caller than its window while a reply is awaited`() throws {
    var peer = try self.open(answersLater: true)
    let window = peer.machine.limits.streamWindow
    let message = Peer.message([UInt8](repeating: 1, count: 995))
    var sent = 0
    while sent + message.count <= window {
      try peer.expect(Peer.data(1, message), gives: [], "no window is given back")
      sent += message.count
    }
    #expect(peer.machine.bufferedBytes == sent - message.count)
    peer.dispatcher.answer = { _ in (.message, []) }
    let seen = try #require(try peer.reply(1, []))
    let given = seen.compactMap { if case .window(1, let count) = $0 { Int(count) } else { nil } }
    #expect(given == [sent], "all that was used comes back once all is served")
    #expect(peer.machine.bufferedBytes == 0)
    let owed = peer.machine.receiveWindow + peer.machine.receiveCredit
    #expect(owed == peer.machine.limits.connectionWindow, "the connection's too")
  }

  @Test func `gets back of its window what is answered, and not what is half-sent`() throws {
    var peer = try self.open()
    peer.dispatcher.answer = { _ in (.message, []) }
    let message = Peer.message([UInt8](repeating: 1, count: 995))
    let many = [UInt8]([[UInt8]](repeating: message, count: 16).joined())
    let first = try peer.send(Peer.data(1, many) + Peer.data(1, many))
    #expect(!first.contains { if case .window(1, _) = $0 { true } else { false } }, "more than half is left")
    let seen = try peer.send(Peer.data(1, message + message.prefix(500)))
    #expect(seen.last == .window(stream: 1, 33_000))
    #expect(peer.machine.bufferedBytes == 500)
  }

  @Test func `is not taken further than the connection's window`() throws {
    var peer = try Peer.established()
    _ = try peer.send(Peer.setting(SettingID.initialWindowSize, 0x7fff_ffff))
    peer.dispatcher.answer = { _ in (.message, [UInt8](repeating: 1, count: 9_995)) }
    let messages = Self.messages([[UInt8]](repeating: [], count: 10))
    var seen = try peer.send(peer.headers(1, fields: Self.path) + Peer.data(1, messages, end: true))
    func bytes() -> Int { seen.reduce(0) { if case .data(1, let data, _) = $1 { $0 + data.count } else { $0 } } }
    #expect(bytes() == 65_535)
    #expect(peer.dispatcher.calls.count == 7)
    seen += try peer.send(Peer.window(0, 34_465))
    #expect(bytes() == 100_000 && seen.last == Self.closed)
  }

  @Test func `holds to its content-length`() throws {
    for (length, isRight) in [(12, true), (11, false), (13, false)] {
      var peer = try Peer.established()
      _ = try peer.send(peer.headers(1, fields: Self.path + [("content-length", "\(length)")]))
      _ = try peer.send(Peer.data(1, Self.messages([[1]])))
      let seen = try peer.send(Peer.data(1, Self.messages([[2]]), end: true))
      #expect(seen.last == (isRight ? Self.closed : .reset(stream: 1, .protocolError)), "\(length)")
    }
    var over = try Peer.established()
    _ = try over.send(over.headers(1, fields: Self.path + [("content-length", "5")]))
    try over.expect(
      Peer.data(1, Self.messages([[1]])), gives: [.reset(stream: 1, .protocolError)], "at once, not at its end")
  }

  @Test func `takes turns with others when the output is large`() throws {
    var peer = try Peer.established()
    _ = try peer.send(Peer.setting(SettingID.initialWindowSize, 0x7fff_ffff) + Peer.window(0, 0x7000_0000))
    let large = [UInt8](repeating: 5, count: 10_000)
    peer.dispatcher.answer = { _ in (.message, large) }
    let many = Self.messages([[UInt8]](repeating: [1], count: 100))
    var seen = try peer.send(peer.headers(1, fields: Self.path) + Peer.data(1, many, end: true) + peer.call(3))
    #expect(peer.machine.isPaused)
    #expect(peer.dispatcher.calls.count < 40)
    var rounds = 0
    while peer.machine.isPaused {
      seen += try peer.resume()
      rounds += 1
    }
    #expect(rounds > 2)
    #expect(peer.dispatcher.calls.count == 101)
    #expect(seen.count { $0 == Self.reply(large) } == 100)
    #expect(seen.contains(Self.closed) && peer.machine.openStreams == 0)
  }
}
