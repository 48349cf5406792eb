/// Base64 of RFC 4648, section 4, as far as the generated descriptors need it.
enum Base64 {
  /// The bytes that `text` stands for; line breaks are skipped. Nil for any other foreign character, for padding that is
  /// not the end, and for a length that no bytes have.
  static func decode(_ text: String) -> [UInt8]? {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.utf8.count / 4 * 3)
    var bits: UInt32 = 0
    var digits = 0
    var padding = 0
    for character in text.utf8 where character != UInt8(ascii: "\n") {
      digits += 1
      if character == UInt8(ascii: "=") {
        padding += 1
        bits <<= 6
      } else {
        guard padding == 0, let value = self.value(of: character) else { return nil }
        bits = bits << 6 | UInt32(value)
      }
      guard digits.isMultiple(of: 4) else { continue }
      guard padding <= 2 else { return nil }
      for index in 0..<3 - padding { bytes.append(UInt8(truncatingIfNeeded: bits >> (16 - 8 * index))) }
      bits = 0
    }
    return digits.isMultiple(of: 4) && padding <= 2 ? bytes : nil
  }

  private static func value(of character: UInt8) -> UInt8? {
    switch character {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): character - UInt8(ascii: "A")
    case UInt8(ascii: "a")...UInt8(ascii: "z"): character - UInt8(ascii: "a") + 26
    case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0") + 52
    case UInt8(ascii: "+"): 62
    case UInt8(ascii: "/"): 63
    default: nil
    }
  }
}
