import MidRPC
import NIOCore

/// The frames that carry no response: windows, settings, pings and ends. Source: RFC 9113, sections 6.4 to 6.9.
extension ClientConnectionStateMachine {
  mutating func receiveWindowUpdate<Receiver: ClientCallReceiver>(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer, receiver: inout Receiver, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    guard payload.count == 4 else { throw ConnectionFault(.frameSizeError, "WINDOW_UPDATE not of 4 bytes") }
    let increment = Int(UInt32(bigEndian: payload.loadUnaligned(as: UInt32.self)) & 0x7fff_ffff)
    if frame.streamID == 0 {
      guard increment > 0 else { throw ConnectionFault(.protocolError, "WINDOW_UPDATE by 0") }
      self.sendWindow += increment
      guard self.sendWindow <= Self.maxWindow else {
        throw ConnectionFault(.flowControlError, "the connection's window past 2^31-1")
      }
    } else {
      guard let slot = self.calls.find(frame.streamID) else { return try self.checkNotIdle(frame.streamID) }
      let window = Int(self.calls[slot].sendWindow) + increment
      guard increment > 0, window <= Self.maxWindow else {
        let status = RPCStatus(.internalError, "the server sent a WINDOW_UPDATE by \(increment), which can't be")
        let code: HTTP2ErrorCode = increment == 0 ? .protocolError : .flowControlError
        return self.abandon(slot, code, status, receiver: &receiver, output: &output)
      }
      self.calls[slot].sendWindow = Int32(window)
    }
    self.pump(output: &output)
  }

  mutating func receiveResetStream<Receiver: ClientCallReceiver>(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer, receiver: inout Receiver
  ) throws(ConnectionFault) {
    guard payload.count == 4 else { throw ConnectionFault(.frameSizeError, "RST_STREAM not of 4 bytes") }
    guard let slot = self.calls.find(frame.streamID) else { return try self.checkNotIdle(frame.streamID) }
    let number = UInt32(bigEndian: payload.loadUnaligned(as: UInt32.self))
    // The codes are those of gRPC's `PROTOCOL-HTTP2.md`, "HTTP2 Transport Mapping".
    let code: RPCStatus.Code =
      switch HTTP2ErrorCode(rawValue: number) {
      case .refusedStream: .unavailable
      case .cancel: .cancelled
      case .enhanceYourCalm: .resourceExhausted
      case .inadequateSecurity: .permissionDenied
      default: .internalError
      }
    self.remove(slot, RPCStatus(code, "the server reset the call (code \(number))"), receiver: &receiver)
  }

  mutating func receiveSettings(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    guard frame.streamID == 0 else { throw ConnectionFault(.protocolError, "SETTINGS on a stream") }
    if frame.has(FrameFlags.ack) {
      guard payload.isEmpty else { throw ConnectionFault(.frameSizeError, "a SETTINGS ACK with a payload") }
      return
    }
    guard payload.count % 6 == 0 else { throw ConnectionFault(.frameSizeError, "SETTINGS not of 6 bytes each") }
    for offset in stride(from: 0, to: payload.count, by: 6) {
      let id = UInt16(bigEndian: payload.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
      let value = UInt32(bigEndian: payload.loadUnaligned(fromByteOffset: offset + 2, as: UInt32.self))
      try self.apply(setting: id, value: Int(value))
    }
    output.writeSettingsAcknowledgement()
    self.pump(output: &output)
  }

  private mutating func apply(setting id: UInt16, value: Int) throws(ConnectionFault) {
    switch id {
    case SettingID.maxConcurrentStreams: self.peerMaxStreams = value
    case SettingID.maxFrameSize:
      guard (16_384...16_777_215).contains(value) else {
        throw ConnectionFault(.protocolError, "SETTINGS_MAX_FRAME_SIZE of \(value)")
      }
      self.peerMaxFrameSize = value
    case SettingID.initialWindowSize:
      guard value <= Self.maxWindow else {
        throw ConnectionFault(.flowControlError, "SETTINGS_INITIAL_WINDOW_SIZE of \(value)")
      }
      let change = value - self.peerInitialWindow
      self.peerInitialWindow = value
      var overflows = false
      self.calls.updateEach { call in
        let window = Int(call.sendWindow) + change
        overflows = overflows || window > Self.maxWindow
        call.sendWindow = Int32(clamping: window)
      }
      guard !overflows else { throw ConnectionFault(.flowControlError, "a stream's window past 2^31-1") }
    case SettingID.enablePush:
      guard value == 0 else { throw ConnectionFault(.protocolError, "SETTINGS_ENABLE_PUSH of \(value)") }
    default: break  // Our blocks use no table, and our header list is far below any limit.
    }
  }

  mutating func receivePing(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    guard frame.streamID == 0 else { throw ConnectionFault(.protocolError, "PING on a stream") }
    guard payload.count == 8 else { throw ConnectionFault(.frameSizeError, "PING not of 8 bytes") }
    guard !frame.has(FrameFlags.ack) else { return }
    output.writePing(UInt64(bigEndian: payload.loadUnaligned(as: UInt64.self)), acknowledge: true)
  }

  /// The server takes no more calls. Those above its last one were not looked at; the others go on.
  mutating func receiveGoAway<Receiver: ClientCallReceiver>(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer, receiver: inout Receiver
  ) throws(ConnectionFault) {
    guard frame.streamID == 0 else { throw ConnectionFault(.protocolError, "GOAWAY on a stream") }
    guard payload.count >= 8 else { throw ConnectionFault(.frameSizeError, "GOAWAY of fewer than 8 bytes") }
    let last = UInt32(bigEndian: payload.loadUnaligned(as: UInt32.self)) & 0x7fff_ffff
    let code = UInt32(bigEndian: payload.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
    let text = String(decoding: payload[8...].prefix(256), as: UTF8.self)
    self.farewell = ConnectionFault(HTTP2ErrorCode(rawValue: code) ?? .internalError, text)
    self.phase = .goingAway
    for stream in self.calls.streams where stream > last {
      guard let slot = self.calls.find(stream) else { continue }
      let ticket = self.calls[slot].ticket
      if self.calls[slot].hasBody { self.bodies[stream] = nil }
      self.calls.remove(slot)
      receiver.unprocessed(ticket)
    }
  }
}
