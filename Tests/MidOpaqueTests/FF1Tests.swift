import MidCore
import MidOpaque
import MidTestKit
import Testing

@Suite("FF1")
struct FF1Tests {
  /// A sample of NIST's "FF1 Samples" to SP 800-38G. The keys are one, cut to 128 and 192 bits for the first ones.
  struct Sample: Sendable {
    let number: Int
    let keyBytes: Int
    let radix: Int
    let tweak: String
    let plain: String
    let cipher: String
  }

  static let key = bytes(
    "2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94")

  static let samples = [
    Sample(number: 1, keyBytes: 16, radix: 10, tweak: "", plain: "0123456789", cipher: "2433477484"),
    Sample(
      number: 2, keyBytes: 16, radix: 10, tweak: "39383736353433323130", plain: "0123456789", cipher: "6124200773"),
    Sample(
      number: 3, keyBytes: 16, radix: 36, tweak: "3737373770717273373737", plain: "0123456789abcdefghi",
      cipher: "a9tv40mll9kdu509eum"),
    Sample(number: 4, keyBytes: 24, radix: 10, tweak: "", plain: "0123456789", cipher: "2830668132"),
    Sample(
      number: 5, keyBytes: 24, radix: 10, tweak: "39383736353433323130", plain: "0123456789", cipher: "2496655549"),
    Sample(
      number: 6, keyBytes: 24, radix: 36, tweak: "3737373770717273373737", plain: "0123456789abcdefghi",
      cipher: "xbj3kv35jrawxv32ysr"),
    Sample(number: 7, keyBytes: 32, radix: 10, tweak: "", plain: "0123456789", cipher: "6657667009"),
    Sample(
      number: 8, keyBytes: 32, radix: 10, tweak: "39383736353433323130", plain: "0123456789", cipher: "1001623463"),
    Sample(
      number: 9, keyBytes: 32, radix: 36, tweak: "3737373770717273373737", plain: "0123456789abcdefghi",
      cipher: "xs8a0azh2avyalyzuwd"),
  ]

  static func bytes(_ hex: String) -> [UInt8] {
    let digits = hex.compactMap { $0.hexDigitValue }
    return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] * 16 + digits[$0 + 1]) }
  }

  private func number(_ text: String, _ radix: Int) throws -> UInt128 { try #require(UInt128(text, radix: radix)) }

  @Test("gives NIST's samples, and takes them back", arguments: FF1Tests.samples)
  func nist(sample: Sample) throws {
    let cipher = try AES(key: Array(Self.key.prefix(sample.keyBytes)))
    let ff1 = try FF1(cipher, radix: sample.radix, length: sample.plain.count, tweak: Self.bytes(sample.tweak))
    let plain = try self.number(sample.plain, sample.radix)
    let image = try ff1.encrypt(plain)
    #expect(image == (try self.number(sample.cipher, sample.radix)), "sample \(sample.number)")
    #expect(try ff1.decrypt(image) == plain)
  }

  @Test("AES gives FIPS 197's examples")
  func fips197() throws {
    let key = [UInt8](0..<32)
    let plain: UInt128 = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff
    #expect(try AES(key: Array(key.prefix(16))).encrypt(plain) == 0x69c4_e0d8_6a7b_0430_d8cd_b780_70b4_c55a)
    #expect(try AES(key: Array(key.prefix(24))).encrypt(plain) == 0xdda9_7ca4_864c_dfe0_6eaf_70a0_ec0d_7191)
    #expect(try AES(key: key).encrypt(plain) == 0x8ea2_b7ca_5167_45bf_eafc_4990_4b49_6089)
    #expect(throws: IDError(.invalidArgument, "an AES key has 16, 24 or 32 bytes, not 15")) {
      try AES(key: Array(key.prefix(15)))
    }
    #expect(try "\(AES(key: key))" == "AES")
    var dumped = ""
    dump(try AES(key: key), to: &dumped)
    #expect(!dumped.contains("31") && !dumped.lowercased().contains("1e1f"))
  }

  @Test("permutes a small space: every numeral is the image of one")
  func bijection() throws {
    let ff1 = try FF1(AES(key: Self.key), radix: 2, length: 20, tweak: [1])
    #expect(ff1.largest == 1 << 20 - 1)
    var seen = [Bool](repeating: false, count: 1 << 20)
    for number in stride(from: 0, to: 1 << 20, by: 1) {
      let image = Int(try ff1.encrypt(UInt128(number)))
      if seen[image] { Issue.record("\(image) twice") }
      seen[image] = true
    }
    #expect(seen.allSatisfy { $0 })
  }

  @Test("takes back what it gave, at every width, radix and length of tweak")
  func roundTrips() throws {
    var random = SplitMix64(seed: SplitMix64.freshSeed(for: "FF1 round trips"))
    let cipher = try AES(key: Self.key)
    for (radix, length) in [
      (2, 20), (2, 53), (2, 63), (2, 64), (2, 127), (2, 128), (10, 19), (36, 19), (62, 11), (65_536, 8),
    ] {
      for tweak in [0, 1, 6, 7, 8, 15, 16, 17, 40] {
        let ff1 = try FF1(cipher, radix: radix, length: length, tweak: [UInt8](repeating: 7, count: tweak))
        for number in [0, 1, ff1.largest]
          + (0..<5).map({ _ in
            (UInt128(random.next()) << 64 | UInt128(random.next())) % ff1.largest
          })
        {
          let image = try ff1.encrypt(number)
          if try image > ff1.largest || ff1.decrypt(image) != number { Issue.record("\(radix) \(length) \(number)") }
        }
      }
    }
    let ff1 = try FF1(cipher, radix: 2, length: 63, tweak: [])
    #expect(throws: IDError(.invalidArgument, "FF1: the number is past 63 digits of radix 2")) {
      try ff1.encrypt(1 << 63)
    }
    #expect(throws: IDError.self) { try ff1.decrypt(1 << 63) }
  }

  @Test("refuses what the standard forbids, and what is past its numbers")
  func bounds() throws {
    let cipher = try AES(key: Self.key)
    for (radix, length, tweak, word) in [
      (1, 10, 0, "radix"), (65_537, 10, 0, "radix"), (10, 1, 0, "2 to 128"), (2, 129, 0, "2 to 128"),
      (10, 5, 0, "fewer than 1000000"), (2, 19, 0, "fewer"), (36, 26, 0, "at most 64 bits"), (2, 63, 1025, "tweak"),
    ] {
      let error = #expect(throws: IDError.self) {
        try FF1(cipher, radix: radix, length: length, tweak: [UInt8](repeating: 0, count: tweak))
      }
      #expect(error?.message.contains(word) == true, "\(radix) \(length): \(error?.message ?? "")")
    }
    #expect(try FF1(cipher, radix: 10, length: 6, tweak: []).largest == 999_999)
  }
}
