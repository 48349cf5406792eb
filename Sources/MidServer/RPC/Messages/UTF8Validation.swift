/// Whether bytes are UTF-8, told without making a `String` of them.
package enum UTF8Validation {
  /// Whether `bytes` are well-formed UTF-8 by table 3-7 of the Unicode standard: no surrogates, no overlong forms,
  /// nothing above U+10FFFF. Linear, without allocation. Empty is well-formed.
  package static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
    // SAFETY: `index` only grows and every access is behind a comparison with `bytes.count`.
    var index = 0
    while index < bytes.count {
      let lead = bytes[index]
      index += 1
      if lead < 0x80 { continue }
      guard let sequence = Self.sequence(after: lead), bytes.count - index >= sequence.length,
        sequence.second.contains(bytes[index])
      else { return false }
      for offset in 1..<sequence.length {
        guard bytes[index + offset] & 0xc0 == 0x80 else { return false }
      }
      index += sequence.length
    }
    return true
  }

  /// How many bytes follow `lead`, and which values the first of them may have; nil where `lead` begins no character.
  private static func sequence(after lead: UInt8) -> (length: Int, second: ClosedRange<UInt8>)? {
    switch lead {
    case 0xc2...0xdf: (1, 0x80...0xbf)
    case 0xe0: (2, 0xa0...0xbf)
    case 0xed: (2, 0x80...0x9f)
    case 0xe1...0xef: (2, 0x80...0xbf)
    case 0xf0: (3, 0x90...0xbf)
    case 0xf1...0xf3: (3, 0x80...0xbf)
    case 0xf4: (3, 0x80...0x8f)
    default: nil
    }
  }
}
