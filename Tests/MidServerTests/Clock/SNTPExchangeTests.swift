import Testing

@testable import MidServer

@Suite struct SNTPExchangeTests {
  /// 2021-01-01T00:00:00Z.
  private static let now: Int64 = 1_609_459_200_000_000_000
  private static let nonce: UInt64 = 0x0123_4567_89AB_CDEF

  private let exchange = SNTPExchange(nonce: nonce, sentAt: now)

  /// A good answer of a server whose clock is `ahead` nanoseconds ahead and that is reached and left in 10 ms each way.
  private func answer(ahead: Int64) -> NTPPacket {
    var packet = NTPPacket(requestWith: NTPTimestamp(unixNanoseconds: Self.now + ahead + 11_000_000))
    packet.mode = 4
    packet.stratum = 2
    packet.origin = NTPTimestamp(bits: Self.nonce)
    packet.receive = NTPTimestamp(unixNanoseconds: Self.now + ahead + 10_000_000)
    return packet
  }

  private func judge(_ packet: NTPPacket, elapsed: Int64 = 21_000_000) -> SNTPExchange.Judgement {
    self.exchange.judge(packet.bytes, elapsed: elapsed)
  }

  private func offset(_ judgement: SNTPExchange.Judgement) -> Duration? {
    guard case .done(.success(let sample)) = judgement else { return nil }
    return sample.offset
  }

  @Test func theQuestionTellsNothingButItsNonce() {
    var expected = [UInt8](repeating: 0, count: 48)
    expected[0] = 0x23  // no leap, version 4, mode 3
    expected.replaceSubrange(40..<48, with: [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF])
    #expect(self.exchange.request == expected)
  }

  @Test func aMessageIsReadFieldByField() throws {
    let bytes: [UInt8] =
      [0x64, 2, 10, 0xE8] + [0, 1, 0x80, 0] + [0, 0, 0x40, 0] + [192, 0, 2, 1]
      + [1, 0, 0, 0, 0, 0, 0, 1] + [2, 0, 0, 0, 0, 0, 0, 2] + [3, 0, 0, 0, 0, 0, 0, 3] + [4, 0, 0, 0, 0, 0, 0, 4]
    let packet = try #require(NTPPacket(bytes + [0xFF]))
    #expect(packet.leap == 1 && packet.version == 4 && packet.mode == 4 && packet.stratum == 2)
    #expect(packet.poll == 10 && packet.precision == -24)
    #expect(packet.rootDelay == 0x18000 && packet.rootDispersion == 0x4000 && packet.referenceID == 0xC000_0201)
    #expect(packet.reference.bits == 0x0100_0000_0000_0001 && packet.transmit.bits == 0x0400_0000_0000_0004)
    #expect(packet.origin.bits == 0x0200_0000_0000_0002 && packet.receive.bits == 0x0300_0000_0000_0003)
    #expect(packet.bytes == bytes)
    #expect(NTPPacket(Array(bytes.dropLast())) == nil)
  }

  @Test func timesSinceUnixEpochBecomeTimesSince1900() {
    #expect(NTPTimestamp(unixNanoseconds: 0).bits == UInt64(2_208_988_800) << 32)
    #expect(NTPTimestamp(unixNanoseconds: 500_000_000).bits == UInt64(2_208_988_800) << 32 | 1 << 31)
    #expect(NTPTimestamp(unixNanoseconds: -500_000_000).bits == UInt64(2_208_988_799) << 32 | 1 << 31)
    // 2036-02-07T06:28:16Z is the first second of the next era.
    #expect(NTPTimestamp(unixNanoseconds: 2_085_978_496_000_000_000).bits == 0)
  }

  @Test(arguments: [0, 3_000_000_000, -3_000_000_000, 1_000_000, 1_500_000_000_000_000_000])
  func theOffsetIsPositiveWhereTheServerIsAhead(ahead: Int64) throws {
    let judgement = self.judge(self.answer(ahead: ahead))
    guard case .done(.success(let sample)) = judgement else {
      Issue.record("\(judgement)")
      return
    }
    #expect(abs((sample.offset - .nanoseconds(ahead)) / .nanoseconds(1)) <= 2)
    #expect(abs((sample.delay - .milliseconds(20)) / .nanoseconds(1)) <= 2)
    #expect(sample.stratum == 2)
  }

  @Test func theEraOf2036IsCrossedInBothDirections() throws {
    let rollover: Int64 = 2_085_978_496_000_000_000
    for (ours, ahead) in [(rollover - 1_000_000_000, Int64(3_000_000_000)), (rollover + 1, -3_000_000_000)] {
      var packet = NTPPacket(requestWith: NTPTimestamp(unixNanoseconds: ours + ahead))
      packet.mode = 4
      packet.stratum = 1
      packet.origin = NTPTimestamp(bits: Self.nonce)
      packet.receive = packet.transmit
      let judgement = SNTPExchange(nonce: Self.nonce, sentAt: ours).judge(packet.bytes, elapsed: 0)
      let offset = try #require(self.offset(judgement))
      #expect(abs((offset - .nanoseconds(ahead)) / .nanoseconds(1)) <= 2)
    }
  }

  @Test func whatIsNoAnswerToTheQuestionIsIgnored() {
    var packet = self.answer(ahead: 0)
    packet.origin = NTPTimestamp(bits: Self.nonce + 1)
    #expect(self.judge(packet) == .ignore)
    for mode in [UInt8(0), 1, 2, 3, 5, 6, 7] {
      packet = self.answer(ahead: 0)
      packet.mode = mode
      #expect(self.judge(packet) == .ignore)
    }
    packet = self.answer(ahead: 0)
    packet.version = 0
    #expect(self.judge(packet) == .ignore)
    #expect(self.exchange.judge([], elapsed: 0) == .ignore)
    #expect(self.exchange.judge(Array(self.answer(ahead: 0).bytes.prefix(47)), elapsed: 0) == .ignore)
  }

  @Test func aKissOfDeathIsHeardButOnlyWithTheRightOrigin() {
    var packet = self.answer(ahead: 0)
    packet.stratum = 0
    packet.referenceID = 0x5241_5445
    #expect(self.judge(packet) == .done(.failure(.kissOfDeath("RATE"))))
    packet.referenceID = 0x4445_4E00
    #expect(self.judge(packet) == .done(.failure(.kissOfDeath("DEN?"))))
    packet.origin = NTPTimestamp(bits: 0)
    #expect(self.judge(packet) == .ignore)
  }

  @Test func aServerThatIsNotSynchronisedIsNoGuide() {
    var packet = self.answer(ahead: 0)
    packet.leap = 3
    #expect(self.judge(packet) == .done(.failure(.unsynchronized)))
    packet.leap = 2
    #expect(self.offset(self.judge(packet)) != nil)
    packet.stratum = 16
    #expect(self.judge(packet) == .done(.failure(.unsynchronized)))
    packet.stratum = 15
    #expect(self.offset(self.judge(packet)) != nil)
  }

  @Test func anAnswerThatCanNotBeTrueIsRefused() {
    var packet = self.answer(ahead: 0)
    packet.rootDispersion = 0x18000
    #expect(self.judge(packet) == .done(.failure(.unusable("its root distance is 1500 ms"))))
    packet.rootDispersion = 0x17FFF
    #expect(self.offset(self.judge(packet)) != nil)
    packet.rootDelay = .max
    packet.rootDispersion = .max
    #expect(self.offset(self.judge(packet)) == nil)

    packet = self.answer(ahead: 0)
    packet.transmit = NTPTimestamp(bits: 0)
    #expect(self.judge(packet) == .done(.failure(.unusable("it has no time"))))

    packet = self.answer(ahead: 0)
    packet.transmit = NTPTimestamp(unixNanoseconds: Self.now + 9_000_000)
    #expect(self.offset(self.judge(packet)) == nil, "sent before it was received")
    packet.transmit = NTPTimestamp(unixNanoseconds: Self.now + 90_000_000)
    #expect(self.offset(self.judge(packet)) == nil, "held longer than the round trip")
  }

  @Test func anyBytesAreJudgedWithoutATrap() {
    let seed = UInt64.random(in: 0 ... .max)
    print("seed \(seed)")
    var generator = SplitMix(state: seed)
    for _ in 0..<20_000 {
      var bytes = (0..<Int.random(in: 0...60, using: &generator)).map { _ in
        UInt8.random(in: 0...255, using: &generator)
      }
      if bytes.count >= 48 {
        bytes[0] = 0x24
        bytes.replaceSubrange(24..<32, with: self.exchange.request[40..<48])
      }
      _ = self.exchange.judge(bytes, elapsed: Int64.random(in: .min ... .max, using: &generator))
    }
  }
}

/// A small seeded generator (Steele, Lea and Flood's SplitMix64).
private struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    self.state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = self.state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
