import NIOCore
import NIOHPACK

/// HEADERS and CONTINUATION: calls begin here. Source: RFC 9113, sections 6.2, 6.10 and 8.1.
extension ConnectionStateMachine {
  @inline(__always)
  mutating func receiveHeaders<Dispatcher: CallDispatcher>(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    guard frame.streamID & 1 == 1 else {
      throw ConnectionFault(.protocolError, "HEADERS on stream \(frame.streamID); a client's streams are odd")
    }
    let block = try self.strip(frame, payload)
    if frame.has(FrameFlags.endHeaders) {
      try self.receiveHeaderBlock(
        block, streamID: frame.streamID, endsStream: frame.has(FrameFlags.endStream),
        dispatcher: &dispatcher, output: &output)
    } else {
      self.openBlock = OpenHeaderBlock(
        streamID: frame.streamID, endsStream: frame.has(FrameFlags.endStream), block: Array(block),
        since: self.now)
    }
  }

  /// Takes padding and priority off a HEADERS frame.
  @inline(__always)
  private func strip(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer
  ) throws(ConnectionFault) -> UnsafeRawBufferPointer {
    guard frame.flags & (FrameFlags.padded | FrameFlags.priority) != 0 else { return payload }
    var start = 0
    var padding = 0
    if frame.has(FrameFlags.padded) {
      guard let length = payload.first else { throw ConnectionFault(.frameSizeError, "HEADERS without pad length") }
      padding = Int(length)
      start = 1
    }
    if frame.has(FrameFlags.priority) {
      guard payload.count >= start + 5 else { throw ConnectionFault(.frameSizeError, "HEADERS without priority") }
      start += 5
    }
    guard start + padding <= payload.count else {
      throw ConnectionFault(.protocolError, "HEADERS with more padding than frame")
    }
    return UnsafeRawBufferPointer(rebasing: payload[start..<(payload.count - padding)])
  }

  mutating func receiveContinuation<Dispatcher: CallDispatcher>(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    guard var open = self.openBlock, open.streamID == frame.streamID else {
      throw ConnectionFault(.protocolError, "CONTINUATION without a header block to go on with")
    }
    self.openBlock = nil
    open.block.append(contentsOf: payload)
    open.frames += 1
    // Any list that fits needs few frames: many small or empty ones are an attack (CVE-2024-27316 and its kin).
    guard open.block.count <= self.limits.maxHeaderListBytes, open.frames <= 64 else {
      throw ConnectionFault(.enhanceYourCalm, "a header block over \(self.limits.maxHeaderListBytes) bytes")
    }
    guard frame.has(FrameFlags.endHeaders) else {
      self.openBlock = open
      return
    }
    let outcome = open.block.withUnsafeBytes { block in
      Result { () throws(ConnectionFault) in
        try self.receiveHeaderBlock(
          block, streamID: open.streamID, endsStream: open.endsStream, dispatcher: &dispatcher, output: &output)
      }
    }
    try outcome.get()
  }

  @inline(__always)
  private mutating func receiveHeaderBlock<Dispatcher: CallDispatcher>(
    _ block: UnsafeRawBufferPointer, streamID: UInt32, endsStream: Bool,
    dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    guard streamID > self.lastStreamID else {
      return try self.receiveTrailers(
        block, streamID: streamID, endsStream: endsStream, dispatcher: &dispatcher, output: &output)
    }
    // The block is decoded whatever becomes of the call, or the table would fall out of step with the peer's.
    let head =
      if let known = self.knownBlocks.head(for: block) { known } else { try self.decodeHead(block) }
    if self.phase == .lastCalls { return }
    if streamID > self.lastStreamID + 2 { self.skip(upTo: streamID) }
    self.lastStreamID = streamID
    guard self.streams.count < self.limits.maxConcurrentStreams else {
      // Not counted as a reset: a client may open more before it has our SETTINGS, and tries again.
      try self.countUnproductive()
      return self.writeReset(streamID, .refusedStream, output: &output)
    }
    guard head.route > RequestHead.connect else {
      return try self.refuseHead(
        head, streamID: streamID, endsStream: endsStream, dispatcher: &dispatcher, output: &output)
    }
    var stream = StreamState()
    stream.id = streamID
    stream.route = head.route
    stream.deadline = head.timeout == .max ? .max : self.now.addingClamped(head.timeout)
    stream.movedAt = self.now
    stream.isStreaming = head.isStreaming
    stream.contentLength = head.contentLength
    stream.sendWindow = Int32(clamping: self.peerInitialWindow)
    stream.receiveWindow = Int32(clamping: self.limits.streamWindow)
    self.streams.insert(stream)
    if endsStream, let slot = self.streams.find(streamID) {
      try self.finishWithoutMessage(slot, dispatcher: &dispatcher, output: &output)
    }
  }

  /// A request that becomes no call whatever follows its head: malformed (RFC 9113, section 8.1.1), or CONNECT.
  @inline(never)
  private mutating func refuseHead<Dispatcher: CallDispatcher>(
    _ head: RequestHead, streamID: UInt32, endsStream: Bool, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    guard head.route == RequestHead.connect else {
      return try self.reset(streamID, .protocolError, output: &output)
    }
    var stream = StreamState()
    stream.id = streamID
    self.streams.insert(stream)
    if let slot = self.streams.find(streamID) {
      self.refuseHTTP(slot, "405", allow: "POST", dispatcher: &dispatcher, output: &output)
    }
    if !endsStream { try self.reset(streamID, .noError, output: &output) }
  }

  /// END_STREAM came with HEADERS: for a unary call that is an error, a call of many messages may have none.
  @inline(never)
  private mutating func finishWithoutMessage<Dispatcher: CallDispatcher>(
    _ slot: Int, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    if self.streams[slot].isStreaming {
      let streamID = self.streams[slot].id
      try self.receiveMessages(streamID, bytes: 0, isLast: true, dispatcher: &dispatcher, output: &output)
    } else {
      try self.finishBufferedRequest(slot, dispatcher: &dispatcher, output: &output)
    }
  }

  /// Notes the numbers that the peer leaves out, so that a stream opened there later is told from one that is over:
  /// PROTOCOL_ERROR (RFC 9113, section 5.1.1) and STREAM_CLOSED (section 5.1). Only the last few gaps are known; in an
  /// older one the code is STREAM_CLOSED. The connection ends either way.
  @inline(never)
  private mutating func skip(upTo streamID: UInt32) {
    if self.skippedStreams.count >= 8 { self.skippedStreams.removeFirst() }
    self.skippedStreams.append((self.lastStreamID + 1)..<streamID)
  }

  /// The way of a block whose meaning is not known yet: off the hot path.
  @inline(never)
  private mutating func decodeHead(_ block: UnsafeRawBufferPointer) throws(ConnectionFault) -> RequestHead {
    var head = RequestHead(try self.decode(block), routes: self.routes)
    head.isStreaming = self.streamingRoutes.contains(head.route)
    self.knownBlocks.decoded(block, as: head)
    return head
  }

  private mutating func decode(_ block: UnsafeRawBufferPointer) throws(ConnectionFault) -> HPACKHeaders {
    if !HeaderBlock.leavesTableAlone(block) {
      // Dear: others have their turn before the next ones.
      self.tableWork += block.count
      if self.tableWork > RPCLimits.maxTableWork { self.isPaused = true }
    }
    var buffer = ByteBuffer(bytes: block)
    do {
      return try self.decoder.decodeHeaders(from: &buffer)
    } catch {
      throw error is NIOHPACKErrors.MaxHeaderListSizeViolation
        ? ConnectionFault(.enhanceYourCalm, "a header list over \(self.limits.maxHeaderListBytes) bytes")
        : ConnectionFault(.compressionError, "a header block that HPACK can't decode")
    }
  }

  /// Headers on a stream that is already open are the client's trailers; gRPC clients have none, but may.
  @inline(never)
  private mutating func receiveTrailers<Dispatcher: CallDispatcher>(
    _ block: UnsafeRawBufferPointer, streamID: UInt32, endsStream: Bool,
    dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    let headers = try self.decode(block)
    if !HeaderBlock.leavesTableAlone(block) { self.knownBlocks = HeaderBlockCache() }
    guard let slot = self.streams.find(streamID) else {
      if self.recentResets.contains(streamID) { return try self.countUnproductive() }
      if self.skippedStreams.contains(where: { $0.contains(streamID) }) {
        throw ConnectionFault(.protocolError, "HEADERS on stream \(streamID), lower than one that was opened before")
      }
      throw ConnectionFault(.streamClosed, "HEADERS on stream \(streamID), which is closed")
    }
    guard !self.streams[slot].isRemoteClosed else {
      throw ConnectionFault(.streamClosed, "HEADERS on stream \(streamID) after its end")
    }
    guard endsStream, RequestHead.areTrailers(headers) else {
      return try self.drop(slot, resetting: .protocolError, dispatcher: &dispatcher, output: &output)
    }
    try self.finishWithoutMessage(slot, dispatcher: &dispatcher, output: &output)
  }
}
