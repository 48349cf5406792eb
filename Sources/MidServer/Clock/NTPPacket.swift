/// The 48 bytes of an NTP message without extensions (RFC 5905, section 7.3).
package struct NTPPacket: Sendable, Equatable {
  /// The length in bytes.
  package static let size = 48

  /// 0 no warning, 1 and 2 a leap second, 3 not synchronised.
  package var leap: UInt8
  /// The protocol's version, 4 today.
  package var version: UInt8
  /// 3 for a client, 4 for a server.
  package var mode: UInt8
  /// 1 has a reference clock, 2...15 follow others, 16 and up are not synchronised; 0 is a kiss-o'-death.
  package var stratum: UInt8
  /// The server's advice on how often to ask, log2 of seconds.
  package var poll: Int8
  /// The server's clock resolution, log2 of seconds.
  package var precision: Int8
  /// Round trip to the reference clock, in units of 2^-16 s.
  package var rootDelay: UInt32
  /// Error gathered on the way from the reference clock, in units of 2^-16 s.
  package var rootDispersion: UInt32
  /// Where the server has its time from; four letters in a kiss-o'-death.
  package var referenceID: UInt32
  /// When the server's clock was last set.
  package var reference: NTPTimestamp
  /// The client's transmit time, sent back: proof that the answer is to this question.
  package var origin: NTPTimestamp
  /// When the question arrived.
  package var receive: NTPTimestamp
  /// When the message was sent.
  package var transmit: NTPTimestamp

  /// A client's question. Everything but `transmit` is zero: a question needs to tell nothing about the one who asks.
  ///
  /// - Parameter transmit: Any value that others can't guess; the answer carries it as its origin.
  package init(requestWith transmit: NTPTimestamp) {
    self.leap = 0
    self.version = 4
    self.mode = 3
    self.stratum = 0
    self.poll = 0
    self.precision = 0
    self.rootDelay = 0
    self.rootDispersion = 0
    self.referenceID = 0
    self.reference = NTPTimestamp(bits: 0)
    self.origin = NTPTimestamp(bits: 0)
    self.receive = NTPTimestamp(bits: 0)
    self.transmit = transmit
  }

  /// Reads a message. Returns nil where there are fewer than 48 bytes; extensions behind them are left alone.
  package init?(_ bytes: [UInt8]) {
    guard bytes.count >= Self.size else { return nil }
    func number(_ range: Range<Int>) -> UInt64 {
      bytes[range].reduce(0) { $0 << 8 | UInt64($1) }
    }
    self.leap = bytes[0] >> 6
    self.version = bytes[0] >> 3 & 7
    self.mode = bytes[0] & 7
    self.stratum = bytes[1]
    self.poll = Int8(bitPattern: bytes[2])
    self.precision = Int8(bitPattern: bytes[3])
    self.rootDelay = UInt32(number(4..<8))
    self.rootDispersion = UInt32(number(8..<12))
    self.referenceID = UInt32(number(12..<16))
    self.reference = NTPTimestamp(bits: number(16..<24))
    self.origin = NTPTimestamp(bits: number(24..<32))
    self.receive = NTPTimestamp(bits: number(32..<40))
    self.transmit = NTPTimestamp(bits: number(40..<48))
  }

  /// The message as it travels.
  package var bytes: [UInt8] {
    var bytes: [UInt8] = [
      self.leap << 6 | self.version << 3 | self.mode, self.stratum,
      UInt8(bitPattern: self.poll), UInt8(bitPattern: self.precision),
    ]
    func append(_ number: UInt64, count: Int) {
      for index in (0..<count).reversed() {
        bytes.append(UInt8(truncatingIfNeeded: number >> (8 * UInt64(index))))
      }
    }
    for number in [self.rootDelay, self.rootDispersion, self.referenceID] {
      append(UInt64(number), count: 4)
    }
    for time in [self.reference, self.origin, self.receive, self.transmit] {
      append(time.bits, count: 8)
    }
    return bytes
  }
}
