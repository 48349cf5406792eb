/// Eight digits at once, for texts of a fixed width: a batch makes them by the ten thousand on an event loop.
extension TextBase {
  /// The eight hexadecimal digits of `value`, the first in the most significant byte. Characters of ASCII.
  ///
  /// The digits are spread to a byte each, and those past 9 moved up to the letters, all eight in one step.
  @inline(__always)
  static func hexWord(_ value: UInt32) -> UInt64 {
    var digits = UInt64(value)
    digits = (digits | digits << 16) & 0x0000_FFFF_0000_FFFF
    digits = (digits | digits << 8) & 0x00FF_00FF_00FF_00FF
    digits = (digits | digits << 4) & 0x0F0F_0F0F_0F0F_0F0F
    return digits + 0x3030_3030_3030_3030 + Self.atLeast(10, digits) * 0x27
  }

  /// The eight digits of Crockford's base 32 of the lower 40 bits of `value`, the first in the most significant byte.
  @inline(__always)
  static func crockfordWord(_ value: UInt64) -> UInt64 {
    var digits = (value & 0xFF_FFF0_0000) << 12 | value & 0x000F_FFFF
    digits = (digits & 0x000F_FC00_000F_FC00) << 6 | digits & 0x0000_03FF_0000_03FF
    digits = (digits & 0x03E0_03E0_03E0_03E0) << 3 | digits & 0x001F_001F_001F_001F
    // Seven characters lie between 9 and A; I, L, O and U are left out.
    let letters = Self.atLeast(10, digits) * 7 + Self.atLeast(18, digits) + Self.atLeast(20, digits)
    return digits + 0x3030_3030_3030_3030 + letters + Self.atLeast(22, digits) + Self.atLeast(27, digits)
  }

  /// 1 in each byte whose digit, below 128, is at least `least`; 0 in the others.
  @inline(__always)
  private static func atLeast(_ least: UInt64, _ digits: UInt64) -> UInt64 {
    (digits + (0x80 - least) * 0x0101_0101_0101_0101) >> 7 & 0x0101_0101_0101_0101
  }
}
