import NIOCore
import NIOHPACK

@testable import MidRPC

/// Header blocks, one after the other on one connection: what our cache says of a block must be what NIOHPACK says of it.
///
/// The input is a list of blocks, each behind a byte that says what to do: take so many of the input's bytes as they
/// are, encode fields that they describe, or repeat an earlier block.
enum HeadersTarget {
  static func run(_ input: UnsafeRawBufferPointer) throws(Finding) {
    var source = ByteSource(input)
    var writer = HeaderWriter()
    var blocks: [[UInt8]] = []
    var state = State()
    while !source.isAtEnd, blocks.count < 40 {
      let choice = source.byte()
      let block: [UInt8]
      switch choice & 3 {
      case 0: block = source.take(Int(choice >> 2))
      case 1: block = writer.block(Self.fields(&source), indexing: choice & 4 == 0 ? .nonIndexable : .indexable)
      case 2 where !blocks.isEmpty: block = blocks[Int(choice >> 2) % blocks.count]
      default: block = writer.block(HeaderWriter.head(path: choice & 4 == 0 ? "/u" : "/s"))
      }
      blocks.append(block)
      guard try state.take(block) else { return }
    }
  }

  private static let names = [
    ":method", ":path", ":scheme", ":authority", "content-type", "te", "grpc-timeout", "grpc-encoding",
    "content-length", "connection", "x-a", "User-Agent", "cookie", ":status", "", "host",
  ]
  private static let values = [
    "POST", "/u", "http", "h", "application/grpc", "trailers", "1S", "identity", "5", "close", " x", "GET",
    "application/grpc+proto", "", "12345678n", "gzip",
  ]

  private static func fields(_ source: inout ByteSource) -> [(String, String)] {
    var fields = source.chance(2) ? HeaderWriter.head(path: "/u") : []
    for _ in 0..<source.below(6) {
      let choice = source.byte()
      let name = Self.names[Int(choice & 15)]
      let value =
        source.chance(4)
        ? String(decoding: source.take(source.below(30)), as: UTF8.self) : Self.values[Int(choice >> 4)]
      fields.append((name, value))
    }
    return fields
  }

  /// A connection's decoder and cache, and a decoder beside them that decodes every block.
  private struct State {
    var cache = HeaderBlockCache()
    var decoder = HPACKDecoder(allocator: ByteBufferAllocator(), maxDynamicTableSize: 4096, maxHeaderListSize: 16_384)
    var reference = HPACKDecoder(allocator: ByteBufferAllocator(), maxDynamicTableSize: 4096, maxHeaderListSize: 16_384)

    /// Takes one block; false where HPACK can't decode it, which ends a connection.
    mutating func take(_ block: [UInt8]) throws(Finding) -> Bool {
      let leavesAlone = block.withUnsafeBytes { HeaderBlock.leavesTableAlone($0) }
      let before = leavesAlone ? Self.table(self.reference) : []
      guard let headers = Self.decode(block, &self.reference) else {
        let known = block.withUnsafeBytes { self.cache.head(for: $0) }
        try require(known == nil, "a block is known that can't be decoded")
        return false
      }
      try Self.checkHead(headers)
      if leavesAlone {
        try require(Self.table(self.reference) == before, "a block changed the table that was said to leave it alone")
      }
      let head = RequestHead(headers, routes: FuzzDispatcher.routes)
      if let known = block.withUnsafeBytes({ self.cache.head(for: $0) }) {
        try require(known == head, "a block is known as \(known) and means \(head)")
      } else {
        let ours = Self.decode(block, &self.decoder).map { RequestHead($0, routes: FuzzDispatcher.routes) }
        try require(ours == head, "a block means \(head), and beside known blocks it means \(String(describing: ours))")
        block.withUnsafeBytes { self.cache.decoded($0, as: head) }
      }
      return true
    }

    private static func decode(_ block: [UInt8], _ decoder: inout HPACKDecoder) -> HPACKHeaders? {
      var buffer = ByteBuffer(bytes: block)
      do { return try decoder.decodeHeaders(from: &buffer) } catch { return nil }
    }

    /// The dynamic table, as far as blocks can tell: what its indexes mean.
    private static func table(_ decoder: HPACKDecoder) -> [String] {
      var entries: [String] = []
      for index in 62..<80 {
        var probe = decoder  // a copy: the table itself must not change
        let block: [UInt8] = [0x80 | UInt8(index)]
        guard let headers = Self.decode(block, &probe), let field = headers.first(where: { _ in true }) else { break }
        entries.append("\(field.name): \(field.value)")
      }
      return entries
    }

    /// What is true of every head, whatever the fields.
    private static func checkHead(_ headers: HPACKHeaders) throws(Finding) {
      let head = RequestHead(headers, routes: FuzzDispatcher.routes)
      guard head.route >= 0 else { return }
      try require(headers.first(name: ":method") == "POST", "a call that is no POST")
      guard let path = headers.first(name: ":path") else { throw Finding("a call without a path") }
      try require(FuzzDispatcher.routes[path] == head.route, "a call of \(path) goes to \(head.route)")
      try require((headers.first(name: "content-type") ?? "").hasPrefix("application/grpc"), "a call that is not gRPC")
      let names = headers.map(\.name)
      try require(names.allSatisfy { $0 == $0.lowercased() }, "a call with a field in upper case")
      for name in [":method", ":path", ":scheme", "content-length"] {
        try require(names.filter { $0 == name }.count <= 1, "a call with \(name) twice")
      }
      let forbidden = ["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"]
      try require(!names.contains(where: forbidden.contains), "a call with a field of HTTP/1")
    }
  }
}
