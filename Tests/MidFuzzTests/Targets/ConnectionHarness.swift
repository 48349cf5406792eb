import NIOCore

@testable import MidRPC

/// Something that happens to a connection.
enum ConnectionStep {
  /// Bytes come from the peer.
  case bytes([UInt8])
  /// The oldest of the calls left for later that `index` picks is answered.
  case reply(index: Int, [UInt8])
  /// The same, with a status.
  case fail(index: Int)
  /// Such a call asks for room for so many bytes.
  case keepRoom(index: Int, Int)
  /// Nanoseconds pass.
  case time(UInt64)
  /// The timer ends what stands still for longer than so many nanoseconds.
  case endStuck(UInt64)
  case refillBudget
  case drain
  case finalGoAway
  case keepalive
}

/// A machine and all that watches it.
struct ConnectionHarness {
  var machine: ConnectionStateMachine
  var dispatcher = FuzzDispatcher()
  var model: ClientModel
  /// All that happened, to be played again.
  var steps: [ConnectionStep] = []
  /// All that the machine wrote.
  var written: [UInt8] = []
  /// All that the dispatcher was asked for.
  var events: [FuzzDispatcher.Event] = []
  var hasPaused = false
  private var input = FrameSplitter()

  /// Opens a connection.
  ///
  /// - Parameter isEstablished: whether the client's preface and empty settings have come.
  init(limits: RPCLimits, isEstablished: Bool) throws(Finding) {
    self.machine = ConnectionStateMachine(
      limits: limits, routes: FuzzDispatcher.routes, streamingRoutes: FuzzDispatcher.streaming)
    self.model = ClientModel(limits: limits)
    var output = ByteBuffer()
    self.machine.open(output: &output)
    try self.judge(&output)
    if isEstablished { try self.perform(.bytes(connectionPreface + [0, 0, 0, 4, 0, 0, 0, 0, 0])) }
  }

  /// Plays a step, frame by frame, and checks all that can be checked after each.
  mutating func perform(_ step: ConnectionStep) throws(Finding) {
    self.steps.append(step)
    guard case .bytes(let bytes) = step else {
      var output = ByteBuffer()
      try self.play(step, output: &output)
      return try self.judge(&output)
    }
    for piece in self.input.pieces(of: bytes) {
      guard !self.machine.isClosed else { return }
      if let frame = piece.frame, frame.length <= RPCLimits.maxFrameSize {
        self.model.sends(frame, Array(piece.payload), isTakingCalls: self.machine.phase != .lastCalls)
      }
      var output = ByteBuffer()
      piece.bytes.withUnsafeBytes { self.machine.receive($0, dispatcher: &self.dispatcher, output: &output) }
      try self.judge(&output)
    }
  }

  /// Plays a step other than bytes.
  private mutating func play(_ step: ConnectionStep, output: inout ByteBuffer) throws(Finding) {
    switch step {
    case .bytes: break
    case .reply(let index, let message):
      guard let id = self.takePending(index) else { return }
      // Noted before, as an answer that is taken may lead to the call's next message.
      self.model.wasAnswered(id, with: message)
      let isTaken = self.machine.reply(
        stream: id, message: message, dispatcher: &self.dispatcher, output: &output)
      try require(isTaken, "the answer for stream \(id) was not taken")
    case .fail(let index):
      guard let id = self.takePending(index) else { return }
      self.model.wasAnswered(id, with: nil)
      let status = RPCStatus(.unavailable, "later")
      let isTaken = self.machine.fail(stream: id, status: status, dispatcher: &self.dispatcher, output: &output)
      try require(isTaken, "the status for stream \(id) was not taken")
    case .keepRoom(let index, let bytes):
      let pending = self.dispatcher.pending
      guard !pending.isEmpty else { return }
      self.machine.keepRoom(stream: pending[index % pending.count], bytes: bytes, dispatcher: &self.dispatcher)
    case .time(let nanoseconds): self.machine.now = self.machine.now.addingClamped(nanoseconds)
    case .endStuck(let age): self.machine.endStuck(olderThan: age, dispatcher: &self.dispatcher, output: &output)
    case .refillBudget: self.machine.refillBudget()
    case .drain: self.machine.beginDrain(output: &output)
    case .finalGoAway: self.machine.sendFinalGoAway(output: &output)
    case .keepalive: if self.machine.isEstablished { self.machine.sendKeepalive(output: &output) }
    }
  }

  private mutating func takePending(_ index: Int) -> UInt32? {
    guard !self.dispatcher.pending.isEmpty else { return nil }
    let stream = self.dispatcher.pending.remove(at: index % self.dispatcher.pending.count)
    self.dispatcher.rooms.remove(stream)
    return stream
  }

  /// Judges what a step brought about, and lets the machine go on where it waits for its output to leave.
  private mutating func judge(_ output: inout ByteBuffer) throws(Finding) {
    while true {
      try self.takeEvents()
      let bytes = Array(output.readableBytesView)
      output.clear()
      self.written += bytes
      try self.model.receives(bytes)
      try self.machine.checkInvariants()
      guard self.machine.isPaused, !self.machine.isClosed else { break }
      self.hasPaused = true
      self.machine.resume(dispatcher: &self.dispatcher, output: &output)
    }
    try self.compareWithModel()
  }

  private mutating func takeEvents() throws(Finding) {
    if let finding = self.dispatcher.finding { throw finding }
    for event in self.dispatcher.events { try self.model.sees(event) }
    self.events += self.dispatcher.events
    self.dispatcher.events = []
  }

  /// The machine's view of the connection and the client's must agree, to the byte.
  private mutating func compareWithModel() throws(Finding) {
    if self.machine.isClosed {
      try require(self.dispatcher.pending.isEmpty, "calls wait on a closed connection")
      return try require(self.machine.fault == nil || self.model.isOver, "closed without a GOAWAY")
    }
    guard self.machine.isEstablished else { return }
    try require(self.model.receiveWindow >= 0, "DATA past the connection's window was taken")
    try require(
      self.machine.receiveWindow == self.model.receiveWindow,
      "the connection's receive window is \(self.machine.receiveWindow), by the client \(self.model.receiveWindow)")
    try require(
      self.machine.sendWindow == self.model.sendWindow,
      "the connection's send window is \(self.machine.sendWindow), by the client \(self.model.sendWindow)")
    try require(self.model.owedPings.isEmpty && self.model.owedSettingsAcks == 0, "a PING or SETTINGS has no answer")
    guard self.model.openBlock == nil else { return }
    let live = self.model.live
    try require(live.count == self.machine.openStreams, "\(self.machine.openStreams) streams, by the client \(live)")
    for id in live {
      guard let slot = self.machine.streams.find(id), let client = self.model.streams[id] else {
        throw Finding("stream \(id) was forgotten without a word")
      }
      let stream = self.machine.streams[slot]
      try require((stream.reserved > 0) == self.dispatcher.rooms.contains(id), "the room of stream \(id)")
      try require(stream.isAwaitingReply == self.dispatcher.pending.contains(id), "isAwaitingReply of stream \(id)")
      try require(stream.isRemoteClosed == client.isRemoteClosed, "isRemoteClosed of stream \(id)")
      try require(Int(stream.sendWindow) == Int(Int32(clamping: client.sendWindow)), "send window of stream \(id)")
      if !stream.isRemoteClosed {
        try require(
          Int(stream.receiveWindow) == client.receiveWindow,
          "the receive window of stream \(id) is \(stream.receiveWindow), by the client \(client.receiveWindow)")
      }
      let owed = client.expected.count - client.received
      try require(owed == (self.machine.held[id]?.data.readableBytes ?? 0), "\(owed) bytes of stream \(id) got lost")
    }
  }

  // MARK: - Once more, cut otherwise

  /// Plays the same steps to another machine with the bytes cut at random, and with the output left lying for a while;
  /// the outcome must be the same.
  func replaySplit(seed: UInt64, isEstablished: Bool) throws(Finding) {
    var random = SplitMix64(seed: seed)
    var other = try ConnectionHarness(limits: self.model.limits, isEstablished: isEstablished)
    other.model = self.model  // Not asked any more.
    var output = ByteBuffer()
    for step in self.steps.dropFirst(isEstablished ? 1 : 0) {
      guard case .bytes(let bytes) = step else {
        try other.settle(&output)
        try other.play(step, output: &output)
        try other.settle(&output)
        continue
      }
      var rest = bytes[...]
      let longest = [3, 30, 30, 3000, Int.max].randomElement(using: &random) ?? 3
      while !rest.isEmpty {
        let piece = Array(rest.prefix(Int.random(in: 1...min(longest, rest.count), using: &random)))
        rest = rest.dropFirst(piece.count)
        piece.withUnsafeBytes { other.machine.receive($0, dispatcher: &other.dispatcher, output: &output) }
        if Int.random(in: 0..<8, using: &random) == 0 { try other.settle(&output) }
      }
    }
    try other.settle(&output)
    // Where the output was full, other calls may have had their turn in between.
    if self.hasPaused || other.hasPaused { return }
    try require(other.written == self.written, "cut otherwise, the machine writes something else")
    try require(other.events == self.events, "cut otherwise, the machine hands over something else")
    try require(other.machine.phase == self.machine.phase, "cut otherwise, the connection ends otherwise")
  }

  private mutating func settle(_ output: inout ByteBuffer) throws(Finding) {
    while true {
      if let finding = self.dispatcher.finding { throw finding }
      self.events += self.dispatcher.events
      self.dispatcher.events = []
      self.written += output.readableBytesView
      output.clear()
      try self.machine.checkInvariants()
      guard self.machine.isPaused, !self.machine.isClosed else { return }
      self.hasPaused = true
      self.machine.resume(dispatcher: &self.dispatcher, output: &output)
    }
  }
}

/// Cuts a client's bytes into frames, so that each can be judged by itself.
struct FrameSplitter {
  struct Piece {
    var bytes: ArraySlice<UInt8>
    /// The frame that ends with these bytes.
    var frame: FrameHeader?
    var payload: ArraySlice<UInt8> = []
  }

  private var isPastPreface = false
  private var rest: [UInt8] = []

  /// The frames that `bytes` complete, each with what came of it earlier left out; what is left over is a piece as well.
  mutating func pieces(of bytes: [UInt8]) -> [Piece] {
    let carried = self.rest.count
    let all = self.rest + bytes
    var pieces: [Piece] = []
    var offset = 0
    func piece(_ end: Int) -> ArraySlice<UInt8> { all[max(offset, carried)..<max(end, carried)] }
    if !self.isPastPreface, all.count >= connectionPreface.count {
      self.isPastPreface = true
      pieces.append(Piece(bytes: piece(connectionPreface.count)))
      offset = connectionPreface.count
    }
    while self.isPastPreface, all.count - offset >= FrameHeader.size {
      let header = all[offset...].withUnsafeBytes { FrameHeader($0, at: 0) }
      let end = offset + FrameHeader.size + header.length
      // What is too long ends the connection by its header alone.
      guard end <= all.count, header.length <= RPCLimits.maxFrameSize else { break }
      pieces.append(Piece(bytes: piece(end), frame: header, payload: all[(offset + FrameHeader.size)..<end]))
      offset = end
    }
    if offset < all.count { pieces.append(Piece(bytes: piece(all.count))) }
    self.rest = Array(all[offset...])
    return pieces
  }
}
