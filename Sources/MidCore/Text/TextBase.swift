/// The digits that a number is written in.
public enum TextBase: String, Sendable, Hashable, CaseIterable {
  /// 0 to 9.
  case decimal
  /// 0 to 9, a to f. Read in either case.
  case hex
  /// 0 to 9, a to z. Read in either case.
  case base36
  /// 0 to 9, A to Z, a to z: in the order of ASCII, so that texts of one width sort as their numbers do.
  case base62
  /// Douglas Crockford's base 32: 0 to 9 and the capital letters without I, L, O and U. Read in either case.
  ///
  /// Source: https://www.crockford.com/base32.html
  case crockford

  /// How many digits there are.
  public var radix: Int { self.alphabet.count }

  /// The digits in the order of their values.
  var alphabet: [UInt8] {
    switch self {
    case .decimal: Self.decimalDigits
    case .hex: Self.hexDigits
    case .base36: Self.base36Digits
    case .base62: Self.base62Digits
    case .crockford: Self.crockfordDigits
    }
  }

  /// How many bits a digit stands for, where these are whole.
  private var bitsPerDigit: Int? {
    switch self {
    case .hex: 4
    case .crockford: 5
    case .decimal, .base36, .base62: nil
    }
  }

  /// How many digits the largest number of `bits` bits has; `bits` is 1 to 128.
  public func width(bits: Int) -> Int {
    precondition((1...128).contains(bits), "an id has 1 to 128 bits")
    var rest = UInt128.max >> UInt128(128 - bits)
    var count = 0
    while rest > 0 {
      rest /= UInt128(self.radix)
      count += 1
    }
    return count
  }

  /// The digits of `value`, with zeros before them up to `width`. Characters of ASCII.
  func digits(of value: UInt128, width: Int) -> [UInt8] {
    let alphabet = self.alphabet
    var digits: [UInt8] = []
    if let bits = self.bitsPerDigit {
      var rest = value
      while rest > 0 {
        digits.append(alphabet[Int(truncatingIfNeeded: rest) & (alphabet.count - 1)])
        rest >>= UInt128(bits)
      }
      while digits.count < width { digits.append(alphabet[0]) }
      return digits.reversed()
    }
    // Most ids have 64 bits, and the division of 128 is slow.
    var rest = value
    while rest > UInt128(UInt64.max) {
      let (quotient, digit) = rest.quotientAndRemainder(dividingBy: UInt128(alphabet.count))
      digits.append(alphabet[Int(digit)])
      rest = quotient
    }
    var small = UInt64(rest)
    while small > 0 {
      let (quotient, digit) = small.quotientAndRemainder(dividingBy: UInt64(alphabet.count))
      digits.append(alphabet[Int(digit)])
      small = quotient
    }
    while digits.count < width { digits.append(alphabet[0]) }
    return digits.reversed()
  }

  /// The value of a digit, or nil where the character is none.
  func value(of character: UInt8) -> UInt8? { Self.values[self.place][Int(character)] }

  private var place: Int {
    switch self {
    case .decimal: 0
    case .hex: 1
    case .base36: 2
    case .base62: 3
    case .crockford: 4
    }
  }

  /// The number that digits stand for.
  ///
  /// - Parameters:
  ///   - digits: characters of ASCII; at least one.
  ///   - first: how many characters of the whole text come before them, for the message.
  ///   - bits: how many bits the number may have, 1 to 128.
  /// - Throws: ``IDError/Code/invalidArgument``, saying what is wrong and where.
  func number(of digits: some Collection<UInt8>, after first: Int, bits: Int) throws(IDError) -> UInt128 {
    guard !digits.isEmpty else { throw IDError(.invalidArgument, "there are no \(self) digits") }
    let radix = UInt128(self.radix)
    var number: UInt128 = 0
    var place = first
    for character in digits {
      place += 1
      guard let digit = self.value(of: character) else {
        throw IDError(.invalidArgument, "character \(place) is \(ASCII.shown(character)), no \(self) digit")
      }
      let (product, tooLarge) = number.multipliedReportingOverflow(by: radix)
      let (sum, overflow) = product.addingReportingOverflow(UInt128(digit))
      guard !tooLarge, !overflow, sum <= UInt128.max >> UInt128(128 - bits) else {
        throw IDError(.invalidArgument, "the number is past \(bits) bits")
      }
      number = sum
    }
    return number
  }

  private static let decimalDigits = Array("0123456789".utf8)
  private static let hexDigits = Array("0123456789abcdef".utf8)
  private static let base36Digits = Array("0123456789abcdefghijklmnopqrstuvwxyz".utf8)
  private static let base62Digits = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)
  private static let crockfordDigits = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ".utf8)

  /// By base, then by byte.
  private static let values: [[UInt8?]] = TextBase.allCases.map { base in
    var values = [UInt8?](repeating: nil, count: 256)
    for (value, character) in base.alphabet.enumerated() {
      values[Int(character)] = UInt8(value)
      guard base != .base62, character >= 0x41 else { continue }
      values[Int(character ^ 0x20)] = UInt8(value)
    }
    return values
  }
}
