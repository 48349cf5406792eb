package import MidCore

/// What the data folder remembers of opaque ids between two runs, so that a change that would make the same number stand for
/// two ids is found out at the start: the bits that tell the keys, a check value of each key, and the bits of each tag.
///
/// No key is in it: a check value is 32 bits of what the key makes of a known block. A pure value.
package struct OpaqueMemory: Sendable, Equatable {
  /// A setting that has to stay, and what is wrong with it.
  package typealias Change = (setting: any SettingDescription, message: String)

  /// The block whose image the check values are of.
  package static let checkedBlock = UInt128(0x6D69_642D_6F70_6171) << 64 | 0x7565_2D63_6865_636B

  /// `opaque.slot_bits`, nil as long as there was no key.
  package var slotBits: Int?
  /// The check value of each slot's key.
  package var checks: [Int: UInt32] = [:]
  /// `opaque.tags`.
  package var tags: [Tag: Int] = [:]

  /// The store whose ``confirmed`` these are: its location.
  package var store: String?
  /// What that store said of: all who share it believe the same.
  package var confirmed: Set<OpaqueFact> = []

  /// Remembers nothing.
  package init() {}

  /// Reads what ``text`` wrote, also in the older form that knows of no store. Returns nil for anything else.
  package init?(_ text: String) {
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      // By bytes: what follows a space may join with it.
      guard let space = line.utf8.firstIndex(of: 0x20),
        self.read(line[..<space], line[line.utf8.index(after: space)...])
      else { return nil }
    }
    guard self.confirmed.isSubset(of: self.facts.keys) else { return nil }
  }

  /// Reads a line. Returns whether it is one.
  private mutating func read(_ word: Substring, _ rest: Substring) -> Bool {
    let parts = rest.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
    switch (word, parts.count) {
    case ("slot_bits", 1):
      self.slotBits = Int(rest)
      return self.slotBits != nil
    case ("key", 2):
      guard let slot = Int(parts[0]), let check = UInt32(parts[1], radix: 16) else { return false }
      self.checks[slot] = check
    case ("tag", 2):
      guard let bits = Int(parts[0]) else { return false }
      guard let tag = Tag(escaped: parts[1]) else { return false }
      self.tags[tag] = bits
    case ("store", _): self.store = String(rest)
    case ("confirmed", _):
      guard let fact = OpaqueFact(name: rest) else { return false }
      self.confirmed.insert(fact)
    default: return false
    }
    return true
  }

  /// Lines of text, in a fixed order.
  package var text: String {
    var lines = ["# What mid serve compares its settings of opaque ids with. No key is in here."]
    if let slotBits = self.slotBits { lines.append("slot_bits \(slotBits)") }
    for (slot, check) in self.checks.sorted(by: { $0.key < $1.key }) {
      lines.append("key \(slot) \(String(check, radix: 16))")
    }
    for (tag, bits) in self.tags.sorted(by: { $0.key.name < $1.key.name }) {
      lines.append("tag \(bits) \(tag.escaped)")
    }
    if let store = self.store { lines.append("store \(store)") }
    lines += self.confirmed.map { "confirmed \($0.name)" }.sorted()
    return lines.joined(separator: "\n") + "\n"
  }

  /// What is remembered, as texts that a store can keep.
  package var facts: [OpaqueFact: String] {
    var facts: [OpaqueFact: String] = [:]
    if let slotBits = self.slotBits { facts[.slotBits] = "\(slotBits)" }
    for (slot, check) in self.checks { facts[.key(slot)] = String(check, radix: 16) }
    for (tag, bits) in self.tags { facts[.tag(tag)] = "\(bits)" }
    return facts
  }

  /// Adds what is new. Slots and tags that are gone are still remembered: their numbers are out.
  ///
  /// - Returns: What `other` has otherwise than it was, by setting; nothing is added then.
  package mutating func merge(_ other: OpaqueMemory) -> [Change] {
    var changes: [Change] = []
    if let before = self.slotBits, let now = other.slotBits, before != now {
      changes.append(
        (Settings.opaqueSlotBits, "is \(now), and numbers were made with \(before), by opaque.state in the data folder")
      )
    }
    for (slot, check) in other.checks.sorted(by: { $0.key < $1.key }) where self.checks[slot] ?? check != check {
      changes.append(
        (
          Settings.opaqueKeys,
          "slot \(slot) has another key than before, by opaque.state in the data folder: put the old one back, and the new "
            + "one into a free slot"
        ))
    }
    for (tag, bits) in other.tags.sorted(by: { $0.key.name < $1.key.name }) {
      guard let before = self.tags[tag], before != bits else { continue }
      changes.append(
        (
          Settings.opaqueTags,
          "tag '\(tag)' has \(bits) bits, and numbers were made with \(before), by opaque.state in the data folder"
        ))
    }
    guard changes.isEmpty else { return changes }
    self.slotBits = other.slotBits ?? self.slotBits
    self.checks.merge(other.checks) { $1 }
    self.tags.merge(other.tags) { $1 }
    return []
  }
}
