/// The rules of versions 1 and 6: the time, clock sequence and node of the next UUID.
///
/// The clock tells milliseconds, of which each has 10,000 units of 100 ns: those of one millisecond are counted. The count
/// may run ahead of the clock by ``maximumAhead``, under a burst or where the clock steps back a little; past that a new
/// node and clock sequence are drawn, 61 random bits, under which the clock's own time is used again (RFC 9562, 6.1, 6.3).
struct UUIDTimeStateMachine: Sendable {
  /// One second, in units of 100 ns.
  static let maximumAhead: Int64 = 10_000_000

  /// What tells one maker from another.
  private struct Identity {
    let clockSequence: UInt16
    let node: UInt64

    /// The multicast bit is set: no network card has such an address (RFC 9562, 6.10).
    init(random: UInt128) {
      self.clockSequence = UInt16(truncatingIfNeeded: random >> 64) & 0x3FFF
      self.node = UInt64(truncatingIfNeeded: random) & 0xFFFF_FFFF_FFFF | 1 << 40
    }
  }

  private var identity: Identity?
  private var last: Int64 = .min

  /// What the next UUID at `now`, milliseconds since 1970, is made of. The random bits are used where a new node is due.
  ///
  /// - Throws: ``IDError/Code/exhausted`` where `now` is outside of the years 1582 to 5236.
  mutating func next(
    at now: Int64, random: UInt128
  ) throws(IDError) -> (time: Int64, clockSequence: UInt16, node: UInt64) {
    let (clock, overflow) = now.multipliedReportingOverflow(by: 10_000)
    guard !overflow, clock >= -UUIDFields.gregorianOffset, clock < 1 << 60 - UUIDFields.gregorianOffset else {
      throw IDError(.exhausted, "a UUID of version 1 or 6 has no time for the clock's \(now) ms since 1970")
    }
    if let identity = self.identity, self.last - clock < Self.maximumAhead {
      self.last = Swift.max(clock, self.last + 1)
      return (self.last, identity.clockSequence, identity.node)
    }
    let identity = Identity(random: random)
    self.identity = identity
    self.last = clock
    return (clock, identity.clockSequence, identity.node)
  }
}
