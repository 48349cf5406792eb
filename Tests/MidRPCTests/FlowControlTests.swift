import NIOCore
import Testing

@testable import MidRPC

@Suite("Flow control")
struct FlowControlTests {
  /// The bytes of all DATA frames of a stream.
  private func data(_ frames: [SeenFrame], _ stream: UInt32) -> [UInt8] {
    frames.flatMap { if case .data(stream, let bytes, _) = $0 { bytes } else { [UInt8]() } }
  }

  @Test func `holds a reply back that the stream's window has no room for, to the byte`() throws {
    var peer = try Peer.established()
    _ = try peer.send(Peer.setting(SettingID.initialWindowSize, 10))
    let message = [UInt8](0..<20)
    var seen = try peer.send(peer.call(1, message))
    #expect(self.data(seen, 1).count == 10)
    #expect(peer.machine.openStreams == 1)
    seen += try peer.send(Peer.window(1, 14))
    #expect(self.data(seen, 1).count == 24)
    seen += try peer.send(Peer.window(1, 1))
    #expect(self.data(seen, 1) == Peer.message(message.reversed()))
    #expect(seen.last == .headers(stream: 1, fields: ["grpc-status": "0"], end: true))
    #expect(peer.machine.openStreams == 0)
  }

  @Test func `holds replies back for the connection's window and shares it`() throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.message, [UInt8](repeating: 1, count: 30_000)) }
    var seen = try peer.send(peer.call(1) + peer.call(3) + peer.call(5))
    #expect(self.data(seen, 1).count + self.data(seen, 3).count + self.data(seen, 5).count == 65_535)
    seen += try peer.send(Peer.window(0, 1_000_000))
    for stream in [1, 3, 5] as [UInt32] { #expect(self.data(seen, stream).count == 30_005) }
    for case .data(_, let bytes, _) in seen { #expect(bytes.count <= 16_384) }
    #expect(peer.machine.openStreams == 0)
    // Small ones use it up as well, to the byte; HEADERS and trailers do not.
    var many = try Peer.established()
    many.dispatcher.answer = { _ in (.message, [UInt8](repeating: 1, count: 1_000)) }
    let replies = try many.send((0..<100).flatMap { many.call(UInt32(2 * $0 + 1)) })
    #expect(replies.reduce(0) { if case .data(_, let bytes, _) = $1 { $0 + bytes.count } else { $0 } } == 65_535)
  }

  @Test func `goes on with other streams where one is blocked`() throws {
    var peer = try Peer.established()
    _ = try peer.send(Peer.setting(SettingID.initialWindowSize, 0))
    _ = try peer.send(peer.call(1, [1]) + peer.call(3, [2]))
    let seen = try peer.send(Peer.window(3, 100))
    #expect(self.data(seen, 3) == Peer.message([2]))
    #expect(self.data(seen, 1).isEmpty)
    try peer.expect(Peer.frame(FrameType.resetStream, 0, 1, [0, 0, 0, 8]), gives: [])
    #expect(peer.machine.openStreams == 0)
    #expect(peer.machine.heldOrder.isEmpty)
  }

  @Test func `follows a change of the initial window on open streams, below zero too`() throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.message, [UInt8](repeating: 1, count: 95)) }
    _ = try peer.send(Peer.setting(SettingID.initialWindowSize, 50))
    #expect(self.data(try peer.send(peer.call(1)), 1).count == 50)
    try peer.expect(Peer.setting(SettingID.initialWindowSize, 20), gives: [.settingsAck])
    #expect(self.data(try peer.send(Peer.window(1, 40)), 1).count == 10)
    #expect(self.data(try peer.send(Peer.setting(SettingID.initialWindowSize, 60)), 1).count == 40)
  }

  @Test func `ends the stream whose window goes past the limit or is raised by 0, not the connection`() throws {
    var peer = try Peer.established()
    _ = try peer.send(peer.headers(1) + peer.headers(3) + peer.headers(5))
    try peer.expect(Peer.window(1, 0x7fff_ffff), gives: [.reset(stream: 1, .flowControlError)])
    try peer.expect(Peer.window(3, 0), gives: [.reset(stream: 3, .protocolError)])
    _ = try peer.send(Peer.window(5, 1000))
    try peer.expect(Peer.setting(SettingID.initialWindowSize, 0x7fff_ffff), ends: .flowControlError)
  }

  @Test func `may grow to 2^31-1 bytes, and not by one more`() throws {
    var stream = try Peer.established()
    try stream.expect(stream.headers(1) + Peer.window(1, 0x7fff_ffff - 65_535), gives: [])
    try stream.expect(Peer.window(1, 1), gives: [.reset(stream: 1, .flowControlError)])
    var connection = try Peer.established()
    try connection.expect(Peer.window(0, 0x7fff_ffff - 65_535), gives: [])
    try connection.expect(Peer.window(0, 1), ends: .flowControlError)
    var settings = try Peer.established()
    _ = try settings.send(settings.headers(1) + Peer.window(1, 1000))
    try settings.expect(Peer.setting(SettingID.initialWindowSize, 0x7fff_ffff - 1000), gives: [.settingsAck])
    try settings.expect(
      Peer.setting(SettingID.initialWindowSize, 0x7fff_ffff - 999),
      gives: [.goAway(last: 1, .flowControlError)], "and is not acknowledged")
  }

  @Test func `uses the peer's larger frames`() throws {
    var peer = try Peer.established()
    _ = try peer.send(Peer.setting(SettingID.maxFrameSize, 40_000))
    peer.dispatcher.answer = { _ in (.message, [UInt8](repeating: 1, count: 39_000)) }
    try peer.expect(peer.call(1), gives: Peer.answered(1, [UInt8](repeating: 1, count: 39_000)))
  }

  @Test func `gives the connection's window back, and ends the connection that goes past it`() throws {
    var limits = RPCLimits()
    limits.connectionWindowBytes = 65_535
    var peer = try Peer.established(limits: limits)
    var seen: [SeenFrame] = []
    for stream in [1, 3, 5, 7] as [UInt32] {
      seen += try peer.send(peer.call(stream, [UInt8](repeating: 0, count: 16_000)))
    }
    #expect(Self.returned(seen) > 30_000)
    // Half-sent, so that nothing is given back on the way.
    let burst = (0..<5).flatMap { _ in Peer.data(9, [UInt8](repeating: 0, count: 16_384)) }
    try peer.expect(peer.headers(9) + burst, ends: .flowControlError)
  }

  /// How much of the connection's window these frames give back.
  private static func returned(_ frames: [SeenFrame]) -> Int {
    frames.reduce(0) { if case .window(0, let count) = $1 { $0 + Int(count) } else { $0 } }
  }

  @Test func `resets a stream that goes past its window`() throws {
    var limits = RPCLimits()
    limits.maxMessageBytes = 1
    var peer = try Peer.established(limits: limits)
    // Requests that are refused anyway are read and thrown away, so the window is given back: fill it in one read.
    _ = try peer.send(peer.headers(1, fields: Peer.head(path: "/no/thing")))
    peer.machine.streams[peer.machine.streams.find(1) ?? 0].receiveWindow = 10
    try peer.expect(Peer.data(1, [UInt8](repeating: 0, count: 11)), gives: [.reset(stream: 1, .flowControlError)])
  }

  @Test func `gives the bytes of half-sent requests back when they are complete or dropped, not before`() throws {
    var limits = RPCLimits()
    limits.connectionWindowBytes = 65_535
    var peer = try Peer.established(limits: limits)
    let part: [UInt8] = [0, 0, 0, 0x9c, 0x40] + [UInt8](repeating: 0, count: 15_995)
    var seen: [SeenFrame] = []
    for stream in [1, 3, 5, 7] as [UInt32] { seen += try peer.send(peer.headers(stream) + Peer.data(stream, part)) }
    #expect(Self.returned(seen) == 0)
    #expect(peer.machine.receiveWindow == 66_560 - 64_000)
    for stream in [3, 5] as [UInt32] {
      seen = try peer.send(Peer.frame(FrameType.resetStream, 0, stream, [0, 0, 0, 8]))
    }
    #expect(peer.machine.receiveWindow + peer.machine.receiveCredit == 66_560 - 32_000)
    seen = try peer.send(Peer.data(1, [UInt8](repeating: 0, count: 16_000)))
    #expect(peer.machine.receiveWindow + peer.machine.receiveCredit == 66_560 - 48_000)
    seen = try peer.send(Peer.data(1, [UInt8](repeating: 0, count: 8_005), end: true))
    #expect(peer.dispatcher.calls.map(\.message.count) == [40_000])
    let owed = peer.machine.receiveWindow + peer.machine.receiveCredit + peer.machine.bufferedBytes
    #expect(owed == 66_560)
  }

  @Test func `refuses single calls where half-sent requests fill the window of a peer that keeps to it`() throws {
    var peer = try Peer.established()
    let body = Peer.message([UInt8](repeating: 3, count: 60_000))
    peer.dispatcher.answer = { _ in (.message, []) }
    var client = KeepingClient(window: 1_048_576, requests: (0..<40).map { (UInt32(2 * $0 + 1), body) })
    for request in client.requests { client.take(try peer.send(peer.headers(request.stream))) }
    while let bytes = client.next() { client.take(try peer.send(bytes)) }
    #expect(!peer.machine.isClosed)
    #expect(peer.machine.openStreams == 0)
    #expect(client.refused.count >= 1 && client.refused.count < 30)
    #expect(peer.dispatcher.calls.count == 40 - client.refused.count)
    #expect(peer.machine.bufferedBytes == 0)
  }

  @Test func `spares requests that lack their end only, where the window is used up`() throws {
    var limits = RPCLimits()
    limits.connectionWindowBytes = 65_535
    limits.maxMessageBytes = 65_536
    var peer = try Peer.established(limits: limits)
    let whole = Peer.message([UInt8](repeating: 0, count: 65_536))
    for start in stride(from: 0, to: whole.count, by: 16_000) {
      let bytes = (start == 0 ? peer.headers(1) : []) + Peer.data(1, Array(whole[start...].prefix(16_000)))
      _ = try peer.send(bytes)
    }
    let rest = [0, 0, 0, 0xff, 0] + [UInt8](repeating: 0, count: 66_560 - whole.count - 5)
    let seen = try peer.send(peer.headers(3) + Peer.data(3, rest))
    #expect(Array(seen.prefix(1)) == [.reset(stream: 3, .refusedStream)])
    _ = try peer.send(Peer.data(1, [], end: true))
    #expect(peer.dispatcher.calls.map(\.message.count) == [65_536])
  }

  @Test func `has room for one message of any size that is allowed`() throws {
    var limits = RPCLimits()
    limits.maxMessageBytes = 3_000_000
    var peer = Peer(limits: limits)
    var output = ByteBuffer()
    peer.machine.open(output: &output)
    let window = try peer.reader.frames(output).reduce(65_535) {
      if case .window(0, let count) = $1 { $0 + Int(count) } else { $0 }
    }
    _ = try peer.send(connectionPreface + Peer.frame(FrameType.settings, 0, 0))
    let body = Peer.message([UInt8](repeating: 3, count: 3_000_000))
    var client = KeepingClient(window: window, streamWindow: limits.streamWindow, requests: [(1, body)])
    client.take(try peer.send(peer.headers(1)))
    while let bytes = client.next() { client.take(try peer.send(bytes)) }
    #expect(peer.dispatcher.calls.map(\.message.count) == [3_000_000])
  }

  @Test func `touches only the stream whose window is opened`() throws {
    var peer = try Peer.established()
    _ = try peer.send(Peer.setting(SettingID.initialWindowSize, 0))
    for index in 0..<500 { _ = try peer.send(peer.call(UInt32(2 * index + 1), [1])) }
    #expect(peer.machine.held.count == 500)
    #expect(peer.machine.heldOrder.isEmpty, "what its own window blocks does not stand in line")
    let seen = try peer.send(Peer.window(401, 1) + Peer.window(0, 1))
    #expect(seen == [.data(stream: 401, [0], end: false)])
    #expect(peer.machine.heldOrder.isEmpty)
    // A reply that has room is not kept waiting by those that have none.
    _ = try peer.send(Peer.setting(SettingID.initialWindowSize, 1) + Peer.setting(SettingID.initialWindowSize, 100))
    #expect(peer.machine.held.isEmpty && peer.machine.openStreams == 0)
  }

  @Test func `keeps those in line that wait for the connection's window, and lets them leave when dropped`() throws {
    var peer = try Peer.established()
    peer.machine.sendWindow = 0
    for stream in [1, 3, 5] as [UInt32] { _ = try peer.send(peer.call(stream, [1])) }
    #expect(peer.machine.heldOrder == [1, 3, 5])
    _ = try peer.send(Peer.window(3, 5) + Peer.frame(FrameType.resetStream, 0, 3, [0, 0, 0, 8]))
    #expect(peer.machine.heldOrder == [1, 5])
    _ = try peer.send(Peer.setting(SettingID.initialWindowSize, 0))
    try peer.expect(Peer.window(0, 100), gives: [])
    #expect(peer.machine.heldOrder.isEmpty)
    let seen = try peer.send(Peer.window(1, 6) + Peer.window(5, 6))
    #expect(self.data(seen, 1) == Peer.message([1]) && self.data(seen, 5) == Peer.message([1]))
    #expect(peer.machine.openStreams == 0)
  }

  @Test func `takes the last initial window of a SETTINGS frame, and refuses a wrong one among many`() throws {
    func frame(_ values: [UInt32]) -> [UInt8] {
      Peer.frame(FrameType.settings, 0, 0, values.flatMap { Peer.setting(SettingID.initialWindowSize, $0)[9...] })
    }
    var peer = try Peer.established()
    _ = try peer.send(peer.headers(1) + Peer.window(1, 1000))
    try peer.expect(frame([0x7fff_ffff, 5, 10]), gives: [.settingsAck], "the net change counts")
    #expect(peer.machine.peerInitialWindow == 10)
    #expect(peer.machine.streams[peer.machine.streams.find(1) ?? 0].sendWindow == 1010)
    try peer.expect(frame([10, 1 << 31, 10]), ends: .flowControlError)
    var limits = RPCLimits()
    limits.maxUnproductiveFrames = 1000
    var flood = try Peer.established(limits: limits)
    let many = frame((0..<2730).map { UInt32($0 % 2) })
    var last: [SeenFrame] = []
    for _ in 0..<3 where !flood.machine.isClosed { last = try flood.send(many) }
    #expect(last.goAwayCode == .enhanceYourCalm, "a frame full of entries counts as many")
  }
}

/// A client that sends all its requests side by side, a frame of each in turn, and never more than the windows allow.
private struct KeepingClient {
  var window: Int
  var streamWindows: [UInt32: Int] = [:]
  var requests: [(stream: UInt32, rest: ArraySlice<UInt8>)]
  var refused: [UInt32] = []
  private var turn = 0

  init(window: Int, streamWindow: Int = 66_560, requests: [(UInt32, [UInt8])]) {
    self.window = window
    self.requests = requests.map { ($0.0, $0.1[...]) }
    for request in requests { self.streamWindows[request.0] = streamWindow }
  }

  mutating func take(_ frames: [SeenFrame]) {
    for frame in frames {
      switch frame {
      case .window(0, let count): self.window += Int(count)
      case .window(let stream, let count): self.streamWindows[stream, default: 0] += Int(count)
      case .reset(let stream, .refusedStream):
        self.refused.append(stream)
        self.requests.removeAll { $0.stream == stream }
      default: break
      }
    }
  }

  /// The next DATA frame, or nil when all is sent or nothing may be.
  mutating func next() -> [UInt8]? {
    for _ in self.requests.indices {
      self.turn = (self.turn + 1) % self.requests.count
      let request = self.requests[self.turn]
      let length = min(16_384, self.window, self.streamWindows[request.stream] ?? 0, request.rest.count)
      guard length > 0 else { continue }
      self.window -= length
      self.streamWindows[request.stream, default: 0] -= length
      self.requests[self.turn].rest = request.rest.dropFirst(length)
      let isLast = request.rest.count == length
      if isLast { self.requests.remove(at: self.turn) }
      return Peer.data(request.stream, Array(request.rest.prefix(length)), end: isLast)
    }
    return nil
  }
}
