import MidTestKit
import Testing

@testable import MidCore

/// What a service writes as `format`, and what it is read back as.
@Suite("An id in the digits of a base")
struct IDFormatReadingTests {
  // 2026-01-02T00:00:00Z.
  private static let now: Int64 = 1_767_312_000_000

  /// The digits that a service offers: decimal ones as many as there have to be, the others as many for every id.
  private static func forms(bits: Int) throws -> [TextForm] {
    try TextBase.allCases.map { try TextForm($0, bits: bits, padding: $0 == .decimal ? .none : .full) }
      + [try TextForm(.crockford, bits: bits, padding: .full, hasCheck: true)]
  }

  /// An id, as a service makes it.
  private struct Made {
    var kind: IDKind
    var canonical: String
    var bits: UInt128
    var width: Int

    init(_ kind: IDKind, number: Int64) {
      (self.kind, self.canonical, self.bits, self.width) = (kind, "\(number)", UInt128(number), 63)
    }
    init(_ uuid: UUIDValue) { (self.kind, self.canonical, self.bits, self.width) = (.uuid, "\(uuid)", uuid.bits, 128) }
    init(_ ulid: ULID) { (self.kind, self.canonical, self.bits, self.width) = (.ulid, "\(ulid)", ulid.bits, 128) }
    init(_ id: ObjectID) { (self.kind, self.canonical, self.bits, self.width) = (.objectid, "\(id)", id.bits, 96) }
  }

  /// One of each kind, made within 15 years before ``now``.
  private static func made(_ random: inout SplitMix64) throws -> [Made] {
    let time = Self.now - Int64(random.below(15 * 365)) * 86_400_000 - Int64(random.below(86_400_000))
    let wide = { (random: inout SplitMix64) in UInt128(random.next()) << 64 | UInt128(random.next()) }
    func uuid(_ version: UInt128, _ bits: UInt128) -> UUIDValue {
      let fixed: UInt128 = 0xF << 76 | 0b11 << 62
      return UUIDValue(bits: bits & ~fixed | version << 76 | 0b10 << 62)
    }
    let (high, low) = (wide(&random), wide(&random))
    let sequence = UInt16(truncatingIfNeeded: random.next() & 0x3FFF)
    let node = random.next() & 0xFFFF_FFFF_FFFF
    return [
      Made(.number, number: Int64(random.below(1_000_000)) + 1),
      Made(.number, number: Int64(random.next() >> UInt64(1 + random.below(50)))),
      Made(
        .snowflake,
        number: (Self.now - SnowflakeLayout.original.epochMilliseconds - Int64(random.below(1 << 36))) << 22
          | Int64(random.below(1 << 22))),
      Made(try UUIDValue.version1(time: time * 10_000, clockSequence: sequence, node: node)),
      Made(try UUIDValue.version6(time: time * 10_000, clockSequence: sequence, node: node)),
      Made(uuid(3, high)), Made(uuid(4, low)), Made(uuid(5, high ^ low)),
      Made(uuid(7, UInt128(time) << 80 | high & (1 << 80 - 1))),
      Made(ULID(bits: UInt128(time) << 80 | low & (1 << 80 - 1))),
      Made(ObjectID(seconds: UInt32(time / 1000), process: random.next(), counter: UInt32(random.below(1 << 24)))),
    ]
  }

  @Test("is read back, of every kind and in every format; where it is not the first reading there is a doubt")
  func everyFormat() throws {
    var random = SplitMix64(seed: SplitMix64.freshSeed(for: "formats"))
    let decoder = IDDecoder(now: Self.now)
    for _ in 0..<100 {
      for id in try Self.made(&random) {
        for form in try Self.forms(bits: id.width) {
          let text = try form.text(of: id.bits, at: 0)
          let decoded = try decoder.decode(text)
          let found = decoded.readings.firstIndex { $0.kind == id.kind && $0.canonical == id.canonical }
          guard let found else {
            Issue.record("\(id.kind) \(id.canonical) as \(form.base) is \(text), read as \(decoded.readings)")
            continue
          }
          let first = try #require(decoded.readings.first)
          if first.kind != id.kind || first.canonical != id.canonical, decoded.ambiguity == nil {
            Issue.record("\(id.kind) as \(form.base) \(text) is \(first.kind) without a doubt, and \(found). only")
          }
          let chosen = try IDDecoder(kind: id.kind, now: Self.now).decode(text)
          if !chosen.readings.contains(where: { $0.canonical == id.canonical })
            || chosen.readings.contains(where: { $0.kind != id.kind })
          {
            Issue.record("\(text) as \(id.kind) is \(chosen.readings)")
          }
          if Set(chosen.readings.map(\.canonical)).count > 1, chosen.ambiguity == nil {
            Issue.record("\(text) is one of \(chosen.readings.map(\.canonical)) without a doubt")
          }
        }
      }
    }
  }

  @Test(
    "of 128 bits is of the likely kinds, as it was before where a kind's own text is like it",
    arguments: [
      // Version 7 and a ULID of the same time.
      ("017f22e279b07cc398c4dc0c0c07398f", ["uuid", "ulid"], true),
      ("01FWHE4YDGFK1SHH6W1G60EECF", ["ulid", "uuid"], true),
      ("036twi214qwj7mgsvq83nm8wf", ["uuid", "ulid"], true),
      // Version 4: as a ULID it would be of a time to come.
      ("919108f7-52d1-4320-9bac-f847db4148a8", ["uuid"], false),
      ("919108f752d143209bacf847db4148a8", ["uuid"], false),
      ("4HJ44FEMPH8CG9QB7R8ZDM2J58", ["ulid", "uuid"], true),
      // A ULID that has no variant of a UUID, and one that has the variant and no version.
      ("01ARZ3NDEKTSV4RRFFQ69G5FAV", ["ulid"], false),
      ("01563e3ab5d3d6764c61efb99302bd5b", ["ulid", "uuid"], true),
      ("01563e3ab5d3d676ac61efb99302bd5b", ["ulid", "uuid"], true),
      ("02ukohbn3kw46609nd56rlkd7", ["ulid"], false),
      ("02WP8qFtGJTkHk10j5u4aZ", ["ulid"], false), ("01ARZ3NDEKTSV4RRFFQ69G5FAV$", ["ulid"], false),
      ("1777027686520646174104517696511196507", ["ulid"], false),
      // Hexadecimal digits that are all decimal ones.
      ("01923456789001234567890123456789", ["ulid", "uuid"], true),
      // All ones: neither kind is likely.
      ("f5lxx1zz5pnorynqglhzmsp33", ["uuid", "ulid"], true),
    ] as [(String, [String], Bool)])
  func order(text: String, kinds: [String], isDoubtful: Bool) throws {
    let decoded = try IDDecoder(now: Self.now).decode(text)
    #expect(decoded.readings.map(\.kind.rawValue) == kinds)
    #expect((decoded.ambiguity?.contains("the kind is not in the id") == true) == isDoubtful)
    for kind in [IDKind.uuid, .ulid] where text.utf8.count != 36 {
      let chosen = try IDDecoder(kind: kind, now: Self.now).decode(text)
      #expect(chosen.readings.map(\.kind) == [kind])
      #expect(chosen.ambiguity?.contains("the kind") != true)
    }
  }

  @Test(
    "of 96 bits is an ObjectId",
    arguments: [
      ("24912452986661892666266509546", TextBase.decimal), ("2ey8c8drg2h00i6v08a", .base36),
      ("0WOmUYfOBpWtAQdSM", .base62), ("0M3Z34F8230SEAEYGR7A", .crockford), ("om3z34f8230seaeygr7az", .crockford),
    ])
  func objectIDs(text: String, base: TextBase) throws {
    let decoded = try IDDecoder(now: Self.now).decode(text)
    #expect(decoded.readings.map(\.kind) == [.objectid])
    #expect(decoded.readings.first?.canonical == "507f191e810c19729de860ea" && decoded.readings.first?.base == base)
  }

  @Test("that likely nobody has made says so, where it can be nothing else")
  func unlikely() throws {
    let decoder = IDDecoder(now: Self.now)
    // The id of another program, words, all ones.
    for text in ["cjld2cjxh0000qzrmn831i7rn", "0zHelloWorldHello", "f5lxx1zz5pnorynqglhzmsp33"] {
      let readings = try decoder.decode(text).readings
      #expect(readings.allSatisfy { $0.note?.contains("hardly one") == true }, "\(text) \(readings)")
    }
    let asked = try IDDecoder(kind: .ulid, now: Self.now).decode("f5lxx1zz5pnorynqglhzmsp33")
    #expect(asked.readings.map(\.note) == [nil])
    #expect(try decoder.decode("036twi214qwj7mgsvq83nm8wf").readings.allSatisfy { $0.note == nil })
  }

  @Test("of decimal digits that are no number of 63 bits is what is likely, or what is asked for")
  func longDecimals() throws {
    let decoder = IDDecoder(now: Self.now)
    // An ObjectId's of the first seconds of 1970, a UUID's of 36 digits, zeros before a number.
    let early = #expect(throws: IDError.self) { try decoder.decode("18446744073709551616") }
    #expect(early?.message.hasPrefix("the number is past 63 bits, and likely none") == true)
    let asked = try IDDecoder(kind: .objectid, now: Self.now).decode("18446744073709551616")
    #expect(asked.readings.first?.canonical == "000000010000000000000000")
    let uuid = UUIDValue(bits: 0x0001_8CC2_5B2B_4F3A_8B1D_7C9E_0F1A_2B3C)
    #expect("\(uuid.bits)".count == 34)
    #expect(try decoder.decode("\(uuid.bits)").readings.first?.canonical == "\(uuid)")
    let long = UUIDValue(bits: 0x0013_8CC2_5B2B_4F3A_8B1D_7C9E_0F1A_2B3C)
    #expect("\(long.bits)".count == 36)
    #expect(try decoder.decode("\(long.bits)").readings.first?.canonical == "\(long)")
    #expect(try decoder.decode("0000000000000000000000000000000000000042").readings.first?.canonical == "42")
    #expect(throws: IDError(.invalidArgument, "the number is past 63 bits")) {
      try IDDecoder(kind: .uuid, now: Self.now).decode("340282366920938463463374607431768211456")
    }
    // An ObjectId's own digits come first, as a UUID's and a ULID's.
    let own = try IDDecoder(kind: .objectid, now: Self.now).decode("507019108107197290860003")
    #expect(own.readings.first?.canonical == "507019108107197290860003")
    #expect(own.ambiguity?.contains("the digits may be of hex or decimal") == true)
    #expect(try decoder.decode("507019108107197290860003").readings.count == 1)
  }

  @Test("of Crockford's base 32 with his check character is read, and a mistyped one is not")
  func checked() throws {
    let decoder = IDDecoder(now: Self.now)
    for text in ["000000000001A5", "000000000001a5", "OOOOOOOOOOOIa5"] {
      let first = try #require(try decoder.decode(text).readings.first)
      #expect(first.kind == .number && first.canonical == "42" && first.base == .crockford)
    }
    #expect(
      throws: IDError(.invalidArgument, "the check character is '6', but the digits have another one: mistyped?")
    ) { try decoder.decode("000000000001A6") }
    // The id 34, whose check character is none of the decimal digits' alone; and 7, whose is.
    #expect(try decoder.decode("0000000000012$").readings.first?.canonical == "34")
    let decimal = try decoder.decode("00000000000077")
    #expect(decimal.readings.filter { $0.kind == .number }.map(\.canonical) == ["77", "7"])
    #expect(decimal.ambiguity == "the digits may be of decimal or crockford")
  }

  @Test("may begin with 0x in base 36, base 62 and Crockford's base 32")
  func hexPrefix() throws {
    for (base, first) in [(TextBase.base36, "0x"), (.base62, "0x"), (.crockford, "0X")] {
      let form = try TextForm(base, padding: .full)
      for digits in [String(repeating: "f", count: base.width(bits: 63) - 2), "z"] {
        let rest = String(repeating: "0", count: base.width(bits: 63) - 2 - digits.count) + digits
        let number = try form.parse(first + rest).number
        let readings = try IDDecoder(now: Self.now).decode(first + rest).readings
        #expect(readings.contains { $0.canonical == "\(number)" && $0.base == base })
        #expect((readings.first?.base == .hex) == (digits != "z"))
      }
    }
  }
}
