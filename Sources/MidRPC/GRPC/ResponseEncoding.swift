import NIOCore

/// The responses of a unary call as bytes. All header blocks are literals without indexing, so they are the same for
/// every connection and can be encoded once: no table, no state, nothing to keep in step with the peer.
enum ResponseEncoding {
  /// HEADERS with `:status: 200` and `content-type: application/grpc`, then the head of DATA and the message prefix.
  /// What differs, stream number and lengths, is patched in.
  private static let opening: [UInt8] = {
    let block: [UInt8] = [0x88] + literal(indexedName: 31, "application/grpc")
    return frameHeader(block.count, FrameType.headers, FrameFlags.endHeaders) + block
      + frameHeader(0, FrameType.data, 0) + [0, 0, 0, 0, 0]
  }()

  /// HEADERS with `grpc-status: 0`, the end of the stream.
  private static let closing: [UInt8] = {
    let block = literal("grpc-status", "0")
    return frameHeader(block.count, FrameType.headers, FrameFlags.endHeaders | FrameFlags.endStream) + block
  }()

  /// The bytes of a message's prefix: the compressed flag and four bytes of length.
  static let prefixSize = 5

  /// Where in the opening the DATA frame's header begins.
  private static let dataOffset = opening.count - prefixSize - FrameHeader.size

  /// How many bytes ``writeOpening(streamID:to:)`` writes.
  static let openingSize = opening.count

  /// How many of them are the response's HEADERS frame; the rest begin the DATA frame.
  static let headersFrameSize = dataOffset

  /// Writes all that comes before the message. ``finishOpening(at:messageLength:in:)`` must follow.
  @inline(__always)
  static func writeOpening(streamID: UInt32, to output: inout ByteBuffer) {
    Self.opening.withUnsafeBytes { template in
      _ = output.writeWithUnsafeMutableBytes(minimumWritableBytes: template.count) { target in
        target.copyMemory(from: template)
        target.storeBytes(of: streamID.bigEndian, toByteOffset: 5, as: UInt32.self)
        target.storeBytes(of: streamID.bigEndian, toByteOffset: Self.dataOffset + 5, as: UInt32.self)
        return template.count
      }
    }
  }

  /// How many bytes ``writeMessageHead(streamID:to:)`` writes: a frame's header and the message's prefix.
  static let messageHeadSize = FrameHeader.size + prefixSize

  /// Writes what comes before a message that is not its call's first. ``finishOpening(at:messageLength:in:)`` must
  /// follow, for an opening that would end here.
  static func writeMessageHead(streamID: UInt32, to output: inout ByteBuffer) {
    output.writeFrameHeader(length: 0, type: FrameType.data, flags: 0, streamID: streamID)
    output.writeRepeatingByte(0, count: Self.prefixSize)
  }

  /// Fills in the lengths of an opening that was written at `start`, once its message is there.
  @inline(__always)
  static func finishOpening(at start: Int, messageLength: Int, in output: inout ByteBuffer) {
    let frame = UInt32(truncatingIfNeeded: messageLength + Self.prefixSize) << 8 | UInt32(FrameType.data)
    output.setInteger(frame, at: start + Self.dataOffset)
    output.setInteger(
      UInt32(truncatingIfNeeded: messageLength), at: start + Self.dataOffset + FrameHeader.size + 1)
  }

  /// Writes the trailers of a call that went well.
  @inline(__always)
  static func writeClosing(streamID: UInt32, to output: inout ByteBuffer) {
    Self.closing.withUnsafeBytes { template in
      _ = output.writeWithUnsafeMutableBytes(minimumWritableBytes: template.count) { target in
        target.copyMemory(from: template)
        target.storeBytes(of: streamID.bigEndian, toByteOffset: 5, as: UInt32.self)
        return template.count
      }
    }
  }

  /// Writes a response without a message: gRPC's "Trailers-Only".
  static func writeStatus(_ status: RPCStatus, streamID: UInt32, to output: inout ByteBuffer) {
    let head = [0x88] + Self.literal(indexedName: 31, "application/grpc")
    Self.writeHeaders(head + Self.fields(status), streamID: streamID, to: &output)
  }

  /// Writes the trailers of a call that failed after messages.
  static func writeTrailers(_ status: RPCStatus, streamID: UInt32, to output: inout ByteBuffer) {
    Self.writeHeaders(Self.fields(status), streamID: streamID, to: &output)
  }

  private static func fields(_ status: RPCStatus) -> [UInt8] {
    var block = Self.literal("grpc-status", String(status.code.rawValue))
    if !status.message.isEmpty {
      block += Self.literal("grpc-message", Self.percentEncoded(status.message))
    }
    if status.code == .unimplemented { block += Self.literal("grpc-accept-encoding", "identity") }
    return block
  }

  /// Writes a plain HTTP response without a body, for requests that are not gRPC.
  static func writeHTTPStatus(_ code: String, allow: String?, streamID: UInt32, to output: inout ByteBuffer) {
    var block = Self.literal(indexedName: 8, code)
    if let allow { block += Self.literal(indexedName: 22, allow) }
    Self.writeHeaders(block, streamID: streamID, to: &output)
  }

  private static func writeHeaders(_ block: [UInt8], streamID: UInt32, to output: inout ByteBuffer) {
    output.writeFrameHeader(
      length: block.count, type: FrameType.headers,
      flags: FrameFlags.endHeaders | FrameFlags.endStream, streamID: streamID)
    output.writeBytes(block)
  }

  /// A `grpc-message`: percent-encoded, at most 1,024 bytes, cut between characters. Source: gRPC's
  /// `PROTOCOL-HTTP2.md`, "Responses".
  static func percentEncoded(_ message: String) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var encoded: [UInt8] = []
    var whole = 0
    let bytes = message.utf8
    let ends = (bytes.startIndex, bytes.isEmpty ? bytes.endIndex : bytes.index(before: bytes.endIndex))
    for index in bytes.indices {
      let byte = bytes[index]
      if byte & 0xc0 != 0x80 { whole = encoded.count }
      // No field's value may begin or end with a blank: RFC 9113, section 8.2.1.
      let isEdge = byte == 0x20 && (index == ends.0 || index == ends.1)
      if byte >= 0x20, byte <= 0x7e, byte != UInt8(ascii: "%"), !isEdge {
        encoded.append(byte)
      } else {
        encoded += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 0xf)]]
      }
      guard encoded.count <= 1024 else {
        encoded.removeSubrange(whole...)
        break
      }
    }
    while encoded.last == 0x20 { encoded.removeLast() }
    return String(decoding: encoded, as: UTF8.self)
  }

  private static func frameHeader(_ length: Int, _ type: UInt8, _ flags: UInt8) -> [UInt8] {
    var buffer = ByteBuffer()
    buffer.writeFrameHeader(length: length, type: type, flags: flags, streamID: 0)
    return Array(buffer.readableBytesView)
  }

  /// A literal without indexing whose name stands in the static table. Source: RFC 7541, section 6.2.2.
  private static func literal(indexedName index: Int, _ value: String) -> [UInt8] {
    Self.integer(index, prefix: 4) + Self.string(value)
  }

  /// A literal without indexing with a name of its own.
  private static func literal(_ name: String, _ value: String) -> [UInt8] {
    [0] + Self.string(name) + Self.string(value)
  }

  private static func string(_ text: String) -> [UInt8] {
    Self.integer(text.utf8.count, prefix: 7) + Array(text.utf8)
  }

  /// An integer with its high bits zero. Source: RFC 7541, section 5.1.
  private static func integer(_ value: Int, prefix: Int) -> [UInt8] {
    let mask = (1 << prefix) - 1
    guard value >= mask else { return [UInt8(value)] }
    var bytes = [UInt8(mask)]
    var rest = value - mask
    while rest >= 0x80 {
      bytes.append(UInt8(rest & 0x7f | 0x80))
      rest >>= 7
    }
    return bytes + [UInt8(rest)]
  }
}
