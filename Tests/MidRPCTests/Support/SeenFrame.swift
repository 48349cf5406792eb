import NIOCore
import NIOHPACK

@testable import MidRPC

/// A frame that the machine wrote, as a test reads it.
enum SeenFrame: Equatable {
  case settings([UInt16: UInt32])
  case settingsAck
  case headers(stream: UInt32, fields: [String: String], end: Bool)
  case data(stream: UInt32, [UInt8], end: Bool)
  case reset(stream: UInt32, HTTP2ErrorCode)
  case ping(UInt64, ack: Bool)
  case goAway(last: UInt32, HTTP2ErrorCode)
  case window(stream: UInt32, UInt32)
}

struct FrameReader {
  private var decoder = HPACKDecoder(allocator: ByteBufferAllocator())

  /// Reads all frames that stand in `bytes`; anything that is no frame of a server is a failure of the test.
  mutating func frames(_ bytes: ByteBuffer) throws -> [SeenFrame] {
    var bytes = bytes
    var seen: [SeenFrame] = []
    while bytes.readableBytes > 0 {
      guard let head = bytes.readInteger(as: UInt32.self), let flags = bytes.readInteger(as: UInt8.self),
        let stream = bytes.readInteger(as: UInt32.self), var payload = bytes.readSlice(length: Int(head >> 8))
      else { throw Broken() }
      seen.append(try self.frame(UInt8(head & 0xff), flags, stream, &payload))
    }
    return seen
  }

  struct Broken: Error {}

  private mutating func frame(
    _ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: inout ByteBuffer
  ) throws -> SeenFrame {
    func number<T: FixedWidthInteger>(_: T.Type) throws -> T {
      guard let value = payload.readInteger(as: T.self) else { throw Broken() }
      return value
    }
    switch type {
    case FrameType.settings:
      if flags & FrameFlags.ack != 0 { return .settingsAck }
      var settings: [UInt16: UInt32] = [:]
      while payload.readableBytes > 0 { settings[try number(UInt16.self)] = try number(UInt32.self) }
      return .settings(settings)
    case FrameType.headers:
      var fields: [String: String] = [:]
      for field in try self.decoder.decodeHeaders(from: &payload) { fields[field.name] = field.value }
      return .headers(stream: stream, fields: fields, end: flags & FrameFlags.endStream != 0)
    case FrameType.data:
      return .data(stream: stream, Array(payload.readableBytesView), end: flags & FrameFlags.endStream != 0)
    case FrameType.resetStream:
      return .reset(stream: stream, HTTP2ErrorCode(rawValue: try number(UInt32.self)) ?? .internalError)
    case FrameType.ping: return .ping(try number(UInt64.self), ack: flags & FrameFlags.ack != 0)
    case FrameType.goAway:
      return .goAway(
        last: try number(UInt32.self), HTTP2ErrorCode(rawValue: try number(UInt32.self)) ?? .internalError)
    case FrameType.windowUpdate: return .window(stream: stream, try number(UInt32.self))
    default: throw Broken()
    }
  }
}
