import MidRPC
import NIOCore
import NIOHPACK
import Testing

@testable import mid

@Suite("The load generator's connection")
struct BenchConnectionTests {
  private typealias Event = NotingReceiver.Event

  @Test func `it begins with the preface, its settings and a large window`() throws {
    var peer = try BenchPeer()
    var output = ByteBuffer()
    peer.machine.open(output: &output)
    #expect(output.getBytes(at: 0, length: 24) == connectionPreface)
    let seen = try peer.reader.frames(output)
    #expect(seen == [.settings, .window(stream: 0, UInt32(ClientConnectionStateMachine.connectionWindow - 65_535))])
    #expect(!peer.machine.canStart)
    #expect(try peer.receive(ServerFrames.settings()) == [.settingsAck])
    #expect(peer.machine.canStart)
  }

  @Test func `a call is one HEADERS and one DATA frame, and its answer is told`() throws {
    var peer = try BenchPeer.open()
    let sent = try peer.start(7)
    guard case .headers(1, let fields) = sent.first else { throw ClientFrameReader.Broken() }
    #expect(fields[":method"] == "POST")
    #expect(fields[":path"] == "/a.B/C")
    #expect(fields[":authority"] == "host:1")
    #expect(fields["te"] == "trailers")
    #expect(fields["content-type"] == "application/grpc")
    #expect(Array(sent.dropFirst()) == [.data(stream: 1, [0, 0, 0, 0, 3, 1, 2, 3], end: true)])
    #expect(try peer.start(8).last == .data(stream: 3, [0, 0, 0, 0, 3, 1, 2, 3], end: true))
    #expect(try peer.receive(try peer.frames.reply(3, [9]) + peer.frames.reply(1, [5, 6])) == [])
    let told: [Event] = [.message(8, [9]), .ended(8, .ok), .message(7, [5, 6]), .ended(7, .ok)]
    #expect(peer.events() == told)
    #expect(peer.machine.calls.count == 0)
  }

  @Test func `blocks that use the dynamic table mean what they meant to the server`() throws {
    var peer = try BenchPeer.open()
    for name in UInt64(0)..<6 {
      _ = try peer.start(name)
      _ = try peer.receive(try peer.frames.reply(UInt32(name) * 2 + 1, [UInt8(name)], .indexable))
    }
    // The table moves: what was an index before means something else now.
    _ = try peer.start(6)
    _ = try peer.receive(
      try peer.frames.headers(13, [(":status", "200"), ("x-more", "1")] + ServerFrames.opening[1...], .indexable))
    let trailers = try peer.frames.headers(13, [("grpc-status", "5"), ("grpc-message", "no")], end: true, .indexable)
    _ = try peer.receive(trailers)
    _ = try peer.start(7)
    _ = try peer.receive(try peer.frames.reply(15, [7], .indexable))
    let ends = peer.events().compactMap { if case .ended(_, let code) = $0 { code } else { nil } }
    #expect(ends == [.ok, .ok, .ok, .ok, .ok, .ok, .notFound, .ok])
  }

  @Test func `calls that fail are told with their code`() throws {
    let cases: [([(String, String)], RPCStatus.Code)] = [
      (ServerFrames.opening + [("grpc-status", "8"), ("grpc-message", "a%20lot")], .resourceExhausted),
      (ServerFrames.opening, .unknown), ([(":status", "503")], .unavailable), ([(":status", "404")], .unimplemented),
      ([(":status", "200"), ("content-type", "text/html")], .unknown),
    ]
    for (fields, code) in cases {
      var peer = try BenchPeer.open()
      _ = try peer.start(1)
      #expect(try peer.receive(try peer.frames.headers(1, fields, end: true)) == [])
      #expect(peer.events() == [.ended(1, code)])
    }
  }

  @Test func `an answer that is none ends its call alone`() throws {
    let long = Array(repeating: UInt8(0), count: 20)
    let cases: [([UInt8], RPCStatus.Code, reset: Bool)] = [
      (ServerFrames.data(1, [0, 0, 0, 0, 1, 7], end: true), .unknown, false),
      (ServerFrames.data(1, [1, 0, 0, 0, 1, 7]), .internalError, true),
      (ServerFrames.data(1, [0, 0xff, 0, 0, 0] + long), .resourceExhausted, true),
      (ServerFrames.data(1, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), .internalError, true),
    ]
    for (bytes, code, isReset) in cases {
      var peer = try BenchPeer.open()
      _ = try peer.start(1)
      _ = try peer.start(2)
      let sent = try peer.receive(try peer.frames.headers(1, ServerFrames.opening) + bytes)
      #expect(sent.contains(.reset(stream: 1, 8)) == isReset)
      #expect(peer.events().last == .ended(1, code))
      _ = try peer.receive(try peer.frames.reply(3, [1]))
      #expect(peer.events() == [.message(2, [1]), .ended(2, .ok)])
    }
  }

  @Test func `an ending with OK and no whole message is a failure`() throws {
    for data in [[], ServerFrames.data(1, [0, 0, 0, 0, 9, 1])] as [[UInt8]] {
      var peer = try BenchPeer.open()
      _ = try peer.start(1)
      let head = try peer.frames.headers(1, ServerFrames.opening)
      _ = try peer.receive(head + data + peer.frames.headers(1, [("grpc-status", "0")], end: true))
      #expect(peer.events() == [.ended(1, .internalError)])
    }
  }

  @Test func `resets are told as gRPC maps them`() throws {
    let codes: [(UInt32, RPCStatus.Code)] = [
      (7, .unavailable), (8, .cancelled), (11, .resourceExhausted), (2, .internalError), (99, .internalError),
    ]
    for (code, status) in codes {
      var peer = try BenchPeer.open()
      _ = try peer.start(1)
      _ = try peer.receive(ServerFrames.reset(1, code))
      #expect(peer.events() == [.ended(1, status)])
    }
  }

  @Test func `the server's limit on calls at once is kept, also when it changes`() throws {
    var peer = try BenchPeer.open((SettingID.maxConcurrentStreams, 2))
    _ = try peer.start(1)
    #expect(peer.machine.canStart)
    _ = try peer.start(2)
    #expect(!peer.machine.canStart)
    _ = try peer.receive(ServerFrames.settings((SettingID.maxConcurrentStreams, 3)))
    #expect(peer.machine.canStart)
    _ = try peer.receive(ServerFrames.settings((SettingID.maxConcurrentStreams, 1)) + peer.frames.reply(1, [1]))
    #expect(!peer.machine.canStart)
  }

  @Test func `requests wait for the stream's window and the connection's, and leave in pieces`() throws {
    var peer = try BenchPeer.open((SettingID.initialWindowSize, 5))
    #expect(try peer.start(1).dropFirst() == [.data(stream: 1, [0, 0, 0, 0, 3], end: false)])
    #expect(try peer.receive(ServerFrames.window(1, 1)) == [.data(stream: 1, [1], end: false)])
    let rest = try peer.receive(ServerFrames.settings((SettingID.initialWindowSize, 100)))
    #expect(rest == [.settingsAck, .data(stream: 1, [2, 3], end: true)])
    // 65,535 of the connection's window, 8 bytes a call.
    var sent = 0
    for name in UInt64(2)... {
      let frames = try peer.start(name)
      guard frames.count == 2, case .data(_, let bytes, true) = frames[1] else { break }
      sent += bytes.count
    }
    #expect(sent == 65_535 / 8 * 8 - 8)
    let stream = peer.machine.nextStreamID - 2
    #expect(try peer.start(1).count == 1)
    let more = try peer.receive(ServerFrames.window(0, 2))
    #expect(more == [.data(stream: stream, [3], end: true), .data(stream: stream + 2, [0], end: false)])
  }

  @Test func `a window that shrinks below nothing is made up for before more is sent`() throws {
    var peer = try BenchPeer.open((SettingID.initialWindowSize, 5))
    _ = try peer.start(1)
    _ = try peer.receive(ServerFrames.settings((SettingID.initialWindowSize, 2)))
    #expect(try peer.receive(ServerFrames.window(1, 3)) == [])
    #expect(try peer.receive(ServerFrames.window(1, 1)) == [.data(stream: 1, [1], end: false)])
  }

  @Test func `windows are given back: the connection's, and a long stream's`() throws {
    var peer = try BenchPeer.open(isUnary: false)
    _ = try peer.start(1)
    _ = try peer.receive(try peer.frames.headers(1, ServerFrames.opening))
    let body = CannedStep.framed([UInt8](repeating: 0, count: ClientConnectionStateMachine.maxMessageBytes))
    let frames = stride(from: 0, to: body.count, by: 16_384).map { start in
      ServerFrames.data(1, Array(body[start..<min(start + 16_384, body.count)]))
    }
    var given: [UInt32: Int] = [:]
    let replies = 9
    for _ in 0..<replies {
      for frame in frames {
        for case .window(let stream, let increment) in try peer.receive(frame) {
          given[stream, default: 0] += Int(increment)
        }
      }
      #expect(peer.machine.takeAnswered() == [1])
      var output = ByteBuffer()
      let isSent = peer.machine.sendNext(1, CallTicket(due: 1), output: &output)
      #expect(isSent)
    }
    #expect(peer.events().count == replies)
    let taken = replies * body.count
    let windows: [(UInt32, Int)] = [
      (0, ClientConnectionStateMachine.connectionWindow), (1, ClientConnectionStateMachine.streamWindow),
    ]
    for (stream, window) in windows {
      let back = given[stream] ?? 0
      #expect(taken - back <= window / 2)
      #expect(back <= taken)
    }
  }

  @Test func `after GOAWAY calls up to the last one finish, later ones may be made again, none begins`() throws {
    var peer = try BenchPeer.open()
    for name in UInt64(1)...3 { _ = try peer.start(name) }
    _ = try peer.receive(ServerFrames.goAway(last: 0x7fff_ffff))
    #expect(peer.events() == [])
    #expect(!peer.machine.canStart && !peer.machine.isDone)
    _ = try peer.receive(ServerFrames.goAway(last: 3))
    #expect(peer.events() == [.unprocessed(3)])
    _ = try peer.receive(try peer.frames.reply(1, [1]) + peer.frames.reply(3, [2]))
    #expect(peer.events() == [.message(1, [1]), .ended(1, .ok), .message(2, [2]), .ended(2, .ok)])
    #expect(peer.machine.isDone)
  }

  @Test func `a PING is answered with its bytes, and its answer is not`() throws {
    var peer = try BenchPeer.open()
    let ping: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]
    #expect(try peer.receive(ServerFrames.frame(FrameType.ping, 0, 0, ping)) == [.ping(0x0102_0304_0506_0708)])
    #expect(try peer.receive(ServerFrames.frame(FrameType.ping, FrameFlags.ack, 0, ping)) == [])
  }

  @Test func `what means nothing to a client is ignored`() throws {
    var peer = try BenchPeer.open()
    _ = try peer.start(1)
    let late = try peer.frames.reply(1, [1])
    #expect(
      try peer.receive(
        late + ServerFrames.frame(0xfa, 0, 9) + ServerFrames.frame(FrameType.priority, 0, 1, [0, 0, 0, 0, 0])) == [])
    _ = peer.events()
    // Frames for a call that is over, as they are on their way when it is given up.
    #expect(try peer.receive(ServerFrames.reset(1, 8) + ServerFrames.window(1, 9) + ServerFrames.data(1, [1])) == [])
    #expect(try peer.receive(try peer.frames.headers(1, [("grpc-status", "0")], end: true)) == [])
    #expect(peer.events() == [])
    #expect(peer.machine.isOpen)
  }

  @Test func `informational headers are not the answer's`() throws {
    var peer = try BenchPeer.open()
    _ = try peer.start(1)
    _ = try peer.receive(try peer.frames.headers(1, [(":status", "103")]) + peer.frames.reply(1, [4]))
    #expect(peer.events() == [.message(1, [4]), .ended(1, .ok)])
  }

  @Test func `header blocks may come in pieces, with padding and priority`() throws {
    var peer = try BenchPeer.open()
    _ = try peer.start(1)
    let block = try peer.frames.block(ServerFrames.opening)
    let flags = FrameFlags.padded | FrameFlags.priority
    let head = ServerFrames.frame(FrameType.headers, flags, 1, [2, 0, 0, 0, 0, 7] + block[..<4] + [0, 0])
    let rest =
      ServerFrames.frame(FrameType.continuation, 0, 1, Array(block[4..<6]))
      + ServerFrames.frame(FrameType.continuation, FrameFlags.endHeaders, 1, Array(block[6...]))
    let body = CannedStep.framed([1, 2])
    let padded = ServerFrames.frame(FrameType.data, FrameFlags.padded, 1, [1] + body + [0])
    let end = try peer.frames.headers(1, [("grpc-status", "0")], end: true)
    #expect(try peer.receive(head + rest + padded + end) == [])
    #expect(peer.events() == [.message(1, [1, 2]), .ended(1, .ok)])
  }

  @Test(
    arguments: [
      (ServerFrames.frame(FrameType.data, 0, 0, [1]), 1), (ServerFrames.data(9, [1]), 1), (ServerFrames.reset(2, 0), 1),
      (ServerFrames.window(0, 0), 1), (ServerFrames.window(0, 0x7fff_ffff), 3),
      (ServerFrames.frame(FrameType.pushPromise, FrameFlags.endHeaders, 1, [0, 0, 0, 2]), 1),
      (ServerFrames.frame(FrameType.settings, 0, 0, [1]), 6), (ServerFrames.frame(FrameType.settings, 0, 3), 1),
      (ServerFrames.settings((SettingID.initialWindowSize, 0x8000_0000)), 3),
      (ServerFrames.settings((SettingID.maxFrameSize, 1)), 1), (ServerFrames.frame(FrameType.ping, 0, 0, [1]), 6),
      (ServerFrames.frame(FrameType.headers, FrameFlags.endHeaders, 1, [0xff, 0xff, 0xff, 0xff, 0xff]), 9),
      (ServerFrames.frame(FrameType.headers, FrameFlags.padded, 1, [9]), 1),
      (ServerFrames.frame(FrameType.headers, 0, 1) + ServerFrames.data(1, []), 1),
      (ServerFrames.frame(FrameType.continuation, 0, 1), 1), ([0, 0x80, 0, 0, 0, 0, 0, 0, 1], 6),
    ] as [([UInt8], UInt32)])
  func `a broken rule ends the connection with its code, and every call with UNAVAILABLE`(
    _ bytes: [UInt8], _ code: UInt32
  ) throws {
    var peer = try BenchPeer.open()
    _ = try peer.start(1)
    #expect(try peer.receive(bytes) == [.goAway(code)])
    #expect(peer.events() == [.ended(1, .unavailable)])
    #expect(peer.machine.isDone)
    #expect(try peer.receive(ServerFrames.settings()) == [])
  }

  @Test func `a server that does not begin with SETTINGS is none`() throws {
    var peer = try BenchPeer()
    let http = Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8)
    guard case .goAway = try peer.receive(http).last else { throw ClientFrameReader.Broken() }
    #expect(peer.machine.isDone)
  }

  @Test func `calls that wait too long are reset, and only those`() throws {
    var peer = try BenchPeer.open()
    for name in UInt64(1)...3 { _ = try peer.start(name * 10) }
    var output = ByteBuffer()
    peer.machine.expire(sentBefore: 25, receiver: &peer.receiver, output: &output)
    #expect(try peer.reader.frames(output) == [.reset(stream: 1, 8), .reset(stream: 3, 8)])
    #expect(peer.events() == [.ended(10, .deadlineExceeded), .ended(20, .deadlineExceeded)])
    _ = try peer.receive(try peer.frames.reply(1, [1]) + peer.frames.reply(5, [3]))
    #expect(peer.events() == [.message(30, [3]), .ended(30, .ok)])
  }

  @Test func `the last stream number ends the connection's use, not its calls`() throws {
    var peer = try BenchPeer.open()
    peer.machine.nextStreamID = 0x7fff_ffff
    _ = try peer.start(1)
    #expect(!peer.machine.canStart && !peer.machine.isDone)
    _ = try peer.receive(try peer.frames.reply(0x7fff_ffff, [1]))
    #expect(peer.events() == [.message(1, [1]), .ended(1, .ok)])
    #expect(peer.machine.isDone)
  }

  @Test func `on a stream the next request leaves when the reply has come, and the end is in order`() throws {
    var peer = try BenchPeer.open(isUnary: false)
    #expect(try peer.start(1).last == .data(stream: 1, [0, 0, 0, 0, 3, 1, 2, 3], end: false))
    _ = try peer.receive(
      try peer.frames.headers(1, ServerFrames.opening) + ServerFrames.data(1, CannedStep.framed([5])))
    #expect(peer.events() == [.message(1, [5])])
    #expect(peer.machine.takeAnswered() == [1])
    var output = ByteBuffer()
    let isSent = peer.machine.sendNext(1, CallTicket(due: 2), output: &output)
    #expect(isSent)
    #expect(try peer.reader.frames(output) == [.data(stream: 1, [0, 0, 0, 0, 3, 1, 2, 3], end: false)])
    _ = try peer.receive(ServerFrames.data(1, CannedStep.framed([6])))
    output.clear()
    peer.machine.finish(1, output: &output)
    #expect(try peer.reader.frames(output) == [.data(stream: 1, [], end: true)])
    _ = try peer.receive(try peer.frames.headers(1, [("grpc-status", "0")], end: true))
    #expect(peer.events() == [.message(2, [6]), .ended(2, .ok)])
  }

  @Test func `a stream that the server ends while a reply is owed is a failure`() throws {
    var peer = try BenchPeer.open(isUnary: false)
    _ = try peer.start(1)
    let sent = try peer.receive(
      try peer.frames.headers(1, ServerFrames.opening) + peer.frames.headers(1, [("grpc-status", "0")], end: true))
    #expect(sent == [.reset(stream: 1, 0)])
    #expect(peer.events() == [.ended(1, .internalError)])
  }
}
