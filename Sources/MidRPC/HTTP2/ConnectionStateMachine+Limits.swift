import NIOCore

/// What a peer may cost: frames that carry no call forward, resets, PINGs, memory and time.
extension ConnectionStateMachine {
  /// Forgets the frames and resets that were counted. To be called now and then: a quiet connection that is kept alive
  /// with PINGs must not use its budget up over hours.
  mutating func refillBudget() {
    self.unproductiveFrames = 0
    self.resets = 0
  }

  /// Gives back the memory that only bursts of calls need. To be called on a connection that has fallen quiet.
  mutating func trim() { self.streams.trim() }

  func isOverBudget(_ frames: Int) -> Bool { frames > self.limits.maxUnproductiveFrames }

  /// Counts frames that carry no call forward. Each reply of a method pays for some of them.
  mutating func countUnproductive(_ frames: Int = 1) throws(ConnectionFault) {
    self.unproductiveFrames += frames
    if self.isOverBudget(self.unproductiveFrames) {
      throw ConnectionFault(.enhanceYourCalm, "too many frames that carry no call forward")
    }
  }

  /// Counts a stream that ended by RST_STREAM. Each reply of a method pays for one.
  mutating func countReset() throws(ConnectionFault) {
    self.resets += 1
    if self.resets > self.limits.maxResets {
      throw ConnectionFault(.enhanceYourCalm, "too many streams that end by RST_STREAM")
    }
  }

  /// Notes that a method has replied.
  @inline(__always)
  mutating func progressed() {
    self.unproductiveFrames = max(0, self.unproductiveFrames - 32)
    self.resets = max(0, self.resets - 1)
    self.forgivePings()
  }

  /// Notes that a response's HEADERS or DATA leave: gRPC's clients may send a PING for each.
  @inline(__always)
  mutating func forgivePings() {
    self.pingStrikes = 0
    self.lastPing = nil
  }

  /// Counts a PING as gRPC's servers do. Source: gRPC's `A8-client-side-keepalive.md`, "Server Enforcement".
  mutating func countPing() throws(ConnectionFault) {
    if let last = self.lastPing, self.now &- last < UInt64(clamping: self.limits.minPingInterval.nanoseconds) {
      self.pingStrikes += 1
      // Clients of gRPC know these words: they send PINGs half as often from then on.
      guard self.pingStrikes <= self.limits.maxPingStrikes else {
        throw ConnectionFault(.enhanceYourCalm, "too_many_pings")
      }
    }
    self.lastPing = self.now
  }

  /// Bytes of memory that the connection takes for requests and responses that can't move on yet.
  var memory: Int {
    self.bodyMemory + self.heldMemory + (self.leftover.isEmpty ? 0 : self.leftover.capacity)
      + (self.openBlock?.block.capacity ?? 0)
  }

  /// Whether something waits that ``endStuck(olderThan:dispatcher:output:)`` may have to end.
  var hasCallsUnderWay: Bool { self.streams.count > 0 }

  /// Whether the peer has left a frame or a header block unfinished for longer than `age` nanoseconds. Bytes that trickle
  /// in do not move that time. Input that waits for our own output to leave is not held against the peer.
  func hasUnfinishedInput(olderThan age: UInt64) -> Bool {
    if self.isPaused { return false }
    if let open = self.openBlock, self.now &- open.since > age { return true }
    return !self.leftover.isEmpty && self.now &- self.unfinishedSince > age
  }

  /// Ends calls that stand still: requests that do not come whole, and responses that the peer does not take, for longer
  /// than `age` nanoseconds; calls that wait for room where nothing has moved for a third of that and room is kept for
  /// nobody, since a caller that reads one call after the other may leave those unread that stand before the one it reads;
  /// and calls of many messages whose caller's deadline has passed between two of them.
  mutating func endStuck<Dispatcher: CallDispatcher>(
    olderThan age: UInt64, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) {
    guard self.phase != .closed else { return }
    let now = self.now
    let heldMovedAt = self.reservedBytes > 0 ? now : self.heldMovedAt
    var stuck: [UInt32] = []
    self.streams.updateEach { stream in
      guard stream.isParked || !stream.isAwaitingReply && (stream.isHeld || !stream.isRemoteClosed) else { return }
      // A call of many messages may rest between two of them.
      let isOld =
        stream.isParked
        ? now &- max(stream.movedAt, heldMovedAt) > age / 3
        : now &- stream.movedAt > age && (stream.isHeld || stream.hasBody || !stream.isStreaming)
      if isOld || stream.deadline <= now { stuck.append(stream.id) }
    }
    let noRoom = self.noRoomStatus
    do throws(ConnectionFault) {
      for streamID in stuck {
        guard let slot = self.streams.find(streamID) else { continue }
        if self.streams[slot].isHeld {
          try self.drop(slot, resetting: .cancel, dispatcher: &dispatcher, output: &output)
        } else if self.streams[slot].isParked {
          if self.streams[slot].isAwaitingReply { dispatcher.cancelled(stream: streamID) }
          let isLate = self.streams[slot].deadline <= now
          let late = RPCStatus(.deadlineExceeded, "there was no room for the answer in time")
          try self.refuse(slot, isLate ? late : noRoom, dispatcher: &dispatcher, output: &output)
        } else {
          let status = RPCStatus(.deadlineExceeded, "the request did not come whole in time")
          try self.refuse(slot, status, dispatcher: &dispatcher, output: &output)
        }
      }
      try self.serveReady(dispatcher: &dispatcher, output: &output)
      self.returnConnectionCredit(output: &output)
    } catch {
      self.fail(error, dispatcher: &dispatcher, output: &output)
    }
  }

  /// Half-sent requests have used up the connection's whole window: none of them could ever go on. Refuses the largest
  /// of them (the newest of equals), so that its bytes can be given back; its caller may safely try again.
  ///
  /// Requests that only lack END_STREAM need no window and are spared, and nothing is refused while a message waits for
  /// its reply, or for room for that: that gives bytes back soon. What then stands still is ended by its caller's deadline or with its connection.
  @inline(never)
  mutating func refuseLargestHalfSent<Dispatcher: CallDispatcher>(
    dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    var largest: (bytes: Int, streamID: UInt32) = (0, 0)
    for (streamID, body) in self.bodies {
      guard let slot = self.streams.find(streamID) else { continue }
      if self.streams[slot].isAwaitingReply || self.streams[slot].isParked { return }
      let isIncomplete = body.withUnsafeBytes {
        $0.count < ResponseEncoding.prefixSize || $0.count - ResponseEncoding.prefixSize < Self.messageLength($0)
      }
      guard isIncomplete || self.streams[slot].isHeld, (body.count, streamID) > largest else { continue }
      largest = (body.count, streamID)
    }
    guard let slot = self.streams.find(largest.streamID), largest.bytes > 0 else { return }
    if self.streams[slot].isStreaming {
      let status = RPCStatus(.resourceExhausted, "the connection's half-sent requests fill its window")
      return try self.refuse(slot, status, dispatcher: &dispatcher, output: &output)
    }
    try self.drop(slot, resetting: .refusedStream, dispatcher: &dispatcher, output: &output)
  }
}
