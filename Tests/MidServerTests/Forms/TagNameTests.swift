import MidCore
import Testing

@testable import MidServer

@Suite("A tag's name is its bytes")
struct TagNameTests {
  /// An é of one sign, and of two; what joins with whatever stands before; what the texts themselves use.
  static let names = ["caf\u{E9}", "cafe\u{301}", "\u{301}x", "a b", "a%20b", "a/b", "%", "😀", "invoices"]

  @Test func `also where Unicode takes two for one`() throws {
    let tags = try Self.names.map { try Tag($0) }
    #expect(Set(tags).count == Self.names.count && tags[0] != tags[1])
    #expect(Self.names[0] == Self.names[1], "else nothing is tried here")
    #expect(Set(tags.map { Array($0.escaped.utf8) }).count == tags.count)
    for tag in tags {
      #expect(Tag(escaped: tag.escaped) == tag)
      #expect(tag.escaped.utf8.allSatisfy { (0x21...0x7E).contains($0) })
    }
    for text in ["", "a b", "caf\u{E9}", "%", "%4", "%zz", "%61", "%e9", "%C3"] { #expect(Tag(escaped: text) == nil) }
  }

  @Test func `in what the data folder remembers, and what the store is told`() throws {
    var memory = OpaqueMemory()
    (memory.slotBits, memory.checks) = (4, [0: 7])
    for (bits, name) in Self.names.enumerated() { memory.tags[try Tag(name)] = bits }
    (memory.store, memory.confirmed) = ("/a path/\u{301}", Set(memory.facts.keys))
    #expect(memory.facts.count == Self.names.count + 2)
    #expect(OpaqueMemory(memory.text) == memory)
    let agreement = OpaqueAgreement(remembered: .init(), wanted: memory, currentSlot: 0, store: "s")
    #expect(agreement.facts.count == memory.facts.count)
    for name in agreement.facts.keys { #expect(name.utf8.count <= Facts.maximumLength) }
    let longest = OpaqueFact.tag(try Tag(String(repeating: "😀", count: Tag.maximumLength / 4)))
    #expect(longest.storeName.utf8.count <= Facts.maximumLength)
  }
}
