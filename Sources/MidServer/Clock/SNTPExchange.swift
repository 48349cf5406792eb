/// What an NTP server's answer says.
package struct SNTPSample: Sendable, Equatable {
  /// How far the server's clock is ahead of ours; negative where it is behind.
  package var offset: Duration
  /// The round trip's time on the network. The offset is wrong by half of it at most.
  package var delay: Duration
  /// The server's distance from a reference clock, 1...15.
  package var stratum: Int
  /// How far the server itself may be from the true time, by its own account: half its root delay, and its root
  /// dispersion (RFC 5905, section 10).
  package var rootDistance: Duration
  /// Our wall clock less our monotonic one when this was measured, in nanoseconds: a step since then shows in it. The client
  /// fills it in.
  package var clockDifference: Int64

  /// Creates a sample.
  package init(
    offset: Duration, delay: Duration, stratum: Int, rootDistance: Duration = .zero, clockDifference: Int64 = 0
  ) {
    self.offset = offset
    self.delay = delay
    self.stratum = stratum
    self.rootDistance = rootDistance
    self.clockDifference = clockDifference
  }

  /// This sample as it would be by the clock that `difference` belongs to: a clock that has stepped forward since is behind
  /// by so much less.
  func moved(to difference: Int64) -> SNTPSample {
    var sample = self
    sample.offset -= .nanoseconds(difference &- self.clockDifference)
    sample.clockDifference = difference
    return sample
  }
}

/// Why there is no sample.
package enum SNTPFailure: Error, Sendable, Equatable, CustomStringConvertible {
  /// No answer in time.
  case timeout
  /// The server's name or address leads nowhere; the text says why.
  case unreachable(String)
  /// The server asks not to be asked, by its four letters: RATE, DENY, RSTR and others (RFC 5905, section 7.4).
  case kissOfDeath(String)
  /// The server says that its own clock is not synchronised.
  case unsynchronized
  /// The answer can't be used; the text says why.
  case unusable(String)

  /// A word for metrics.
  package var label: String {
    switch self {
    case .timeout: "timeout"
    case .unreachable: "unreachable"
    case .kissOfDeath: "kiss_of_death"
    case .unsynchronized: "unsynchronized"
    case .unusable: "unusable"
    }
  }

  /// One sentence for the log.
  package var description: String {
    switch self {
    case .timeout: "no answer in time"
    case .unreachable(let reason): "can't be reached: \(reason)"
    case .kissOfDeath(let code): "asks not to be asked (\(code))"
    case .unsynchronized: "is not synchronised itself"
    case .unusable(let reason): "answers what can't be used: \(reason)"
    }
  }
}

/// One question to one server, and the judgement of what comes back. Pure: times come in as values.
struct SNTPExchange: Sendable {
  /// RFC 5905's MAXDIST: a server further than this from the true time is no guide.
  static let maximumRootDistance: Duration = .milliseconds(1_500)

  /// What a received datagram turns out to be.
  enum Judgement: Equatable {
    /// Not the answer to this question: an old or forged one. Go on waiting.
    case ignore
    /// The answer, or why it is of no use.
    case done(Result<SNTPSample, SNTPFailure>)
  }

  /// The origin that the answer must carry.
  let nonce: NTPTimestamp
  /// When the question left, by our wall clock.
  let sent: NTPTimestamp

  /// Creates an exchange.
  ///
  /// - Parameters:
  ///   - nonce: 64 random bits. They stand where a clock's time would: that tells nothing of our clock, and whoever does
  ///     not see the question can't forge an answer.
  ///   - sentAt: The wall clock, in nanoseconds since the Unix epoch.
  init(nonce: UInt64, sentAt: Int64) {
    self.nonce = NTPTimestamp(bits: nonce)
    self.sent = NTPTimestamp(unixNanoseconds: sentAt)
  }

  /// The question as it travels.
  var request: [UInt8] { NTPPacket(requestWith: self.nonce).bytes }

  /// Judges a datagram that came `elapsed` nanoseconds of monotonic time after the question left.
  ///
  /// The arrival is reckoned from there instead of read from the wall clock, so that a step in between does no harm.
  func judge(_ bytes: [UInt8], elapsed: Int64) -> Judgement {
    guard let packet = NTPPacket(bytes), packet.mode == 4, (1...4).contains(packet.version),
      packet.origin == self.nonce
    else { return .ignore }
    if packet.stratum == 0 {
      return .done(.failure(.kissOfDeath(Self.letters(packet.referenceID))))
    }
    guard packet.leap != 3, packet.stratum < 16 else { return .done(.failure(.unsynchronized)) }
    guard packet.transmit.bits != 0, packet.receive.bits != 0 else {
      return .done(.failure(.unusable("it has no time")))
    }
    // Both are in units of 2^-16 s.
    let distance = Duration(ntpUnits: (Int64(packet.rootDelay) / 2 + Int64(packet.rootDispersion)) << 16)
    guard distance < Self.maximumRootDistance else {
      return .done(.failure(.unusable("its root distance is \(distance.wholeMilliseconds) ms")))
    }
    let inServer = packet.transmit.difference(from: packet.receive)
    let roundTrip = Self.units(nanoseconds: elapsed)
    guard inServer >= 0, inServer <= roundTrip + Self.units(nanoseconds: 10_000_000) else {
      return .done(.failure(.unusable("it says that it took longer than the round trip")))
    }
    // ((T2 - T1) + (T3 - T4)) / 2, halved before the sum so that offsets of decades don't overflow.
    let forth = packet.receive.difference(from: self.sent)
    let arrived = NTPTimestamp(bits: self.sent.bits &+ UInt64(bitPattern: roundTrip))
    let back = packet.transmit.difference(from: arrived)
    return .done(
      .success(
        SNTPSample(
          offset: Duration(ntpUnits: (forth >> 1) &+ (back >> 1)),
          delay: Duration(ntpUnits: max(0, roundTrip - inServer)), stratum: Int(packet.stratum),
          rootDistance: distance)))
  }

  /// Nanoseconds in units of 2^-32 s; at most an hour, as no question waits for longer.
  private static func units(nanoseconds: Int64) -> Int64 {
    let bounded = min(max(nanoseconds, 0), 3_600_000_000_000)
    let (seconds, rest) = bounded.quotientAndRemainder(dividingBy: 1_000_000_000)
    return seconds << 32 + (rest << 32) / 1_000_000_000
  }

  /// Four letters out of a reference id; anything that is no capital letter becomes `?`.
  private static func letters(_ id: UInt32) -> String {
    String(
      (0..<4).reversed().map { index in
        let byte = UInt8(truncatingIfNeeded: id >> (8 * UInt32(index)))
        return (0x41...0x5A).contains(byte) ? Character(Unicode.Scalar(byte)) : "?"
      })
  }
}
