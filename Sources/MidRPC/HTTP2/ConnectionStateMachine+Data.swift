import NIOCore

/// DATA: messages come in here, and complete requests go to their methods. Source: RFC 9113, sections 5.2 and 6.1.
extension ConnectionStateMachine {
  @inline(__always)
  mutating func receiveData<Dispatcher: CallDispatcher>(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    guard frame.streamID != 0 else { throw ConnectionFault(.protocolError, "DATA on stream 0") }
    self.receiveWindow -= frame.length
    self.receiveCredit += frame.length
    guard self.receiveWindow >= 0 else {
      throw ConnectionFault(.flowControlError, "DATA past the connection's window")
    }
    var data = payload
    if frame.has(FrameFlags.padded) {
      guard let padding = payload.first else { throw ConnectionFault(.frameSizeError, "DATA without pad length") }
      guard Int(padding) < payload.count else {
        throw ConnectionFault(.protocolError, "DATA with more padding than frame")
      }
      data = UnsafeRawBufferPointer(rebasing: payload[1..<(payload.count - Int(padding))])
    }
    guard let slot = self.streams.find(frame.streamID) else {
      return try self.receiveStrayData(frame, output: &output)
    }
    guard !self.streams[slot].isRemoteClosed else {
      return try self.drop(slot, resetting: .streamClosed, dispatcher: &dispatcher, output: &output)
    }
    guard frame.length <= Int(self.streams[slot].receiveWindow) else {
      return try self.drop(slot, resetting: .flowControlError, dispatcher: &dispatcher, output: &output)
    }
    if frame.has(FrameFlags.endStream) && !self.streams[slot].hasBody && !self.streams[slot].isStreaming {
      try self.finishRequest(slot, data, dispatcher: &dispatcher, output: &output)
    } else {
      try self.buffer(data, frame, slot: slot, dispatcher: &dispatcher, output: &output)
    }
  }

  /// DATA for a stream that is not open: idle, closed, or reset by us a moment ago.
  private mutating func receiveStrayData(_ frame: FrameHeader, output: inout ByteBuffer) throws(ConnectionFault) {
    guard frame.streamID <= self.lastStreamID || self.phase == .lastCalls, frame.streamID & 1 == 1 else {
      throw ConnectionFault(.protocolError, "DATA on stream \(frame.streamID), which is idle")
    }
    try self.countUnproductive()
    if frame.streamID > self.lastStreamID || self.recentResets.contains(frame.streamID) { return }
    try self.reset(frame.streamID, .streamClosed, output: &output)
  }

  /// Keeps what has come of a message until the rest has come, or until its turn.
  @inline(never)
  private mutating func buffer<Dispatcher: CallDispatcher>(
    _ data: UnsafeRawBufferPointer, _ frame: FrameHeader, slot: Int,
    dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    let streamID = frame.streamID
    if data.isEmpty && !frame.has(FrameFlags.endStream) { try self.countUnproductive() }
    self.streams[slot].receiveWindow -= Int32(frame.length)
    if frame.has(FrameFlags.endStream) { self.streams[slot].isRemoteClosed = true }
    if self.streams[slot].route < 0 {
      // A request that is refused anyway is read to its end and thrown away.
      try self.countUnproductive()
    } else if !data.isEmpty {
      self.keep(data, of: slot)
    }
    if self.streams[slot].isStreaming {
      return try self.receiveMessages(
        streamID, bytes: data.count, isLast: frame.has(FrameFlags.endStream), dispatcher: &dispatcher, output: &output)
    }
    if try self.refuseOverlong(slot, dispatcher: &dispatcher, output: &output) { return }
    if frame.has(FrameFlags.endStream) {
      try self.finishBufferedRequest(slot, dispatcher: &dispatcher, output: &output)
    } else {
      if Int(self.streams[slot].receiveWindow) < self.limits.streamWindow / 2 {
        output.writeWindowUpdate(
          streamID: streamID, increment: self.limits.streamWindow - Int(self.streams[slot].receiveWindow))
        self.streams[slot].receiveWindow = Int32(clamping: self.limits.streamWindow)
      }
      try self.refuseWhereStuck(dispatcher: &dispatcher, output: &output)
    }
  }

  private mutating func keep(_ data: UnsafeRawBufferPointer, of slot: Int) {
    let streamID = self.streams[slot].id
    // The time that a message takes counts from its first byte; those that trickle in after it do not move it.
    if !self.streams[slot].hasBody && self.streams[slot].isStreaming { self.streams[slot].movedAt = self.now }
    self.streams[slot].hasBody = true
    var body = MessageBuffer()
    swap(&body, &self.bodies[streamID, default: MessageBuffer()])
    self.bodyMemory -= body.memory
    body.append(data)
    self.bodyMemory += body.memory
    swap(&body, &self.bodies[streamID, default: MessageBuffer()])
    self.bufferedBytes += data.count
    self.receiveCredit -= data.count
  }

  /// Makes room where half-sent requests have used the connection's window up.
  func isWindowUsedUp() -> Bool { self.receiveWindow == 0 && self.receiveCredit == 0 }

  mutating func refuseWhereStuck<Dispatcher: CallDispatcher>(
    dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    guard self.isWindowUsedUp() else { return }
    try self.refuseLargestHalfSent(dispatcher: &dispatcher, output: &output)
  }

  /// Answers a request whose prefix announces more than the limit, or that has gone past it, without reading the rest.
  private mutating func refuseOverlong<Dispatcher: CallDispatcher>(
    _ slot: Int, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) -> Bool {
    let stream = self.streams[slot]
    guard let body = self.bodies[stream.id], body.count >= ResponseEncoding.prefixSize else { return false }
    let announced = body.withUnsafeBytes { Self.messageLength($0) }
    let limit = self.limits.maxMessageBytes
    guard announced > limit || body.count > limit + ResponseEncoding.prefixSize else { return false }
    let status = Self.overlong(max(announced, body.count - ResponseEncoding.prefixSize), limit: limit)
    // The client may stop sending: RFC 9113, section 8.1.
    try self.refuse(slot, status, dispatcher: &dispatcher, output: &output)
    return true
  }

  static func messageLength(_ body: UnsafeRawBufferPointer) -> Int {
    Int(UInt32(bigEndian: body.loadUnaligned(fromByteOffset: 1, as: UInt32.self)))
  }

  static func overlong(_ length: Int, limit: Int) -> RPCStatus {
    RPCStatus(.resourceExhausted, "a message of \(length) bytes; at most \(limit) are taken")
  }

  /// The client's END_STREAM came after parts of the message.
  mutating func finishBufferedRequest<Dispatcher: CallDispatcher>(
    _ slot: Int, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    let body = self.takeBody(slot)
    let outcome = body.withUnsafeBytes { bytes in
      Result { () throws(ConnectionFault) in
        try self.finishRequest(slot, bytes, dispatcher: &dispatcher, output: &output)
      }
    }
    try outcome.get()
  }

  mutating func takeBody(_ slot: Int) -> MessageBuffer {
    guard self.streams[slot].hasBody else { return MessageBuffer() }
    self.streams[slot].hasBody = false
    let body = self.bodies.removeValue(forKey: self.streams[slot].id) ?? MessageBuffer()
    self.bufferedBytes -= body.count
    self.bodyMemory -= body.memory
    self.receiveCredit += body.count
    return body
  }

  /// The request has come whole: `body` is a prefix and a message. Hands it over and writes what came of it.
  @inline(__always)
  mutating func finishRequest<Dispatcher: CallDispatcher>(
    _ slot: Int, _ body: UnsafeRawBufferPointer, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    self.streams[slot].isRemoteClosed = true
    let route = self.streams[slot].route
    guard route >= 0, body.count >= ResponseEncoding.prefixSize, body[0] == 0,
      Self.messageLength(body) == body.count - ResponseEncoding.prefixSize,
      body.count - ResponseEncoding.prefixSize <= self.limits.maxMessageBytes,
      self.streams[slot].contentLength < 0 || Int(self.streams[slot].contentLength) == body.count
    else {
      return try self.refuseRequest(slot, body, dispatcher: &dispatcher, output: &output)
    }
    let message = UnsafeRawBufferPointer(rebasing: body[ResponseEncoding.prefixSize...])
    let streamID = self.streams[slot].id
    let start = output.writerIndex
    ResponseEncoding.writeOpening(streamID: streamID, to: &output)
    let result = dispatcher.dispatch(
      route: Int(route), stream: streamID, deadline: self.streams[slot].deadline, message: message,
      room: self.room(slot), output: &output)
    switch result {
    case .message:
      let length = output.writerIndex - start - ResponseEncoding.openingSize
      try self.finishResponse(slot, start: start, messageLength: length, output: &output)
    case .failure(let status):
      output.moveWriterIndex(to: start)
      self.writeStatus(status, streamID: streamID, to: &output)
      self.answered(slot)
    case .later:
      output.moveWriterIndex(to: start)
      self.streams[slot].isAwaitingReply = true
    case .noRoom(let bytes):
      output.moveWriterIndex(to: start)
      self.keep(body, of: slot)
      self.park(slot, needing: bytes)
    }
  }

  /// A request that never reaches a method: answers it and says why.
  @inline(never)
  private mutating func refuseRequest<Dispatcher: CallDispatcher>(
    _ slot: Int, _ body: UnsafeRawBufferPointer, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    let stream = self.streams[slot]
    // Malformed: RFC 9113, section 8.1.1. Requests that are refused by their head are not counted, so not judged.
    if stream.route >= 0, stream.contentLength >= 0, Int(stream.contentLength) != body.count {
      return try self.drop(slot, resetting: .protocolError, dispatcher: &dispatcher, output: &output)
    }
    let status: RPCStatus
    switch stream.route {
    case RequestHead.unsupportedMediaType:
      return self.refuseHTTP(slot, "415", allow: nil, dispatcher: &dispatcher, output: &output)
    case RequestHead.notPost:
      return self.refuseHTTP(slot, "405", allow: "POST", dispatcher: &dispatcher, output: &output)
    case RequestHead.unknownMethod:
      status = RPCStatus(.unimplemented, "no such service or method")
    case RequestHead.badTimeout:
      status = RPCStatus(.internalError, "malformed grpc-timeout: 1 to 8 digits and one of H M S m u n")
    case RequestHead.unknownCompression:
      status = RPCStatus(.unimplemented, "unknown grpc-encoding; only identity is known")
    default:
      status = self.judgeMessage(body) ?? RPCStatus(.unimplemented, "a unary call with more than one message")
    }
    try self.refuse(slot, status, dispatcher: &dispatcher, output: &output)
  }

  /// What is wrong with the message that `body` begins with, or nil.
  func judgeMessage(_ body: UnsafeRawBufferPointer) -> RPCStatus? {
    let prefix = ResponseEncoding.prefixSize
    // Sources of the codes: gRPC's `statuscodes.md` ("Request cardinality violation") and `compression.md`.
    guard !body.isEmpty else { return RPCStatus(.unimplemented, "a unary call without a message") }
    guard body.count >= prefix else { return RPCStatus(.internalError, "a message cut short") }
    guard body[0] != 1 else {
      return RPCStatus(.internalError, "a message marked as compressed in a call whose grpc-encoding is identity")
    }
    guard body[0] == 0 else { return RPCStatus(.internalError, "a message prefix that starts with \(body[0])") }
    let length = Self.messageLength(body)
    guard length <= self.limits.maxMessageBytes else {
      return Self.overlong(length, limit: self.limits.maxMessageBytes)
    }
    return length > body.count - prefix ? RPCStatus(.internalError, "a message cut short") : nil
  }
}
