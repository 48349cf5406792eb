/// Format-preserving encryption: a keyed permutation of all numerals of one length.
///
/// ```
/// numeral  A, u digits │ B, v digits          u = n / 2 rounded down, v = n - u
/// round i  C = (A + AES-CBC-MAC(P ‖ tweak ‖ 0… ‖ i ‖ B)) mod radix^(u or v);  A = B, B = C        ten rounds
/// ```
/// Every numeral has one image and is the image of one, for each key and tweak. Not a proof that a numeral was made here:
/// every one decrypts to something. Two halves of a numeral of 63 bits see 2^31 values each, which is within NIST's bound of
/// at least 1,000,000 numerals.
///
/// Source: NIST SP 800-38G (2016), algorithms 7 and 8. Numbers take the place of digit strings throughout, which is the same
/// by its definitions of NUM and STR.
public struct FF1<Cipher: BlockCipher>: Sendable {
  /// What a digit may be, from 0 up to, not including, this: 2 to 65,536.
  public let radix: Int
  /// How many digits there are.
  public let length: Int
  /// How many numerals there are, less one: the largest number that is permuted.
  public let largest: UInt128

  private let cipher: Cipher
  /// The state of the CBC-MAC after P and the whole blocks of the tweak.
  private let prefix: UInt128
  /// What of the tweak is left for the last block, in its highest bits.
  private let lastBlock: UInt128
  /// Whether the moduli are powers of two.
  private let isBinary: Bool
  private let leftModulus: UInt128
  private let rightModulus: UInt128
  /// d of the standard: how many bytes of the MAC are used.
  private let usedBytes: Int
  /// b of the standard: how many bytes a half has.
  private let halfBytes: Int

  /// Prepares a permutation.
  ///
  /// - Parameters:
  ///   - cipher: AES under the key.
  ///   - radix: 2 to 65,536.
  ///   - length: how many digits; at least 1,000,000 numerals in all, and a half has at most 64 bits.
  ///   - tweak: what else tells this permutation from others of the key; not secret, at most 1024 bytes.
  /// - Throws: ``IDError/Code/invalidArgument`` with the bound that is not kept.
  public init(_ cipher: Cipher, radix: Int, length: Int, tweak: [UInt8]) throws(IDError) {
    guard (2...65_536).contains(radix) else {
      throw IDError(.invalidArgument, "FF1: the radix is 2 to 65536, not \(radix)")
    }
    guard tweak.count <= 1024 else {
      throw IDError(.invalidArgument, "FF1: a tweak has at most 1024 bytes, not \(tweak.count)")
    }
    guard (2...128).contains(length) else {
      throw IDError(.invalidArgument, "FF1: a numeral has 2 to 128 digits, not \(length)")
    }
    let (left, right) = (length / 2, length - length / 2)
    let limit: UInt128 = 1 << 64
    guard let leftModulus = Self.power(radix, left, limit), let rightModulus = Self.power(radix, right, limit) else {
      throw IDError(
        .invalidArgument, "FF1: \(length) digits of radix \(radix) are too many, a half has at most 64 bits")
    }
    // Exactly 2^128 is the one product past UInt128.
    let (count, isAll) = leftModulus.multipliedReportingOverflow(by: rightModulus)
    guard isAll || count >= 1_000_000 else {
      throw IDError(.invalidArgument, "FF1: \(length) digits of radix \(radix) are fewer than 1000000 numerals")
    }
    self.cipher = cipher
    self.radix = radix
    self.length = length
    self.largest = isAll ? .max : count - 1
    self.isBinary = radix & (radix - 1) == 0
    self.leftModulus = leftModulus
    self.rightModulus = rightModulus
    let bits = 128 - (rightModulus - 1).leadingZeroBitCount
    self.halfBytes = (bits + 7) / 8
    self.usedBytes = 4 * ((self.halfBytes + 3) / 4) + 4
    // P = 1 ‖ 2 ‖ 1 ‖ radix (3 bytes) ‖ 10 ‖ u mod 256 ‖ length (4 bytes) ‖ tweak's length (4 bytes).
    let head = UInt128(0x01_02_01) << 104 | UInt128(radix) << 80 | UInt128(10) << 72 | UInt128(left & 0xFF) << 64
    var state = cipher.encrypt(head | UInt128(length) << 32 | UInt128(tweak.count))
    // Q = tweak ‖ zeros ‖ round ‖ half: everything before the last block is the same in all rounds.
    let zeros = (16 - (tweak.count + self.halfBytes + 1) % 16) % 16
    let fixed = tweak + [UInt8](repeating: 0, count: zeros)
    let whole = fixed.count / 16 * 16
    for start in stride(from: 0, to: whole, by: 16) {
      state = cipher.encrypt(state ^ fixed[start..<start + 16].reduce(0) { $0 << 8 | UInt128($1) })
    }
    self.prefix = state
    let rest = fixed[whole...].reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
    // Below the rest stand the round, one byte, and the half.
    self.lastBlock = rest << UInt128(8 * (self.halfBytes + 1))
  }

  /// The image of a numeral in its two halves: the number of the first u digits, and that of the other v.
  func encrypt(left: UInt128, right: UInt128) -> (left: UInt128, right: UInt128) {
    var (a, b) = (left, right)
    for round in 0..<10 {
      let modulus = round % 2 == 0 ? self.leftModulus : self.rightModulus
      (a, b) = (b, self.reduced(a + self.reduced(self.mixed(round, b), modulus), modulus))
    }
    return (a, b)
  }

  /// The numeral that ``encrypt(left:right:)`` made this one of.
  func decrypt(left: UInt128, right: UInt128) -> (left: UInt128, right: UInt128) {
    var (a, b) = (left, right)
    for round in (0..<10).reversed() {
      let modulus = round % 2 == 0 ? self.leftModulus : self.rightModulus
      (a, b) = (self.reduced(b + modulus - self.reduced(self.mixed(round, a), modulus), modulus), a)
    }
    return (a, b)
  }

  /// y of the standard: the round's number from the MAC.
  private func mixed(_ round: Int, _ half: UInt128) -> UInt128 {
    let block = self.lastBlock | UInt128(round) << UInt128(8 * self.halfBytes) | half
    return self.cipher.encrypt(self.prefix ^ block) >> UInt128(8 * (16 - self.usedBytes))
  }

  /// The remainder; without a division, which takes longer than AES, where it can be had.
  private func reduced(_ value: UInt128, _ modulus: UInt128) -> UInt128 {
    self.isBinary ? value & (modulus - 1) : value % modulus
  }

  private static func power(_ radix: Int, _ exponent: Int, _ limit: UInt128) -> UInt128? {
    var power: UInt128 = 1
    for _ in 0..<exponent {
      power *= UInt128(radix)
      if power > limit { return nil }
    }
    return power
  }
}

extension FF1 {
  /// The image of a number, written in ``length`` digits with the first in front.
  ///
  /// - Throws: ``IDError/Code/invalidArgument`` where the number is past ``largest``.
  public func encrypt(_ number: UInt128) throws(IDError) -> UInt128 {
    let (left, right) = try self.halves(of: number)
    let image = self.encrypt(left: left, right: right)
    return image.left * self.rightModulus + image.right
  }

  /// The number that ``encrypt(_:)`` made this one of.
  ///
  /// - Throws: ``IDError/Code/invalidArgument`` where the number is past ``largest``.
  public func decrypt(_ number: UInt128) throws(IDError) -> UInt128 {
    let (left, right) = try self.halves(of: number)
    let original = self.decrypt(left: left, right: right)
    return original.left * self.rightModulus + original.right
  }

  private func halves(of number: UInt128) throws(IDError) -> (left: UInt128, right: UInt128) {
    guard number <= self.largest else {
      throw IDError(.invalidArgument, "FF1: the number is past \(self.length) digits of radix \(self.radix)")
    }
    let (left, right) = number.quotientAndRemainder(dividingBy: self.rightModulus)
    return (left, right)
  }
}
