import NIOCore
import Testing

@testable import MidRPC

@Suite("A frame")
struct FrameRuleTests {
  private static func zeros(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }

  static let fatal: [RuleCase<[UInt8]>] = [
    RuleCase("CONTINUATION on stream 0", Peer.frame(FrameType.continuation, 4, 0)),
    RuleCase("PUSH_PROMISE on stream 0", Peer.frame(FrameType.pushPromise, 4, 0, Self.zeros(4))),
    RuleCase("RST_STREAM on an even stream", Peer.reset(2)),
    RuleCase("WINDOW_UPDATE on an even stream", Peer.window(2, 1)),
    RuleCase("RST_STREAM of 5 bytes", Peer.frame(FrameType.resetStream, 0, 1, Self.zeros(5)), .frameSizeError),
    RuleCase("RST_STREAM without payload", Peer.frame(FrameType.resetStream, 0, 1), .frameSizeError),
    RuleCase("SETTINGS of 7 bytes", Peer.frame(FrameType.settings, 0, 0, Self.zeros(7)), .frameSizeError),
    RuleCase("PING of 9 bytes", Peer.frame(FrameType.ping, 0, 0, Self.zeros(9)), .frameSizeError),
    RuleCase("a PING ACK of 7 bytes", Peer.frame(FrameType.ping, 1, 0, Self.zeros(7)), .frameSizeError),
    RuleCase("a PING ACK on a stream", Peer.frame(FrameType.ping, 1, 3, Self.zeros(8))),
    RuleCase("GOAWAY without payload", Peer.frame(FrameType.goAway, 0, 0), .frameSizeError),
    RuleCase("WINDOW_UPDATE of 5 bytes", Peer.frame(FrameType.windowUpdate, 0, 0, Self.zeros(5)), .frameSizeError),
    RuleCase("WINDOW_UPDATE by 0 with the reserved bit", Peer.window(0, 0x8000_0000)),
    RuleCase("PRIORITY of 4 bytes on an idle stream", Peer.frame(2, 0, 9, Self.zeros(4)), .frameSizeError),
    RuleCase("HEADERS padded, without room for their priority", Peer.frame(1, 0x2c, 1, [0, 0, 0]), .frameSizeError),
    RuleCase("HEADERS all padding behind their priority", Peer.frame(1, 0x2c, 1, [1, 0, 0, 0, 0, 0])),
  ]

  @Test(arguments: Self.fatal)
  func `that breaks a rule of its type ends the connection`(_ rule: RuleCase<[UInt8]>) throws {
    var peer = try Peer.established()
    try peer.expect(rule.value, ends: rule.code)
  }

  @Test(arguments: Array(0...10) + [0xee] as [UInt8])
  func `of more than 16,384 bytes ends the connection before it has come`(_ type: UInt8) throws {
    var peer = try Peer.established()
    var header = ByteBuffer()
    header.writeFrameHeader(length: 16_385, type: type, flags: 0, streamID: 1)
    try peer.expect(Array(header.readableBytesView), ends: .frameSizeError)
  }

  @Test func `of 16,384 bytes is taken`() throws {
    var peer = try Peer.established()
    let block = peer.block(Peer.head(extra: [("x", String(repeating: "y", count: 3000))]))
    let padding = [UInt8](repeating: 0, count: 255)
    let fill = Peer.frame(FrameType.headers, 4 | 8, 1, [255] + block + padding)
    #expect(fill.count < FrameHeader.size + 16_384)
    let body = Peer.message([UInt8](repeating: 7, count: 16_379))
    try peer.expect(
      fill + Peer.frame(0xee, 0, 0, [UInt8](repeating: 0, count: 16_384)) + Peer.data(1, body),
      gives: [])
    #expect(try peer.send(Peer.data(1, [], end: true)).last == Peer.answered(1, []).last)
    #expect(peer.dispatcher.calls.map(\.message.count) == [16_379])
  }

  @Test func `may carry flags and a reserved bit without a meaning`() throws {
    var peer = try Peer.established()
    let block = peer.block(Peer.head())
    let reserved: UInt32 = 1 << 31
    let headers = Peer.frame(FrameType.headers, 0x04 | 0x02 | 0x10 | 0x40 | 0x80, 1 | reserved, block)
    let data = Peer.frame(FrameType.data, 0xf7, 1 | reserved, Peer.message([1, 2]))
    try peer.expect(headers + data, gives: Peer.answered(1, [2, 1]))
    try peer.expect(Peer.frame(FrameType.ping, 0xfe, reserved, [UInt8](1...8)), gives: [Peer.pong])
    try peer.expect(Peer.frame(FrameType.settings, 0xfe, reserved), gives: [.settingsAck])
    try peer.expect(Peer.frame(FrameType.windowUpdate, 0xff, reserved, Peer.bytes(1 | reserved)), gives: [])
    #expect(peer.machine.sendWindow == 65_535 - 7 + 1)
    try peer.expect(Peer.frame(FrameType.priority, 0xff, 3 | reserved, Self.zeros(5)), gives: [])
    try peer.expect(Peer.frame(FrameType.goAway, 0xff, reserved, Self.zeros(8)), gives: [])
    let first = Peer.frame(FrameType.headers, 0, 3, Array(block.prefix(9)))
    let rest = Peer.frame(FrameType.continuation, 0xff, 3 | reserved, Array(block.dropFirst(9)))
    try peer.expect(first + rest, gives: [])
    try peer.expect(Peer.frame(FrameType.resetStream, 0xff, 3 | reserved, Self.zeros(4)), gives: [])
    try peer.expectService()
  }

  @Test func `of a type that is unknown is ignored, on any stream and of any size`() throws {
    var peer = try Peer.established()
    for type in [0x0a, 0x10, 0x7f, 0xff] as [UInt8] {
      for stream in [0, 1, 2, 0x7fff_ffff] as [UInt32] {
        try peer.expect(Peer.frame(type, 0xff, stream, Self.zeros(Int(type))), gives: [])
      }
    }
    try peer.expectService()
  }

  @Test func `with an error code that is unknown is as good as any`() throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.later, []) }
    _ = try peer.send(peer.call(1))
    try peer.expect(Peer.reset(1, code: 0xdead_beef), gives: [])
    #expect(peer.dispatcher.cancellations == [1])
    try peer.expect(Peer.frame(FrameType.goAway, 0, 0, Peer.bytes(0) + Peer.bytes(0xdead) + [9]), gives: [])
    try peer.expectService()
  }

  @Test func `may be padded to its end, and padding is not looked at`() throws {
    var peer = try Peer.established()
    let body = Peer.message([5])
    let headers = Peer.frame(FrameType.headers, 4 | 8, 1, [3] + peer.block(Peer.head()) + [1, 2, 3])
    let empty = Peer.frame(FrameType.data, 8, 1, [2, 0xff, 0xff])
    try peer.expect(
      headers + empty + Peer.frame(FrameType.data, 8 | 1, 1, [0] + body), gives: Peer.answered(1, [5]))
    #expect(peer.machine.receiveWindow + peer.machine.receiveCredit == peer.machine.limits.connectionWindow)
    #expect(peer.machine.receiveCredit == 3 + 1 + body.count, "padding counts")
  }

  @Test(arguments: [1, 2, 255] as [UInt8])
  func `of DATA whose padding is as long as its payload ends the connection`(_ padding: UInt8) throws {
    var peer = try Peer.established()
    _ = try peer.send(peer.headers(1))
    // On an open stream: on an idle one it would be the same error whatever the padding.
    let payload = [padding] + Self.zeros(Int(padding) - 1)
    try peer.expect(Peer.frame(FrameType.data, FrameFlags.padded, 1, payload), ends: .protocolError)
  }

  @Test func `of ours has no flag, bit, padding or size that the peer did not allow`() throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { call in
      call.route == 1 ? (.failure(RPCStatus(.notFound, "no")), []) : (.message, [UInt8](repeating: 1, count: 20_000))
    }
    var output = ByteBuffer()
    peer.machine.open(output: &output)
    let bytes =
      peer.call(1) + peer.call(3, fields: Peer.head(path: "/test.Echo/Other")) + peer.call(5, fields: [("a", "b")])
      + peer.headers(7, end: true, fields: Peer.head(method: "GET")) + Peer.ping + Peer.setting(1, 0) + peer.call(9)
      + Peer.data(9, [1])
    bytes.withUnsafeBytes { peer.machine.receive($0, dispatcher: &peer.dispatcher, output: &output) }
    peer.machine.beginDrain(output: &output)
    Peer.data(77, []).withUnsafeBytes {
      peer.machine.receive($0, dispatcher: &peer.dispatcher, output: &output)
    }
    let allowed: [UInt8: UInt8] = [0: 1, 1: 5, 3: 0, 4: 1, 6: 1, 7: 0, 8: 0]
    var kinds: Set<UInt8> = []
    while let head = output.readInteger(as: UInt32.self), let flags = output.readInteger(as: UInt8.self),
      let stream = output.readInteger(as: UInt32.self)
    {
      let type = UInt8(head & 0xff)
      kinds.insert(type)
      #expect(flags & ~(allowed[type] ?? 0) == 0, "type \(type), flags \(flags)")
      #expect(allowed[type] != nil && stream < 1 << 31 && head >> 8 <= 16_384)
      output.moveReaderIndex(forwardBy: Int(head >> 8))
    }
    #expect(kinds == Set(allowed.keys))
  }

  @Test func `that asks for an echo gets its eight bytes back, and an echo gets nothing`() throws {
    var peer = try Peer.established()
    for number in [0, 1, UInt64.max, 0x8000_0000_0000_0001] {
      let bytes = withUnsafeBytes(of: number.bigEndian) { Array($0) }
      try peer.expect(
        Peer.frame(FrameType.ping, 0, 0, bytes) + peer.call(UInt32(number & 1) + 1 | 1),
        gives: [
          .ping(number, ack: true)
        ] + Peer.answered(UInt32(number & 1) + 1 | 1, [3, 2, 1]))
      try peer.expect(Peer.frame(FrameType.ping, FrameFlags.ack, 0, bytes), gives: [])
      peer = try Peer.established()
    }
  }
}
