import NIOCore

/// Calls whose answer has no room: their messages wait, and are handed over once what is held back has left. So a peer
/// may ask for more at once than is held for it, and what it costs in memory stays bounded.
///
/// Room is also kept free for large answers that come later, from when they are about to be made. They are held back whatever
/// else is by then, so that at most twice ``RPCLimits/maxHeldBytes`` are: as much of answers that nothing was kept free for,
/// and as much of these.
///
/// What changes nothing is mutating all the same: the machine is large, and is copied whole for a call that does not mutate
/// it, whether that call comes or not.
extension ConnectionStateMachine {
  /// How many bytes the message of an answer may have now: what could leave at once, or what could still be held. Behind
  /// those that wait for room already, nothing is held.
  @inline(__always)
  mutating func room(_ slot: Int) -> Int {
    self.heldBytes | self.reservedBytes == 0 && self.parked.isEmpty
      ? .max : self.room(slot, isNext: self.isServingParked)
  }

  @inline(never)
  private mutating func room(_ slot: Int, isNext: Bool) -> Int {
    let mayLeave =
      self.heldOrder.isEmpty ? min(self.sendWindow, Int(self.streams[slot].sendWindow), self.peerMaxFrameSize) : 0
    guard self.parked.isEmpty || isNext else { return max(0, mayLeave - ResponseEncoding.prefixSize) }
    let taken = self.heldBytes + self.reservedBytes
    guard taken > 0 else { return .max }
    return max(0, max(mayLeave, self.limits.maxHeldBytes - taken) - ResponseEncoding.prefixSize)
  }

  /// How many bytes may be kept free for an answer that comes later. What could leave now does not count.
  private var roomLater: Int {
    let taken = self.heldBytes + self.reservedBytes
    return taken == 0 ? .max : max(0, self.limits.maxHeldBytes - taken - ResponseEncoding.prefixSize)
  }

  /// Keeps room for an answer that comes later, of at most so many bytes, and tells the dispatcher: now, or once its turn has
  /// come and there is as much. Nothing happens where the call is gone by now, or has asked before.
  mutating func keepRoom<Dispatcher: CallDispatcher>(
    stream streamID: UInt32, bytes: Int, dispatcher: inout Dispatcher
  ) {
    guard let slot = self.streams.find(streamID) else { return }
    let stream = self.streams[slot]
    guard stream.isAwaitingReply, !stream.isParked, stream.reserved == 0 else { return }
    if self.parked.isEmpty && bytes <= self.roomLater {
      self.reserve(bytes, for: slot)
      dispatcher.hasRoom(stream: streamID)
    } else {
      self.streams[slot].isParked = true
      self.streams[slot].movedAt = self.now
      self.parked.append((streamID, bytes, true))
    }
  }

  private mutating func reserve(_ bytes: Int, for slot: Int) {
    let prefix = ResponseEncoding.prefixSize
    self.streams[slot].reserved = Int32(clamping: min(bytes, Int(Int32.max) - prefix) + prefix)
    self.reservedBytes += Int(self.streams[slot].reserved)
  }

  /// An answer has come, or will not: gives the room back that was kept for it, and lets go of its turn.
  ///
  /// - Returns: how much that was, in bytes of DATA.
  mutating func release(_ slot: Int) -> Int {
    if self.streams[slot].isParked {
      let streamID = self.streams[slot].id
      self.streams[slot].isParked = false
      self.parked.removeAll { $0.stream == streamID }
    }
    let bytes = Int(self.streams[slot].reserved)
    guard bytes > 0 else { return 0 }
    self.streams[slot].reserved = 0
    self.reservedBytes -= bytes
    self.heldMovedAt = self.now
    return bytes
  }

  /// Has a call wait whose next message was handed back, since its answer of so many bytes has no room.
  @inline(never)
  mutating func park(_ slot: Int, needing bytes: Int) {
    precondition(bytes > self.room(slot), "there was room for the answer")
    self.streams[slot].isParked = true
    self.streams[slot].movedAt = self.now
    self.parked.append((self.streams[slot].id, bytes, false))
  }

  /// What a call is told whose answer has no room.
  var noRoomStatus: RPCStatus {
    RPCStatus(
      .resourceExhausted,
      "the connection's answers that wait to be read take \(self.heldBytes) bytes; at most \(self.limits.maxHeldBytes) are kept"
    )
  }

  /// Whether a call may go on without anything more from the peer.
  @inline(__always)
  var hasTurns: Bool {
    mutating get { !self.ready.isEmpty || !self.parked.isEmpty && self.hasRoomForParked() }
  }

  /// Whether the first call that waits for room has it.
  @inline(never)
  private mutating func hasRoomForParked() -> Bool {
    guard let next = self.parked.first, let slot = self.streams.find(next.stream) else { return false }
    return (next.isLater ? self.roomLater : self.room(slot, isNext: true)) >= next.bytes
  }

  /// Goes on with the first call that waited for room: hands its message over, or keeps the room for its answer.
  mutating func serveParked<Dispatcher: CallDispatcher>(
    dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    let next = self.parked.removeFirst()
    guard let slot = self.streams.find(next.stream) else { return }
    self.streams[slot].isParked = false
    guard !next.isLater else {
      self.reserve(next.bytes, for: slot)
      return dispatcher.hasRoom(stream: next.stream)
    }
    self.isServingParked = true
    defer { self.isServingParked = false }
    if self.streams[slot].isStreaming {
      try self.serveMessages(next.stream, dispatcher: &dispatcher, output: &output)
    } else {
      try self.finishBufferedRequest(slot, dispatcher: &dispatcher, output: &output)
    }
  }
}
