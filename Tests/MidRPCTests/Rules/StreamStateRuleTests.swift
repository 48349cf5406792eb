import NIOCore
import NIOHPACK
import Testing

@testable import MidRPC

@Suite("A stream")
struct StreamStateRuleTests {
  /// How a stream has come to where it is. Source: RFC 9113, section 5.1.
  enum State: String, CaseIterable {
    case idle
    case open
    case halfClosed = "half-closed (remote)"
    case closedByEnd = "closed by END_STREAM"
    case closedByPeer = "closed by the peer's RST_STREAM"
    case closedByUs = "closed by our RST_STREAM"
    case leftOut = "left out"
    case even
  }

  enum Outcome: Equatable {
    case fine
    case answers
    case resets(HTTP2ErrorCode)
    case ends(HTTP2ErrorCode)
  }

  static let frames = [
    "DATA", "HEADERS", "HEADERS with END_STREAM", "PRIORITY", "RST_STREAM", "WINDOW_UPDATE", "CONTINUATION", "unknown",
  ]

  /// What each of `frames` leads to.
  static let outcomes: [State: [Outcome]] = [
    .idle: [.ends(.protocolError), .fine, .answers, .fine] + .init(repeating: .ends(.protocolError), count: 3) + [
      .fine
    ],
    .open: [.fine, .resets(.protocolError), .answers, .fine, .fine, .fine, .ends(.protocolError), .fine],
    .halfClosed: [.resets(.streamClosed), .ends(.streamClosed), .ends(.streamClosed)] + Self.closed,
    .closedByEnd: [.resets(.streamClosed), .ends(.streamClosed), .ends(.streamClosed)] + Self.closed,
    .closedByPeer: [.resets(.streamClosed), .ends(.streamClosed), .ends(.streamClosed)] + Self.closed,
    .closedByUs: [.fine, .fine, .fine] + Self.closed,
    .leftOut: [.resets(.streamClosed), .ends(.protocolError), .ends(.protocolError)] + Self.closed,
    .even: .init(repeating: .ends(.protocolError), count: 3) + [.fine]
      + .init(repeating: .ends(.protocolError), count: 3) + [.fine],
  ]
  private static let closed: [Outcome] = [.fine, .fine, .fine, .ends(.protocolError), .fine]

  /// A peer, and the number of a stream in that state.
  private func peer(_ state: State) throws -> (Peer, UInt32) {
    var peer = try Peer.established()
    switch state {
    case .idle:
      _ = try peer.send(peer.call(5))
      return (peer, 7)
    case .open: _ = try peer.send(peer.headers(5) + Peer.data(5, Peer.message([1])))
    case .halfClosed:
      peer.dispatcher.answer = { _ in (.later, []) }
      _ = try peer.send(peer.call(5))
    case .closedByEnd: _ = try peer.send(peer.call(5))
    case .closedByPeer: _ = try peer.send(peer.headers(5) + Peer.reset(5))
    case .closedByUs: try peer.expect(peer.headers(5) + Peer.window(5, 0), gives: [.reset(stream: 5, .protocolError)])
    case .leftOut:
      _ = try peer.send(peer.call(5))
      return (peer, 3)
    case .even:
      _ = try peer.send(peer.call(5))
      return (peer, 4)
    }
    return (peer, 5)
  }

  private func frame(_ name: String, _ stream: UInt32, _ peer: inout Peer, _ state: State) -> [UInt8] {
    let fields = state == .open && name != "HEADERS" ? [("x-note", "bye")] : Peer.head()
    switch name {
    case "DATA": return Peer.data(stream, [1])
    case "HEADERS": return peer.headers(stream, fields: fields)
    case "HEADERS with END_STREAM": return peer.headers(stream, end: true, fields: fields)
    case "PRIORITY": return Peer.frame(FrameType.priority, 0, stream, [0, 0, 0, 0, 1])
    case "RST_STREAM": return Peer.reset(stream)
    case "WINDOW_UPDATE": return Peer.window(stream, 1)
    case "CONTINUATION": return Peer.frame(FrameType.continuation, 4, stream)
    default: return Peer.frame(0xee, 0, stream, [1])
    }
  }

  @Test(arguments: State.allCases, Self.frames)
  func `takes each frame in each state as RFC 9113 asks`(_ state: State, _ name: String) throws {
    var (peer, stream) = try self.peer(state)
    let index = try #require(Self.frames.firstIndex(of: name))
    let outcome = try #require(Self.outcomes[state])[index]
    let seen = try peer.send(self.frame(name, stream, &peer, state))
    switch outcome {
    case .fine: #expect(seen == [])
    case .answers: #expect(seen.contains { if case .headers(stream, _, true) = $0 { true } else { false } })
    case .resets(let code): #expect(seen == [.reset(stream: stream, code)])
    case .ends(let code): #expect(seen.goAwayCode == code)
    }
    if case .ends = outcome { return #expect(peer.machine.isClosed) }
    try peer.expectService()
  }

  @Test func `is reset once, and what still comes for it is ignored`() throws {
    var peer = try Peer.established()
    _ = try peer.send(peer.call(1))
    try peer.expect(Peer.data(1, [1]) + Peer.data(1, [1]), gives: [.reset(stream: 1, .streamClosed)])
    try peer.expect(Peer.reset(1) + Peer.reset(1), gives: [], "never RST_STREAM for RST_STREAM")
  }

  @Test func `is known as one that was reset until 64 others were`() throws {
    var peer = try Peer.established()
    for index in 0..<65 {
      let stream = UInt32(2 * index + 1)
      try peer.expect(
        peer.headers(stream) + Peer.window(stream, 0), gives: [.reset(stream: stream, .protocolError)])
    }
    try peer.expect(Peer.data(3, [1]) + peer.headers(3, end: true), gives: [])
    try peer.expect(Peer.data(1, [1]), gives: [.reset(stream: 1, .streamClosed)])
  }

  @Test func `is known as left out in the last eight gaps`() throws {
    let cases: [(UInt32, HTTP2ErrorCode)] = [(1, .streamClosed), (5, .protocolError), (33, .protocolError)]
    for (stream, code) in cases {
      var peer = try Peer.established()
      for index in 0..<9 { _ = try peer.send(peer.call(UInt32(4 * index + 3))) }
      try peer.expect(peer.headers(stream), ends: code, "stream \(stream)")
    }
  }

  @Test func `of any state has its DATA counted for the connection`() throws {
    for state in [.open, .halfClosed, .closedByEnd, .closedByPeer, .closedByUs, .leftOut] as [State] {
      var (peer, stream) = try self.peer(state)
      let before = peer.machine.receiveWindow
      _ = try peer.send(Peer.data(stream, [UInt8](repeating: 0, count: 100)))
      #expect(peer.machine.receiveWindow == before - 100, "\(state)")
      let owed = peer.machine.receiveWindow + peer.machine.receiveCredit + peer.machine.bufferedBytes
      #expect(owed == peer.machine.limits.connectionWindow, "\(state)")
    }
  }

  @Test func `that was reset still has its header blocks decoded`() throws {
    var (peer, stream) = try self.peer(.closedByUs)
    let late = peer.headers(stream, end: true, fields: [("x-late", "value")], indexing: .indexable)
    try peer.expect(late, gives: [])
    let fields = Peer.head(extra: [("x-late", "value")])
    try peer.expect(peer.call(7, fields: fields, indexing: .indexable), gives: Peer.answered(7, [3, 2, 1]))
  }

  @Test func `may have the highest number there is`() throws {
    var peer = try Peer.established()
    try peer.expect(peer.call(0x7fff_fffd), gives: Peer.answered(0x7fff_fffd, [3, 2, 1]))
    try peer.expect(peer.call(0x7fff_ffff), gives: Peer.answered(0x7fff_ffff, [3, 2, 1]))
    #expect(peer.machine.lastStreamID == 0x7fff_ffff)
  }

  @Test func `counts for the limit until it is answered, half-closed too, and then makes room`() throws {
    var limits = RPCLimits()
    limits.maxConcurrentStreams = 2
    var peer = try Peer.established(limits: limits)
    peer.dispatcher.answer = { _ in (.later, []) }
    try peer.expect(peer.call(1) + peer.headers(3), gives: [])
    try peer.expect(peer.call(5), gives: [.reset(stream: 5, .refusedStream)])
    #expect(try peer.reply(1, [4]) == Peer.answered(1, [4]))
    try peer.expect(peer.call(7), gives: [])
    try peer.expect(Peer.reset(3), gives: [])
    try peer.expect(peer.call(9), gives: [])
    #expect(peer.dispatcher.calls.map(\.stream) == [1, 7, 9], "a refused stream reaches no method")
  }

  @Test func `that a method has seen is never refused`() throws {
    var limits = RPCLimits()
    limits.connectionWindowBytes = 65_535
    var peer = try Peer.established(limits: limits)
    let zeros = [UInt8](repeating: 0, count: 10_000)
    let head = peer.headers(1, fields: Peer.head(path: "/test.Echo/Stream"))
    var seen = try peer.send(head + Peer.data(1, Peer.message([1]) + [0, 0, 1, 0, 0]))
    for _ in 0..<4 { seen += try peer.send(Peer.data(1, zeros)) }
    seen += try peer.send(peer.headers(3) + Peer.data(3, [0, 0, 0, 0xff, 0]))
    // The rest of the connection's window: now one of the two half-sent calls has to go.
    while peer.machine.receiveWindow > 0 {
      let count = min(zeros.count, peer.machine.receiveWindow)
      seen += try peer.send(Peer.data(3, Array(zeros.prefix(count))))
      if seen.contains(where: { if case .reset = $0 { true } else { false } }) { break }
    }
    let status = seen.compactMap { frame -> String? in
      if case .headers(1, let fields, true) = frame { fields["grpc-status"] } else { nil }
    }
    #expect(status == ["8"])
    #expect(seen.contains(.reset(stream: 1, .noError)) && !seen.contains(.reset(stream: 1, .refusedStream)))
    #expect(peer.dispatcher.calls.count == 1)
  }

  @Test func `that a PRIORITY makes depend on itself is served all the same`() throws {
    var peer = try Peer.established()
    let block = peer.block(Peer.head())
    let headers = Peer.frame(FrameType.headers, 0x24, 1, [0x80, 0, 0, 1, 255] + block)
    try peer.expect(
      headers + Peer.frame(FrameType.priority, 0, 1, [0x80, 0, 0, 1, 0]) + Peer.data(1, Peer.message([1]), end: true),
      gives: Peer.answered(1, [1]))
  }
}
