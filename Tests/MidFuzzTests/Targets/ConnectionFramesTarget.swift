import NIOHPACK

@testable import MidRPC

/// Conversations of frames that make sense, or nearly: the input's bytes decide what happens next.
enum ConnectionFramesTarget {
  static func run(_ input: UnsafeRawBufferPointer) throws(Finding) {
    var script = try FrameScript(input)
    try script.run()
    try script.harness.replaySplit(seed: ByteSource.seed(of: input), isEstablished: true)
  }
}

/// Plays a conversation that its input describes.
///
/// The first bit says whether the client is honest. An honest client breaks no rule, keeps to the windows and finishes
/// what it began: its connection must never be ended, and each of its calls must come to an end.
struct FrameScript {
  var source: ByteSource
  var harness: ConnectionHarness
  let isHonest: Bool
  private var writer = HeaderWriter()
  private var next: UInt32 = 1
  /// What is still to be sent of each call, by stream.
  private var unsent: [UInt32: [UInt8]] = [:]

  init(_ input: UnsafeRawBufferPointer) throws(Finding) {
    self.source = ByteSource(input)
    let choice = self.source.byte()
    self.isHonest = choice & 1 == 0
    // The tight limits on frames are no match for an honest client in a hurry.
    let limits = RPCLimits.fuzzed(self.isHonest ? choice >> 1 & 2 : choice >> 1)
    self.harness = try ConnectionHarness(limits: limits, isEstablished: true)
  }

  mutating func run() throws(Finding) {
    var steps = 0
    while !self.source.isAtEnd, steps < 300, !self.harness.machine.isClosed {
      steps += 1
      try self.step()
    }
    if self.isHonest { try self.finish() }
  }

  private mutating func step() throws(Finding) {
    switch self.source.below(24) {
    case 0...5: try self.beginCall()
    case 6...9: try self.sendMore()
    case 10: try self.openWindow()
    case 11: try self.changeSettings()
    case 12: try self.ping()
    case 13: try self.reset()
    case 14, 15:
      let size = self.source.size()
      try self.harness.perform(.reply(index: self.source.below(256), [UInt8](repeating: 0x5a, count: size)))
    case 16:
      let (isFailure, index) = (self.source.byte() & 1 == 0, self.source.below(256))
      try self.harness.perform(isFailure ? .fail(index: index) : .keepRoom(index: index, self.source.below(25_500)))
    case 17: try self.harness.perform(.time(UInt64(self.source.byte()) * 100_000_000))
    case 18: try self.harness.perform(.endStuck(UInt64(self.source.byte()) * 1_000_000_000))
    case 19: try self.sendIgnored()
    case 20: try self.stop()
    case 21: try self.sendTrailers()
    case 22: try self.answerPings()
    default: if !self.isHonest { try self.sendGarbage() }
    }
  }

  private mutating func send(_ bytes: [UInt8]) throws(Finding) { try self.harness.perform(.bytes(bytes)) }

  // MARK: - Calls

  private mutating func beginCall() throws(Finding) {
    let isStopping = self.harness.machine.phase == .lastCalls
    if self.isHonest && (isStopping || self.harness.model.live.count >= self.harness.model.limits.maxConcurrentStreams)
    {
      return
    }
    let choice = self.source.byte()
    let id = self.next
    self.next += choice & 0x80 == 0 ? 2 : 2 * UInt32(1 + self.source.below(4))
    var path = choice & 1 == 0 ? "/u" : "/s"
    if choice & 0x7e == 0x7e { path = "/none" }
    var messages: [UInt8] = []
    for _ in 0..<(choice & 1 == 0 ? 1 : self.source.below(5)) { messages += self.message() }
    var extra: [(String, String)] = []
    if choice & 0x02 != 0 { extra.append(("grpc-timeout", "\(self.source.below(100))S")) }
    if choice & 0x04 != 0 { extra.append(("content-length", "\(messages.count)")) }
    if choice & 0x40 != 0 {
      extra.append(("x-\(self.source.below(8))", String(repeating: "v", count: self.source.below(200))))
    }
    let indexing = choice & 0x08 != 0
    let block = self.writer.block(
      HeaderWriter.head(path: path) + extra, indexing: indexing ? .indexable : .nonIndexable)
    let isEmpty = messages.isEmpty && choice & 0x10 != 0
    try self.send(self.headers(id, block, isSplit: choice & 0x20 != 0, end: isEmpty))
    guard !isEmpty else { return }
    self.unsent[id] = messages
    if choice & 0x10 == 0 { try self.sendData(id, upTo: 16_384, mayEnd: true) }
  }

  /// One message: its first two bytes say what becomes of it.
  private mutating func message() -> [UInt8] {
    let size = min(self.source.size(), 8 * 1024)
    var content = [self.source.byte(), self.source.byte()]
    content += [UInt8](repeating: 0x77, count: size)
    let isBroken = !self.isHonest && content[0] & 0xf0 == 0xf0
    return FrameBytes.message(content, flag: isBroken ? content[1] : 0)
  }

  /// HEADERS, in pieces where that is asked for.
  private mutating func headers(_ id: UInt32, _ block: [UInt8], isSplit: Bool, end: Bool) -> [UInt8] {
    let flags = end ? FrameFlags.endStream : 0
    guard isSplit else {
      return FrameBytes.frame(FrameType.headers, flags | FrameFlags.endHeaders, id, block)
    }
    let choice = self.source.byte()
    var first = Array(block.prefix(Int(choice & 0x1f)))
    var rest = block.dropFirst(first.count)
    var firstFlags = flags
    if choice & 0x20 != 0 {
      firstFlags |= FrameFlags.priority
      first = [0, 0, 0, 0, choice] + first
    }
    if choice & 0x40 != 0 {
      firstFlags |= FrameFlags.padded
      first = [choice & 0x0f] + first + [UInt8](repeating: 0, count: Int(choice & 0x0f))
    }
    if rest.isEmpty { return FrameBytes.frame(FrameType.headers, firstFlags | FrameFlags.endHeaders, id, first) }
    var bytes = FrameBytes.frame(FrameType.headers, firstFlags, id, first)
    for _ in 0..<(choice >> 7) {
      let part = rest.prefix(7)
      rest = rest.dropFirst(7)
      bytes += FrameBytes.frame(FrameType.continuation, 0, id, Array(part))
    }
    return bytes + FrameBytes.frame(FrameType.continuation, FrameFlags.endHeaders, id, Array(rest))
  }

  /// Sends DATA of a call as far as the windows allow, and its end where all has left.
  @discardableResult
  private mutating func sendData(_ id: UInt32, upTo count: Int, mayEnd: Bool, padding: UInt8? = nil) throws(Finding)
    -> Bool
  {
    guard let stream = self.harness.model.streams[id], !stream.isRemoteClosed, !stream.isOver else {
      self.unsent[id] = nil
      return false
    }
    let content = self.unsent[id] ?? []
    let extra = padding.map { Int($0) + 1 } ?? 0
    let room = min(self.harness.model.receiveWindow, stream.receiveWindow, RPCLimits.maxFrameSize) - extra
    let length = min(content.count, count, self.isHonest ? room : RPCLimits.maxFrameSize - extra)
    guard length >= 0, length > 0 || content.isEmpty else { return false }
    let ends = mayEnd && length == content.count
    // An empty frame that ends nothing only costs.
    guard length > 0 || ends else { return false }
    self.unsent[id] = Array(content.dropFirst(length))
    if ends { self.unsent[id] = nil }
    try self.send(FrameBytes.data(id, Array(content.prefix(length)), end: ends, padding: padding))
    return true
  }

  /// A call whose sending has not ended.
  private mutating func halfSent() -> UInt32? {
    let ids = self.unsent.keys.sorted()
    return ids.isEmpty ? nil : ids[self.source.below(256) % ids.count]
  }

  private mutating func sendMore() throws(Finding) {
    let choice = self.source.byte()
    guard let id = self.halfSent() else { return }
    let isStreaming = choice & 1 != 0
    if isStreaming, choice & 0x02 != 0, self.isStreaming(id) || !self.isHonest {
      self.unsent[id, default: []] += self.message()
    }
    let padding: UInt8? = choice & 0x04 != 0 ? self.source.byte() : nil
    let count = choice & 0x08 != 0 ? self.source.size() : RPCLimits.maxFrameSize
    try self.sendData(id, upTo: count, mayEnd: choice & 0x10 != 0, padding: padding)
  }

  private func isStreaming(_ id: UInt32) -> Bool {
    guard let slot = self.harness.machine.streams.find(id) else { return false }
    return self.harness.machine.streams[slot].isStreaming && self.harness.model.streams[id]?.isRemoteClosed == false
  }

  private mutating func sendTrailers() throws(Finding) {
    guard let id = self.halfSent(), let stream = self.harness.model.streams[id], !stream.isRemoteClosed else { return }
    if self.isHonest && (self.unsent[id]?.isEmpty == false || stream.isOver) { return }
    self.unsent[id] = nil
    let block = self.writer.block([("x-checksum", "\(self.source.below(10))")], indexing: .indexable)
    let ends = self.isHonest || self.source.chance(2)
    try self.send(self.headers(id, block, isSplit: self.source.chance(3), end: ends))
  }

  // MARK: - Everything else

  private mutating func anyStream() -> UInt32 {
    let live = self.harness.model.live.sorted()
    let choice = self.source.byte()
    if self.isHonest || choice & 0xf0 != 0xf0 { return live.isEmpty ? 1 : live[Int(choice) % live.count] }
    return UInt32(choice & 0x0f)
  }

  private mutating func openWindow() throws(Finding) {
    let id = self.source.chance(3) ? 0 : self.anyStream()
    if self.isHonest && id != 0 && !self.harness.model.live.contains(id) { return }
    var increment = UInt32(self.source.uint16())
    if !self.isHonest && self.source.chance(16) { increment = self.source.uint32() }
    if self.isHonest { increment = max(1, increment) }
    try self.send(FrameBytes.window(id, increment))
  }

  private mutating func changeSettings() throws(Finding) {
    var entries: [(UInt16, UInt32)] = []
    for _ in 0..<self.source.below(4) {
      let choice = self.source.byte()
      let value = UInt32(self.source.uint16())
      switch choice & 7 {
      case 0: entries.append((SettingID.initialWindowSize, value))
      case 1: entries.append((SettingID.headerTableSize, value & 0x1fff))
      case 2: entries.append((SettingID.maxFrameSize, 16_384 + value))
      case 3: entries.append((SettingID.enablePush, value & 1))
      case 4: entries.append((SettingID.maxConcurrentStreams, value))
      case 5: entries.append((0x4d, value))
      case 6 where !self.isHonest: entries.append((UInt16(choice >> 4), self.source.uint32()))
      default: entries.append((SettingID.initialWindowSize, value & 0x3f))
      }
    }
    try self.send(FrameBytes.settings(entries))
  }

  private mutating func ping() throws(Finding) {
    if self.isHonest || self.source.chance(2) { try self.harness.perform(.time(5_000_000_000)) }
    try self.send(FrameBytes.frame(FrameType.ping, 0, 0, [UInt8](repeating: self.source.byte(), count: 8)))
  }

  private mutating func answerPings() throws(Finding) {
    let pings = self.harness.model.pingsToAnswer
    self.harness.model.pingsToAnswer = []
    for data in pings { try self.send(FrameBytes.frame(FrameType.ping, FrameFlags.ack, 0, data)) }
  }

  private mutating func reset() throws(Finding) {
    let id = self.anyStream()
    if self.isHonest && !self.harness.model.live.contains(id) { return }
    self.unsent[id] = nil
    try self.send(FrameBytes.reset(id, 8))
  }

  /// Frames that mean nothing to a server.
  private mutating func sendIgnored() throws(Finding) {
    switch self.source.below(4) {
    case 0: try self.send(FrameBytes.frame(FrameType.priority, 0, self.anyStream() | 1, [0, 0, 0, 0, 9]))
    case 1: try self.send(FrameBytes.frame(0x20, self.source.byte(), self.anyStream(), self.source.take(20)))
    case 2: try self.send(FrameBytes.frame(FrameType.goAway, 0, 0, [UInt8](repeating: 0, count: 8)))
    default: try self.harness.perform(.refillBudget)
    }
  }

  private mutating func stop() throws(Finding) {
    switch self.source.below(8) {
    case 0: try self.harness.perform(.drain)
    case 1: try self.harness.perform(.finalGoAway)
    default: try self.harness.perform(.keepalive)
    }
  }

  /// A frame with anything in it.
  private mutating func sendGarbage() throws(Finding) {
    let type = self.source.byte() % 11
    let flags = self.source.byte() & 0x2d
    let stream = UInt32(self.source.below(16))
    try self.send(FrameBytes.frame(type, flags, stream, self.source.take(self.source.below(64))))
  }

  // MARK: - An honest client's end

  /// Opens all windows, sends what is left and has all calls answered; then none may be left.
  private mutating func finish() throws(Finding) {
    try self.send(FrameBytes.settings([(SettingID.initialWindowSize, 1 << 24)]))
    var rounds = 0
    while !self.harness.model.live.isEmpty, !self.harness.machine.isClosed {
      rounds += 1
      try require(rounds < 2_000, "an honest client's calls have no end: \(self.harness.model.live.sorted().prefix(5))")
      if self.harness.model.sendWindow < 1 << 24 { try self.send(FrameBytes.window(0, 1 << 20)) }
      for id in self.harness.model.live.sorted() {
        try self.sendData(id, upTo: RPCLimits.maxFrameSize, mayEnd: true)
      }
      while !self.harness.dispatcher.pending.isEmpty { try self.harness.perform(.reply(index: 0, [1])) }
    }
    try require(
      self.harness.machine.fault == nil,
      "an honest client was cut off: \(String(describing: self.harness.machine.fault))")
  }
}
