import MidServer
import Testing

@Suite("The hot path's view of a request")
struct RequestFieldsTests {
  private func fields<Value>(
    of message: [UInt8], as kind: RequestFields.Kind, _ read: (RequestFields) throws -> Value
  ) throws -> Value {
    try message.withUnsafeBytes { try read(try RequestFields(decoding: $0, as: kind)) }
  }

  @Test(arguments: [
    ("segment", RequestFields.Mode.segment), ("snowflake", .snowflake), ("", .other), ("Segment", .other),
    ("segmenu", .other), ("tegment", .other), ("segmment", .other), ("segment ", .other), ("segmen", .other),
    ("snowflakf", .other), ("tnowflake", .other), ("snowflake\0", .other), ("uuid7", .other),
  ])
  func `the mode is told by its bytes`(text: String, expected: RequestFields.Mode) throws {
    try self.fields(of: IDRequest(mode: text).encoded(), as: .id) { fields in
      #expect(fields.mode == expected)
      #expect(fields.modeText == text)
    }
  }

  @Test func `every byte of a mode counts`() {
    for (name, mode) in [("segment", RequestFields.Mode.segment), ("snowflake", .snowflake)] {
      let right = Array(name.utf8)
      #expect(right.withUnsafeBytes { RequestFields.Mode($0) } == mode)
      for index in right.indices {
        var wrong = right
        wrong[index] ^= 1
        #expect(wrong.withUnsafeBytes { RequestFields.Mode($0) } == .other)
      }
    }
  }

  @Test func `each kind of request has its own fields; others are skipped unread`() throws {
    let message = GenerateBatchRequest(mode: "segment", tag: "orders", count: 7).encoded()
    try self.fields(of: message, as: .id) { #expect($0.tagText == "" && $0.count == 0 && $0.mode == .segment) }
    try self.fields(of: message, as: .generateID) { #expect($0.tagText == "orders" && $0.count == 0) }
    try self.fields(of: message, as: .generateBatch) { #expect($0.tagText == "orders" && $0.count == 7) }
    let badTag = bytes("1201ff")
    try self.fields(of: badTag, as: .id) { #expect($0.tag.isEmpty) }
    #expect(throws: ProtobufError.invalidUTF8) { try self.fields(of: badTag, as: .generateID) { _ in } }
  }

  @Test func `an unknown mode's text is cut at 64 characters`() throws {
    try self.fields(of: IDRequest(mode: String(repeating: "é", count: 65)).encoded(), as: .id) { fields in
      #expect(fields.modeText == String(repeating: "é", count: 64))
    }
    try self.fields(of: IDRequest(mode: "a" + String(repeating: "\u{301}", count: 100)).encoded(), as: .id) { fields in
      #expect(fields.modeText.unicodeScalars.count == 64)
    }
  }

  @Test func `of two modes the last one counts`() throws {
    let both = IDRequest(mode: "segment").encoded() + IDRequest(mode: "snowflake").encoded()
    try self.fields(of: both, as: .id) { #expect($0.mode == .snowflake && $0.modeText == "snowflake") }
  }
}
