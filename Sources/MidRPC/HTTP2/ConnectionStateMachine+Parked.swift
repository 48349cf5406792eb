import NIOCore

/// Calls whose answer has no room: their messages wait, and are handed over once what is held back has left. So a peer
/// may ask for more at once than is held for it, and what it costs in memory stays bounded.
///
/// What changes nothing is mutating all the same: the machine is large, and is copied whole for a call that does not mutate
/// it, whether that call comes or not.
extension ConnectionStateMachine {
  /// How many bytes the message of an answer may have now: what could leave at once, or what could still be held. Behind
  /// those that wait for room already, nothing is held.
  @inline(__always)
  mutating func room(_ slot: Int) -> Int {
    self.heldBytes == 0 && self.parked.isEmpty ? .max : self.room(slot, isNext: self.isServingParked)
  }

  @inline(never)
  private mutating func room(_ slot: Int, isNext: Bool) -> Int {
    let mayLeave =
      self.heldOrder.isEmpty ? min(self.sendWindow, Int(self.streams[slot].sendWindow), self.peerMaxFrameSize) : 0
    guard self.parked.isEmpty || isNext else { return max(0, mayLeave - ResponseEncoding.prefixSize) }
    guard self.heldBytes > 0 else { return .max }
    return max(0, max(mayLeave, self.limits.maxHeldBytes - self.heldBytes) - ResponseEncoding.prefixSize)
  }

  /// Has a call wait whose next message was handed back, since its answer of so many bytes has no room.
  @inline(never)
  mutating func park(_ slot: Int, needing bytes: Int) {
    precondition(bytes > self.room(slot), "there was room for the answer")
    self.streams[slot].isParked = true
    self.streams[slot].movedAt = self.now
    self.parked.append((self.streams[slot].id, bytes))
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
    return self.room(slot, isNext: true) >= next.bytes
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
