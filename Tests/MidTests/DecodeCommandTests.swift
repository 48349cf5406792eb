import ArgumentParser
import Foundation
import MidCore
import MidServer
import Testing

@testable import mid

@Suite("mid decode")
struct DecodeCommandTests {
  // 2026-01-02T00:00:00Z.
  private let now: Int64 = 1_767_312_000_000

  private func decode(_ arguments: String...) async throws -> (text: String, error: (any Error)?) {
    try await self.decode(arguments)
  }

  private func decode(_ arguments: [String]) async throws -> (text: String, error: (any Error)?) {
    let command = try DecodeCommand.parse(arguments)
    return try await captured { try command.run(at: self.now, into: &$0) }
  }

  @Test func `by a layout it prints what the id says, a line each`() async throws {
    let result = try await self.decode("1169786042799259000", "--layout", "leaf")
    #expect(
      result.text == """
        kind:       snowflake
        canonical:  1169786042799259000
        digits:     decimal
        layout:     leaf
        time:       2019-09-06T01:35:00.834Z
        unix_ms:    1567733700834
        worker:     39
        datacenter: 1
        machine:    7
        sequence:   3448

        """)
    #expect(result.error == nil)
  }

  @Test func `without a layout it says what else it may be, and why`() async throws {
    let lines = try await self.decode("1169786042799259000").text.split(separator: "\n")
    #expect(lines.contains("layout:     twitter"))
    #expect(
      lines.contains("Not certain: the layout is not in the id: twitter is the one preset by which its time has been."))
    #expect(lines.contains("  or number: digits decimal"))
    #expect(lines.contains { $0.hasPrefix("  or snowflake: digits decimal, layout original, time 2029-") })
  }

  @Test func `a padded text of a small id is shown in all the digits that it may be of`() async throws {
    let lines = try await self.decode("00000000042", "--kind", "number").text.split(separator: "\n")
    #expect(lines.contains("canonical: 42") && lines.contains("  or number: canonical 250, digits base62"))
    #expect(lines.contains("Not certain: the digits may be of decimal or base62."))
  }

  @Test func `JSON has the same, large numbers as strings`() async throws {
    let text = try await self.decode("1169786042799259000", "--json").text
    let object = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    let readings = try #require(object["readings"] as? [[String: Any]])
    #expect(readings[0]["kind"] as? String == "snowflake")
    #expect(readings[0]["canonical"] as? String == "1169786042799259000")
    #expect(readings[0]["unix_ms"] as? String == "1567733700834")
    #expect(readings[0]["worker"] as? Int == 39)
    #expect(readings[1]["kind"] as? String == "number")
    #expect(object["ambiguity"] as? String != nil)
    let uuid = try await self.decode("c232ab00-9414-11ec-b3c8-9f6bdeced846", "--json").text
    #expect(
      uuid == """
        {"readings": [{"kind": "uuid", "canonical": "c232ab00-9414-11ec-b3c8-9f6bdeced846", "variant": "rfc9562", \
        "version": 1, "time": "2022-02-22T19:22:22.000Z", "unix_ms": "1645557742000", "sequence": 13256, \
        "node": "9f6bdeced846", "note": "the node is random"}], "ambiguity": null}

        """)
  }

  @Test func `what is no id is told in one line`() async throws {
    let result = try await self.decode("hello")
    #expect(result.text == "")
    #expect("\(try #require(result.error))".hasPrefix("5 characters that are not all decimal digits are no id"))
    #expect(try await self.decode("507f191e810c19729de860ea", "--kind", "objectid").error == nil)
    #expect(try await self.decode("42", "--kind", "ulid").error is CommandFailure)
    #expect(try await self.decode("--layout", "javascript", "1169786042799259000").error is CommandFailure)
    #expect(try await self.decode("--", "-5").error is CommandFailure)
  }

  @Test(arguments: [
    ["1", "--layout", "nope"], ["1", "--kind", "nope"], ["1", "--layout", "leaf", "--kind", "uuid"], [], ["1", "2"],
  ])
  func `a wrong command line is refused`(arguments: [String]) {
    let error = #expect(throws: (any Error).self) { try DecodeCommand.parse(arguments) }
    #expect(error.map { DecodeCommand.exitCode(for: $0).rawValue } == 64)
  }

  @Test func `a time past the year 9999 is shown to people, and left out of JSON`() async throws {
    let lines = try await self.decode("7ZZZZZZZZZZZZZZZZZZZZZZZZZ").text.split(separator: "\n")
    #expect(lines.contains("time:      +10889-08-02T05:31:50.655Z") && lines.contains("unix_ms:   281474976710655"))
    let json = try await self.decode("7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "--json").text
    #expect(!json.contains(#""time""#) && json.contains(#""unix_ms": "281474976710655""#))
  }

  @Test func `the number in a tag's text is in no other digits`() async throws {
    let arguments = ["--tag", "orders", "--form", "O-{decimal}", "--kind", "number", "--json"]
    let inside = try await self.decode(["O-12345678901"] + arguments).text
    #expect(
      inside == """
        {"id": "12345678901", "readings": [{"kind": "number", "canonical": "12345678901", "digits": "decimal"}], \
        "ambiguity": null}

        """)
    #expect(try await self.decode("12345678901", "--kind", "number").text.contains("base62"))
  }

  @Test func `a tag may have the characters that part a setting's tags`() async throws {
    let result = try await self.decode("O-7", "--tag", "a=b,c", "--form", "O-{decimal}", "--kind", "number")
    #expect(result.text.hasPrefix("id: 7\n"))
  }

  @Test func `a tag's form is read by what the server's settings say`() async throws {
    let text = try await self.decode(
      "ORD-20260102-0000000042", "--tag", "orders", "--form", "ORD-{day}-{decimal:10}", "--kind", "number"
    ).text
    #expect(
      text == """
        id: 42
        date: 2026-01-02T00:00:00.000Z

        kind:      number
        canonical: 42
        digits:    decimal

        """)
  }

  @Test func `an opaque id is opened with its key`() async throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "mid-\(UUID())").path()
    try Data("000102030405060708090a0b0c0d0e0f".utf8).write(to: URL(filePath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    let settings = ["opaque.tags": "orders", "opaque.keys": "2=file:\(path)"]
    let forms = try ServerConfiguration.load(flags: settings).forms.make(environment: [:])
    let number = try forms.text(of: 42, .opaque, tag: try Tag("orders"), at: 0)
    let text = try await self.decode(number, "--tag", "orders", "--key", "2=file:\(path)", "--kind", "number", "--json")
      .text
    #expect(
      text == """
        {"id": "42", "slot": 2, "readings": [{"kind": "number", "canonical": "42", "digits": "decimal"}], "ambiguity": null}

        """)
    // Where the tag has a form too, the number is opened all the same; a text that may be both is, as it is told.
    let own = ["--tag", "orders", "--key", "2=file:\(path)", "--form"]
    let beside = try await self.decode([number, "--json"] + own + ["O-{decimal}"]).text
    #expect(beside.hasPrefix(#"{"id": "42", "slot": 2, "#))
    let both = try await self.decode([number, "--kind", "number"] + own + ["{decimal}"]).text
    #expect(
      both.contains("id: \(number)\n")
        && both.contains("Not certain: the text may be the tag's opaque number of the id 42"))
    let chosen = try await self.decode([number, "--kind", "opaque"] + own + ["{decimal}"]).text
    #expect(chosen.hasPrefix("id: 42\nkey slot: 2\n") && !chosen.contains("Not certain"))
    let missing = try await self.decode(number, "--tag", "orders", "--key", "1=file:\(path)")
    #expect("\(String(describing: missing.error))".contains("slot 2"))
    let file = try await self.decode(number, "--tag", "orders", "--key", "1=file:\(path).none")
    #expect("\(String(describing: file.error))".contains("no such file"))
  }

  @Test(arguments: [
    (["--tag", "a"], "--tag needs --form"), (["--form", "{hex}"], "add --tag NAME"),
    (["--key", "0=env:A"], "add --tag"),
    (["--tag", "a", "--form", "{octal}"], "--form: "), (["--tag", "a", "--key", "secret"], "--key: "),
    (["--tag", "a", "--key", "0=env:A", "--bits", "64"], "--bits: "),
    (["--tag", "a", "--key", "5=env:A", "--slot-bits", "2"], "no slot 5"),
    (["--tag", "a", "--form", "{hex}", "--bits", "53"], "add --key"),
    (["--tag", "a", "--form", "{opaque:hex}"], "--form: its number is opaque: add --key"),
    (["--tag", "a", "--form", "P-"], "--form: a form ends with braces that say what the number becomes"),
    (["--tag", " a", "--form", "{hex}"], "--tag: "),
    (["--kind", "opaque"], "--kind opaque is a tag's opaque number"),
    (["--kind", "opaque", "--tag", "a", "--form", "{hex}"], "add --tag NAME and --key"),
  ])
  func `what does not go together is refused`(arguments: [String], part: String) {
    let error = #expect(throws: (any Error).self) { _ = try DecodeCommand.parse(["1"] + arguments) }
    let message = error.map { DecodeCommand.message(for: $0) } ?? ""
    #expect(message.contains(part) && !message.contains("TAG="), "\(message)")
  }
}
