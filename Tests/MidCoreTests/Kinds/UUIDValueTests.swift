import Foundation
import MidTestKit
import Testing

@testable import MidCore

@Suite("A UUID")
struct UUIDValueTests {
  // 2022-02-22T19:22:22Z, the time of all examples in RFC 9562, appendix A.
  private let moment: Int64 = 1_645_557_742_000

  @Test("of versions 1, 6 and 7 is put together as RFC 9562's examples are, and taken apart again")
  func timedVectors() throws {
    let node: UInt64 = 0x9F6B_DECE_D846
    let one = try UUIDValue.version1(time: self.moment * 10_000, clockSequence: 0x33C8, node: node)
    #expect(one.description.uppercased() == "C232AB00-9414-11EC-B3C8-9F6BDECED846")
    let six = try UUIDValue.version6(time: self.moment * 10_000, clockSequence: 0x33C8, node: node)
    #expect(six.description.uppercased() == "1EC9414C-232A-6B00-B3C8-9F6BDECED846")
    for value in [one, six] {
      let fields = UUIDFields(value)
      #expect(fields.time == self.moment * 10_000)
      #expect(fields.clockSequence == 0x33C8)
      #expect(fields.node == node)
      #expect(fields.nodeIsRandom == true)
    }
    let seven = try UUIDValue.version7(milliseconds: self.moment, tail: 0xCC3 << 62 | 0x18C4_DC0C_0C07_398F)
    #expect(seven.description.uppercased() == "017F22E2-79B0-7CC3-98C4-DC0C0C07398F")
    #expect(UUIDFields(seven).time == self.moment * 10_000)
    #expect(UUIDFields(seven).node == nil && UUIDFields(seven).clockSequence == nil)
  }

  @Test("of a name is the one of RFC 9562's examples, and of RFC 1321's and FIPS 180's digests")
  func namedVectors() throws {
    let dns = try #require(UUIDValue.namespaces["dns"])
    #expect(
      UUIDValue.version3(namespace: dns, name: "www.example.com").description
        == "5df41881-3aed-3515-88a7-2f4a814cf09e")
    #expect(
      UUIDValue.version5(namespace: dns, name: "www.example.com").description
        == "2ed6657d-e927-568b-95e1-2665a8aea6a2")
    #expect(MD5.digest([]) == 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e)
    let digits = Array(String(repeating: "1234567890", count: 8).utf8)
    #expect(MD5.digest(digits) == 0x57ed_f4a2_2be3_c955_ac49_da2e_2107_b67a)
    #expect(SHA1.digest(Array("abc".utf8)) == 0xa999_3e36_4706_816a_ba3e_2571_7850_c26c)
    let long = Array("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".utf8)
    #expect(SHA1.digest(long) == 0x8498_3e44_1c3b_d26e_baae_4aa1_f951_29e5)
  }

  @Test("digests names of every length around a block as the system's programs do")
  func digestLengths() throws {
    // Lengths at which the padding takes one block or two.
    for count in [54, 55, 56, 57, 63, 64, 65, 119, 120] {
      let message = [UInt8](repeating: 0x61, count: count)
      for (program, digest) in [("md5sum", MD5.digest(message)), ("sha1sum", SHA1.digest(message))] {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/\(program)")
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        try input.fileHandleForWriting.write(contentsOf: Data(message))
        try input.fileHandleForWriting.close()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(String(decoding: TextBase.hex.digits(of: digest, width: 32), as: UTF8.self) == text.prefix(32))
      }
    }
  }

  @Test(
    "tells version and variant of RFC 9562's examples",
    arguments: [
      ("919108f7-52d1-4320-9bac-f847db4148a8", 4), ("2489E9AD-2EE2-8E00-8EC9-32D5F69181C0", 8),
      ("5c146b14-3c52-8afd-938a-375d0df1fbf6", 8), ("5df41881-3aed-3515-88a7-2f4a814cf09e", 3),
      ("000003e8-cbb9-21ea-b201-00045a86c8a1", 2),
    ])
  func versions(text: String, version: Int) throws {
    let value = try UUIDValue(parsing: text)
    #expect(value.version == version)
    #expect(value.variant == .rfc9562)
    #expect(value.description == text.lowercased())
    #expect((UUIDFields(value).time != nil) == (version == 2))
  }

  @Test("of DCE has the time to seven minutes, and a node that is a network card's")
  func version2() throws {
    // The version 1 of the same moment and node beside it.
    let fields = UUIDFields(try UUIDValue(parsing: "000003e8-cbb9-21ea-b201-00045a86c8a1"))
    let one = UUIDFields(try UUIDValue(parsing: "5b5b5b5b-cbb9-11ea-b201-00045a86c8a1"))
    let (coarse, exact) = (try #require(fields.time), try #require(one.time))
    #expect(exact - coarse == 0x5b5b_5b5b)
    #expect(fields.clockSequence == 0x3200)
    #expect(fields.node == 0x0004_5a86_c8a1)
    #expect(fields.nodeIsRandom == false)
  }

  @Test("of other variants has no version and no fields")
  func variants() throws {
    for (text, variant) in [
      ("00000000-0000-0000-0000-000000000000", UUIDValue.Variant.ncs),
      ("00000000-0000-1000-7fff-000000000000", .ncs), ("00000000-0000-1000-c000-000000000000", .microsoft),
      ("00000000-0000-1000-dfff-000000000000", .microsoft), ("ffffffff-ffff-ffff-ffff-ffffffffffff", .reserved),
    ] {
      let value = try UUIDValue(parsing: text)
      #expect(value.variant == variant)
      #expect(value.version == nil)
      #expect(UUIDFields(value).time == nil && UUIDFields(value).node == nil)
    }
    #expect(UUIDValue.max.description == "ffffffff-ffff-ffff-ffff-ffffffffffff")
    #expect(UUIDValue.zero < UUIDValue.max)
    #expect(UUIDValue(bits: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10).bytes == Array(1...16))
  }

  @Test("is read with or without hyphens, in braces and as a URN, in either case")
  func forms() throws {
    let value = UUIDValue(bits: 0x017f_22e2_79b0_7cc3_98c4_dc0c_0c07_398f)
    for text in [
      "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "017F22E2-79B0-7CC3-98C4-DC0C0C07398F",
      "017f22e279b07cc398c4dc0c0c07398f", "{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}",
      "urn:uuid:017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "URN:UUID:017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
    ] {
      #expect(try UUIDValue(parsing: text) == value, "\(text)")
    }
    #expect(UUIDValue("017f22e2-79b0-7cc3-98c4-dc0c0c07398f") == value)
    #expect(UUIDValue("017f22e2") == nil)
  }

  @Test(
    "that can't be read says what is wrong",
    arguments: [
      ("", "this one has 0 characters, not 36, or 32 without hyphens"),
      ("{", "the brace is not closed"), ("{}", "this one has 0 characters, not 36, or 32 without hyphens"),
      ("017f22e2-79b0-7cc3-98c4-dc0c0c07398", "this one has 35 characters, not 36, or 32 without hyphens"),
      ("017f22e2-79b0-7cc3-98c4-dc0c0c07398g", "character 36 is 'g', no hexadecimal digit"),
      ("017f22e2079b0-7cc3-98c4-dc0c0c07398f", "character 9 is '0', not a hyphen"),
      ("urn:uuid:x17f22e2-79b0-7cc3-98c4-dc0c0c07398f", "character 10 is 'x', no hexadecimal digit"),
      ("\u{e9}17f22e2-79b0-7cc3-98c4-dc0c0c0739f", "character 1 is the byte 0xc3, no hexadecimal digit"),
    ])
  func refusals(text: String, reason: String) {
    let error = #expect(throws: IDError.self) { try UUIDValue(parsing: text) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.message == "a UUID is 32 hexadecimal digits in groups of 8-4-4-4-12: \(reason)")
  }

  @Test("is not made for a time that does not fit")
  func timeBounds() throws {
    let last = Int64(1) << 60 - 1 - UUIDFields.gregorianOffset
    #expect(UUIDFields(try .version1(time: last, clockSequence: 0, node: 0)).time == last)
    #expect(UUIDFields(try .version6(time: -UUIDFields.gregorianOffset, clockSequence: 0, node: 0)).time != nil)
    for time in [last + 1, -UUIDFields.gregorianOffset - 1, .max, .min] {
      let error = #expect(throws: IDError.self) { try UUIDValue.version1(time: time, clockSequence: 0, node: 0) }
      #expect(error?.code == .exhausted)
      #expect(throws: IDError.self) { try UUIDValue.version6(time: time, clockSequence: 0, node: 0) }
    }
    #expect(try UUIDValue.version7(milliseconds: 1 << 48 - 1, tail: .max).bits >> 80 == 1 << 48 - 1)
    for milliseconds in [-1, 1 << 48] as [Int64] {
      #expect(throws: IDError.self) { try UUIDValue.version7(milliseconds: milliseconds, tail: 0) }
    }
  }

  @Test("read from any text prints back to the same digits")
  func fuzzed() {
    var texts = FuzzedTexts("UUID texts")
    var read = 0
    for _ in 0..<FuzzedTexts.count {
      let value = UUIDValue(bits: texts.number(bits: 128))
      _ = UUIDFields(value)
      let text = texts.text(from: value.description)
      guard let back = UUIDValue(text) else { continue }
      read += 1
      let digits = text.lowercased().filter { $0 != "-" && $0 != "{" && $0 != "}" }
      if back.description.filter({ $0 != "-" }) != digits.suffix(32) { Issue.record("\(text) became \(back)") }
    }
    texts.report(read)
    #expect(read > FuzzedTexts.count / 10)
  }
}
