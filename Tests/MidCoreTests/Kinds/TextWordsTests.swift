import MidTestKit
import Testing

@testable import MidCore

@Suite("Texts of a fixed width")
struct TextWordsTests {
  /// The digits of a number by repeated division, with zeros before them.
  private static func divided(_ number: UInt128, by alphabet: String, width: Int) -> String {
    let characters = Array(alphabet)
    var (rest, text) = (number, "")
    while rest > 0 || text.count < width {
      text = String(characters[Int(rest % UInt128(characters.count))]) + text
      rest /= UInt128(characters.count)
    }
    return text
  }

  @Test("are those that division gives, whatever the digits")
  func texts() {
    let seed = UInt64.random(in: 0 ... .max)
    print("seed \(seed)")
    var random = SplitMix64(seed: seed)
    let (hex, crockford) = ("0123456789abcdef", "0123456789ABCDEFGHJKMNPQRSTVWXYZ")
    let edges: [UInt128] = [0, 1, .max, 1 << 127, UInt128(UInt64.max), UInt128(UInt64.max) + 1]
    // Each digit in each place, alone and among the largest.
    let places = (0..<26).flatMap { place in
      (0..<32).flatMap { digit -> [UInt128] in
        let bits = UInt128(digit) << UInt128(5 * place)
        return [bits, ~bits]
      }
    }
    let drawn = (0..<2_000).map { _ in UInt128(random.next()) << 64 | UInt128(random.next()) }
    for bits in edges + places + drawn {
      let digits = Self.divided(bits, by: hex, width: 32)
      #expect(UUIDValue(bits: bits).description.filter { $0 != "-" } == digits)
      #expect(String(decoding: TextBase.hex.digits(of: bits, width: 32), as: UTF8.self) == digits)
      let base32 = Self.divided(bits, by: crockford, width: 26)
      #expect(ULID(bits: bits).description == base32)
      #expect(String(decoding: TextBase.crockford.digits(of: bits, width: 26), as: UTF8.self) == base32)
      let object = ObjectID(
        seconds: UInt32(truncatingIfNeeded: bits >> 64), process: UInt64(truncatingIfNeeded: bits >> 24),
        counter: UInt32(truncatingIfNeeded: bits))
      #expect(object.description == digits.suffix(24))
    }
    let uuid = UUIDValue(bits: 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210)
    #expect(uuid.description == "01234567-89ab-cdef-fedc-ba9876543210")
  }
}
