import MidCore
import Testing

@Suite("Text templates")
struct TextTemplateTests {
  /// 2026-01-02T03:04:05Z.
  private let now: Int64 = 1_767_323_045_000

  @Test(arguments: [
    ("{decimal}", "42"), ("{decimal:10}", "0000000042"), ("ORD-{day}-{decimal:10}", "ORD-20260102-0000000042"),
    ("{month}{base36}", "20260116"), ("inv_{month}/{hex:4}", "inv_202601/002a"), ("{base62:full}", "0000000000g"),
    ("{crockford:full:check}", "000000000001A5"), ("{crockford:check}", "1A5"), ("a=b:{decimal}", "a=b:42"),
  ])
  func `a template says what a text looks like, and reads it back`(template: String, text: String) throws {
    let parsed = try TextTemplate(template)
    #expect(!parsed.isOpaque)
    #expect(parsed.description == template)
    let form = try parsed.form(bits: 63)
    #expect(try form.text(of: 42, at: self.now) == text)
    #expect(try form.parse(text).number == 42)
  }

  @Test func `opaque says whose number it is, and bits how wide`() throws {
    let template = try TextTemplate("X{opaque:base62:full}")
    #expect(template.isOpaque)
    #expect(try template.form(bits: 63).text(of: 1, at: 0) == "X00000000001")
    #expect(try template.form(bits: 53).text(of: 1, at: 0) == "X000000001")
  }

  @Test(arguments: [
    ("", "ends with braces"), ("ORD-", "ends with braces"), ("{decimal}x", "ends with braces"),
    ("{decimal", "a brace without"), ("decimal}", "a brace without"), ("{{decimal}}", "a brace without"),
    ("{octal}", "no digits 'octal'"), ("{}", "no digits ''"), ("{opaque}", "no digits ''"),
    ("{opaque:opaque:hex}", "no digits 'opaque'"), ("{decimal:0}", "padding takes"), ("{decimal:65}", "padding takes"),
    ("{decimal:-1}", "not '-1'"), ("{decimal:999}", "not '999'"), ("{decimal:}", "not ''"),
    ("{decimal:full:10}", "':10' where it ends"), ("{hour}{decimal}", "not {hour}"),
    ("{decimal}{decimal}", "not {decimal}"), ("{day}{day}{decimal}", "more braces than two"),
    ("{decimal:check}", "only Crockford's"), ("a b{decimal}", "without white space"), ("é{decimal}", "ASCII"),
    (String(repeating: "x", count: 65) + "{decimal}", "at most 64"),
    (String(repeating: "x", count: 200), "far too many"),
  ])
  func `what is none is refused, and the reason told`(template: String, reason: String) {
    let error = #expect(throws: IDError.self) { _ = try TextTemplate(template) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.message.contains(reason) == true, "\(error?.message ?? "")")
  }
}
