/// NTP's 64-bit time: 32 bits of seconds since 1900, 32 bits of fraction (RFC 5905, section 6).
///
/// The seconds wrap around every 136 years, next in February 2036. Differences are taken modulo 2^64, so two times less
/// than 68 years apart have the right difference whatever era each is in.
package struct NTPTimestamp: Sendable, Hashable {
  /// Seconds in the upper, the fraction in the lower 32 bits.
  package var bits: UInt64

  /// Seconds from 1900-01-01 to 1970-01-01.
  private static let unixEpoch: Int64 = 2_208_988_800

  /// Creates a time from its 64 bits.
  package init(bits: UInt64) {
    self.bits = bits
  }

  /// Creates the time that lies `nanoseconds` from the Unix epoch, in whatever era that is.
  package init(unixNanoseconds nanoseconds: Int64) {
    var (seconds, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
    if rest < 0 {
      seconds -= 1
      rest += 1_000_000_000
    }
    let fraction = (UInt64(rest) << 32) / 1_000_000_000
    self.bits = UInt64(UInt32(truncatingIfNeeded: seconds + Self.unixEpoch)) << 32 | fraction
  }

  /// How far this time is past `other`, in units of 2^-32 seconds; within 68 years either way.
  func difference(from other: NTPTimestamp) -> Int64 {
    Int64(bitPattern: self.bits &- other.bits)
  }
}

extension Duration {
  /// A span in units of 2^-32 seconds, rounded down to nanoseconds.
  init(ntpUnits units: Int64) {
    let fraction = units & 0xFFFF_FFFF
    self = .seconds(units >> 32) + .nanoseconds((fraction * 1_000_000_000) >> 32)
  }
}
