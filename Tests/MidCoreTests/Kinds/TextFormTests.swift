import MidTestKit
import Testing

@testable import MidCore

@Suite("A text form")
struct TextFormTests {
  private let moment: Int64 = 1_767_398_399_999  // 2026-01-02T23:59:59.999Z

  @Test("writes numbers in each base as other programs do")
  func vectors() throws {
    // Python: numpy.base_repr(2**63 - 1, 36); the others by hand from its divmod.
    let largest = UInt128(Int64.max)
    for (base, text) in [
      (TextBase.decimal, "9223372036854775807"), (.hex, "7fffffffffffffff"), (.base36, "1y2p0ij32e8e7"),
      (.base62, "AzL8n0Y58m7"), (.crockford, "7ZZZZZZZZZZZZ"),
    ] {
      let form = try TextForm(base)
      #expect(try form.text(of: largest, at: 0) == text)
      #expect(try form.parse(text).number == largest)
      #expect(text.count == base.width(bits: 63))
      #expect(try form.text(of: 0, at: 0) == "0")
      #expect(try form.parse("0").number == 0)
    }
    #expect(try TextForm(.decimal, bits: 128).text(of: .max, at: 0) == "340282366920938463463374607431768211455")
    #expect(try TextForm(.base62, bits: 128).text(of: .max, at: 0) == "7n42DGM5Tflk9n8mt7Fhc7")
    #expect(try TextForm(.crockford, bits: 128, padding: .full).text(of: 1, at: 0).count == 26)
  }

  @Test("has Crockford's check character: the number modulo 37")
  func check() throws {
    let form = try TextForm(.crockford, hasCheck: true)
    // 1234 is 16J, and 1234 = 33 * 37 + 13, D.
    #expect(try form.text(of: 1234, at: 0) == "16JD")
    #expect(try form.parse("16jd").number == 1234)
    #expect(try form.parse("1-6-J-D").number == 1234)
    #expect(try form.parse("L6JD").number == 1234)
    #expect(try form.parse("i6jd").number == 1234)
    for (number, text) in [(32, "10*"), (33, "11~"), (34, "12$"), (35, "13="), (36, "14U"), (0, "00")] {
      #expect(try form.text(of: UInt128(number), at: 0) == text)
      #expect(try form.parse(text.lowercased()).number == UInt128(number))
    }
    #expect(try form.parse("1o*").number == 32)
    // The check character looks like them as well: of 1 it is 1, of 0 and 37 it is 0, of 38 it is 1. U is one of its own.
    let full = try TextForm(.crockford, padding: .full, hasCheck: true)
    for (text, number) in [
      ("000000000000il", 1), ("0000000000001L", 1), ("0000000000001i", 1), ("0000000000000O", 0), ("000000000000oo", 0),
      ("0000000000015o", 37), ("0000000000016I", 38), ("0000000000014u", 36),
    ] as [(String, UInt128)] {
      #expect(try full.parse(text).number == number, "\(text)")
    }
    for text in ["0000000000001O", "0000000000000l", "0000000000014V", "0000000000000u"] {
      #expect(throws: IDError.self, "\(text)") { try full.parse(text) }
    }
    for text in ["16JE", "61JD", "16J", ""] { #expect(throws: IDError.self) { try form.parse(text) } }
    #expect(throws: IDError.self) { try TextForm(.base62, hasCheck: true) }
  }

  @Test("puts prefix, date and padding before the digits")
  func parts() throws {
    let form = try TextForm(.decimal, padding: .atLeast(10), prefix: "ORD-", date: .day, separator: "-")
    #expect(try form.text(of: 42, at: self.moment) == "ORD-20260102-0000000042")
    let parsed = try form.parse("ORD-20260102-0000000042")
    #expect(parsed.number == 42)
    #expect(parsed.startMilliseconds == 1_767_312_000_000)
    #expect(try form.text(of: 12_345_678_901, at: self.moment) == "ORD-20260102-12345678901")
    let month = try TextForm(.base36, prefix: "1", date: .month)
    #expect(try month.text(of: 35, at: self.moment) == "1202601z")
    #expect(try month.parse("1202601Z").number == 35)
    #expect(try month.parse("1202601z").startMilliseconds == 1_767_225_600_000)
    // The calendar's first year is 1: what has the year 0 is neither written nor read.
    #expect(try form.text(of: 1, at: -62_135_596_800_000) == "ORD-00010101-0000000001")
    #expect(try form.parse("ORD-00010101-0000000001").startMilliseconds == -62_135_596_800_000)
    for time in [-62_135_596_800_001, 253_402_300_800_000] as [Int64] {
      #expect(throws: IDError.self) { try form.text(of: 1, at: time) }
    }
    #expect(throws: IDError(.invalidArgument, "the calendar has no month 000001")) {
      try month.parse("1000001z")
    }
  }

  @Test(
    "says what is wrong with a text",
    arguments: [
      ("ORX-20260102-0042", "the text does not begin with the prefix 'ORD-'"),
      ("ORD-2026010", "after 4 characters there is no date of 8 digits (day in UTC)"),
      ("ORD-2026O102-0042", "after 4 characters there is no date of 8 digits (day in UTC)"),
      ("ORD-20260229-0042", "the calendar has no day 20260229"),
      ("ORD-20261301-0042", "the calendar has no day 20261301"),
      ("ORD-00000229-0042", "the calendar has no day 00000229"),
      ("ORD-00001231-0042", "the calendar has no day 00001231"),
      ("ORD-20260102_0042", "the separator '-' does not follow the date"),
      ("ORD-20260102-", "there are no decimal digits"),
      ("ORD-20260102-00a2", "character 16 is 'a', no decimal digit"),
      ("ORD-20260102-042", "there are 3 decimal digits; this number is written in 4"),
      ("ORD-20260102-00042", "there are 5 decimal digits; this number is written in 4"),
      ("ORD-20260102-9223372036854775808", "the number is past 63 bits"),
      ("ORD-20260102-99999999999999999999999999999999999999999999", "the number is past 63 bits"),
    ])
  func refusals(text: String, reason: String) throws {
    let form = try TextForm(.decimal, padding: .atLeast(4), prefix: "ORD-", date: .day, separator: "-")
    #expect(throws: IDError(.invalidArgument, reason)) { try form.parse(text) }
  }

  @Test("says every reason why it can't be")
  func badForms() throws {
    let error = #expect(throws: IDError.self) {
      try TextForm(.hex, bits: 0, padding: .atLeast(65), prefix: "a b", separator: "-", hasCheck: true)
    }
    for word in ["128 bits, not 0", "64 digits, not 65", "prefix", "Crockford", "separator stands"] {
      #expect(error?.message.contains(word) == true, "\(word)")
    }
    #expect(throws: IDError.self) { try TextForm(.hex, bits: 129) }
    #expect(throws: IDError.self) { try TextForm(.hex, prefix: String(repeating: "x", count: 65)) }
    #expect(throws: IDError.self) { try TextForm(.hex, bits: 53).text(of: 1 << 53, at: 0) }
    #expect(try TextForm(.hex, bits: 53).text(of: 1 << 53 - 1, at: 0) == "1fffffffffffff")
    let long = String(repeating: "-", count: 513)
    #expect(throws: IDError(.invalidArgument, "the text has 513 characters, far too many")) {
      try TextForm(.crockford).parse(long)
    }
    #expect(throws: IDError.self) { try TextForm(.crockford).parse("1!") }
  }

  @Test("of full width sorts as its numbers do", arguments: TextBase.allCases)
  func sorts(base: TextBase) throws {
    var random = SplitMix64(seed: SplitMix64.freshSeed(for: "text order"))
    let form = try TextForm(base, padding: .full)
    var pairs: [(number: UInt128, text: String)] = []
    for shift in 0..<2000 {
      let number = UInt128(random.next() >> UInt64(1 + shift % 63))
      pairs.append((number, try form.text(of: number, at: 0)))
    }
    pairs.sort { $0.number < $1.number }
    for (one, other) in zip(pairs, pairs.dropFirst()) where one.number != other.number {
      if !one.text.utf8.lexicographicallyPrecedes(other.text.utf8) { Issue.record("\(one) and \(other)") }
    }
    #expect(pairs.allSatisfy { $0.text.utf8.count == base.width(bits: 63) })
  }

  @Test("reads from any text a number that prints back to the same text, or an error")
  func fuzzed() throws {
    let forms = try TextBase.allCases.flatMap { base in
      [
        try TextForm(base), try TextForm(base, bits: 53, padding: .full),
        try TextForm(base, bits: 128, padding: .atLeast(6), prefix: "a", date: .day, separator: "-"),
        try TextForm(base, padding: .full, date: .month, hasCheck: base == .crockford),
      ]
    }
    var texts = FuzzedTexts("text forms")
    var read = 0
    for index in 0..<FuzzedTexts.count {
      let form = forms[index % forms.count]
      let number = texts.number(bits: form.bits)
      let text = texts.text(from: try form.text(of: number, at: self.moment))
      let parsed: TextForm.Parsed
      do { parsed = try form.parse(text) } catch { continue }
      read += 1
      let back = try form.text(of: parsed.number, at: parsed.startMilliseconds ?? 0)
      if Self.folded(back, form) != Self.folded(text, form) { Issue.record("\(form): \(text) became \(back)") }
    }
    texts.report(read)
    #expect(read > FuzzedTexts.count / 10)
  }

  /// The text without what a form leaves free.
  private static func folded(_ text: String, _ form: TextForm) -> String {
    switch form.base {
    case .decimal, .base62: return text
    case .hex, .base36: return text.lowercased()
    case .crockford:
      return String(
        text.lowercased().compactMap { character -> Character? in
          switch character {
          case "-": nil
          case "i", "l": "1"
          case "o": "0"
          default: character
          }
        })
    }
  }

  @Test("knows the days of the calendar as the clock's text has them")
  func calendar() {
    for day in Int64(-719_528)...2_932_896 where day % 37 == 0 || (19_000...20_500).contains(day) {
      let text = WallTime(milliseconds: day * 86_400_000).description
      let parts = text.prefix(10).split(separator: "-").compactMap { Int64($0) }
      #expect(WallTime(year: parts[0], month: parts[1], day: parts[2])?.milliseconds == day * 86_400_000)
    }
    for (year, month, day) in [(2023, 2, 29), (1900, 2, 29), (2024, 4, 31), (2024, 0, 1), (2024, 1, 0), (10_000, 1, 1)]
    {
      #expect(WallTime(year: Int64(year), month: Int64(month), day: Int64(day)) == nil)
    }
    #expect(WallTime(year: 2000, month: 2, day: 29) != nil)
  }
}
