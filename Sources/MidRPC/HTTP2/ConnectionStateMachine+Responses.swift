import NIOCore

/// What goes out: replies now and later, and the peer's flow control. Source: RFC 9113, section 5.2.
extension ConnectionStateMachine {
  /// Ends a response whose opening and message stand in the output from `start` on.
  @inline(__always)
  mutating func finishResponse(_ slot: Int, start: Int, messageLength: Int, output: inout ByteBuffer) {
    let dataLength = messageLength + ResponseEncoding.prefixSize
    let fits =
      dataLength <= self.sendWindow && dataLength <= Int(self.streams[slot].sendWindow)
      && dataLength <= self.peerMaxFrameSize && self.heldOrder.isEmpty
    ResponseEncoding.finishOpening(at: start, messageLength: messageLength, in: &output)
    if fits {
      self.sendWindow -= dataLength
      ResponseEncoding.writeClosing(streamID: self.streams[slot].id, to: &output)
      self.answered(slot)
    } else {
      self.hold(slot, start: start, dataLength: dataLength, output: &output)
    }
  }

  /// A method's call was answered in full, OK or not: its stream is over.
  @inline(__always)
  mutating func answered(_ slot: Int) {
    self.streams.remove(at: slot)
    self.unproductiveFrames = 0
  }

  /// Takes a response back that can't leave at once, and sends as much of it as the windows allow.
  @inline(never)
  private mutating func hold(_ slot: Int, start: Int, dataLength: Int, output: inout ByteBuffer) {
    let streamID = self.streams[slot].id
    var data = ByteBuffer()
    if let rest = output.getSlice(at: output.writerIndex - dataLength, length: dataLength) {
      data.writeImmutableBuffer(rest)
    }
    output.moveWriterIndex(to: start + ResponseEncoding.headersFrameSize)
    self.streams[slot].isRemoteClosed = true
    self.streams[slot].hasSentHeaders = true
    self.held[streamID] = HeldResponse(data: data)
    self.takeTurn(slot, output: &output)
  }

  /// Lines a held response up for the connection's window, if its own stream's window lets it move.
  mutating func takeTurn(_ slot: Int, output: inout ByteBuffer) {
    let stream = self.streams[slot]
    guard stream.hasSentHeaders, !stream.isInTurn, stream.sendWindow > 0 else { return }
    self.streams[slot].isInTurn = true
    self.heldOrder.append(stream.id)
    self.pump(output: &output)
  }

  /// Sends what the connection's window allows of the responses that stand in line, a frame of each in turn.
  ///
  /// Those that their own stream's window blocks are not in line, so every step sends something or takes one out:
  /// a peer that opens windows byte by byte costs no walk over all that is held.
  mutating func pump(output: inout ByteBuffer) {
    var turn = 0
    while turn < self.heldOrder.count, self.sendWindow > 0 {
      let streamID = self.heldOrder[turn]
      turn += 1
      guard var response = self.held[streamID], let slot = self.streams.find(streamID) else { continue }
      let room = min(self.sendWindow, Int(self.streams[slot].sendWindow), self.peerMaxFrameSize)
      guard room > 0 else {  // A SETTINGS frame has lowered its window.
        self.streams[slot].isInTurn = false
        continue
      }
      let length = min(room, response.data.readableBytes)
      if let part = response.data.readSlice(length: length) {
        output.writeFrameHeader(length: length, type: FrameType.data, flags: 0, streamID: streamID)
        output.writeImmutableBuffer(part)
      }
      self.sendWindow -= length
      self.streams[slot].sendWindow -= Int32(length)
      if response.data.readableBytes == 0 {
        ResponseEncoding.writeClosing(streamID: streamID, to: &output)
        self.held[streamID] = nil
        self.answered(slot)
      } else {
        self.held[streamID] = response
        self.streams[slot].isInTurn = self.streams[slot].sendWindow > 0
        if self.streams[slot].isInTurn { self.heldOrder.append(streamID) }
      }
    }
    self.heldOrder.removeFirst(turn)
  }

  /// Answers a call that was left for later. Nothing happens when the call is gone by now.
  ///
  /// - Returns: Whether the answer was taken.
  mutating func reply(
    stream streamID: UInt32, message: some Sequence<UInt8>, output: inout ByteBuffer
  ) -> Bool {
    guard let slot = self.awaitingReply(streamID) else { return false }
    let start = output.writerIndex
    ResponseEncoding.writeOpening(streamID: streamID, to: &output)
    let length = output.writeBytes(message)
    self.finishResponse(slot, start: start, messageLength: length, output: &output)
    return true
  }

  /// Ends a call that was left for later with a status other than OK. Nothing happens when the call is gone by now.
  ///
  /// - Returns: Whether the answer was taken.
  mutating func fail(stream streamID: UInt32, status: RPCStatus, output: inout ByteBuffer) -> Bool {
    guard let slot = self.awaitingReply(streamID) else { return false }
    ResponseEncoding.writeStatus(status, streamID: streamID, to: &output)
    self.answered(slot)
    return true
  }

  private func awaitingReply(_ streamID: UInt32) -> Int? {
    guard let slot = self.streams.find(streamID) else { return nil }
    return self.streams[slot].isRemoteClosed && !self.streams[slot].hasSentHeaders ? slot : nil
  }

  /// Answers a request with a status before it reaches a method. That moves no call forward: the count of unproductive
  /// frames stays.
  mutating func refuse<Dispatcher: CallDispatcher>(
    _ slot: Int, _ status: RPCStatus, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) {
    let stream = self.streams[slot]
    _ = self.takeBody(slot)
    ResponseEncoding.writeStatus(status, streamID: stream.id, to: &output)
    dispatcher.rejected(route: stream.route >= 0 ? Int(stream.route) : nil, code: status.code)
    self.streams.remove(at: slot)
  }

  mutating func refuseHTTP<Dispatcher: CallDispatcher>(
    _ slot: Int, _ code: String, allow: String?, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) {
    ResponseEncoding.writeHTTPStatus(code, allow: allow, streamID: self.streams[slot].id, to: &output)
    dispatcher.rejected(route: nil, code: .unknown)
    self.streams.remove(at: slot)
  }

  /// Writes RST_STREAM, and remembers the stream so that what the peer sent before it knew is ignored.
  mutating func reset(_ streamID: UInt32, _ code: HTTP2ErrorCode, output: inout ByteBuffer) {
    output.writeResetStream(streamID: streamID, code: code)
    if self.recentResets.count >= 64 { self.recentResets.removeFirst() }
    self.recentResets.append(streamID)
  }

  /// Forgets a stream that ends without an answer.
  mutating func drop<Dispatcher: CallDispatcher>(_ slot: Int, dispatcher: inout Dispatcher) {
    let stream = self.streams[slot]
    _ = self.takeBody(slot)
    if stream.isRemoteClosed && !stream.hasSentHeaders { dispatcher.cancelled(stream: stream.id) }
    if stream.hasSentHeaders { self.held[stream.id] = nil }
    if stream.isInTurn { self.heldOrder.removeAll { $0 == stream.id } }
    self.streams.remove(at: slot)
  }

  /// Gives the peer back what it has sent and we have done with, once that is as much as what it has left.
  ///
  /// Bytes of half-sent requests are given back when the request is complete or dropped, not before. So the window
  /// itself bounds what they take in memory, and a peer that keeps to it never breaks a rule.
  @inline(__always)
  mutating func returnConnectionCredit(output: inout ByteBuffer) {
    guard self.receiveCredit >= self.receiveWindow, self.receiveCredit > 0, self.phase != .closed else { return }
    output.writeWindowUpdate(streamID: 0, increment: self.receiveCredit)
    self.receiveWindow += self.receiveCredit
    self.receiveCredit = 0
  }
}
