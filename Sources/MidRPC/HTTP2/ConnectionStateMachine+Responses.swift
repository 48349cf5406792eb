import NIOCore

/// What goes out: replies now and later, statuses and resets.
extension ConnectionStateMachine {
  /// Ends a unary response whose opening and message stand in the output from `start` on.
  @inline(__always)
  mutating func finishResponse(
    _ slot: Int, start: Int, messageLength: Int, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    let dataLength = messageLength + ResponseEncoding.prefixSize
    ResponseEncoding.finishOpening(at: start, messageLength: messageLength, in: &output)
    if self.mayLeave(dataLength, slot) {
      self.sendWindow -= dataLength
      ResponseEncoding.writeClosing(streamID: self.streams[slot].id, to: &output)
      if self.owesTableUpdate { self.writeTableUpdate(at: start, to: &output) }
      self.answered(slot)
    } else {
      try self.hold(
        slot, start: start, dataStart: start + ResponseEncoding.headersFrameSize, dataLength: dataLength,
        endsCall: true, output: &output)
    }
  }

  /// Ends one message of many. Its head stands in the output from `start` on, with the response's HEADERS before it
  /// where it is the first.
  mutating func finishMessage(
    _ slot: Int, start: Int, messageStart: Int, messageLength: Int, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    let dataLength = messageLength + ResponseEncoding.prefixSize
    let dataStart = messageStart - ResponseEncoding.messageHeadSize
    ResponseEncoding.finishOpening(
      at: dataStart - ResponseEncoding.headersFrameSize, messageLength: messageLength, in: &output)
    if self.mayLeave(dataLength, slot) {
      self.sendWindow -= dataLength
      self.streams[slot].sendWindow -= Int32(dataLength)
      self.streams[slot].hasSentHeaders = true
      self.streams[slot].movedAt = self.now
      self.progressed()
      if self.owesTableUpdate && dataStart > start { self.writeTableUpdate(at: start, to: &output) }
    } else {
      try self.hold(slot, start: start, dataStart: dataStart, dataLength: dataLength, endsCall: false, output: &output)
    }
  }

  @inline(__always)
  private func mayLeave(_ dataLength: Int, _ slot: Int) -> Bool {
    dataLength <= self.sendWindow && dataLength <= Int(self.streams[slot].sendWindow)
      && dataLength <= self.peerMaxFrameSize && self.heldOrder.isEmpty
  }

  /// A method's call was answered in full, OK or not: its stream is over.
  @inline(__always)
  mutating func answered(_ slot: Int) {
    self.streams.remove(at: slot)
    self.progressed()
  }

  // MARK: - Later

  /// Answers a message that was left for later. Nothing happens when its call is gone by now.
  ///
  /// - Returns: Whether the answer was taken.
  mutating func reply<Dispatcher: CallDispatcher>(
    stream streamID: UInt32, message: some Sequence<UInt8>, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) -> Bool {
    guard let slot = self.streams.find(streamID), self.streams[slot].isAwaitingReply else { return false }
    self.streams[slot].isAwaitingReply = false
    self.promisedBytes = self.release(slot)
    let start = output.writerIndex
    if self.streams[slot].hasSentHeaders {
      ResponseEncoding.writeMessageHead(streamID: streamID, to: &output)
    } else {
      ResponseEncoding.writeOpening(streamID: streamID, to: &output)
    }
    let messageStart = output.writerIndex
    let length = output.writeBytes(message)
    do throws(ConnectionFault) {
      if self.streams[slot].isStreaming {
        try self.finishMessage(slot, start: start, messageStart: messageStart, messageLength: length, output: &output)
        self.ready.append(streamID)
      } else {
        try self.finishResponse(slot, start: start, messageLength: length, output: &output)
      }
      self.promisedBytes = 0
      guard self.hasTurns else { return true }
      try self.serveReady(dispatcher: &dispatcher, output: &output)
      self.returnConnectionCredit(output: &output)
    } catch {
      self.fail(error, dispatcher: &dispatcher, output: &output)
    }
    return true
  }

  /// Ends a call that was left for later with a status other than OK. Nothing happens when the call is gone by now.
  ///
  /// - Returns: Whether the answer was taken.
  mutating func fail<Dispatcher: CallDispatcher>(
    stream streamID: UInt32, status: RPCStatus, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) -> Bool {
    guard let slot = self.streams.find(streamID), self.streams[slot].isAwaitingReply else { return false }
    self.streams[slot].isAwaitingReply = false
    _ = self.release(slot)
    self.progressed()
    do throws(ConnectionFault) {
      try self.end(slot, status, output: &output)
      if self.hasTurns { try self.serveReady(dispatcher: &dispatcher, output: &output) }
      self.returnConnectionCredit(output: &output)
    } catch {
      self.fail(error, dispatcher: &dispatcher, output: &output)
    }
    return true
  }

  // MARK: - Ends

  /// Answers a request with a status without a word of its method, and has the peer stop sending: RFC 9113, section 8.1.
  /// That moves no call forward: the count of unproductive frames stays.
  mutating func refuse<Dispatcher: CallDispatcher>(
    _ slot: Int, _ status: RPCStatus, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    let route = self.streams[slot].route
    dispatcher.rejected(route: route >= 0 ? Int(route) : nil, code: status.code)
    try self.end(slot, status, output: &output)
  }

  mutating func refuseHTTP<Dispatcher: CallDispatcher>(
    _ slot: Int, _ code: String, allow: String?, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) {
    let start = output.writerIndex
    ResponseEncoding.writeHTTPStatus(code, allow: allow, streamID: self.streams[slot].id, to: &output)
    if self.owesTableUpdate { self.writeTableUpdate(at: start, to: &output) }
    dispatcher.rejected(route: nil, code: .unknown)
    self.forgivePings()
    self.streams.remove(at: slot)
  }

  /// Writes RST_STREAM for something the peer did.
  mutating func reset(
    _ streamID: UInt32, _ code: HTTP2ErrorCode, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    self.writeReset(streamID, code, output: &output)
    try self.countReset()
  }

  /// Writes RST_STREAM, and remembers the stream so that what the peer sent before it knew is ignored.
  mutating func writeReset(_ streamID: UInt32, _ code: HTTP2ErrorCode, output: inout ByteBuffer) {
    output.writeResetStream(streamID: streamID, code: code)
    if self.recentResets.count >= 64 { self.recentResets.removeFirst() }
    self.recentResets.append(streamID)
  }

  /// Forgets a stream that ends without an answer, and tells the peer.
  mutating func drop<Dispatcher: CallDispatcher>(
    _ slot: Int, resetting code: HTTP2ErrorCode, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    let streamID = self.streams[slot].id
    self.drop(slot, dispatcher: &dispatcher)
    try self.reset(streamID, code, output: &output)
  }

  /// Forgets a stream that ends without an answer.
  mutating func drop<Dispatcher: CallDispatcher>(_ slot: Int, dispatcher: inout Dispatcher) {
    let stream = self.streams[slot]
    _ = self.takeBody(slot)
    if stream.isAwaitingReply { dispatcher.cancelled(stream: stream.id) }
    self.forget(slot)
  }

  // MARK: - Header blocks

  func needsTableUpdate(for size: Int) -> Bool { size < 4096 && !self.hasGivenUpTable }

  /// Puts a dynamic table size update, to 0, in front of the header block of the HEADERS frame at `start`.
  ///
  /// Our blocks never use the table, but a peer that lowers its size may insist on hearing that we know. Once said, no
  /// later change asks for it again. Source: RFC 7541, section 4.2.
  @inline(never)
  mutating func writeTableUpdate(at start: Int, to output: inout ByteBuffer) {
    self.owesTableUpdate = false
    let block = start + FrameHeader.size
    guard let head = output.getInteger(at: start, as: UInt32.self),
      let rest = output.getSlice(at: block, length: output.writerIndex - block)
    else { return }
    output.setInteger(head &+ 1 << 8, at: start)
    output.moveWriterIndex(to: block)
    output.writeInteger(UInt8(0x20))
    output.writeImmutableBuffer(rest)
  }

  mutating func writeStatus(_ status: RPCStatus, streamID: UInt32, to output: inout ByteBuffer) {
    let start = output.writerIndex
    ResponseEncoding.writeStatus(status, streamID: streamID, to: &output)
    if self.owesTableUpdate { self.writeTableUpdate(at: start, to: &output) }
  }

  mutating func writeTrailers(_ status: RPCStatus, streamID: UInt32, to output: inout ByteBuffer) {
    let start = output.writerIndex
    ResponseEncoding.writeTrailers(status, streamID: streamID, to: &output)
    if self.owesTableUpdate { self.writeTableUpdate(at: start, to: &output) }
  }

  mutating func writeClosing(streamID: UInt32, to output: inout ByteBuffer) {
    let start = output.writerIndex
    ResponseEncoding.writeClosing(streamID: streamID, to: &output)
    if self.owesTableUpdate { self.writeTableUpdate(at: start, to: &output) }
  }
}
