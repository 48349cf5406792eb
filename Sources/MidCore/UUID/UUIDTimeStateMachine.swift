/// The rules of versions 1 and 6: the time, clock sequence and node of the next UUID.
///
/// The clock tells milliseconds, of which each has 10,000 units of 100 ns: those of one millisecond are counted. The count
/// may run ahead of the clock by ``maximumAhead``, under a burst or where the clock steps back a little; past that a new
/// node and clock sequence are drawn, 61 random bits, under which the clock's own time is used again (RFC 9562, 6.1, 6.3).
///
/// A node and clock sequence serve ``lifetime`` of time and no longer: two copies of one process would make the same UUIDs
/// for as long as they had both in common.
struct UUIDTimeStateMachine: Sendable {
  /// One second, in units of 100 ns.
  static let maximumAhead: Int64 = 10_000_000
  /// How far the times of one node and clock sequence may lie apart: one second, in units of 100 ns.
  static let lifetime: Int64 = 10_000_000

  /// What tells one maker from another.
  private struct Identity {
    let clockSequence: UInt16
    let node: UInt64
    /// The first time that it served.
    let since: Int64

    /// The multicast bit is set: no network card has such an address (RFC 9562, 6.10).
    init(random: UInt128, since: Int64) {
      self.clockSequence = UInt16(truncatingIfNeeded: random >> 64) & 0x3FFF
      self.node = UInt64(truncatingIfNeeded: random) & 0xFFFF_FFFF_FFFF | 1 << 40
      self.since = since
    }
  }

  private var identity: Identity?
  private var last: Int64 = .min

  /// What the next UUID at `now`, milliseconds since 1970, is made of, or nil where a new node is due and there are no random
  /// bits for it: the caller draws some and asks again.
  ///
  /// - Parameter fresh: random bits that were used for nothing else. Given in vain, they are to be forgotten.
  /// - Throws: ``IDError/Code/exhausted`` where `now` is outside of the years 1582 to 5236.
  mutating func next(
    at now: Int64, fresh: UInt128?
  ) throws(IDError) -> (time: Int64, clockSequence: UInt16, node: UInt64)? {
    let (clock, overflow) = now.multipliedReportingOverflow(by: 10_000)
    guard !overflow, clock >= -UUIDFields.gregorianOffset, clock < 1 << 60 - UUIDFields.gregorianOffset else {
      throw IDError(.exhausted, "a UUID of version 1 or 6 has no time for the clock's \(now) ms since 1970")
    }
    var time = clock
    if let identity = self.identity, self.last - clock < Self.maximumAhead {
      time = Swift.max(clock, self.last + 1)
      if time - identity.since < Self.lifetime {
        self.last = time
        return (time, identity.clockSequence, identity.node)
      }
    }
    guard let fresh else { return nil }
    let identity = Identity(random: fresh, since: time)
    self.identity = identity
    self.last = time
    return (time, identity.clockSequence, identity.node)
  }
}
