import NIOCore

/// The frames a server writes, appended to the connection's output.
extension ByteBuffer {
  mutating func writeFrameHeader(length: Int, type: UInt8, flags: UInt8, streamID: UInt32) {
    self.writeMultipleIntegers(UInt32(truncatingIfNeeded: length) << 8 | UInt32(type), flags, streamID)
  }

  mutating func writeSettings(_ settings: [(id: UInt16, value: UInt32)]) {
    self.writeFrameHeader(length: settings.count * 6, type: FrameType.settings, flags: 0, streamID: 0)
    for setting in settings {
      self.writeMultipleIntegers(setting.id, setting.value)
    }
  }

  mutating func writeSettingsAcknowledgement() {
    self.writeFrameHeader(length: 0, type: FrameType.settings, flags: FrameFlags.ack, streamID: 0)
  }

  mutating func writePing(_ data: UInt64, acknowledge: Bool) {
    self.writeFrameHeader(
      length: 8, type: FrameType.ping, flags: acknowledge ? FrameFlags.ack : 0, streamID: 0)
    self.writeInteger(data)
  }

  mutating func writeWindowUpdate(streamID: UInt32, increment: Int) {
    self.writeFrameHeader(length: 4, type: FrameType.windowUpdate, flags: 0, streamID: streamID)
    self.writeInteger(UInt32(truncatingIfNeeded: increment))
  }

  mutating func writeResetStream(streamID: UInt32, code: HTTP2ErrorCode) {
    self.writeFrameHeader(length: 4, type: FrameType.resetStream, flags: 0, streamID: streamID)
    self.writeInteger(code.rawValue)
  }

  mutating func writeGoAway(lastStreamID: UInt32, code: HTTP2ErrorCode, debug: String) {
    let debug = debug.utf8.prefix(256)
    self.writeFrameHeader(length: 8 + debug.count, type: FrameType.goAway, flags: 0, streamID: 0)
    self.writeMultipleIntegers(lastStreamID, code.rawValue)
    self.writeBytes(debug)
  }
}
