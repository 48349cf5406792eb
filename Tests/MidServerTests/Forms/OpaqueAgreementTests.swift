import MidCore
import MidTestKit
import Testing

@testable import MidServer

@Suite("What a node and its store say to each other of opaque ids")
struct OpaqueAgreementTests {
  private static let place = "db:3306/mid"

  static func memory(
    _ tags: [String: Int], keys: [Int: UInt32] = [0: 0xA0], slotBits: Int = 4
  ) throws -> OpaqueMemory {
    var memory = OpaqueMemory()
    memory.slotBits = slotBits
    memory.checks = keys
    for (name, bits) in tags { memory.tags[try Tag(name)] = bits }
    return memory
  }

  private func agreement(
    _ settings: OpaqueMemory, remembered: OpaqueMemory = OpaqueMemory(), current: Int = 0, store: String = Self.place
  ) -> OpaqueAgreement {
    var wanted = remembered
    #expect(wanted.merge(settings).isEmpty)
    return OpaqueAgreement(remembered: remembered, wanted: wanted, currentSlot: current, store: store)
  }

  /// What is to be remembered after an answer that confirms.
  private func confirmed(_ outcome: OpaqueAgreement.Outcome) throws -> OpaqueMemory {
    guard case .confirmed(let memory) = outcome else { throw IDError(.notReady, "\(outcome)") }
    return memory
  }

  @Test func `what is new makes no numbers before the store has said yes, and is not remembered before`() throws {
    var agreement = self.agreement(try Self.memory(["a": 63]))
    #expect(agreement.facts == ["opaque/slot_bits": "4", "opaque/key/0": "a0", "opaque/tag/a": "63"])
    #expect(try agreement.obstacle(of: Tag("a"))?.code == .notReady && !agreement.isComplete)
    #expect(agreement.obstacles.first?.hasSuffix("key/0, slot_bits, tag/a") == true, "\(agreement.obstacles)")
    guard case .unchanged = agreement.answered(["opaque/key/7": "1", "other": "2"]) else {
      Issue.record("an answer without our facts is remembered")
      return
    }
    let memory = try self.confirmed(agreement.answered(agreement.facts))
    #expect(try agreement.isComplete && agreement.obstacles.isEmpty && agreement.obstacle(of: Tag("a")) == nil)
    #expect(try memory.confirmed == [.slotBits, .key(0), .tag(Tag("a"))] && memory.store == Self.place)
    #expect(OpaqueMemory(memory.text) == memory)
    guard case .unchanged = agreement.answered(agreement.facts) else {
      Issue.record("the same answer is remembered again")
      return
    }
  }

  @Test func `what was confirmed makes numbers after a restart, what came since does not`() throws {
    var first = self.agreement(try Self.memory(["a": 63]))
    let remembered = try self.confirmed(first.answered(first.facts))
    var again = self.agreement(try Self.memory(["a": 63, "b": 53], keys: [0: 0xA0, 1: 0xB1]), remembered: remembered)
    #expect(try again.obstacle(of: Tag("a")) == nil && again.obstacle(of: Tag("b")) != nil && !again.isComplete)
    // A slot's key is new too, where it is to make numbers.
    let rotated = self.agreement(
      try Self.memory(["a": 63], keys: [0: 0xA0, 1: 0xB1]), remembered: remembered, current: 1)
    #expect(try rotated.obstacle(of: Tag("a")) != nil)
    // Another store knows nothing of what the first has said.
    #expect(
      try self.agreement(Self.memory(["a": 63]), remembered: remembered, store: "other").obstacle(of: Tag("a"))?.code
        == .notReady)
    // A part is confirmed, as by a look that puts nothing.
    let half = try self.confirmed(again.answered(first.facts.merging(["opaque/tag/b": "53"]) { $1 }))
    #expect(try again.obstacle(of: Tag("b")) == nil && !again.isComplete && half.checks == [0: 0xA0])
  }

  @Test func `what an older file remembers is all put to the store, and makes no numbers before`() throws {
    let old = try #require(OpaqueMemory("# x\nslot_bits 4\nkey 0 a0\nkey 3 b\ntag 63 a\ntag 53 gone\n"))
    #expect(old.confirmed.isEmpty && old.store == nil)
    var agreement = self.agreement(try Self.memory(["a": 63]), remembered: old)
    #expect(agreement.facts.count == 5 && agreement.facts["opaque/key/3"] == "b")
    #expect(agreement.facts["opaque/tag/gone"] == "53")
    #expect(try agreement.obstacle(of: Tag("a")) != nil)
    let memory = try self.confirmed(agreement.answered(agreement.facts))
    #expect(memory.confirmed.count == 5)
  }

  @Test(arguments: [
    ("opaque/slot_bits", "3", "opaque.slot_bits", "is 4, and the nodes that share this store make numbers with 3"),
    ("opaque/key/0", "b0", "opaque.keys", "slot 0 has another key than the nodes that share this store"),
    (
      "opaque/tag/a", "53", "opaque.tags",
      "tag 'a' has 63 bits, and the nodes that share this store make its numbers with 53"
    ),
  ])
  func `a contradiction is final, and takes back what was confirmed`(
    name: String, value: String, setting: String, message: String
  ) throws {
    var first = self.agreement(try Self.memory(["a": 63]))
    let remembered = try self.confirmed(first.answered(first.facts))
    var agreement = self.agreement(try Self.memory(["a": 63]), remembered: remembered)
    #expect(agreement.isComplete)
    guard case .contradicted(let changes, let memory) = agreement.answered([name: value]) else {
      Issue.record("\(name) = \(value) is no contradiction")
      return
    }
    #expect(changes.map(\.setting.key) == [setting] && changes[0].message.hasPrefix(message), "\(changes)")
    #expect(memory.confirmed.isEmpty && memory.facts == remembered.facts)
    // So a restart without the store makes none either.
    #expect(try self.agreement(Self.memory(["a": 63]), remembered: memory).obstacle(of: Tag("a")) != nil)
    guard case .unchanged = agreement.answered(agreement.facts) else {
      Issue.record("a later answer counts")
      return
    }
    #expect(try !agreement.isComplete && agreement.isRefused && agreement.obstacle(of: Tag("a"))?.code == .notReady)
    #expect(agreement.obstacles.count == 1)
  }

  @Test func `a node that lost never remembers what it lost with`() throws {
    var agreement = self.agreement(try Self.memory(["a": 63], keys: [0: 0xFF]))
    guard case .contradicted(_, let memory) = agreement.answered(["opaque/key/0": "a0", "opaque/slot_bits": "4"]) else {
      Issue.record("no contradiction")
      return
    }
    #expect(memory == OpaqueMemory())
  }

  /// Nodes with settings at random, started, stopped and cut off from their store at random: whatever numbers were made of
  /// under one name is the same for all, at all times.
  @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8] as [UInt64])
  func `no two nodes ever make numbers of different things`(seed: UInt64) throws {
    print("seed \(seed)")
    var random = SplitMix64(seed: seed)
    var (made, contradicted) = (0, 0)
    // The first few answers settle what is true in a world, so there are many.
    for _ in 0..<100 {
      var world = World()
      for _ in 0..<150 {
        let node = Int.random(in: 0..<4, using: &random)
        switch Int.random(in: 0..<8, using: &random) {
        case 0...1: try world.start(node, using: &random)
        case 2...3: world.ask(node)
        default: try world.make(node)
        }
      }
      made += world.made
      contradicted += world.contradicted
    }
    // Both sides of the promise were met.
    #expect(made > 1000 && contradicted > 100, "\(made) made, \(contradicted) contradicted")
  }

  /// Four nodes and their store.
  private struct World {
    var store: [String: String] = [:]
    var files = Array(repeating: OpaqueMemory(), count: 4)
    var running: [(agreement: OpaqueAgreement, slot: Int)?] = Array(repeating: nil, count: 4)
    var used: [String: String] = [:]
    var (made, contradicted) = (0, 0)

    mutating func start(_ node: Int, using random: inout SplitMix64) throws {
      // Now and then with nothing of what it had.
      if Int.random(in: 0..<10, using: &random) == 0 { self.files[node] = OpaqueMemory() }
      let slots = [[0], [1], [0, 1]][Int.random(in: 0..<3, using: &random)]
      let keys = Dictionary(uniqueKeysWithValues: slots.map { ($0, UInt32.random(in: 1...2, using: &random)) })
      let tags = [["a"], ["b"], ["a", "b"]][Int.random(in: 0..<3, using: &random)]
      let bits = Dictionary(uniqueKeysWithValues: tags.map { ($0, Bool.random(using: &random) ? 63 : 53) })
      let settings = try OpaqueAgreementTests.memory(
        bits, keys: keys, slotBits: Int.random(in: 0..<12, using: &random) == 0 ? 3 : 4)
      var wanted = self.files[node]
      guard wanted.merge(settings).isEmpty, let slot = slots.randomElement(using: &random) else { return }
      let agreement = OpaqueAgreement(
        remembered: self.files[node], wanted: wanted, currentSlot: slot, store: OpaqueAgreementTests.place)
      self.running[node] = (agreement, slot)
    }

    mutating func ask(_ node: Int) {
      guard var agreement = self.running[node]?.agreement else { return }
      self.store.merge(Facts.additions(of: agreement.facts, to: self.store) ?? [:]) { $1 }
      switch agreement.answered(self.store) {
      case .unchanged: break
      case .confirmed(let memory): self.files[node] = memory
      case .contradicted(_, let memory):
        self.files[node] = memory
        self.contradicted += 1
      }
      self.running[node]?.agreement = agreement
    }

    mutating func make(_ node: Int) throws {
      guard let (agreement, slot) = self.running[node] else { return }
      for tag in agreement.wanted.tags.keys where agreement.obstacle(of: tag) == nil {
        self.made += 1
        for fact in [OpaqueFact.slotBits, .key(slot), .tag(tag)] {
          let value = try #require(agreement.wanted.facts[fact])
          let before = self.used.updateValue(value, forKey: fact.name) ?? value
          #expect(before == value, "\(fact.name) was \(before), and is \(value)")
        }
      }
    }
  }
}
