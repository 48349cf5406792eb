import NIOCore

/// The frames that carry no call: windows, settings, pings and ends. Source: RFC 9113, sections 6.3 to 6.9.
extension ConnectionStateMachine {
  /// The largest window of HTTP/2.
  private static let maxWindow = 0x7fff_ffff

  mutating func receiveWindowUpdate<Dispatcher: CallDispatcher>(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    guard payload.count == 4 else { throw ConnectionFault(.frameSizeError, "WINDOW_UPDATE not of 4 bytes") }
    let increment = Int(UInt32(bigEndian: payload.loadUnaligned(as: UInt32.self)) & 0x7fff_ffff)
    try self.countUnproductive()
    if frame.streamID == 0 {
      guard increment > 0 else { throw ConnectionFault(.protocolError, "WINDOW_UPDATE by 0") }
      guard self.sendWindow + increment <= Self.maxWindow else {
        throw ConnectionFault(.flowControlError, "the connection's window past 2^31-1")
      }
      self.sendWindow += increment
      if !self.heldOrder.isEmpty { self.pump(output: &output) }
    } else {
      guard let slot = self.streams.find(frame.streamID) else { return try self.checkNotIdle(frame) }
      let window = Int(self.streams[slot].sendWindow) + increment
      guard increment > 0, window <= Self.maxWindow else {
        let code: HTTP2ErrorCode = increment == 0 ? .protocolError : .flowControlError
        return try self.drop(slot, resetting: code, dispatcher: &dispatcher, output: &output)
      }
      self.streams[slot].sendWindow = Int32(window)
      self.takeTurn(slot, output: &output)
    }
  }

  mutating func receiveResetStream<Dispatcher: CallDispatcher>(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer, dispatcher: inout Dispatcher
  ) throws(ConnectionFault) {
    guard payload.count == 4 else { throw ConnectionFault(.frameSizeError, "RST_STREAM not of 4 bytes") }
    guard frame.streamID != 0 else { throw ConnectionFault(.protocolError, "RST_STREAM on stream 0") }
    try self.countReset()
    guard let slot = self.streams.find(frame.streamID) else { return try self.checkNotIdle(frame) }
    self.drop(slot, dispatcher: &dispatcher)
  }

  /// Frames on closed streams are ignored; on streams that were never opened they are an error.
  private func checkNotIdle(_ frame: FrameHeader) throws(ConnectionFault) {
    if self.phase == .lastCalls && frame.streamID & 1 == 1 { return }
    guard frame.streamID & 1 == 1, frame.streamID <= self.lastStreamID else {
      throw ConnectionFault(.protocolError, "a frame of type \(frame.type) on stream \(frame.streamID), which is idle")
    }
  }

  mutating func receiveSettings(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    guard frame.streamID == 0 else { throw ConnectionFault(.protocolError, "SETTINGS on a stream") }
    try self.countUnproductive()
    if frame.has(FrameFlags.ack) {
      guard payload.isEmpty else { throw ConnectionFault(.frameSizeError, "a SETTINGS ACK with a payload") }
      return
    }
    guard payload.count % 6 == 0 else { throw ConnectionFault(.frameSizeError, "SETTINGS not of 6 bytes each") }
    // An honest frame has a handful of entries: a frame that is full of them counts as many.
    try self.countUnproductive(payload.count / 36)
    var initialWindow = self.peerInitialWindow
    var offset = 0
    while offset < payload.count {
      let id = UInt16(bigEndian: payload.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
      let value = UInt32(bigEndian: payload.loadUnaligned(fromByteOffset: offset + 2, as: UInt32.self))
      try self.apply(setting: id, value: Int(value), initialWindow: &initialWindow)
      offset += 6
    }
    try self.changeInitialWindow(to: initialWindow)
    output.writeSettingsAcknowledgement()
    if !self.heldOrder.isEmpty { self.pump(output: &output) }
  }

  /// Checks one entry and notes it. The initial window is only noted: changing it walks all streams, so that is done
  /// once a frame.
  private mutating func apply(
    setting id: UInt16, value: Int, initialWindow: inout Int
  ) throws(ConnectionFault) {
    switch id {
    case SettingID.headerTableSize:
      if self.needsTableUpdate(for: value) {
        self.owesTableUpdate = true
        self.hasGivenUpTable = true
      }
    case SettingID.enablePush:
      guard value <= 1 else { throw ConnectionFault(.protocolError, "SETTINGS_ENABLE_PUSH of \(value)") }
    case SettingID.initialWindowSize:
      guard value <= Self.maxWindow else {
        throw ConnectionFault(.flowControlError, "SETTINGS_INITIAL_WINDOW_SIZE of \(value)")
      }
      initialWindow = value
    case SettingID.maxFrameSize:
      guard (16_384...16_777_215).contains(value) else {
        throw ConnectionFault(.protocolError, "SETTINGS_MAX_FRAME_SIZE of \(value)")
      }
      self.peerMaxFrameSize = value
    default:
      // We open no streams, and our header lists are far below any limit. Unknown settings are ignored: RFC 9113,
      // section 6.5.2.
      break
    }
  }

  /// Moves the windows of all open streams by what a SETTINGS frame comes to. Source: RFC 9113, section 6.9.2.
  ///
  /// Entries are processed in order, which for one setting means that the last one counts: no stream can send between
  /// two of them. So a stream's window is held against the limit after the whole frame, not after each entry.
  private mutating func changeInitialWindow(to value: Int) throws(ConnectionFault) {
    let change = value - self.peerInitialWindow
    guard change != 0 else { return }
    // An honest client changes it a few times in a connection's life. Walking all streams is dearer than any other frame.
    try self.countUnproductive(self.streams.count / 16)
    self.peerInitialWindow = value
    var overflows = false
    var movable: [UInt32] = []
    self.streams.updateEach { stream in
      let window = Int(stream.sendWindow) + change
      overflows = overflows || window > Self.maxWindow
      stream.sendWindow = Int32(clamping: window)
      if stream.isHeld && !stream.isInTurn && window > 0 {
        stream.isInTurn = true
        movable.append(stream.id)
      }
    }
    guard !overflows else { throw ConnectionFault(.flowControlError, "a stream's window past 2^31-1") }
    self.heldOrder += movable
  }

  mutating func receivePing(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    guard frame.streamID == 0 else { throw ConnectionFault(.protocolError, "PING on a stream") }
    guard payload.count == 8 else { throw ConnectionFault(.frameSizeError, "PING not of 8 bytes") }
    try self.countUnproductive()
    let data = UInt64(bigEndian: payload.loadUnaligned(as: UInt64.self))
    if !frame.has(FrameFlags.ack) {
      try self.countPing()
      output.writePing(data, acknowledge: true)
    } else if data == Self.drainPing && self.phase == .draining {
      self.sendFinalGoAway(output: &output)
    }
  }

  mutating func receiveGoAway(_ frame: FrameHeader, _ payload: UnsafeRawBufferPointer) throws(ConnectionFault) {
    guard frame.streamID == 0 else { throw ConnectionFault(.protocolError, "GOAWAY on a stream") }
    guard payload.count >= 8 else { throw ConnectionFault(.frameSizeError, "GOAWAY of fewer than 8 bytes") }
    // It speaks of streams that we would open, and a server opens none. The peer closes when it is done.
    try self.countUnproductive()
  }

  mutating func receivePriority<Dispatcher: CallDispatcher>(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    guard frame.streamID != 0 else { throw ConnectionFault(.protocolError, "PRIORITY on stream 0") }
    try self.countUnproductive()
    guard payload.count == 5 else {
      // A stream error; but an idle stream can't be reset (section 6.4), so there the connection ends.
      guard let slot = self.streams.find(frame.streamID) else {
        throw ConnectionFault(.frameSizeError, "PRIORITY not of 5 bytes")
      }
      return try self.drop(slot, resetting: .frameSizeError, dispatcher: &dispatcher, output: &output)
    }
  }

  /// The PING that tells when the peer has seen the first GOAWAY.
  static let drainPing: UInt64 = 0x6d69_6420_6472_6e21

  private static let keepalivePing: UInt64 = 0x6d69_6420_6b65_6570

  /// Begins a graceful stop: says that the connection will close, and goes on serving what is under way by then.
  mutating func beginDrain(output: inout ByteBuffer) {
    guard self.isEstablished else {
      output.writeGoAway(lastStreamID: 0, code: .noError, debug: "shutting down")
      self.phase = .closed
      self.leftover = []
      return
    }
    guard self.phase == .open else { return }
    self.phase = .draining
    output.writeGoAway(lastStreamID: UInt32(Self.maxWindow), code: .noError, debug: "shutting down")
    output.writePing(Self.drainPing, acknowledge: false)
  }

  /// Takes no new streams from here on. Comes by itself when the peer answers the drain's PING.
  mutating func sendFinalGoAway(output: inout ByteBuffer) {
    guard self.phase == .draining else { return }
    self.phase = .lastCalls
    output.writeGoAway(lastStreamID: self.lastStreamID, code: .noError, debug: "shutting down")
  }

  /// Asks whether the peer is there. Its answer is only counted as bytes that have come.
  mutating func sendKeepalive(output: inout ByteBuffer) {
    guard self.phase != .closed else { return }
    output.writePing(Self.keepalivePing, acknowledge: false)
  }

  /// Whether a graceful stop is under way.
  var isDraining: Bool { self.phase == .draining || self.phase == .lastCalls }

  /// Whether a graceful stop is complete: no call is under way any more.
  var isDrained: Bool { self.phase == .lastCalls && self.streams.count == 0 }
}
