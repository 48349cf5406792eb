package import MidCore

/// What the data folder remembers of opaque ids between two runs, so that a change that would make the same number stand for
/// two ids is found out at the start: the bits that tell the keys, a check value of each key, and the bits of each tag.
///
/// No key is in it: a check value is 32 bits of what the key makes of a known block. A pure value.
package struct OpaqueMemory: Sendable, Equatable {
  /// The block whose image the check values are of.
  package static let checkedBlock = UInt128(0x6D69_642D_6F70_6171) << 64 | 0x7565_2D63_6865_636B

  /// `opaque.slot_bits`, nil as long as there was no key.
  package var slotBits: Int?
  /// The check value of each slot's key.
  package var checks: [Int: UInt32] = [:]
  /// `opaque.tags`.
  package var tags: [Tag: Int] = [:]

  /// Remembers nothing.
  package init() {}

  /// Reads what ``text`` wrote. Returns nil for anything else.
  package init?(_ text: String) {
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      let words = line.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
      guard words.count > 1, let number = Int(words[1]) else { return nil }
      switch (words[0], words.count) {
      case ("slot_bits", 2): self.slotBits = number
      case ("key", 3):
        guard let check = UInt32(words[2], radix: 16) else { return nil }
        self.checks[number] = check
      case ("tag", 3):
        do throws(IDError) { self.tags[try Tag(String(words[2]))] = number } catch { return nil }
      default: return nil
      }
    }
  }

  /// Lines of text, in a fixed order.
  package var text: String {
    var lines = ["# What mid serve compares its settings of opaque ids with. No key is in here."]
    if let slotBits = self.slotBits { lines.append("slot_bits \(slotBits)") }
    for (slot, check) in self.checks.sorted(by: { $0.key < $1.key }) {
      lines.append("key \(slot) \(String(check, radix: 16))")
    }
    for (tag, bits) in self.tags.sorted(by: { $0.key.name < $1.key.name }) { lines.append("tag \(bits) \(tag)") }
    return lines.joined(separator: "\n") + "\n"
  }

  /// Adds what is new. Slots and tags that are gone are still remembered: their numbers are out.
  ///
  /// - Returns: What `other` has otherwise than it was, by setting; nothing is added then.
  package mutating func merge(_ other: OpaqueMemory) -> [(setting: any SettingDescription, message: String)] {
    var changes: [(setting: any SettingDescription, message: String)] = []
    if let before = self.slotBits, let now = other.slotBits, before != now {
      changes.append((Settings.opaqueSlotBits, "is \(now), and numbers were made with \(before)"))
    }
    for (slot, check) in other.checks.sorted(by: { $0.key < $1.key }) where self.checks[slot] ?? check != check {
      changes.append(
        (
          Settings.opaqueKeys,
          "slot \(slot) has another key than before: put the old one back, and the new one into a free slot"
        ))
    }
    for (tag, bits) in other.tags.sorted(by: { $0.key.name < $1.key.name }) {
      guard let before = self.tags[tag], before != bits else { continue }
      changes.append((Settings.opaqueTags, "tag '\(tag)' has \(bits) bits, and numbers were made with \(before)"))
    }
    guard changes.isEmpty else { return changes }
    self.slotBits = other.slotBits ?? self.slotBits
    self.checks.merge(other.checks) { $1 }
    self.tags.merge(other.tags) { $1 }
    return []
  }
}
