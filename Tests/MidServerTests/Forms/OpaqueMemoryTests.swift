import MidCore
import Testing

@testable import MidServer

@Suite("What the data folder remembers of opaque ids")
struct OpaqueMemoryTests {
  private static let keys = [
    "A": "000102030405060708090a0b0c0d0e0f", "B": "100102030405060708090a0b0c0d0e0f",
  ]

  private func start(_ flags: [String: String], _ memory: inout OpaqueMemory) throws(ConfigurationErrors) {
    _ = try ServerConfiguration.load(flags: flags).forms.make(environment: Self.keys, remembering: &memory)
  }

  private func reasons(_ flags: [String: String], _ memory: OpaqueMemory) -> String {
    var copy = memory
    do throws(ConfigurationErrors) {
      try self.start(flags, &copy)
      return "it was not refused"
    } catch {
      #expect(copy == memory)
      return error.description
    }
  }

  @Test func `a new key in a free slot is a change that may be, another in its slot is not`() throws {
    var memory = OpaqueMemory()
    try self.start(["opaque.tags": "a,b c=53", "opaque.keys": "0=env:A"], &memory)
    #expect(memory.slotBits == 4 && memory.checks.count == 1)
    #expect(memory.tags == [try Tag("a"): 63, try Tag("b c"): 53])
    try self.start(["opaque.tags": "a", "opaque.keys": "0=env:A,2=env:B", "opaque.current": "0"], &memory)
    #expect(memory.checks.count == 2 && memory.tags.count == 2)
    // The old key is gone; its slot is not forgotten.
    try self.start(["opaque.tags": "a", "opaque.keys": "2=env:B"], &memory)
    #expect(
      self.reasons(["opaque.keys": "0=env:B"], memory).contains("opaque.keys: slot 0 has another key than before"))
    #expect(self.reasons(["opaque.keys": "2=env:A"], memory).contains("slot 2 has another key"))
  }

  @Test func `bits that numbers were made with stay`() throws {
    var memory = OpaqueMemory()
    try self.start(["opaque.tags": "a", "opaque.keys": "0=env:A"], &memory)
    #expect(
      self.reasons(["opaque.tags": "a", "opaque.keys": "0=env:A", "opaque.slot_bits": "2"], memory)
        .contains("opaque.slot_bits: is 2, and numbers were made with 4"))
    #expect(
      self.reasons(["opaque.tags": "a=53", "opaque.keys": "0=env:A"], memory)
        .contains("opaque.tags: tag 'a' has 53 bits, and numbers were made with 63"))
  }

  @Test func `it is written and read back, and holds no key`() throws {
    var memory = OpaqueMemory()
    #expect(OpaqueMemory(memory.text) == memory)
    try self.start(["opaque.tags": "a,b c=53", "opaque.keys": "0=env:A,3=env:B", "opaque.current": "3"], &memory)
    #expect(OpaqueMemory(memory.text) == memory)
    for key in Self.keys.values { #expect(!memory.text.contains(key.prefix(16))) }
    for text in [
      "x", "key 0", "key 0 xyz", "key 0 1ffffffff", "tag 63", "tag 63  x", "slot_bits", "slot_bits 4 5", "\u{0}",
    ] {
      #expect(OpaqueMemory(text) == nil, "\(text)")
    }
  }
}
