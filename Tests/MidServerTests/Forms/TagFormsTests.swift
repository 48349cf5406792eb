import MidCore
import MidOpaque
import MidTestKit
import Testing

@testable import MidServer

@Suite("Forms of tags")
struct TagFormsTests {
  /// 2026-01-02T03:04:05Z.
  private static let now: Int64 = 1_767_323_045_000

  /// The tags: `orders` has a form, `invoices` opaque numbers, `parcels` both, of 53 bits.
  static func make(current: Int = 0, slots: [Int] = [0]) throws -> TagForms {
    let keys = try slots.reduce(into: [Int: AES]()) {
      $0[$1] = try AES(key: [UInt8](repeating: UInt8($1 + 1), count: 32))
    }
    func opaque(_ tag: String, _ bits: Int) throws -> OpaqueIDs<AES> {
      try OpaqueIDs(tag: try Tag(tag), bits: bits, slotBits: 4, keys: keys, currentSlot: current)
    }
    return try TagForms(
      templates: [
        try Tag("orders"): try TextTemplate("ORD-{day}-{decimal:10}"),
        try Tag("parcels"): try TextTemplate("P{opaque:base62:full}"),
      ],
      opaque: [try Tag("invoices"): try opaque("invoices", 63), try Tag("parcels"): try opaque("parcels", 53)])
  }

  @Test func `a tag's own form is written and read back, with its day`() throws {
    let forms = try Self.make()
    let tag = try Tag("orders")
    let text = try forms.text(of: 42, .tag, tag: tag, at: Self.now)
    #expect(text == "ORD-20260102-0000000042")
    // 2026-01-02T00:00:00Z.
    #expect(try forms.open(text, tag: tag) == .init(id: 42, slot: nil, startMilliseconds: 1_767_312_000_000))
  }

  @Test(arguments: [
    ("decimal", "42"), ("hex", "000000000000002a"), ("base36", "0000000000016"), ("base62", "0000000000g"),
    ("crockford", "000000000001A"), ("crockford-check", "000000000001A5"),
  ])
  func `every tag has the forms of each base`(name: String, text: String) throws {
    for forms in [TagForms.none, try Self.make()] {
      #expect(try forms.text(of: 42, IDFormat(name), tag: .default, at: 0) == text)
      #expect(try IDFormat(name).description == name)
    }
  }

  @Test func `fixed widths sort as the numbers do, to the largest`() throws {
    let ids = [1, 9, 10, 61, 62, 4_294_967_296, .max - 1, .max] as [Int64]
    for name in ["hex", "base36", "base62", "crockford"] {
      let texts = try ids.map { try TagForms.none.text(of: $0, IDFormat(name), tag: .default, at: 0) }
      #expect(texts == texts.sorted())
      #expect(Set(texts.map(\.count)).count == 1)
    }
  }

  @Test func `opaque numbers open to the id, whatever key they were made with`() throws {
    let tag = try Tag("invoices")
    let old = try Self.make()
    let new = try Self.make(current: 3, slots: [0, 3])
    let first = try old.text(of: 42, .opaque, tag: tag, at: 0)
    let second = try new.text(of: 42, .opaque, tag: tag, at: 0)
    #expect(first != second && first != "42")
    #expect(try new.open(first, tag: tag) == .init(id: 42, slot: 0))
    #expect(try new.open(second, tag: tag) == .init(id: 42, slot: 3))
    let error = #expect(throws: IDError.self) { _ = try old.open(second, tag: tag) }
    #expect(error?.message.contains("slot 3") == true)
  }

  @Test func `a form of opaque numbers has their bits`() throws {
    let forms = try Self.make()
    let tag = try Tag("parcels")
    let text = try forms.text(of: 42, .tag, tag: tag, at: 0)
    #expect(text.hasPrefix("P") && text.count == 10)
    #expect(try forms.open(text, tag: tag).id == 42)
    // The number alone, as format opaque gives it out.
    let number = try forms.text(of: 42, .opaque, tag: tag, at: 0)
    for isNumber in [false, true] {
      #expect(try forms.open(number, tag: tag, isNumber: isNumber) == .init(id: 42, slot: 0))
    }
    let neither = #expect(throws: IDError.self) { _ = try forms.open("9007199254740992", tag: tag) }
    #expect(
      neither?.message == """
        by the tag's form the text does not begin with the prefix 'P'; as an opaque number 9007199254740992 is no opaque id of \
        53 bits
        """)
    for noNumber in ["Q1", ""] {
      let error = #expect(throws: IDError.self) { _ = try forms.open(noNumber, tag: tag) }
      #expect(error?.message == "the text does not begin with the prefix 'P'")
    }
    #expect(throws: IDError.self) { _ = try forms.open(text, tag: tag, isNumber: true) }
    let large = #expect(throws: IDError.self) { _ = try forms.text(of: 1 << 49, .opaque, tag: tag, at: 0) }
    #expect(large?.code == .exhausted)
  }

  @Test func `of a text that may be both the form's reading is given, and the other is said`() throws {
    let invoices = try Tag("invoices")
    let keys = [0: try AES(key: [UInt8](repeating: 1, count: 32))]
    let opaque = [invoices: try OpaqueIDs(tag: invoices, bits: 63, slotBits: 0, keys: keys, currentSlot: 0)]
    let forms = try TagForms(templates: [invoices: try TextTemplate("{decimal}")], opaque: opaque)
    let number = try forms.text(of: 42, .opaque, tag: invoices, at: 0)
    let opened = try forms.open(number, tag: invoices)
    #expect(opened.id == Int64(number) && opened.slot == nil)
    #expect(
      opened.ambiguity == "the text may be the tag's opaque number of the id 42: the kind opaque reads it so")
    #expect(try forms.open(number, tag: invoices, isNumber: true) == .init(id: 42, slot: 0))
    // The same number either way, and digits that no decimal number has.
    let same = try TagForms(templates: [invoices: try TextTemplate("{opaque:decimal}")], opaque: opaque)
    #expect(try same.open(number, tag: invoices) == .init(id: 42, slot: 0))
    let padded = try TagForms(templates: [invoices: try TextTemplate("{decimal:20}")], opaque: opaque)
    #expect(try padded.open("00000000000000000042", tag: invoices) == .init(id: 42))
  }

  @Test func `a plain number of a tag with a form is read without the tag`() throws {
    let forms = try Self.make()
    let error = #expect(throws: IDError.self) { _ = try forms.open("42", tag: try Tag("orders")) }
    #expect(
      error?.message == """
        the text does not begin with the prefix 'ORD-'; an id in the digits of a base, as format decimal, is read without the tag
        """)
    let none = #expect(throws: IDError.self) { _ = try forms.open("42", tag: try Tag("orders"), isNumber: true) }
    #expect(none?.message.contains("have no opaque numbers") == true)
  }

  @Test func `texts of ranges are those of their ids, in order`() throws {
    let forms = try Self.make()
    let ranges = [IDRange(start: 5, count: 3, stride: 4), IDRange(start: 1, count: 1)]
    let texts = try forms.texts(of: ranges, .tag, tag: try Tag("orders"), made: { Self.now + $0 * 86_400_000 })
    #expect(
      texts == [
        "ORD-20260107-0000000005", "ORD-20260111-0000000009", "ORD-20260115-0000000013", "ORD-20260103-0000000001",
      ])
  }

  @Test func `no text is longer than said, and the largest id that has one is known`() throws {
    let forms = try Self.make()
    let cases: [(IDFormat, String, Int, Int64?)] = [
      (.tag, "orders", 32, nil), (.tag, "parcels", 10, (1 << 49) - 1),
      (.opaque, "invoices", 19, (1 << 59) - 1),
      (.digits(.hex), "orders", 16, nil), (.digits(.decimal), "orders", 19, nil), (.checked, "orders", 14, nil),
    ]
    for (format, tag, length, largest) in cases {
      let bounds = try forms.bounds(of: format, tag: try Tag(tag))
      #expect(bounds.length == length && bounds.largestID == largest, "\(format) \(tag) \(bounds)")
      let text = try forms.text(of: bounds.largestID ?? .max, format, tag: try Tag(tag), at: Self.now)
      #expect(text.utf8.count <= length)
    }
  }

  @Test func `nobody wants them any more: no more are made`() throws {
    var asked = 0
    let error = #expect(throws: IDError.self) {
      _ = try Self.make().texts(
        of: [IDRange(start: 1, count: 10_000)], .digits(.hex), tag: .default, made: { _ in 0 },
        isCancelled: {
          asked += 1
          return asked == 3
        })
    }
    #expect(error?.code == .deadlineExceeded && asked == 3)
  }

  @Test func `what a tag has not is refused by the setting's name`() throws {
    let forms = try Self.make()
    let cases: [(IDFormat, String, String)] = [
      (.tag, "invoices", "text.forms"), (.tag, "default", "text.forms"), (.opaque, "orders", "opaque.tags"),
    ]
    for (format, tag, setting) in cases {
      let error = #expect(throws: IDError.self) { _ = try forms.bounds(of: format, tag: try Tag(tag)) }
      #expect(error?.code == .invalidArgument && error?.message.contains(setting) == true)
    }
    let error = #expect(throws: IDError.self) { _ = try forms.open("42", tag: .default) }
    #expect(error?.message.contains("text.forms") == true)
    #expect(throws: IDError.self) {
      _ = try TagForms(templates: [.default: try TextTemplate("{opaque:hex}")])
    }
    let unknown = #expect(throws: IDError.self) { _ = try IDFormat("base64") }
    #expect(
      unknown?.message.contains("allowed: decimal, hex, base36, base62, crockford, crockford-check, opaque, tag")
        == true)
  }
}
