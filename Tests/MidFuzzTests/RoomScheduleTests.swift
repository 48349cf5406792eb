import Testing

@testable import MidRPC

/// Random schedules of calls whose answers do not fit in what is held back: the fuzzer's rules hold after every frame, and a
/// client that gives way in the end has every answer.
@Suite("Answers that wait for room")
struct RoomScheduleTests {
  /// A connection, and what its client may do next.
  private struct Play {
    var harness: ConnectionHarness
    var headers = HeaderWriter()
    var random: SplitMix64
    var next: UInt32 = 1
    var hasWaited = false
    /// What calls have asked for.
    var wanted: [UInt32: Int] = [:]

    init(seed: UInt64) throws(Finding) {
      var limits = RPCLimits()
      limits.maxHeldBytes = 2_000
      self.random = SplitMix64(seed: seed)
      self.harness = try ConnectionHarness(limits: limits, isEstablished: true)
      let window = UInt32.random(in: 0...300, using: &self.random)
      try self.send(FrameBytes.settings([(SettingID.initialWindowSize, window)]))
    }

    mutating func send(_ bytes: [UInt8]) throws(Finding) {
      try self.harness.perform(.bytes(bytes))
      if !self.harness.machine.parked.isEmpty { self.hasWaited = true }
    }

    /// A call for up to 1,900 bytes, of one message or of some.
    mutating func call() throws(Finding) {
      let isStreaming = Bool.random(using: &self.random)
      let head = self.headers.request(stream: self.next, path: isStreaming ? "/s" : "/u")
      var body: [UInt8] = []
      for _ in 0..<(isStreaming ? Int.random(in: 1...3, using: &self.random) : 1) {
        // At once, or later.
        let kind: UInt8 = Bool.random(using: &self.random) ? 13 : 8
        body += FrameBytes.message([kind, .random(in: 0...19, using: &self.random)])
      }
      try self.send(head + FrameBytes.data(self.next, body, end: true))
      self.next += 2
    }

    /// One of the calls that were left for later asks for room, or is answered, by what it asked for or less.
    ///
    /// - Parameter mayFail: whether it may also fail, or be answered without having waited for room.
    mutating func goOn(mayFail: Bool) throws(Finding) {
      let pending = self.harness.dispatcher.pending
      guard let index = pending.indices.randomElement(using: &self.random) else { return }
      let stream = pending[index]
      guard !mayFail || Int.random(in: 0..<8, using: &self.random) > 0 else {
        return try self.harness.perform(.fail(index: index))
      }
      guard let wanted = self.wanted[stream] else {
        let bytes = Int.random(in: 0...1_900, using: &self.random)
        self.wanted[stream] = bytes
        return try self.harness.perform(.keepRoom(index: index, bytes))
      }
      guard self.harness.dispatcher.rooms.contains(stream) else { return }
      self.wanted[stream] = nil
      let length = Bool.random(using: &self.random) ? wanted : Int.random(in: 0...wanted, using: &self.random)
      try self.harness.perform(.reply(index: index, [UInt8](repeating: 7, count: length)))
    }

    mutating func step() throws(Finding) {
      let live = self.harness.model.live.sorted()
      let stream = live.randomElement(using: &self.random) ?? 0
      let bytes = UInt32.random(in: 1...900, using: &self.random)
      switch Int.random(in: 0..<13, using: &self.random) {
      case 0..<5: try self.call()
      case 5..<8 where stream > 0: try self.send(FrameBytes.window(stream, bytes))
      case 8 where stream > 0: try self.send(FrameBytes.reset(stream, HTTP2ErrorCode.cancel.rawValue))
      case 9: try self.send(FrameBytes.window(0, bytes))
      default: try self.goOn(mayFail: false)
      }
    }

    /// Opens every window, until all is answered or nothing is any more.
    mutating func giveWay() throws(Finding) {
      for _ in 0..<200 where !self.harness.model.live.isEmpty {
        for _ in 0..<4 { try self.goOn(mayFail: false) }
        try self.send(FrameBytes.window(0, 10_000))
        for stream in self.harness.model.live.sorted() { try self.send(FrameBytes.window(stream, 2_000)) }
      }
    }
  }

  @Test func `all come in the end, and every book balances on the way`() throws {
    let seed = UInt64.random(in: 0 ... .max)
    print("seed \(seed)")
    var waits = 0
    for round in 0..<100 as Range<UInt64> {
      var play = try Play(seed: seed &+ round)
      for _ in 0..<60 { try play.step() }
      try play.giveWay()
      #expect(play.harness.model.live.isEmpty && play.harness.machine.memory == 0, "round \(round)")
      for (id, stream) in play.harness.model.streams where !stream.isResetByClient {
        let isWhole = stream.dispatched == stream.body.count && stream.received == stream.expected.count
        #expect(isWhole, "round \(round), stream \(id)")
      }
      if play.hasWaited { waits += 1 }
    }
    #expect(waits > 50, "the schedules come to what they are for")
  }

  @Test func `those that wait in vain are told so, and every book balances on the way`() throws {
    let seed = UInt64.random(in: 0 ... .max)
    print("seed \(seed)")
    for round in 0..<100 as Range<UInt64> {
      var play = try Play(seed: seed &+ round)
      for _ in 0..<60 {
        try play.step()
        try play.goOn(mayFail: true)
        try play.harness.perform(.time(.random(in: 0...20, using: &play.random)))
        try play.harness.perform(.endStuck(100))
      }
      try play.giveWay()
      #expect(play.harness.model.live.isEmpty && play.harness.machine.memory == 0, "round \(round)")
    }
  }
}
