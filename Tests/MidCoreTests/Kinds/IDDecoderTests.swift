import MidTestKit
import Testing

@testable import MidCore

@Suite("Decoding an id")
struct IDDecoderTests {
  // 2026-01-02T00:00:00Z.
  private let now: Int64 = 1_767_312_000_000
  private let leafID = "1169786042799259000"

  private func decode(_ text: String, kind: IDKind? = nil) throws -> DecodedID {
    try IDDecoder(kind: kind, now: self.now).decode(text)
  }

  @Test("by a layout says time, worker and sequence, without a doubt")
  func snowflake() throws {
    let decoder = IDDecoder(layout: ("leaf", .leaf), kind: .snowflake, now: self.now)
    let decoded = try decoder.decode(self.leafID)
    let reading = try #require(decoded.readings.first)
    #expect(decoded.readings.count == 1)
    #expect(decoded.ambiguity == nil)
    #expect(reading.layout == "leaf" && reading.base == .decimal)
    #expect(reading.time?.description == "2019-09-06T01:35:00.834Z")
    #expect(reading.time?.milliseconds == 1_567_733_700_834)
    #expect(reading.worker?.number == 39)
    #expect(reading.sequence == 3448)
    let javascript = IDDecoder(layout: ("javascript", .javascript), now: self.now)
    #expect(throws: IDError.self) { try javascript.decode(self.leafID) }
  }

  @Test("without a layout reads a number by each preset, and says that it can't be sure")
  func layouts() throws {
    let decoded = try self.decode(self.leafID)
    // By the default layout the id is of 2029; Sonyflake's ticks are ten times as long.
    let first = try #require(decoded.readings.first)
    #expect(first.layout == "twitter")
    #expect(decoded.readings.map(\.layout) == ["twitter", nil, "original", "sonyflake"])
    #expect(decoded.readings[2].note == "that time has not come yet: hardly one of its ids")
    #expect(decoded.ambiguity == "the layout is not in the id: twitter is the one preset by which its time has been")
    let both = try self.decode("550000000000000000")
    #expect(both.readings.filter { $0.kind == .snowflake && $0.note == nil }.count > 1)
    #expect(both.ambiguity?.hasPrefix("the layout is not in the id: by original, twitter") == true)
  }

  @Test("takes a small number for a plain one")
  func plain() throws {
    let decoded = try self.decode("42")
    #expect(decoded.readings.first?.kind == .number)
    #expect(decoded.readings.first?.canonical == "42")
    #expect(decoded.readings.dropFirst().allSatisfy { $0.note != nil })
    #expect(decoded.ambiguity == nil)
    #expect(try self.decode("0042").readings.first?.canonical == "42")
    #expect(try self.decode("42", kind: .snowflake).ambiguity?.contains("none of the presets") == true)
  }

  @Test("finds the number in other digits")
  func bases() throws {
    for (text, base) in [("0x103BEA3548427D78", TextBase.hex), ("103bea3548427d78", .hex)] {
      let reading = try #require(try self.decode(text).readings.first)
      #expect(reading.canonical == self.leafID)
      #expect(reading.base == base)
    }
    let form = try TextForm(.base62, padding: .full)
    let text = try form.text(of: #require(UInt128(self.leafID)), at: 0)
    let decoded = try self.decode(text)
    #expect(decoded.readings.allSatisfy { $0.base == .base62 && $0.canonical == self.leafID })
    // 13 digits may be of two bases.
    let twice = try self.decode("0ZZZZZZZZZZZZ")
    #expect(Set(twice.readings.compactMap(\.base)) == [.base36, .crockford])
    #expect(twice.readings.first?.kind == .snowflake && twice.readings.first?.base == .crockford)
    #expect(twice.readings.last?.note != nil)
    #expect(twice.ambiguity?.hasSuffix("the digits may be of crockford or base36") == true)
  }

  @Test(
    "of decimal digits, as long as the padded texts of other bases, reads it by those too",
    arguments: [
      ("00000000042", ["decimal": 42, "base62": 250]),
      ("0000000000042", ["decimal": 42, "base36": 146, "crockford": 130]),
      ("0000000000000042", ["decimal": 42, "hex": 66]),
      // The same number in all of them, and other lengths: nothing to doubt.
      ("00000000007", ["decimal": 7]), ("000000000042", ["decimal": 42]), ("0000000042", ["decimal": 42]),
    ] as [(String, [String: Int64])])
  func decimalOrPadded(text: String, numbers: [String: Int64]) throws {
    let decoded = try self.decode(text)
    var found: [String: Int64] = [:]
    for reading in decoded.readings where reading.kind == .number {
      found[try #require(reading.base?.rawValue)] = Int64(reading.canonical)
    }
    #expect(found == numbers)
    #expect(decoded.readings.first?.kind == .number && decoded.readings.first?.base == .decimal)
    let bases = ["decimal", "hex", "base36", "crockford", "base62"].filter { numbers[$0] != nil }
    #expect(
      decoded.ambiguity == (bases.count == 1 ? nil : "the digits may be of \(bases.joined(separator: " or "))"))
    #expect(try self.decode(text, kind: .number).readings.count == numbers.count)
    // Past 63 bits in base 36 and Crockford's base 32.
    #expect(try self.decode("9999999999999").readings.allSatisfy { $0.base == .decimal })
  }

  @Test("of decimal digits of another base gives back what the text was made of")
  func paddedRoundTrips() throws {
    for base in [TextBase.hex, .base36, .base62, .crockford] {
      let form = try TextForm(base, padding: .full)
      var tried = 0
      for number in 1...20_000 as ClosedRange<UInt128> {
        let text = try form.text(of: number, at: 0)
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { continue }
        tried += 1
        let readings = try self.decode(text).readings
        if !readings.contains(where: { $0.kind == .number && $0.canonical == "\(number)" }) {
          Issue.record("\(base) \(text)")
        }
      }
      #expect(tried > 100, "\(base)")
    }
  }

  @Test("of a UUID says version, time, node and what they are worth")
  func uuids() throws {
    let one = try #require(try self.decode("c232ab00-9414-11ec-b3c8-9f6bdeced846").readings.first)
    #expect(one.kind == .uuid && one.version == 1 && one.variant == .rfc9562)
    #expect(one.time?.description == "2022-02-22T19:22:22.000Z")
    #expect(one.sequence == 0x33C8)
    #expect(one.maker == "9f6bdeced846")
    #expect(one.note == "the node is random")
    let seven = try self.decode("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")
    #expect(seven.readings.map(\.canonical) == ["017f22e2-79b0-7cc3-98c4-dc0c0c07398f"])
    #expect(seven.readings.first?.time?.description == "2022-02-22T19:22:22.000Z")
    #expect(seven.ambiguity == nil)
    for (version, word) in [
      (1, "network card"), (2, "seven minutes"), (3, "MD5"), (4, "random"), (5, "SHA-1"), (6, "network card"),
      (8, "own"), (9, "no such version"), (0, "no such version"),
    ] {
      let text = "00000001-0000-\(version)000-8000-000000000000"
      let reading = try #require(try self.decode(text).readings.first)
      #expect(reading.version == version)
      #expect(reading.note?.contains(word) == true, "\(text)")
    }
    let later = try UUIDValue.version1(time: 12_345_678, clockSequence: 0, node: 0)
    #expect(try self.decode(later.description).readings.first?.time?.description == "1970-01-01T00:00:01.2345678Z")
    let early = try UUIDValue.version1(time: -1, clockSequence: 0, node: 0)
    #expect(try self.decode(early.description).readings.first?.time?.description == "1969-12-31T23:59:59.9999999Z")
    #expect(try self.decode("00000000-0000-0000-0000-000000000000").readings.first?.note?.contains("none") == true)
    #expect(try self.decode("{ffffffff-ffff-ffff-ffff-ffffffffffff}").ambiguity == nil)
    #expect(try self.decode("urn:uuid:00000000-0000-1000-c000-000000000000").ambiguity?.contains("variants") == true)
    #expect(try self.decode("017f22e279b07cc398c4dc0c0c07398f").readings.first?.version == 7)
  }

  @Test("of a ULID says its time, of an ObjectId its time, process and counter, in both its forms")
  func others() throws {
    let ulid = try self.decode("01ARZ3NDEKTSV4RRFFQ69G5FAV")
    #expect(ulid.readings.first?.kind == .ulid)
    #expect(ulid.readings.first?.time?.description == "2016-07-30T23:54:10.259Z")
    #expect(ulid.ambiguity == nil)
    // Of version 9, which no UUID has, and of a variant that none of the RFC has.
    for text in ["0156347b7a009593a5e67d86f4e82a94", "0156347b7a004593c5e67d86f4e82a94"] {
      #expect(try self.decode(text).readings.map(\.kind) == [.ulid, .uuid])
    }
    #expect(try self.decode("0156347b7a004593a5e67d86f4e82a94").readings.map(\.kind) == [.uuid, .ulid])
    let object = try self.decode("507f191e810c19729de860ea")
    let reading = try #require(object.readings.first)
    #expect(reading.kind == .objectid)
    #expect(reading.time?.description == "2012-10-17T20:46:22.000Z")
    #expect(reading.maker == "810c19729d" && reading.sequence == 0xe8_60ea)
    #expect(reading.note == "of the form before 2018: machine 8457241, process 29341")
    #expect(object.ambiguity?.contains("before 2018") == true)
  }

  @Test(
    "says what is wrong",
    arguments: [
      ("", "the text is empty"), ("-5", "an id is never negative"),
      ("9223372036854775808", "the number is past 63 bits"),
      ("0x", "2 characters that are not all decimal digits"), ("0xg", "character 3 is 'g', no hex digit"),
      ("hello", "5 characters that are not all decimal digits are no id that is known: numbers have 11 (base 62), 13"),
      ("zzzzzzzzzzz", "the number is past 63 bits"), ("01ARZ3NDEKTSV4RRFFQ69G5FAI", "character 26 is 'I'"),
      ("{x}", "this one has 1 characters"), ("507f191e810c19729de860eg", "character 24 is 'g'"),
    ])
  func refusals(text: String, reason: String) {
    let error = #expect(throws: IDError.self) { try self.decode(text) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.message.contains(reason) == true, "\(error?.message ?? "")")
  }

  @Test("as a kind that it is not says which it may be")
  func kinds() throws {
    #expect(throws: IDError(.invalidArgument, "the text is no uuid, but may be: number, snowflake")) {
      try self.decode("42", kind: .uuid)
    }
    #expect(try self.decode("550000000000000000", kind: .number).readings.count == 1)
  }

  @Test("never traps, and what it read prints back to the same text and says the same when it is decoded again")
  func fuzzed() throws {
    var texts = FuzzedTexts("decoder")
    var read = 0
    let decoders = ([nil] + IDKind.allCases).map { IDDecoder(kind: $0, now: self.now) }
    let plain = IDDecoder(now: self.now)
    let forms = try [63, 96, 128].flatMap { bits in
      try TextBase.allCases.map { try TextForm($0, bits: bits, padding: $0 == .decimal ? .none : .full) }
        + [try TextForm(.crockford, bits: bits, padding: .full, hasCheck: true)]
    }
    for index in 0..<FuzzedTexts.count {
      let number = texts.number(bits: 128)
      let valid: String
      switch index % 4 {
      case 0: valid = index % 8 == 0 ? UUIDValue(bits: number).description : ULID(bits: number).description
      default:
        let form = forms[index % forms.count]
        valid = try form.text(of: number >> UInt128(128 - form.bits), at: 0)
      }
      let text = texts.text(from: valid)
      let decoded: DecodedID
      do { decoded = try decoders[index / 16 % decoders.count].decode(text) } catch {
        if error.message.isEmpty { Issue.record("no reason for \(text)") }
        continue
      }
      read += 1
      if decoded.readings.isEmpty { Issue.record("nothing for \(text)") }
      for reading in decoded.readings {
        if try !ReadBack.isText(text, of: reading) {
          Issue.record("\(text) became \(reading.kind) \(reading.canonical)")
        }
        let again = try plain.decode(reading.canonical).readings
        if !again.contains(where: {
          $0.kind == reading.kind && $0.time == reading.time && $0.layout == reading.layout
        }) {
          Issue.record("\(text) became \(reading.canonical), which is \(again)")
        }
      }
    }
    texts.report(read)
    #expect(read > FuzzedTexts.count / 10)
  }
}

/// Whether a reading of a text writes that text.
private enum ReadBack {
  static func isText(_ text: String, of reading: IDReading) throws -> Bool {
    let (bits, width, own) = try Self.number(reading)
    let base = reading.base ?? own
    let forms =
      [try TextForm(base, bits: width)] + (base == .crockford ? [try TextForm(base, bits: width, hasCheck: true)] : [])
    return try forms.contains { form in
      Self.folded(try form.text(of: bits, at: 0), form) == Self.folded(text, form)
    }
  }

  private static func number(_ reading: IDReading) throws -> (bits: UInt128, width: Int, own: TextBase) {
    switch reading.kind {
    case .snowflake, .number: (try #require(UInt128(reading.canonical)), 63, .decimal)
    case .uuid: (try UUIDValue(parsing: reading.canonical).bits, 128, .hex)
    case .ulid: (try ULID(parsing: reading.canonical).bits, 128, .crockford)
    case .objectid: (try TextBase.hex.number(of: Array(reading.canonical.utf8), after: 0, bits: 96), 96, .hex)
    }
  }

  /// Without zeros before it, and without what may be written in several ways.
  private static func folded(_ text: String, _ form: TextForm) -> Substring {
    var text = form.base == .base62 ? text : text.lowercased()
    if form.base == .hex {
      if text.hasPrefix("0x") { text.removeFirst(2) }
      if text.hasPrefix("urn:uuid:") { text.removeFirst(9) }
      text.removeAll { "-{}".contains($0) }
    }
    if form.hasCheck {
      text.removeAll { $0 == "-" }
      text = String(text.map { "il".contains($0) ? "1" : $0 == "o" ? "0" : $0 })
    }
    return text.drop { $0 == "0" }
  }
}
