import NIOCore
import NIOHPACK
import Testing

@testable import MidRPC

@Suite("The end of a connection")
struct ConnectionEndRuleTests {
  private func draining(_ peer: inout Peer) throws -> [SeenFrame] {
    var output = ByteBuffer()
    peer.machine.beginDrain(output: &output)
    return try peer.reader.frames(output)
  }

  private static let drained = Peer.frame(
    FrameType.ping, FrameFlags.ack, 0,
    withUnsafeBytes(of: ConnectionStateMachine.drainPing.bigEndian) { Array($0) })

  @Test func `for an error names the last stream that came, and nothing follows`() throws {
    var peer = try Peer.established()
    _ = try peer.send(peer.call(1) + peer.headers(9))
    let bytes = Peer.data(0, []) + Peer.window(0, 0) + peer.call(11) + Peer.ping
    try peer.expect(bytes, gives: [.goAway(last: 9, .protocolError)], "one error is told, the first")
    try peer.expect(Peer.ping, gives: [])
    #expect(peer.machine.isClosed && peer.dispatcher.calls.count == 1)
  }

  @Test func `says why in words, of bounded length`() throws {
    var peer = try Peer.established()
    var output = ByteBuffer()
    Peer.data(0, []).withUnsafeBytes { peer.machine.receive($0, dispatcher: &peer.dispatcher, output: &output) }
    #expect(String(buffer: output).hasSuffix("DATA on stream 0"))
    var long = ByteBuffer()
    long.writeGoAway(lastStreamID: 0, code: .noError, debug: String(repeating: "x", count: 1000))
    #expect(long.readableBytes == FrameHeader.size + 8 + 256)
  }

  @Test func `never names a later stream than it did before`() throws {
    var peer = try Peer.established()
    _ = try peer.send(peer.call(1))
    var seen = try self.draining(&peer)
    seen += try peer.send(peer.call(3) + Self.drained + peer.call(7) + Peer.ping)
    seen += try self.draining(&peer)
    seen += try peer.send(Self.drained)
    seen += try peer.send(peer.headers(9) + Peer.data(0, []))
    let last = seen.compactMap { if case .goAway(let last, _) = $0 { last } else { nil } }
    #expect(last == [0x7fff_ffff, 3, 3])
    #expect(seen.last == .goAway(last: 3, .protocolError), "an error after the graceful one is told too")
  }

  @Test func `that nears still decodes and counts what comes too late`() throws {
    var peer = try Peer.established()
    _ = try self.draining(&peer)
    try peer.expect(Self.drained, gives: [.goAway(last: 0, .noError)])
    let before = peer.machine.receiveWindow
    let late = peer.headers(5, fields: Peer.head(extra: [("x", "y")]), indexing: .indexable)
    try peer.expect(late + Peer.data(5, [UInt8](repeating: 0, count: 500)), gives: [])
    #expect(peer.machine.receiveWindow == before - 500)
    try peer.expect(Peer.frame(FrameType.headers, 4, 7, [0xbe]), gives: [], "an entry that the late block added")
    try peer.expect(Peer.frame(FrameType.headers, 4, 9, [0xff, 0x7f]), ends: .compressionError)
    #expect(peer.dispatcher.calls.isEmpty)
  }

  @Test func `that the peer announces ends nothing here: its calls are served, new ones too`() throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.later, []) }
    let goAway = Peer.frame(FrameType.goAway, 0, 0, Peer.bytes(0) + Peer.bytes(2) + Array("bye".utf8))
    try peer.expect(peer.call(1) + goAway + goAway, gives: [])
    #expect(try peer.reply(1, [5]) == Peer.answered(1, [5]))
    try peer.expect(Peer.ping, gives: [Peer.pong])
    try peer.expectService()
  }

  @Test func `gives up the calls that wait, once`() throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.later, []) }
    _ = try peer.send(peer.call(1) + peer.call(3) + Peer.reset(1))
    try peer.expect(Peer.data(0, []), ends: .protocolError)
    #expect(peer.dispatcher.cancellations == [1, 3])
    #expect(try peer.reply(3, [1]) == nil)
  }
}
