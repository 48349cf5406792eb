import NIOCore
import NIOEmbedded
import NIOHPACK
import Testing

@testable import MidRPC

@Suite("A limit")
struct LimitTests {
  private static let ping = Peer.frame(FrameType.ping, 0, 0, [UInt8](repeating: 7, count: 8))

  private static func isPong(_ frames: [SeenFrame]) -> Bool { frames == [.ping(0x0707_0707_0707_0707, ack: true)] }

  // MARK: - PINGs

  @Test func `lets a PING for each reply pass, ten thousand times`() throws {
    var peer = try Peer.established()
    _ = try peer.send(Peer.window(0, 1_000_000))
    for index in 0..<10_000 {
      let seen = try peer.send(Self.ping + peer.call(UInt32(2 * index + 1)))
      #expect(seen.first == .ping(0x0707_0707_0707_0707, ack: true))
      guard !peer.machine.isClosed else { break }
    }
    #expect(!peer.machine.isClosed)
  }

  @Test func `counts PINGs that come too soon as strikes, and ends at the third with gRPC's words`() throws {
    var peer = try Peer.established()
    #expect(Self.isPong(try peer.send(Self.ping)))
    #expect(Self.isPong(try peer.send(Self.ping)))
    #expect(Self.isPong(try peer.send(Self.ping)))
    var output = ByteBuffer()
    Self.ping.withUnsafeBytes { peer.machine.receive($0, dispatcher: &peer.dispatcher, output: &output) }
    #expect(String(buffer: output).hasSuffix("too_many_pings"))
    #expect(peer.machine.fault?.code == .enhanceYourCalm)
  }

  @Test func `takes PINGs for ever where they keep their distance`() throws {
    var peer = try Peer.established()
    for index in 0..<1000 {
      peer.machine.now = UInt64(index) * 4_000_000_000
      #expect(Self.isPong(try peer.send(Self.ping)))
    }
    peer.machine.now += 3_999_999_999
    _ = try peer.send(Self.ping)
    #expect(peer.machine.pingStrikes == 1)
  }

  @Test func `forgets strikes at any response, also at a refusal`() throws {
    var peer = try Peer.established()
    for stream in stride(from: UInt32(1), to: 400, by: 4) {
      // The first of three is no strike: what was before the response is forgotten too.
      let pings = Self.ping + Self.ping + Self.ping
      _ = try peer.send(pings + peer.call(stream, fields: Peer.head(path: "/no/thing")))
      _ = try peer.send(pings + peer.call(stream + 2))
    }
    #expect(!peer.machine.isClosed)
    var ack = try Peer.established()
    for _ in 0..<100 {
      _ = try ack.send(Peer.frame(FrameType.ping, FrameFlags.ack, 0, [UInt8](repeating: 7, count: 8)))
    }
    #expect(!ack.machine.isClosed, "an answer is no question")
  }

  // MARK: - Resets

  @Test func `ends rapid resets, whether the client sends them or provokes them`() throws {
    var limits = RPCLimits()
    limits.maxResets = 20
    let floods: [(inout Peer, UInt32) -> [UInt8]] = [
      { peer, stream in peer.headers(stream) + Peer.frame(FrameType.resetStream, 0, stream, [0, 0, 0, 8]) },
      { peer, stream in peer.headers(stream) + Peer.window(stream, 0) },
      { peer, stream in peer.headers(stream) + Peer.window(stream, 0x7fff_ffff) },
      { peer, stream in peer.headers(stream) + Peer.frame(FrameType.priority, 0, stream, [0]) },
      { peer, stream in peer.headers(stream, fields: [("x", "y")]) },
      { peer, stream in peer.headers(stream) + Peer.data(stream, [0, 0x7f, 0, 0, 0]) },
    ]
    for (index, flood) in floods.enumerated() {
      var peer = try Peer.established(limits: limits)
      var sent = 0
      var last: [SeenFrame] = []
      while !peer.machine.isClosed, sent < 100 {
        last = try peer.send(flood(&peer, UInt32(2 * sent + 1)))
        sent += 1
      }
      #expect(last.goAwayCode == .enhanceYourCalm, "flood \(index)")
      #expect(sent >= 20, "flood \(index)")
    }
  }

  @Test func `lets a caller cancel as many calls as it has answered`() throws {
    var limits = RPCLimits()
    limits.maxResets = 20
    var peer = try Peer.established(limits: limits)
    for stream in stride(from: UInt32(1), to: 4000, by: 4) {
      _ = try peer.send(
        peer.call(stream) + peer.headers(stream + 2) + Peer.frame(FrameType.resetStream, 0, stream + 2, [0, 0, 0, 8]))
    }
    #expect(!peer.machine.isClosed)
  }

  @Test func `is not paid off by one call for many frames`() throws {
    var limits = RPCLimits()
    limits.maxUnproductiveFrames = 100
    var peer = try Peer.established(limits: limits)
    let junk = (0..<60).flatMap { _ in Peer.frame(FrameType.settings, FrameFlags.ack, 0) }
    var last: [SeenFrame] = []
    for index in 0..<20 where !peer.machine.isClosed { last = try peer.send(peer.call(UInt32(2 * index + 1)) + junk) }
    #expect(last.goAwayCode == .enhanceYourCalm)
  }

  @Test func `counts a changed initial window by the streams that it moves`() throws {
    var limits = RPCLimits()
    limits.maxUnproductiveFrames = 500
    for (streams, changes) in [(0, 501), (320, 24), (640, 13)] {
      var peer = try Peer.established(limits: limits)
      for index in 0..<streams { _ = try peer.send(peer.headers(UInt32(2 * index + 1))) }
      peer.machine.unproductiveFrames = 0
      var sent = 0
      while !peer.machine.isClosed, sent < 1000 {
        _ = try peer.send(Peer.setting(SettingID.initialWindowSize, UInt32(sent % 2)))
        sent += 1
      }
      // One for the frame, and one for each 16 streams.
      #expect(sent == changes, "\(streams) streams")
      #expect(peer.machine.fault?.code == .enhanceYourCalm)
    }
    // The same value over and over moves none.
    var peer = try Peer.established(limits: limits)
    for index in 0..<640 { _ = try peer.send(peer.headers(UInt32(2 * index + 1))) }
    for _ in 0..<400 { _ = try peer.send(Peer.setting(SettingID.initialWindowSize, 65_535)) }
    #expect(!peer.machine.isClosed)
  }

  // MARK: - Memory

  @Test func `bounds the replies that are held, and says so without a window`() throws {
    var limits = RPCLimits()
    limits.maxHeldBytes = 100
    var peer = try Peer.established(limits: limits)
    _ = try peer.send(Peer.setting(SettingID.initialWindowSize, 0))
    for stream in [1, 3] as [UInt32] { _ = try peer.send(peer.call(stream, [UInt8](repeating: 1, count: 40))) }
    #expect(peer.machine.heldBytes == 90 && (90...256).contains(peer.machine.memory))
    #expect(try peer.send(peer.call(5, [UInt8](repeating: 1, count: 40))).trailersOnlyStatus == "8")
    #expect(peer.machine.openStreams == 2)
    let stream = peer.headers(7, fields: Peer.head(path: "/test.Echo/Stream"))
    let seen = try peer.send(stream + Peer.data(7, Peer.message([UInt8](repeating: 1, count: 40)) + [0, 0, 0]))
    #expect(Array(seen.prefix(1)).trailersOnlyStatus == "8")
    #expect(seen.last == .reset(stream: 7, .noError))
    #expect(peer.machine.bufferedBytes == 0)
    _ = try peer.send(Peer.frame(FrameType.resetStream, 0, 1, [0, 0, 0, 8]))
    #expect(peer.machine.heldBytes == 45)
    _ = try peer.send(Peer.window(3, 20))
    #expect(peer.machine.heldBytes == 25)
    _ = try peer.send(Peer.window(3, 200))
    #expect(peer.machine.memory == 0 && peer.machine.openStreams == 0)
  }

  @Test func `of work for the header table lets others have their turn, and loses nothing`() throws {
    var peer = try Peer.established()
    func call(_ index: Int) -> [UInt8] {
      let field = ("k\(index % 50)", String(repeating: "v", count: 100 + index % 7))
      return peer.call(UInt32(2 * index + 1), [UInt8(index)], fields: Peer.head(extra: [field]), indexing: .indexable)
    }
    let burst = (0..<200).flatMap { call($0) }
    var seen = try peer.send(burst)
    #expect(peer.machine.isPaused && (20...120).contains(peer.dispatcher.calls.count))
    var turns = 1
    while peer.machine.isPaused, turns < 100 {
      seen += try peer.resume()
      turns += 1
    }
    #expect((3...30).contains(turns), "\(turns)")
    #expect(peer.dispatcher.calls.map(\.message) == (0..<200).map { [UInt8($0)] })
    #expect(seen.count == 600)
    // Blocks that leave the table alone take none of that.
    var other = try Peer.established()
    let plain = (0..<200).flatMap { other.call(UInt32(2 * $0 + 1), fields: Peer.head(extra: [("k\($0)", "v")])) }
    _ = try other.send(plain)
    #expect(!other.machine.isPaused && other.dispatcher.calls.count == 200)
  }

  @Test func `counts what the rest of a request takes, not only what it holds, and lets go of what it does not need`()
    throws
  {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.message, []) }
    let long = [UInt8](repeating: 7, count: 60_000)
    let begun = Peer.message(long) + [0]
    for index in 0..<100 {
      let stream = UInt32(2 * index + 1)
      _ = try peer.send(peer.headers(stream, fields: Peer.head(path: "/test.Echo/Stream")))
      for part in stride(from: 0, to: begun.count, by: 16_000) {
        _ = try peer.send(Peer.data(stream, Array(begun[part..<min(part + 16_000, begun.count)])))
        #expect(peer.machine.memory >= peer.machine.bufferedBytes)
      }
    }
    // One byte of the next message of each is left.
    #expect(peer.machine.bufferedBytes == 100)
    #expect((100...20_000).contains(peer.machine.memory), "\(peer.machine.memory)")
    for index in 0..<100 {
      _ = try peer.send(Peer.frame(FrameType.resetStream, 0, UInt32(2 * index + 1), [0, 0, 0, 8]))
    }
    #expect(peer.machine.memory == 0)
  }

  @Test func `counts what the rest of a reply takes, and lets go of what it does not need`() throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.message, [UInt8](repeating: 7, count: 60_000)) }
    _ = try peer.send(Peer.setting(SettingID.initialWindowSize, 60_004) + Peer.window(0, 0x3fff_ffff))
    for index in 0..<100 { _ = try peer.send(peer.call(UInt32(2 * index + 1))) }
    // A byte of each is held back.
    #expect(peer.machine.heldBytes == 100)
    #expect((100...6_400).contains(peer.machine.memory), "\(peer.machine.memory)")
    for index in 0..<50 {
      _ = try peer.send(Peer.frame(FrameType.resetStream, 0, UInt32(2 * index + 1), [0, 0, 0, 8]))
    }
    #expect((50...3_200).contains(peer.machine.memory), "\(peer.machine.memory)")
    for index in 50..<100 { _ = try peer.send(Peer.window(UInt32(2 * index + 1), 1)) }
    #expect(peer.machine.memory == 0 && peer.machine.openStreams == 0)
  }

  @Test func `a message of a stream that trickles in is ended in time, whatever its bytes and empty frames`() throws {
    for piece in [[UInt8](), [7]] {
      var peer = try Peer.established()
      _ = try peer.send(peer.headers(1, fields: Peer.head(path: "/test.Echo/Stream")))
      // A whole message and a rest between two are no trickle.
      _ = try peer.send(Peer.data(1, Peer.message([1])))
      peer.machine.now += 100
      #expect(try peer.endStuck(olderThan: 50) == [])
      _ = try peer.send(Peer.data(1, [0, 0, 0, 1]))
      for _ in 0..<4 {
        peer.machine.now += 10
        _ = try peer.send(Peer.data(1, piece))
      }
      #expect(try peer.endStuck(olderThan: 50) == [])
      peer.machine.now += 11
      let seen = try peer.endStuck(olderThan: 50)
      #expect(seen.contains(.reset(stream: 1, .noError)), "\(seen)")
      #expect(peer.machine.openStreams == 0)
    }
  }

  @Test func `a message that begins behind another counts its time from then`() throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.later, []) }
    _ = try peer.send(peer.headers(1, fields: Peer.head(path: "/test.Echo/Stream")))
    _ = try peer.send(Peer.data(1, Peer.message([1]) + [0]))
    // The reply takes its time, which is not the client's.
    peer.machine.now += 100
    #expect(try peer.endStuck(olderThan: 50) == [])
    _ = try peer.reply(1, [1])
    #expect(try peer.endStuck(olderThan: 50) == [])
    peer.machine.now += 51
    #expect(try peer.endStuck(olderThan: 50).isEmpty == false)
  }

  @Test func `a connection that ends while its output is large waits for nothing any more`() throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.message, [UInt8](repeating: 7, count: 1000)) }
    let opened = peer.headers(1, fields: Peer.head(path: "/test.Echo/Stream"))
    let wide = Peer.setting(SettingID.initialWindowSize, 0x3fff_ffff) + Peer.window(0, 0x3fff_ffff)
    let messages = Peer.data(1, (0..<700).flatMap { _ in Peer.message([1]) })
    let tooLong: [UInt8] = [0, 0x40, 0x01, 0, 0, 0, 0, 0, 1]
    let seen = try peer.send(wide + opened + messages + tooLong)
    // What came before it is dealt with first, in turns.
    #expect(seen.goAwayCode == nil && peer.machine.isPaused)
    var turns = 0
    while peer.machine.isPaused, turns < 100 {
      _ = try peer.resume()
      turns += 1
    }
    #expect((1...10).contains(turns))
    #expect(peer.dispatcher.calls.count == 700)
    #expect(peer.machine.isClosed && peer.machine.fault?.code == .frameSizeError)
    #expect(peer.machine.memory == 0)
    // And ended from outside while it waits.
    var other = try Peer.established()
    other.dispatcher.answer = peer.dispatcher.answer
    _ = try other.send(wide + opened + messages)
    #expect(other.machine.isPaused)
    var output = ByteBuffer()
    other.machine.fail(
      ConnectionFault(.enhanceYourCalm, "enough"), dispatcher: &other.dispatcher, output: &output)
    #expect(!other.machine.isPaused)
  }

  @Test func `lets one reply be larger than it where nothing else is held`() throws {
    var limits = RPCLimits()
    limits.maxHeldBytes = 10
    var peer = try Peer.established(limits: limits)
    _ = try peer.send(Peer.setting(SettingID.initialWindowSize, 0) + peer.call(1, [UInt8](repeating: 1, count: 40)))
    #expect(peer.machine.heldBytes == 45)
  }

  @Test func `of all connections together ends who holds more than a share`() {
    let memory = RPCMemory(limit: 100_000, connections: 4)
    #expect(memory.move(from: 0, to: 60_000))
    #expect(memory.move(from: 0, to: 25_000))
    #expect(memory.move(from: 25_000, to: 24_000))
    #expect(!memory.move(from: 0, to: 30_000), "over the limit, and over a share")
    #expect(memory.move(from: 0, to: 25_000), "a share can always be had")
    #expect(memory.total == 139_000)
    #expect(memory.move(from: 60_000, to: 0))
    #expect(memory.total == 79_000)
  }

  // MARK: - Time

  @Test func `of time ends requests that do not come whole, held replies, and nothing else`() throws {
    var peer = try Peer.established()
    peer.machine.now = 1000
    _ = try peer.send(Peer.setting(SettingID.initialWindowSize, 0))
    peer.dispatcher.answer = { call in call.stream == 9 ? (.later, []) : (.message, []) }
    let streaming = Peer.head(path: "/test.Echo/Stream")
    _ = try peer.send(peer.headers(1) + peer.headers(3, fields: streaming) + peer.headers(5, fields: streaming))
    _ = try peer.send(Peer.data(5, [0, 0]) + peer.call(7) + peer.call(9))
    #expect(peer.machine.openStreams == 5)
    peer.machine.now = 1100
    #expect(try peer.endStuck(olderThan: 100) == [])
    peer.machine.now = 1101
    let seen = try peer.endStuck(olderThan: 100)
    let statuses = seen.compactMap { frame -> UInt32? in
      guard case .headers(let stream, let fields, true) = frame, fields["grpc-status"] == "4" else { return nil }
      return stream
    }
    #expect(Set(statuses) == [1, 5])
    #expect(seen.contains(.reset(stream: 7, .cancel)))
    #expect(seen.count == 5)
    #expect(peer.machine.openStreams == 2, "a call of many messages may rest, and a method may take its time")
    #expect(peer.machine.memory == 0)
  }

  @Test func `of time spares a call of many messages whose method takes its time`() throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.later, []) }
    let head = peer.headers(1, fields: Peer.head(path: "/test.Echo/Stream"))
    try peer.expect(head + Peer.data(1, Peer.message([1]) + Peer.message([2])), gives: [])
    peer.machine.now = 1000
    #expect(try peer.endStuck(olderThan: 100) == [])
    #expect(peer.machine.openStreams == 1 && peer.dispatcher.cancellations.isEmpty)
  }

  @Test func `of time is not moved by bytes that trickle into one request`() throws {
    var peer = try Peer.established()
    _ = try peer.send(peer.headers(1) + Peer.data(1, [0, 0, 0, 0, 9]))
    for tick in 1...9 {
      peer.machine.now = UInt64(tick) * 20
      _ = try peer.send(Peer.data(1, [1]))
    }
    #expect(try peer.endStuck(olderThan: 100).count == 2)
  }

  @Test func `of time gives back what a request that is ended had used of the connection's window`() throws {
    var limits = RPCLimits()
    limits.connectionWindowBytes = 65_535
    limits.maxMessageBytes = 64 * 1024
    var peer = try Peer.established(limits: limits)
    let window = peer.machine.limits.connectionWindow
    let large = [UInt8](repeating: 0, count: 16_000)
    _ = try peer.send(peer.headers(1) + Peer.data(1, [0, 0, 1, 0, 0] + large))
    _ = try peer.send(Peer.data(1, large) + Peer.data(1, large))
    #expect(peer.machine.receiveCredit == 0)
    peer.machine.now = 101
    let seen = try peer.endStuck(olderThan: 100)
    #expect(seen.last == .window(stream: 0, UInt32(3 * 16_000 + 5)))
    #expect(peer.machine.receiveWindow == window)
  }

  @Test func `of a caller's own deadline ends a call that rests between two messages`() throws {
    var peer = try Peer.established()
    let fields = Peer.head(path: "/test.Echo/Stream", extra: [("grpc-timeout", "1u")])
    _ = try peer.send(peer.headers(1, fields: fields) + Peer.data(1, Peer.message([1])))
    peer.machine.now = 999
    #expect(try peer.endStuck(olderThan: 100_000) == [])
    peer.machine.now = 1000
    let status = SeenFrame.headers(
      stream: 1, fields: ["grpc-status": "4", "grpc-message": "the request did not come whole in time"], end: true)
    #expect(try peer.endStuck(olderThan: 100_000) == [status, .reset(stream: 1, .noError)])
  }

  // MARK: - The table

  @Test func `lowered for the header table is answered with a table-size update, once`() throws {
    var peer = try Peer.established()
    _ = try peer.send(Peer.setting(SettingID.headerTableSize, 4096))
    _ = try peer.send(peer.call(1))
    #expect(!peer.machine.hasGivenUpTable)
    _ = try peer.send(Peer.setting(SettingID.headerTableSize, 100))
    var output = ByteBuffer()
    peer.call(3).withUnsafeBytes { peer.machine.receive($0, dispatcher: &peer.dispatcher, output: &output) }
    #expect(output.getInteger(at: FrameHeader.size, as: UInt8.self) == 0x20)
    #expect(try peer.reader.frames(output) == Peer.answered(3, [3, 2, 1]))
    output = ByteBuffer()
    (Peer.setting(SettingID.headerTableSize, 0) + peer.call(5)).withUnsafeBytes {
      peer.machine.receive($0, dispatcher: &peer.dispatcher, output: &output)
    }
    #expect(output.getInteger(at: 2 * FrameHeader.size, as: UInt8.self) == 0x88, "the block begins with its status")
    #expect(try peer.reader.frames(output) == [.settingsAck] + Peer.answered(5, [3, 2, 1]))
    #expect(!peer.machine.owesTableUpdate)
  }

  @Test func `lowered for the header table is minded by whatever header block comes first`() throws {
    let lower = Peer.setting(SettingID.headerTableSize, 0)
    // HEADERS left before it, and the trailers come after it.
    var held = try Peer.established()
    _ = try held.send(Peer.setting(SettingID.initialWindowSize, 0) + held.call(1))
    var output = ByteBuffer()
    (lower + Peer.window(1, 100)).withUnsafeBytes {
      held.machine.receive($0, dispatcher: &held.dispatcher, output: &output)
    }
    let data = 9 + Peer.message([3, 2, 1]).count
    #expect(output.getInteger(at: 9 + data + FrameHeader.size, as: UInt8.self) == 0x20)
    // A response that is held from its first byte on.
    var first = try Peer.established()
    output = ByteBuffer()
    (lower + Peer.setting(SettingID.initialWindowSize, 0) + first.call(1)).withUnsafeBytes {
      first.machine.receive($0, dispatcher: &first.dispatcher, output: &output)
    }
    #expect(output.getInteger(at: 9 + 9 + FrameHeader.size, as: UInt8.self) == 0x20)
    // Trailers that say why a call of many messages failed.
    var failing = try Peer.established()
    failing.dispatcher.answer = { call in
      call.message == [2] ? (.failure(RPCStatus(.notFound)), []) : (.message, call.message)
    }
    let head = failing.headers(1, fields: Peer.head(path: "/test.Echo/Stream"))
    _ = try failing.send(head + Peer.data(1, Peer.message([1])))
    output = ByteBuffer()
    (lower + Peer.data(1, Peer.message([2]))).withUnsafeBytes {
      failing.machine.receive($0, dispatcher: &failing.dispatcher, output: &output)
    }
    #expect(output.getInteger(at: 9 + FrameHeader.size, as: UInt8.self) == 0x20)
    for fields in [Peer.head(path: "/no/thing"), Peer.head(method: "GET"), Peer.head(path: "/test.Echo/Stream")] {
      var peer = try Peer.established()
      output = ByteBuffer()
      (lower + peer.call(1, fields: fields) + peer.call(3)).withUnsafeBytes {
        peer.machine.receive($0, dispatcher: &peer.dispatcher, output: &output)
      }
      #expect(output.getInteger(at: 9 + FrameHeader.size, as: UInt8.self) == 0x20)
      let seen = try peer.reader.frames(output)
      #expect(Array(seen.suffix(3)) == Peer.answered(3, [3, 2, 1]))
    }
  }
}
