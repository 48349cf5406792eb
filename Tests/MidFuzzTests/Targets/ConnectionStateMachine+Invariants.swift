import NIOCore

@testable import MidRPC

extension ConnectionStateMachine {
  /// Checks what must hold between any two events, of the machine by itself.
  ///
  /// - Throws: the first rule that does not hold.
  mutating func checkInvariants() throws(Finding) {
    if self.phase == .closed { return try self.checkClosed() }
    try self.checkReceiving()
    try self.checkStreams()
    try self.checkSending()
    try require(self.unproductiveFrames <= self.limits.maxUnproductiveFrames, "unproductive frames past their limit")
    try require(self.resets <= self.limits.maxResets, "resets past their limit")
    try require(self.pingStrikes <= self.limits.maxPingStrikes, "ping strikes past their limit")
    try require(self.recentResets.count <= 64 && self.skippedStreams.count <= 8, "notes of streams grow")
    if let open = self.openBlock {
      let most = max(self.limits.maxHeaderListBytes, RPCLimits.maxFrameSize)
      try require(open.block.count <= most, "an open header block of \(open.block.count) bytes")
    }
    if !self.isPaused {
      try require(self.leftover.count < FrameHeader.size + RPCLimits.maxFrameSize, "a whole frame was left lying")
      try require(!self.hasTurns, "calls that may go on were left lying: \(self.ready) \(self.parked)")
    }
    try self.checkMemory()
  }

  /// What is taken is what is told, and not much more than what is held.
  private func checkMemory() throws(Finding) {
    let bodies = self.bodies.values.reduce(0) { $0 + $1.memory }
    let held = self.held.values.reduce(0) { $0 + $1.data.storageCapacity }
    let input = (self.leftover.isEmpty ? 0 : self.leftover.capacity) + (self.openBlock?.block.capacity ?? 0)
    let memory = bodies + held + input
    try require(self.memory == memory, "memory is \(memory), told as \(self.memory)")
    let (inBodies, inHeld) = (self.bufferedBytes, self.heldBytes)
    try require(bodies <= 4 * inBodies + 128 * self.bodies.count, "\(inBodies) bytes of requests take \(bodies)")
    try require(held <= 4 * inHeld + 64 * self.held.count, "\(inHeld) bytes of responses take \(held)")
    let most = 2 * (self.leftover.count + (self.openBlock?.block.count ?? 0)) + 2048
    try require(input <= most, "\(most) bytes of input take \(input)")
  }

  /// What a call asks for at most.
  private static let longestPromise = 25_505

  private func checkClosed() throws(Finding) {
    try require(!self.isPaused && self.memory == 0, "a closed connection waits for something")
    try require(self.streams.count == 0, "streams in a closed connection")
    try require(self.bodies.isEmpty && self.bufferedBytes == 0, "requests in a closed connection")
    try require(self.held.isEmpty && self.heldBytes == 0, "responses in a closed connection")
    try require(self.reservedBytes == 0, "promises in a closed connection")
    try require(self.heldOrder.isEmpty && self.ready.isEmpty && self.parked.isEmpty, "turns in a closed connection")
    try require(self.leftover.isEmpty && self.openBlock == nil, "input in a closed connection")
  }

  private func checkReceiving() throws(Finding) {
    let account = self.receiveWindow + self.receiveCredit + self.bufferedBytes
    try require(
      account == self.limits.connectionWindow,
      """
      window \(self.receiveWindow) + credit \(self.receiveCredit) + buffered \(self.bufferedBytes) = \(account), \
      not \(self.limits.connectionWindow)
      """)
    try require(self.receiveWindow >= 0, "the connection's window is \(self.receiveWindow)")
    try require(
      self.receiveCredit == 0 || self.receiveCredit < self.receiveWindow, "credit \(self.receiveCredit) was kept back")
    let buffered = self.bodies.values.reduce(0) { $0 + $1.count }
    try require(buffered == self.bufferedBytes, "bodies hold \(buffered), counted \(self.bufferedBytes)")
    for (stream, body) in self.bodies {
      guard let slot = self.streams.find(stream) else { throw Finding("a body of stream \(stream), which is not open") }
      try require(self.streams[slot].hasBody && body.count > 0, "an empty or unknown body on stream \(stream)")
    }
  }

  private mutating func checkStreams() throws(Finding) {
    var open: [StreamState] = []
    self.streams.updateEach { open.append($0) }
    try require(open.count == self.streams.count, "\(open.count) streams, counted \(self.streams.count)")
    try require(open.count <= self.limits.maxConcurrentStreams, "\(open.count) streams, more than allowed")
    let reserved = open.reduce(0) { $0 + Int($1.reserved) }
    try require(reserved == self.reservedBytes, "\(reserved) bytes are promised, counted \(self.reservedBytes)")
    for stream in open {
      let id = stream.id
      try require(id & 1 == 1 && id <= self.lastStreamID, "stream \(id) is open")
      try require(self.streams.find(id) != nil, "stream \(id) can't be found")
      try require((self.bodies[id] != nil) == stream.hasBody, "hasBody of stream \(id)")
      try require((self.held[id] != nil) == stream.isHeld, "isHeld of stream \(id)")
      try require(self.heldOrder.contains(id) == stream.isInTurn, "isInTurn of stream \(id)")
      try require(!stream.isInTurn || stream.isHeld, "stream \(id) stands in line with nothing held")
      try require(!(stream.isAwaitingReply && stream.isHeld), "stream \(id) awaits a reply while one is held")
      try require(stream.reserved == 0 || stream.isAwaitingReply, "stream \(id) is promised room and awaits no reply")
      let turns = self.parked.count { $0.stream == id }
      try require(turns == (stream.isParked ? 1 : 0), "stream \(id) waits for room \(turns) times")
      try require(
        !stream.isParked || !stream.isHeld && stream.reserved == 0 && (stream.isAwaitingReply || stream.hasBody),
        "stream \(id) waits for nothing")
      try require(
        stream.receiveWindow >= 0 && Int(stream.receiveWindow) <= self.limits.streamWindow,
        "stream \(id) has a window of \(stream.receiveWindow)")
      if !stream.isStreaming && stream.isRemoteClosed {
        try require(
          stream.isAwaitingReply || stream.isHeld || stream.isParked, "unary call \(id) is complete and has no answer")
      }
      if stream.isStreaming { try self.checkWaits(stream) }
    }
  }

  /// A call of many messages stands still for a reason only.
  private func checkWaits(_ stream: StreamState) throws(Finding) {
    guard !stream.isAwaitingReply, !stream.isHeld, !stream.isParked, !self.isPaused else { return }
    guard let body = self.bodies[stream.id] else {
      return try require(!stream.isRemoteClosed, "call \(stream.id) is over and was not ended")
    }
    try require(!stream.isRemoteClosed, "the rest of call \(stream.id) was left lying")
    let isComplete = body.withUnsafeBytes {
      $0.count >= ResponseEncoding.prefixSize && $0.count - ResponseEncoding.prefixSize >= Self.messageLength($0)
    }
    try require(!isComplete, "a whole message of call \(stream.id) was left lying")
  }

  private func checkSending() throws(Finding) {
    try require(self.sendWindow >= 0 && self.sendWindow <= 0x7fff_ffff, "a send window of \(self.sendWindow)")
    let held = self.held.values.reduce(0) { $0 + $1.data.readableBytes }
    try require(held == self.heldBytes, "responses hold \(held), counted \(self.heldBytes)")
    // One of any length where it was alone, as many bytes as may be, and as many again that were promised.
    let largest = self.held.values.reduce(0) { max($0, $1.data.readableBytes) }
    let most = self.limits.maxHeldBytes + max(self.limits.maxHeldBytes, Self.longestPromise)
    try require(held - largest + self.reservedBytes <= most, "\(held) bytes are held")
    let isAlone = self.reservedBytes <= Self.longestPromise
    try require(self.reservedBytes <= self.limits.maxHeldBytes || isAlone, "\(self.reservedBytes) bytes are promised")
    try require(self.promisedBytes == 0, "a promise outlives its answer")
    for (id, _, _) in self.parked {
      try require(self.streams.find(id) != nil, "stream \(id) waits for room and is gone")
    }
    try require(Set(self.heldOrder).count == self.heldOrder.count, "a stream stands in line twice: \(self.heldOrder)")
    for id in self.heldOrder {
      try require(self.held[id] != nil, "stream \(id) stands in line and holds nothing")
    }
    for (id, response) in self.held {
      guard let slot = self.streams.find(id) else { throw Finding("a response of stream \(id), which is not open") }
      try require(response.data.readableBytes > 0, "nothing is held of stream \(id)")
      let mayMove = self.streams[slot].sendWindow > 0
      try require(!mayMove || self.sendWindow == 0, "stream \(id) has room and was not moved")
    }
  }
}
