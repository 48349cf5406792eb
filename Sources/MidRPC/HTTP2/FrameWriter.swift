package import NIOCore

/// The frames that both sides write, appended to the connection's output.
extension ByteBuffer {
  /// The nine bytes before a payload: RFC 9113, section 4.1.
  package mutating func writeFrameHeader(length: Int, type: UInt8, flags: UInt8, streamID: UInt32) {
    self.writeMultipleIntegers(UInt32(truncatingIfNeeded: length) << 8 | UInt32(type), flags, streamID)
  }

  /// A SETTINGS frame.
  package mutating func writeSettings(_ settings: [(id: UInt16, value: UInt32)]) {
    self.writeFrameHeader(length: settings.count * 6, type: FrameType.settings, flags: 0, streamID: 0)
    for setting in settings {
      self.writeMultipleIntegers(setting.id, setting.value)
    }
  }

  /// The answer to the peer's SETTINGS.
  package mutating func writeSettingsAcknowledgement() {
    self.writeFrameHeader(length: 0, type: FrameType.settings, flags: FrameFlags.ack, streamID: 0)
  }

  /// A PING, or the answer to one.
  package mutating func writePing(_ data: UInt64, acknowledge: Bool) {
    self.writeFrameHeader(
      length: 8, type: FrameType.ping, flags: acknowledge ? FrameFlags.ack : 0, streamID: 0)
    self.writeInteger(data)
  }

  /// Lets the peer send `increment` bytes more, 1 to 2^31-1, on a stream or (0) the connection.
  package mutating func writeWindowUpdate(streamID: UInt32, increment: Int) {
    self.writeFrameHeader(length: 4, type: FrameType.windowUpdate, flags: 0, streamID: streamID)
    self.writeInteger(UInt32(truncatingIfNeeded: increment))
  }

  /// Ends a stream at once.
  package mutating func writeResetStream(streamID: UInt32, code: HTTP2ErrorCode) {
    self.writeFrameHeader(length: 4, type: FrameType.resetStream, flags: 0, streamID: streamID)
    self.writeInteger(code.rawValue)
  }

  /// Says that the connection ends, and why; the text is cut after 256 bytes.
  package mutating func writeGoAway(lastStreamID: UInt32, code: HTTP2ErrorCode, debug: String) {
    let debug = debug.utf8.prefix(256)
    self.writeFrameHeader(length: 8 + debug.count, type: FrameType.goAway, flags: 0, streamID: 0)
    self.writeMultipleIntegers(lastStreamID, code.rawValue)
    self.writeBytes(debug)
  }
}
