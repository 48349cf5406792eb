import NIOCore

/// Calls whose answer has no room: their messages wait, and are handed over once what is held back has left. So a peer
/// may ask for more at once than is held for it, and what it costs in memory stays bounded.
///
/// Room is also kept free for large answers that come later. They are held back whatever else is by then, so that at most
/// twice ``RPCLimits/maxHeldBytes`` are: as much of answers that nothing was kept free for, and as much of these.
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

  /// How many bytes may be kept free for an answer that comes later.
  @inline(__always)
  var roomLater: Int {
    mutating get {
      self.heldBytes | self.reservedBytes == 0 && self.parked.isEmpty
        ? .max : self.roomLater(isNext: self.isServingParked)
    }
  }

  /// None behind those that wait: each that passed would have them wait for longer. What could leave now does not count.
  @inline(never)
  private mutating func roomLater(isNext: Bool) -> Int {
    guard self.parked.isEmpty || isNext else { return 0 }
    let taken = self.heldBytes + self.reservedBytes
    return taken == 0 ? .max : max(0, self.limits.maxHeldBytes - taken - ResponseEncoding.prefixSize)
  }

  /// Leaves a call open whose answer will have at most so many bytes, and keeps room for that.
  @inline(never)
  mutating func reserve(_ bytes: Int, for slot: Int) {
    precondition(bytes <= self.roomLater, "there was no room for the answer")
    self.streams[slot].isAwaitingReply = true
    self.streams[slot].reserved = Int32(clamping: bytes + ResponseEncoding.prefixSize)
    self.reservedBytes += Int(self.streams[slot].reserved)
  }

  /// An answer has come that room was kept for, or will not: gives the room back.
  ///
  /// - Returns: how much that was, in bytes of DATA.
  mutating func release(_ slot: Int) -> Int {
    let bytes = Int(self.streams[slot].reserved)
    guard bytes > 0 else { return 0 }
    self.streams[slot].reserved = 0
    self.reservedBytes -= bytes
    self.heldMovedAt = self.now
    return bytes
  }

  /// Has a call wait whose next message was handed back, since its answer of so many bytes has no room.
  @inline(never)
  mutating func park(_ slot: Int, needing bytes: Int, later isLater: Bool = false) {
    precondition(bytes > (isLater ? self.roomLater : self.room(slot)), "there was room for the answer")
    self.streams[slot].isParked = true
    self.streams[slot].movedAt = self.now
    self.parked.append((self.streams[slot].id, bytes, isLater))
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
    return (next.isLater ? self.roomLater(isNext: true) : self.room(slot, isNext: true)) >= next.bytes
  }

  /// Hands the message over of the first call that waited for room.
  mutating func serveParked<Dispatcher: CallDispatcher>(
    dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    let next = self.parked.removeFirst()
    guard let slot = self.streams.find(next.stream) else { return }
    self.streams[slot].isParked = false
    self.isServingParked = true
    defer { self.isServingParked = false }
    if self.streams[slot].isStreaming {
      try self.serveMessages(next.stream, dispatcher: &dispatcher, output: &output)
    } else {
      try self.finishBufferedRequest(slot, dispatcher: &dispatcher, output: &output)
    }
  }
}
