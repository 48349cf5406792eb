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
      try self.countUnproductive()
      self.drop(slot, dispatcher: &dispatcher)
      return self.reset(frame.streamID, .streamClosed, output: &output)
    }
    guard frame.length <= Int(self.streams[slot].receiveWindow) else {
      try self.countUnproductive()
      self.drop(slot, dispatcher: &dispatcher)
      return self.reset(frame.streamID, .flowControlError, output: &output)
    }
    if frame.has(FrameFlags.endStream) && !self.streams[slot].hasBody {
      self.finishRequest(slot, data, dispatcher: &dispatcher, output: &output)
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
    self.reset(frame.streamID, .streamClosed, output: &output)
  }

  /// Keeps a part of a message until the rest has come.
  @inline(never)
  private mutating func buffer<Dispatcher: CallDispatcher>(
    _ data: UnsafeRawBufferPointer, _ frame: FrameHeader, slot: Int,
    dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    let streamID = frame.streamID
    if data.isEmpty && !frame.has(FrameFlags.endStream) { try self.countUnproductive() }
    self.streams[slot].receiveWindow -= Int32(frame.length)
    // A request that is refused anyway is read to its end and thrown away.
    if self.streams[slot].route >= 0 {
      self.streams[slot].hasBody = true
      self.bodies[streamID, default: []].append(contentsOf: data)
      self.bufferedBytes += data.count
      self.receiveCredit -= data.count
      if self.refuseOverlong(slot, dispatcher: &dispatcher, output: &output) { return }
    }
    if frame.has(FrameFlags.endStream) {
      self.finishBufferedRequest(slot, dispatcher: &dispatcher, output: &output)
    } else if Int(self.streams[slot].receiveWindow) < self.limits.streamWindow / 2 {
      output.writeWindowUpdate(
        streamID: streamID, increment: self.limits.streamWindow - Int(self.streams[slot].receiveWindow))
      self.streams[slot].receiveWindow = Int32(clamping: self.limits.streamWindow)
    }
  }

  /// Answers a request whose prefix announces more than the limit, or that has gone past it, without reading the rest.
  private mutating func refuseOverlong<Dispatcher: CallDispatcher>(
    _ slot: Int, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) -> Bool {
    let stream = self.streams[slot]
    guard let body = self.bodies[stream.id], body.count >= ResponseEncoding.prefixSize else { return false }
    let announced = body.withUnsafeBytes { Self.messageLength($0) }
    let limit = self.limits.maxMessageBytes
    guard announced > limit || body.count > limit + ResponseEncoding.prefixSize else { return false }
    self.refuse(
      slot, Self.overlong(max(announced, body.count - ResponseEncoding.prefixSize), limit: limit),
      dispatcher: &dispatcher, output: &output)
    // The client may stop sending: RFC 9113, section 8.1.
    self.reset(stream.id, .noError, output: &output)
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
  ) {
    let body = self.takeBody(slot)
    body.withUnsafeBytes { self.finishRequest(slot, $0, dispatcher: &dispatcher, output: &output) }
  }

  mutating func takeBody(_ slot: Int) -> [UInt8] {
    guard self.streams[slot].hasBody else { return [] }
    self.streams[slot].hasBody = false
    let body = self.bodies.removeValue(forKey: self.streams[slot].id) ?? []
    self.bufferedBytes -= body.count
    self.receiveCredit += body.count
    return body
  }

  /// Half-sent requests have used up the connection's whole window: none of them could ever go on. Refuses the largest
  /// of them (the newest of equals), so that its bytes can be given back; its caller may safely try again.
  ///
  /// Requests that only lack END_STREAM need no window and are spared. What then stands still is ended by its caller:
  /// by the deadline that it set, or with its connection.
  @inline(never)
  mutating func refuseLargestHalfSent<Dispatcher: CallDispatcher>(
    dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    var largest: (bytes: Int, streamID: UInt32) = (0, 0)
    for (streamID, body) in self.bodies where (body.count, streamID) > largest {
      let length = body.withUnsafeBytes { $0.count < ResponseEncoding.prefixSize ? .max : Self.messageLength($0) }
      if body.count - ResponseEncoding.prefixSize < length { largest = (body.count, streamID) }
    }
    guard largest.bytes > 0, let slot = self.streams.find(largest.streamID) else { return }
    try self.countUnproductive()
    self.drop(slot, dispatcher: &dispatcher)
    self.reset(largest.streamID, .refusedStream, output: &output)
  }

  /// The request has come whole: `body` is a prefix and a message. Hands it over and writes what came of it.
  @inline(__always)
  mutating func finishRequest<Dispatcher: CallDispatcher>(
    _ slot: Int, _ body: UnsafeRawBufferPointer, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) {
    let route = self.streams[slot].route
    guard route >= 0, body.count >= ResponseEncoding.prefixSize, body[0] == 0,
      Self.messageLength(body) == body.count - ResponseEncoding.prefixSize,
      body.count - ResponseEncoding.prefixSize <= self.limits.maxMessageBytes,
      self.streams[slot].contentLength < 0 || Int(self.streams[slot].contentLength) == body.count
    else {
      return self.refuseRequest(slot, body, dispatcher: &dispatcher, output: &output)
    }
    let message = UnsafeRawBufferPointer(rebasing: body[ResponseEncoding.prefixSize...])
    let streamID = self.streams[slot].id
    let start = output.writerIndex
    ResponseEncoding.writeOpening(streamID: streamID, to: &output)
    let result = dispatcher.dispatch(
      route: Int(route), stream: streamID, timeout: self.streams[slot].timeout, message: message, output: &output)
    switch result {
    case .message:
      let length = output.writerIndex - start - ResponseEncoding.openingSize
      self.finishResponse(slot, start: start, messageLength: length, output: &output)
    case .failure(let status):
      output.moveWriterIndex(to: start)
      ResponseEncoding.writeStatus(status, streamID: streamID, to: &output)
      self.answered(slot)
    case .later:
      output.moveWriterIndex(to: start)
      self.streams[slot].isRemoteClosed = true
    }
  }

  /// A request that never reaches a method: answers it and says why.
  @inline(never)
  private mutating func refuseRequest<Dispatcher: CallDispatcher>(
    _ slot: Int, _ body: UnsafeRawBufferPointer, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) {
    let prefix = ResponseEncoding.prefixSize
    let stream = self.streams[slot]
    // Malformed: RFC 9113, section 8.1.1. Requests that are refused by their head are not counted, so not judged.
    if stream.route >= 0, stream.contentLength >= 0, Int(stream.contentLength) != body.count {
      self.drop(slot, dispatcher: &dispatcher)
      return self.reset(stream.id, .protocolError, output: &output)
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
      if body.count < prefix {
        status = RPCStatus(.internalError, body.isEmpty ? "a unary call without a message" : "a message cut short")
      } else if body[0] == 1 {
        status = RPCStatus(.unimplemented, "compressed messages are not taken; only identity is known")
      } else if body[0] != 0 {
        status = RPCStatus(.internalError, "a message prefix that starts with \(body[0])")
      } else if Self.messageLength(body) > self.limits.maxMessageBytes {
        status = Self.overlong(Self.messageLength(body), limit: self.limits.maxMessageBytes)
      } else if Self.messageLength(body) > body.count - prefix {
        status = RPCStatus(.internalError, "a message cut short")
      } else {
        status = RPCStatus(.internalError, "more than one message in a unary call")
      }
    }
    self.refuse(slot, status, dispatcher: &dispatcher, output: &output)
  }
}
