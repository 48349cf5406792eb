import NIOCore
import NIOHPACK

@testable import MidRPC

/// A client's frames as bytes.
enum FrameBytes {
  static func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8] = []) -> [UInt8] {
    let length = UInt32(payload.count)
    return [
      UInt8(truncatingIfNeeded: length >> 16), UInt8(truncatingIfNeeded: length >> 8),
      UInt8(truncatingIfNeeded: length),
    ]
      + [type, flags] + Self.number(stream) + payload
  }

  static func number(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }

  /// DATA, with padding where `padding` says how much.
  static func data(_ stream: UInt32, _ content: [UInt8], end: Bool = false, padding: UInt8? = nil) -> [UInt8] {
    let flags = (end ? FrameFlags.endStream : 0) | (padding == nil ? 0 : FrameFlags.padded)
    guard let padding else { return Self.frame(FrameType.data, flags, stream, content) }
    let zeros = [UInt8](repeating: 0, count: Int(padding))
    return Self.frame(FrameType.data, flags, stream, [padding] + content + zeros)
  }

  static func window(_ stream: UInt32, _ increment: UInt32) -> [UInt8] {
    Self.frame(FrameType.windowUpdate, 0, stream, Self.number(increment))
  }

  static func settings(_ entries: [(UInt16, UInt32)]) -> [UInt8] {
    let payload = entries.flatMap { [UInt8($0.0 >> 8), UInt8(truncatingIfNeeded: $0.0)] + Self.number($0.1) }
    return Self.frame(FrameType.settings, 0, 0, payload)
  }

  static func reset(_ stream: UInt32, _ code: UInt32) -> [UInt8] {
    Self.frame(FrameType.resetStream, 0, stream, Self.number(code))
  }

  /// A gRPC message with its prefix.
  static func message(_ content: [UInt8], flag: UInt8 = 0) -> [UInt8] {
    [flag] + Self.number(UInt32(content.count)) + content
  }
}

/// A client's encoder of header blocks.
struct HeaderWriter {
  private var encoder = HPACKEncoder(allocator: ByteBufferAllocator())

  mutating func block(_ fields: [(String, String)], indexing: HPACKIndexing = .nonIndexable) -> [UInt8] {
    var headers = HPACKHeaders()
    for (name, value) in fields { headers.add(name: name, value: value, indexing: indexing) }
    var buffer = ByteBuffer()
    do {
      try self.encoder.encode(headers: headers, to: &buffer)
    } catch {
      preconditionFailure("HPACK can encode anything: \(error)")
    }
    return Array(buffer.readableBytesView)
  }

  static func head(path: String) -> [(String, String)] {
    [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "h")]
      + [("content-type", "application/grpc"), ("te", "trailers")]
  }

  /// HEADERS of a call.
  mutating func request(
    stream: UInt32, path: String, extra: [(String, String)] = [], indexing: HPACKIndexing = .nonIndexable,
    end: Bool = false
  ) -> [UInt8] {
    FrameBytes.frame(
      FrameType.headers, FrameFlags.endHeaders | (end ? FrameFlags.endStream : 0), stream,
      self.block(Self.head(path: path) + extra, indexing: indexing))
  }
}
