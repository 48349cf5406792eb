package import MidCore

/// What a node and the store it shares with others have said to each other of opaque ids, and which numbers may be made
/// for that.
///
/// Where two nodes had different keys in one slot, one number would stand for two ids. So a number is made only once the
/// store has said that what it depends on is what all have: its slot bits, the current key, and the bits of its tag. What
/// it has said is remembered, and goes on to hold while the store is away. What was contradicted is final: no numbers are
/// made until the next start.
///
/// A pure value: what it says is to be done by its owner.
package struct OpaqueAgreement: Sendable {
  /// What an answer of the store means.
  package enum Outcome: Sendable {
    /// Nothing new.
    case unchanged
    /// More is confirmed than before: to be remembered.
    case confirmed(OpaqueMemory)
    /// The store has something otherwise. What it said before is not to be believed any more: to be remembered, too.
    case contradicted([OpaqueMemory.Change], OpaqueMemory)
  }

  /// All that this node makes numbers of, or has made them of before.
  package let wanted: OpaqueMemory
  /// The store's location.
  package let store: String
  /// What the data folder holds, or should.
  private var memory: OpaqueMemory
  private let currentSlot: Int
  private var isContradicted = false

  /// Begins with what was remembered.
  ///
  /// - Parameters:
  ///   - remembered: what the data folder holds. What another store has confirmed counts for nothing.
  ///   - wanted: the same with this start's settings.
  ///   - currentSlot: the slot of the key that numbers are made with.
  ///   - store: the store's location.
  package init(remembered: OpaqueMemory, wanted: OpaqueMemory, currentSlot: Int, store: String) {
    self.wanted = wanted
    // It becomes a line of a file.
    self.store = store.split(whereSeparator: \.isNewline).joined(separator: " ")
    self.currentSlot = currentSlot
    self.memory = remembered
    if remembered.store != self.store { self.memory.confirmed = [] }
  }

  /// What the store is to agree on, by its names there.
  package var facts: [String: String] {
    Dictionary(uniqueKeysWithValues: self.wanted.facts.map { ($0.key.storeName, $0.value) })
  }

  /// The store has said what is there.
  ///
  /// - Parameter found: values by name; others than those of ``facts`` do not matter. What is missing is not confirmed.
  package mutating func answered(_ found: [String: String]) -> Outcome {
    guard !self.isContradicted else { return .unchanged }
    let changes = self.changes(against: found)
    guard changes.isEmpty else {
      self.isContradicted = true
      // What it says the same of goes on to hold.
      self.memory.confirmed = self.memory.confirmed.filter {
        guard let theirs = found[$0.storeName] else { return false }
        return theirs == self.wanted.facts[$0]
      }
      return .contradicted(changes, self.memory)
    }
    var memory = self.wanted
    memory.confirmed = Set(self.wanted.facts.filter { found[$0.key.storeName] == $0.value }.keys)
    memory.store = memory.confirmed.isEmpty ? nil : self.store
    // What is not confirmed made no numbers, so there is nothing to remember but what was remembered before.
    let known = memory.confirmed.union(self.memory.facts.keys)
    if !known.contains(.slotBits) { memory.slotBits = nil }
    memory.checks = memory.checks.filter { known.contains(.key($0.key)) }
    memory.tags = memory.tags.filter { known.contains(.tag($0.key)) }
    guard memory != self.memory else { return .unchanged }
    self.memory = memory
    return .confirmed(memory)
  }

  /// What the store has otherwise, by setting; what is missing there is no change.
  package func changes(against found: [String: String]) -> [OpaqueMemory.Change] {
    let facts = self.wanted.facts.sorted { $0.key.name < $1.key.name }
    return facts.compactMap { fact, mine in
      guard let theirs = found[fact.storeName], theirs != mine else { return nil }
      switch fact {
      case .slotBits:
        return (
          Settings.opaqueSlotBits,
          "is \(mine), and the nodes that share this store make numbers with \(theirs)\(Self.remedy)"
        )
      case .key(let slot):
        return (
          Settings.opaqueKeys,
          "slot \(slot) has another key than the nodes that share this store: give this node theirs, and a new key a free "
            + "slot on all\(Self.remedy)"
        )
      case .tag(let tag):
        return (
          Settings.opaqueTags,
          "tag '\(tag)' has \(mine) bits, and the nodes that share this store make its numbers with \(theirs)\(Self.remedy)"
        )
      }
    }
  }

  /// Where both this node and others have what can't be put right by settings.
  private static let remedy = "; where neither can be, docs/forms.md tells how to mend one fact"

  /// Whether all there is may be made numbers of.
  package var isComplete: Bool { !self.isContradicted && self.memory.confirmed.isSuperset(of: self.wanted.facts.keys) }

  /// Whether the store has something otherwise.
  package var isRefused: Bool { self.isContradicted }

  /// Why no numbers of `tag` can be made now, for its callers; nil where they can.
  package func obstacle(of tag: Tag) -> IDError? {
    guard !self.isContradicted else { return IDError(.notReady, Self.contradiction) }
    let needed: Set<OpaqueFact> = [.slotBits, .key(self.currentSlot), .tag(tag)]
    guard !needed.isSubset(of: self.memory.confirmed) else { return nil }
    return IDError(
      .notReady,
      "no opaque numbers of tag '\(tag)' are made before the store has said that all nodes make them alike; "
        + "it is asked until it answers")
  }

  /// Why not all numbers can be made now, for operators; nothing where they can.
  package var obstacles: [String] {
    guard !self.isContradicted else { return [Self.contradiction] }
    let missing = self.wanted.facts.keys.filter { !self.memory.confirmed.contains($0) }.map(\.name).sorted()
    guard !missing.isEmpty else { return [] }
    let named = missing.prefix(10).joined(separator: ", ") + (missing.count > 10 ? ", …" : "")
    return ["the store has not said yet that all nodes make opaque numbers alike: \(named)"]
  }

  private static let contradiction =
    "this node makes no opaque numbers: its key or settings of them are not those of the nodes that share its store; the "
    + "log says which"
}
