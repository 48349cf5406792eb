/// Digits that texts are padded in to one length, so that the length tells them.
struct PaddedDigits {
  /// The digits.
  let base: TextBase
  /// Whether Crockford's check character ends the text.
  let hasCheck: Bool

  /// All there are, in the order that their readings stand in.
  static let all = [
    Self(base: .hex, hasCheck: false), Self(base: .base36, hasCheck: false), Self(base: .crockford, hasCheck: false),
    Self(base: .crockford, hasCheck: true), Self(base: .base62, hasCheck: false),
  ]

  /// How many characters a text of so many bits has, 1 to 128.
  func length(bits: Int) -> Int { self.base.width(bits: bits) + (self.hasCheck ? 1 : 0) }

  /// The number that a text of that length stands for.
  ///
  /// - Throws: ``IDError/Code/invalidArgument``, saying what is wrong and where.
  func number(of bytes: [UInt8], bits: Int) throws(IDError) -> UInt128 {
    guard self.hasCheck else { return try self.base.number(of: bytes, after: 0, bits: bits) }
    let form = try TextForm(self.base, bits: bits, padding: .full, hasCheck: true)
    return try form.parse(String(decoding: bytes, as: UTF8.self)).number
  }
}
