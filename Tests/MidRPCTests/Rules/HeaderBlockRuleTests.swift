import NIOCore
import NIOHPACK
import Testing

@testable import MidRPC

@Suite("A header block")
struct HeaderBlockRuleTests {
  /// Blocks that can't be decoded. Source: RFC 7541; the sections stand in `docs/http2.md`.
  static let undecodable: [RuleCase<[UInt8]>] = [
    RuleCase("index 0", [0x80]),
    RuleCase("an index past both tables", [0xbe]),
    RuleCase("a name's index past both tables", [0x7e, 0x01, 0x61]),
    RuleCase("an integer past any limit", [0xff] + [UInt8](repeating: 0xff, count: 10) + [0x7f]),
    RuleCase("an integer cut short", [0xff, 0x80]),
    RuleCase("a string past the block's end", [0x00, 0x05, 0x61]),
    RuleCase("a name without a value", [0x00, 0x01, 0x61]),
    RuleCase("a name of no characters", [0x00, 0x00, 0x01, 0x61]),
    RuleCase("Huffman padding of more than 7 bits", [0x00, 0x82, 0x1f, 0xff, 0x01, 0x61]),
    RuleCase("Huffman padding that is not ones", [0x00, 0x81, 0x18, 0x01, 0x61]),
    RuleCase("the Huffman code of EOS", [0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x01, 0x61]),
    RuleCase("a table-size update past 4,096", [0x3f, 0xe2, 0x1f]),
    RuleCase("a table-size update behind a field", [0x82, 0x20]),
  ]

  @Test(arguments: Self.undecodable)
  func `that can't be decoded ends the connection`(_ rule: RuleCase<[UInt8]>) throws {
    var peer = try Peer.established()
    try peer.expect(Peer.frame(FrameType.headers, 4, 1, rule.value), ends: .compressionError)
    var trailers = try Peer.established()
    _ = try trailers.send(trailers.headers(1) + Peer.data(1, Peer.message([1])))
    try trailers.expect(Peer.frame(FrameType.headers, 5, 1, rule.value), ends: .compressionError)
    var parts = try Peer.established()
    let first = Peer.frame(FrameType.headers, 0, 1, Array(rule.value.prefix(1)))
    let second = Peer.frame(FrameType.continuation, 4, 1, Array(rule.value.dropFirst()))
    try parts.expect(first + second, ends: .compressionError)
  }

  @Test(arguments: [HPACKIndexing.indexable, .nonIndexable, .neverIndexed])
  func `may have its fields in any representation`(_ indexing: HPACKIndexing) throws {
    var peer = try Peer.established()
    for stream in [1, 3, 5] as [UInt32] {
      try peer.expect(peer.call(stream, indexing: indexing), gives: Peer.answered(stream, [3, 2, 1]))
    }
  }

  @Test func `may be plain where others are Huffman coded, and repeat an entry of the table`() throws {
    var peer = try Peer.established()
    func literal(_ name: String, _ value: String) -> [UInt8] {
      var bytes: [UInt8] = [0x40, UInt8(name.utf8.count)]
      bytes += Array(name.utf8)
      bytes.append(UInt8(value.utf8.count))
      return bytes + Array(value.utf8)
    }
    var plain: [UInt8] = []
    for (name, value) in Peer.head() { plain += literal(name, value) }
    let twice = plain + literal("x", "y") + literal("x", "y")
    let body = Peer.data(1, Peer.message([1]), end: true)
    try peer.expect(Peer.frame(FrameType.headers, 4, 1, twice) + body, gives: Peer.answered(1, [1]))
    // The entries, newest first: x, x, te, content-type, :authority, :path, :scheme, :method.
    let indexed: [UInt8] = [69, 68, 67, 66, 65, 64, 62].map { $0 | 0x80 }
    let again = Peer.frame(FrameType.headers, 4, 3, indexed) + Peer.data(3, Peer.message([2]), end: true)
    try peer.expect(again, gives: Peer.answered(3, [2]))
  }

  @Test func `may begin with changes of the table's size, which drop entries`() throws {
    var peer = try Peer.established()
    _ = try peer.send(peer.call(1, fields: Peer.head(extra: [("x", "y")]), indexing: .indexable))
    // The peer's encoder does not know of the update: a fresh one refers to nothing that is gone.
    var fresh = HPACKEncoder(allocator: ByteBufferAllocator())
    var plain = ByteBuffer()
    var headers = HPACKHeaders()
    for (name, value) in Peer.head() { headers.add(name: name, value: value, indexing: .nonIndexable) }
    try fresh.encode(headers: headers, to: &plain)
    let update = [0x20, 0x3f, 0xe1, 0x1f] + Array(plain.readableBytesView)
    let data = Peer.data(3, Peer.message([1]), end: true)
    try peer.expect(Peer.frame(FrameType.headers, 4, 3, update) + data, gives: Peer.answered(3, [1]))
    try peer.expect(Peer.frame(FrameType.headers, 4, 5, [0xbe]), ends: .compressionError, "all entries are gone")
  }

  @Test func `may add what is larger than the table, which empties it`() throws {
    var peer = try Peer.established()
    let large = Peer.head(extra: [("x", String(repeating: "z", count: 5000))])
    let calls = peer.call(1, indexing: .indexable) + peer.call(3, fields: large, indexing: .indexable)
    // As much as that takes a turn of its own.
    let seen = try peer.send(calls) + peer.resume()
    #expect(seen == Peer.answered(1, [3, 2, 1]) + Peer.answered(3, [3, 2, 1]))
    try peer.expect(Peer.frame(FrameType.headers, 4, 5, [0xbe]), ends: .compressionError)
  }

  @Test func `may come in parts of any size, empty ones too`() throws {
    var maker = try Peer.established()
    let block = maker.block(Peer.head())
    for size in [3, 7, 20, block.count] {
      var peer = try Peer.established()
      var bytes = Peer.frame(FrameType.headers, 0, 1)
      for start in stride(from: 0, to: block.count, by: size) {
        bytes += Peer.frame(FrameType.continuation, 0, 1, Array(block[start...].prefix(size)))
      }
      bytes += Peer.frame(FrameType.continuation, FrameFlags.endHeaders, 1)
      try peer.expect(bytes, gives: [], "parts of \(size)")
      try peer.expect(Peer.data(1, Peer.message([6]), end: true), gives: Peer.answered(1, [6]))
    }
  }

  @Test func `in parts ends its stream where its first frame says so`() throws {
    var peer = try Peer.established()
    let block = peer.block(Peer.head())
    _ = try peer.send(Peer.frame(FrameType.headers, FrameFlags.endStream, 1, Array(block.prefix(4))))
    let seen = try peer.send(Peer.frame(FrameType.continuation, FrameFlags.endHeaders, 1, Array(block.dropFirst(4))))
    #expect(seen.trailersOnlyStatus == "12", "a unary call without a message")
    var trailers = try Peer.established()
    _ = try trailers.send(trailers.headers(1) + Peer.data(1, Peer.message([1])))
    let end = Peer.frame(FrameType.headers, FrameFlags.endStream, 1)
    try trailers.expect(end + Peer.frame(FrameType.continuation, 4, 1), gives: Peer.answered(1, [1]))
  }

  /// Frames that are right anywhere but within a header block.
  static let intruders: [RuleCase<[UInt8]>] = [
    RuleCase("DATA", Peer.data(1, [])),
    RuleCase("HEADERS of the same stream", Peer.frame(FrameType.headers, 4, 1)),
    RuleCase("HEADERS of another stream", Peer.frame(FrameType.headers, 4, 3)),
    RuleCase("CONTINUATION of another stream", Peer.frame(FrameType.continuation, 4, 3)),
    RuleCase("CONTINUATION of stream 0", Peer.frame(FrameType.continuation, 4, 0)),
    RuleCase("PRIORITY", Peer.frame(FrameType.priority, 0, 1, [0, 0, 0, 0, 0])),
    RuleCase("RST_STREAM", Peer.reset(1)),
    RuleCase("SETTINGS", Peer.frame(FrameType.settings, 0, 0)),
    RuleCase("PING", Peer.ping),
    RuleCase("GOAWAY", Peer.frame(FrameType.goAway, 0, 0, [0, 0, 0, 0, 0, 0, 0, 0])),
    RuleCase("WINDOW_UPDATE", Peer.window(0, 1)),
    RuleCase("an unknown frame", Peer.frame(0xee, 0, 1)),
  ]

  @Test(arguments: Self.intruders)
  func `has no other frame within`(_ rule: RuleCase<[UInt8]>) throws {
    var peer = try Peer.established()
    let block = peer.block(Peer.head())
    try peer.expect(Peer.frame(FrameType.headers, 0, 1, block), gives: [])
    try peer.expect(rule.value, ends: .protocolError)
  }

  @Test func `of ours never uses the table`() throws {
    var peer = try Peer.established()
    var blocks = 0
    let long = String(repeating: "é%", count: 50)
    peer.dispatcher.answer = { $0.route == 1 ? (.failure(RPCStatus(.notFound, long)), []) : (.message, [1]) }
    let requests =
      peer.call(1) + peer.call(3, fields: Peer.head(path: "/test.Echo/Other"))
      + peer.call(5, fields: Peer.head(path: "/no")) + peer.call(7, fields: Peer.head(type: "text/plain"))
      + peer.headers(9, end: true, fields: Peer.head(method: "GET")) + peer.headers(11, end: true)
    var output = ByteBuffer()
    requests.withUnsafeBytes { peer.machine.receive($0, dispatcher: &peer.dispatcher, output: &output) }
    while let head = output.readInteger(as: UInt32.self), output.readBytes(length: 5) != nil,
      let payload = output.readBytes(length: Int(head >> 8))
    {
      guard UInt8(head & 0xff) == FrameType.headers else { continue }
      blocks += 1
      #expect(payload.withUnsafeBytes { HeaderBlock.leavesTableAlone($0) })
    }
    #expect(blocks == 7)
  }
}
