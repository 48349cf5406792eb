import MidRPC
import NIOCore
import NIOHPACK

/// HEADERS, CONTINUATION and DATA: responses. Sources: RFC 9113, sections 6.1, 6.2, 6.10 and 8.1.
extension ClientConnectionStateMachine {
  @inline(__always)
  mutating func receiveHeaders<Receiver: ClientCallReceiver>(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer, receiver: inout Receiver, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    var block = payload
    if frame.flags & (FrameFlags.padded | FrameFlags.priority) != 0 {
      block = try Self.strip(
        payload, isPadded: frame.has(FrameFlags.padded), hasPriority: frame.has(FrameFlags.priority))
    }
    if frame.has(FrameFlags.endHeaders) {
      try self.receiveBlock(
        block, streamID: frame.streamID, endsStream: frame.has(FrameFlags.endStream),
        receiver: &receiver, output: &output)
    } else {
      self.openBlock = OpenHeaderBlock(
        streamID: frame.streamID, endsStream: frame.has(FrameFlags.endStream), block: Array(block))
    }
  }

  /// Takes padding and priority off a frame's payload.
  private static func strip(
    _ payload: UnsafeRawBufferPointer, isPadded: Bool, hasPriority: Bool
  ) throws(ConnectionFault) -> UnsafeRawBufferPointer {
    let start = (isPadded ? 1 : 0) + (hasPriority ? 5 : 0)
    guard payload.count >= start else { throw ConnectionFault(.frameSizeError, "a frame too short for its flags") }
    let padding = isPadded ? Int(payload[0]) : 0
    guard start + padding <= payload.count else {
      throw ConnectionFault(.protocolError, "a frame with more padding than room")
    }
    return UnsafeRawBufferPointer(rebasing: payload[start..<(payload.count - padding)])
  }

  mutating func receiveContinuation<Receiver: ClientCallReceiver>(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer, receiver: inout Receiver, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    guard var open = self.openBlock, open.streamID == frame.streamID else {
      throw ConnectionFault(.protocolError, "CONTINUATION without a header block to go on with")
    }
    self.openBlock = nil
    open.block.append(contentsOf: payload)
    guard open.block.count <= Self.maxHeaderBytes else {
      throw ConnectionFault(.enhanceYourCalm, "a header block over \(Self.maxHeaderBytes) bytes")
    }
    guard frame.has(FrameFlags.endHeaders) else {
      self.openBlock = open
      return
    }
    let outcome = open.block.withUnsafeBytes { block in
      Result { () throws(ConnectionFault) in
        try self.receiveBlock(
          block, streamID: open.streamID, endsStream: open.endsStream, receiver: &receiver, output: &output)
      }
    }
    try outcome.get()
  }

  @inline(__always)
  private mutating func receiveBlock<Receiver: ClientCallReceiver>(
    _ block: UnsafeRawBufferPointer, streamID: UInt32, endsStream: Bool, receiver: inout Receiver,
    output: inout ByteBuffer
  ) throws(ConnectionFault) {
    // Decoded whatever becomes of the call, or the table would fall out of step with the server's.
    let head = if let known = self.knownBlocks.head(for: block) { known } else { try self.decode(block) }
    guard let slot = self.calls.find(streamID) else { return try self.checkNotIdle(streamID) }
    if self.calls[slot].hasHeaders {
      guard endsStream else {
        let status = RPCStatus(.internalError, "the server sent a second block of headers within its answer")
        return self.abandon(slot, .protocolError, status, receiver: &receiver, output: &output)
      }
      self.end(slot, head.status, receiver: &receiver, output: &output)
    } else if endsStream {
      self.end(slot, head.status ?? head.refusal, receiver: &receiver, output: &output)
    } else if !head.isInformational {
      if let refusal = head.refusal {
        return self.abandon(slot, .cancel, refusal, receiver: &receiver, output: &output)
      }
      self.calls[slot].hasHeaders = true
    }
  }

  /// The way of a block whose meaning is not known yet.
  @inline(never)
  private mutating func decode(_ block: UnsafeRawBufferPointer) throws(ConnectionFault) -> ResponseHead {
    var buffer = ByteBuffer(bytes: block)
    let headers: HPACKHeaders
    do {
      headers = try self.decoder.decodeHeaders(from: &buffer)
    } catch {
      throw ConnectionFault(.compressionError, "a header block that HPACK can't decode")
    }
    let head = ResponseHead(headers)
    self.knownBlocks.decoded(block, as: head)
    return head
  }

  /// The server has ended the stream; `status` is nil where it gave none.
  @inline(__always)
  private mutating func end<Receiver: ClientCallReceiver>(
    _ slot: Int, _ status: RPCStatus?, receiver: inout Receiver, output: inout ByteBuffer
  ) {
    let call = self.calls[slot]
    var status = status ?? RPCStatus(.unknown, "the server ended the call without a status")
    if status.code == .ok && (call.ticket.isPending && (call.replies == 0 || !self.template.isUnary) || call.hasBody) {
      status = RPCStatus(.internalError, "the server ended the call with OK and no whole message")
    }
    if call.unsent > 0 || !call.endsStream {
      // It does not want the rest of the request.
      return self.abandon(slot, .noError, status, receiver: &receiver, output: &output)
    }
    self.remove(slot, status, receiver: &receiver)
  }

  @inline(__always)
  mutating func receiveData<Receiver: ClientCallReceiver>(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer, receiver: inout Receiver, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    guard frame.streamID != 0 else { throw ConnectionFault(.protocolError, "DATA on stream 0") }
    self.receiveWindow -= frame.length
    guard self.receiveWindow >= 0 else {
      throw ConnectionFault(.flowControlError, "DATA past the connection's window")
    }
    let data =
      frame.has(FrameFlags.padded) ? try Self.strip(payload, isPadded: true, hasPriority: false) : payload
    guard let slot = self.calls.find(frame.streamID) else { return try self.checkNotIdle(frame.streamID) }
    self.calls[slot].receiveWindow -= Int32(frame.length)
    guard self.calls[slot].hasHeaders, self.calls[slot].receiveWindow >= 0 else {
      let status = RPCStatus(.internalError, "the server sent a body before its headers, or past the stream's window")
      return self.abandon(slot, .protocolError, status, receiver: &receiver, output: &output)
    }
    if let fault = self.take(data, slot, receiver: &receiver) {
      return self.abandon(slot, .cancel, fault, receiver: &receiver, output: &output)
    }
    if frame.has(FrameFlags.endStream) {
      self.end(slot, nil, receiver: &receiver, output: &output)
    } else if Int(self.calls[slot].receiveWindow) < Self.streamWindow / 2 {
      output.writeWindowUpdate(
        streamID: frame.streamID, increment: Self.streamWindow - Int(self.calls[slot].receiveWindow))
      self.calls[slot].receiveWindow = Int32(Self.streamWindow)
    }
  }

  /// Hands over the messages that `data` completes; returns why the call can't go on, if so.
  @inline(__always)
  private mutating func take<Receiver: ClientCallReceiver>(
    _ data: UnsafeRawBufferPointer, _ slot: Int, receiver: inout Receiver
  ) -> RPCStatus? {
    if !self.calls[slot].hasBody, data.count >= 5, data[0] == 0, Self.messageLength(data) == data.count - 5 {
      return self.deliver(UnsafeRawBufferPointer(rebasing: data[5...]), slot, receiver: &receiver)
    }
    return self.buffer(data, slot, receiver: &receiver)
  }

  /// The way of a message that does not come as one frame.
  @inline(never)
  private mutating func buffer<Receiver: ClientCallReceiver>(
    _ data: UnsafeRawBufferPointer, _ slot: Int, receiver: inout Receiver
  ) -> RPCStatus? {
    let streamID = self.calls[slot].streamID
    var body = self.bodies.removeValue(forKey: streamID) ?? []
    body.append(contentsOf: data)
    self.calls[slot].hasBody = false
    var offset = 0
    while body.count - offset >= 5 {
      let (flag, length) = body.withUnsafeBytes { bytes in
        (bytes[offset], Self.messageLength(UnsafeRawBufferPointer(rebasing: bytes[offset...])))
      }
      guard flag == 0 else {
        return RPCStatus(.internalError, "the server sent a compressed message, although none was asked for")
      }
      guard length <= Self.maxMessageBytes else {
        return RPCStatus(.resourceExhausted, "the answer has \(length) bytes, more than \(Self.maxMessageBytes)")
      }
      guard body.count - offset - 5 >= length else { break }
      let fault = body.withUnsafeBytes { bytes in
        let message = UnsafeRawBufferPointer(rebasing: bytes[(offset + 5)..<(offset + 5 + length)])
        return self.deliver(message, slot, receiver: &receiver)
      }
      if let fault { return fault }
      offset += 5 + length
    }
    guard offset < body.count else { return nil }
    body.removeFirst(offset)
    self.calls[slot].hasBody = true
    self.bodies[streamID] = body
    return nil
  }

  @inline(__always)
  private mutating func deliver<Receiver: ClientCallReceiver>(
    _ message: UnsafeRawBufferPointer, _ slot: Int, receiver: inout Receiver
  ) -> RPCStatus? {
    guard self.template.isUnary ? self.calls[slot].replies == 0 : self.calls[slot].ticket.isPending else {
      return RPCStatus(.internalError, "the server sent more than one message for a request")
    }
    self.calls[slot].replies &+= 1
    self.hasReplied = true
    receiver.received(message, ticket: &self.calls[slot].ticket)
    if !self.template.isUnary {
      self.calls[slot].ticket.isPending = false
      self.answered.append(self.calls[slot].streamID)
    }
    return nil
  }

  /// The length in a message's prefix, of which there must be five bytes.
  @inline(__always)
  private static func messageLength(_ bytes: UnsafeRawBufferPointer) -> Int {
    Int(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 1, as: UInt32.self)))
  }

  /// Frames on streams that are over are ignored; on streams that we never opened they are an error.
  func checkNotIdle(_ streamID: UInt32) throws(ConnectionFault) {
    guard streamID & 1 == 1, streamID < self.nextStreamID else {
      throw ConnectionFault(.protocolError, "a frame on stream \(streamID), which nobody opened")
    }
  }
}
