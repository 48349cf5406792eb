import NIOCore

/// Calls of many messages: each is answered before the next is looked at, in order. A caller that does not read its
/// replies, or sends faster than they come, fills its stream's window and no more. Source: gRPC's `PROTOCOL-HTTP2.md`.
extension ConnectionStateMachine {
  /// What became of the next message of a call.
  private enum Step {
    /// It was taken: so many bytes.
    case taken(Int)
    /// Nothing can be done before more comes, or a reply, or room in a window.
    case wait
    /// The client has sent all, and all is answered.
    case over
    /// The call fails; where a method said so, that carried the call forward.
    case failed(RPCStatus, byMethod: Bool)
  }

  /// DATA of a call of many messages has been kept: serves what is complete.
  mutating func receiveMessages<Dispatcher: CallDispatcher>(
    _ streamID: UInt32, bytes: Int, isLast: Bool, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    guard let slot = self.streams.find(streamID) else { return }
    if self.streams[slot].contentLength >= 0 {
      // Counted down to 0 at the end.
      self.streams[slot].contentLength -= Int32(clamping: bytes)
      guard self.streams[slot].contentLength >= 0, !isLast || self.streams[slot].contentLength == 0 else {
        return try self.drop(slot, resetting: .protocolError, dispatcher: &dispatcher, output: &output)
      }
    }
    if isLast { self.streams[slot].isRemoteClosed = true }  // Also where HEADERS have ended the stream.
    try self.serveMessages(streamID, dispatcher: &dispatcher, output: &output)
    try self.refuseWhereStuck(dispatcher: &dispatcher, output: &output)
  }

  /// Serves the calls that may go on, in the order of their turns.
  mutating func serveReady<Dispatcher: CallDispatcher>(
    dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    while self.hasTurns, self.phase != .closed {
      guard output.readableBytes <= RPCLimits.maxOutputBurst else {
        self.isPaused = true
        return
      }
      if self.ready.isEmpty {
        try self.serveParked(dispatcher: &dispatcher, output: &output)
      } else {
        try self.serveMessages(self.ready.removeFirst(), dispatcher: &dispatcher, output: &output)
      }
    }
  }

  /// The same, for whoever has no peer's bytes at hand: what the peer has broken ends the connection.
  mutating func proceed<Dispatcher: CallDispatcher>(dispatcher: inout Dispatcher, output: inout ByteBuffer) {
    do throws(ConnectionFault) {
      try self.serveReady(dispatcher: &dispatcher, output: &output)
      self.returnConnectionCredit(output: &output)
    } catch {
      self.fail(error, dispatcher: &dispatcher, output: &output)
    }
  }

  /// Hands over the messages of a call that have come whole, until one has to wait.
  mutating func serveMessages<Dispatcher: CallDispatcher>(
    _ streamID: UInt32, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    guard let found = self.streams.find(streamID) else { return }
    // Out of the table while messages in it are lent out.
    var body = MessageBuffer()
    if self.streams[found].hasBody { swap(&body, &self.bodies[streamID, default: MessageBuffer()]) }
    let before = body.count
    let memoryBefore = body.memory
    var last = Step.wait
    serving: while true {
      guard output.readableBytes <= RPCLimits.maxOutputBurst else {
        self.ready.append(streamID)
        self.isPaused = true
        break
      }
      let outcome = body.withUnsafeBytes { bytes in
        Result { () throws(ConnectionFault) in
          try self.serveNext(bytes, streamID, dispatcher: &dispatcher, output: &output)
        }
      }
      last = try outcome.get()
      guard case .taken(let bytes) = last else { break serving }
      body.removeFirst(bytes)
    }
    // The stream is gone where its response could not be kept.
    let slot = self.streams.find(streamID)
    let left = slot == nil ? 0 : body.count
    self.bodyMemory += (left > 0 ? body.memory : 0) - memoryBefore
    self.bufferedBytes -= before - left
    self.receiveCredit += before - left
    guard let slot else { return }
    if body.count > 0 {
      self.bodies[streamID] = body
    } else {
      self.bodies[streamID] = nil
      self.streams[slot].hasBody = false
    }
    switch last {
    case .taken, .wait: self.returnStreamCredit(slot, unread: body.count, output: &output)
    case .over:
      if self.streams[slot].hasSentHeaders {
        self.writeClosing(streamID: streamID, to: &output)
      } else {
        self.writeStatus(RPCStatus(.ok), streamID: streamID, to: &output)
      }
      self.answered(slot)
    case .failed(let status, byMethod: true):
      self.progressed()
      try self.end(slot, status, output: &output)
    case .failed(let status, byMethod: false):
      try self.refuse(slot, status, dispatcher: &dispatcher, output: &output)
    }
  }

  /// Hands over the message that `body` begins with, where it is complete and its turn has come.
  private mutating func serveNext<Dispatcher: CallDispatcher>(
    _ body: UnsafeRawBufferPointer, _ streamID: UInt32, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) -> Step {
    guard let slot = self.streams.find(streamID) else { return .wait }
    let stream = self.streams[slot]
    guard !stream.isAwaitingReply, !stream.isHeld, !stream.isParked else { return .wait }
    if body.isEmpty { return stream.isRemoteClosed ? .over : .wait }
    let isShort =
      body.count < ResponseEncoding.prefixSize
      || body[0] == 0 && body.count - ResponseEncoding.prefixSize < Self.messageLength(body)
        && Self.messageLength(body) <= self.limits.maxMessageBytes
    if isShort && !stream.isRemoteClosed { return .wait }
    if let status = self.judgeMessage(body) { return .failed(status, byMethod: false) }
    let length = ResponseEncoding.prefixSize + Self.messageLength(body)
    let message = UnsafeRawBufferPointer(rebasing: body[ResponseEncoding.prefixSize..<length])
    let start = output.writerIndex
    if stream.hasSentHeaders {
      ResponseEncoding.writeMessageHead(streamID: streamID, to: &output)
    } else {
      ResponseEncoding.writeOpening(streamID: streamID, to: &output)
    }
    let messageStart = output.writerIndex
    let result = dispatcher.dispatch(
      route: Int(stream.route), stream: streamID, deadline: stream.deadline, message: message, room: self.room(slot),
      output: &output)
    switch result {
    case .message:
      self.isServingParked = false  // Further messages of the call stand behind those that wait.
      let length = output.writerIndex - messageStart
      try self.finishMessage(slot, start: start, messageStart: messageStart, messageLength: length, output: &output)
    case .failure(let status):
      output.moveWriterIndex(to: start)
      return .failed(status, byMethod: true)
    case .later:
      output.moveWriterIndex(to: start)
      self.streams[slot].isAwaitingReply = true
    case .noRoom(let bytes):
      output.moveWriterIndex(to: start)
      self.park(slot, needing: bytes)
      return .wait
    }
    return .taken(length)
  }

  /// Gives the peer back what its stream has used, where only its bytes are waited for.
  private mutating func returnStreamCredit(_ slot: Int, unread: Int, output: inout ByteBuffer) {
    let stream = self.streams[slot]
    guard !stream.isRemoteClosed, !stream.isAwaitingReply, !stream.isHeld, !stream.isParked else { return }
    let owed = self.limits.streamWindow - Int(stream.receiveWindow) - unread
    guard owed > 0, Int(stream.receiveWindow) < self.limits.streamWindow / 2 else { return }
    output.writeWindowUpdate(streamID: stream.id, increment: owed)
    self.streams[slot].receiveWindow += Int32(owed)
  }

  /// Ends a call with a status after whatever was sent of it before, and has the peer stop sending.
  mutating func end(_ slot: Int, _ status: RPCStatus, output: inout ByteBuffer) throws(ConnectionFault) {
    let stream = self.streams[slot]
    _ = self.takeBody(slot)
    self.forget(slot)
    self.forgivePings()
    if stream.hasSentHeaders {
      self.writeTrailers(status, streamID: stream.id, to: &output)
    } else {
      self.writeStatus(status, streamID: stream.id, to: &output)
    }
    if !stream.isRemoteClosed { try self.reset(stream.id, .noError, output: &output) }
  }
}
