import NIOCore

/// Flow control of both directions. Source: RFC 9113, section 5.2.
extension ConnectionStateMachine {
  /// Takes a message back that can't leave at once, and sends as much of it as the windows allow. Where too much is held
  /// already, its call ends instead: a status needs no window.
  ///
  /// - Parameters:
  ///   - start: where in the output what belongs to the message begins.
  ///   - dataStart: where its DATA frame begins.
  ///   - endsCall: whether the trailers follow.
  @inline(never)
  mutating func hold(
    _ slot: Int, start: Int, dataStart: Int, dataLength: Int, endsCall: Bool, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    let streamID = self.streams[slot].id
    let isWithin = self.heldBytes == 0 || self.heldBytes + dataLength <= self.limits.maxHeldBytes
    guard isWithin || dataLength <= self.promisedBytes else {
      output.moveWriterIndex(to: start)
      return try self.end(slot, self.noRoomStatus, output: &output)
    }
    var data = ByteBuffer()
    if let rest = output.getSlice(at: output.writerIndex - dataLength, length: dataLength) {
      data.writeImmutableBuffer(rest)
    }
    output.moveWriterIndex(to: dataStart)
    self.streams[slot].isHeld = true
    self.streams[slot].hasSentHeaders = true
    self.streams[slot].movedAt = self.now
    self.heldMovedAt = self.now
    let response = HeldResponse(data: data, endsCall: endsCall)
    self.held[streamID] = response
    self.heldBytes += dataLength
    self.heldMemory += response.memory
    if self.owesTableUpdate && dataStart > start { self.writeTableUpdate(at: start, to: &output) }
    self.takeTurn(slot, output: &output)
  }

  /// Lines a held response up for the connection's window, if its own stream's window lets it move.
  mutating func takeTurn(_ slot: Int, output: inout ByteBuffer) {
    let stream = self.streams[slot]
    guard stream.isHeld, !stream.isInTurn, stream.sendWindow > 0 else { return }
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
      self.heldMemory -= response.memory
      if let part = response.take(length) {
        output.writeFrameHeader(length: length, type: FrameType.data, flags: 0, streamID: streamID)
        output.writeImmutableBuffer(part)
      }
      self.sendWindow -= length
      self.heldBytes -= length
      self.streams[slot].sendWindow -= Int32(length)
      self.streams[slot].movedAt = self.now
      self.heldMovedAt = self.now
      if response.data.readableBytes == 0 {
        self.finishHeld(slot, endsCall: response.endsCall, output: &output)
      } else {
        self.held[streamID] = response
        self.heldMemory += response.memory
        self.streams[slot].isInTurn = self.streams[slot].sendWindow > 0
        if self.streams[slot].isInTurn { self.heldOrder.append(streamID) }
      }
    }
    self.heldOrder.removeFirst(turn)
  }

  /// The last byte of a held message has left.
  private mutating func finishHeld(_ slot: Int, endsCall: Bool, output: inout ByteBuffer) {
    let streamID = self.streams[slot].id
    self.held[streamID] = nil
    if endsCall {
      self.writeClosing(streamID: streamID, to: &output)
      self.answered(slot)
    } else {
      self.streams[slot].isHeld = false
      self.streams[slot].isInTurn = false
      self.ready.append(streamID)
      self.progressed()
    }
  }

  /// Removes a stream from all tables. Its body has been taken before.
  mutating func forget(_ slot: Int) {
    let stream = self.streams[slot]
    if stream.isHeld, let response = self.held.removeValue(forKey: stream.id) {
      self.heldBytes -= response.data.readableBytes
      self.heldMemory -= response.memory
    }
    if stream.isInTurn { self.heldOrder.removeAll { $0 == stream.id } }
    if stream.isParked { self.parked.removeAll { $0.stream == stream.id } }
    self.reservedBytes -= Int(stream.reserved)
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
