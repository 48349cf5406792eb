import Foundation
import MidCore
import MidTestKit
import ServiceLifecycle
import ServiceLifecycleTestKit
import Testing

@testable import MidServer

@Suite("The keeper of what makes opaque numbers", .timeLimit(.minutes(10)))
struct OpaqueKeeperTests {
  private let log = EventLog()
  private let store = FaultyStore(MemoryStore(clock: ManualClock(wallMilliseconds: 0)))
  private let path = FileManager.default.temporaryDirectory.appending(path: "mid-opaque-\(UUID())").path()
  private let rounds = Gate()

  private func gate(_ settings: OpaqueMemory, remembered: OpaqueMemory = OpaqueMemory()) -> OpaqueGate {
    var wanted = remembered
    #expect(wanted.merge(settings).isEmpty)
    return OpaqueGate(OpaqueAgreement(remembered: remembered, wanted: wanted, currentSlot: 0, store: "memory"))
  }

  /// A keeper that takes no time between attempts, and ``rounds`` between rounds.
  private func keeper(_ gate: OpaqueGate) -> OpaqueKeeper {
    let (log, rounds) = (self.log, self.rounds)
    return OpaqueKeeper(
      gate: gate, store: self.store, path: self.path, interval: .seconds(3600), storeReady: {}, logger: self.log.logger,
      sleep: { duration in
        guard duration == .seconds(3600) else { return log.note("pause") }
        log.note("round")
        try await rounds.wait()
      })
  }

  private func file() throws -> OpaqueMemory { try OpaqueMemory(readingFile: self.path) }

  @Test func `a look puts nothing there, an agreement does, and is remembered`() async throws {
    let gate = self.gate(try OpaqueAgreementTests.memory(["a": 63]))
    let keeper = self.keeper(gate)
    try await keeper.compare()
    #expect(try await self.store.facts().isEmpty && !gate.isReady)
    #expect(!FileManager.default.fileExists(atPath: self.path))
    try await keeper.agree()
    #expect(try await self.store.facts() == gate.facts && gate.isReady && keeper.obstacles.isEmpty)
    #expect(try self.file().confirmed.count == 3)
    let mode = try FileManager.default.attributesOfItem(atPath: self.path)[.posixPermissions] as? Int
    #expect(mode == 0o600)
    try FileManager.default.removeItem(atPath: self.path)
  }

  @Test func `what the store has otherwise is no start, and takes back what was confirmed`() async throws {
    let mine = try OpaqueAgreementTests.memory(["a": 63])
    try await self.keeper(self.gate(mine)).agree()
    let remembered = try self.file()
    #expect(!remembered.confirmed.isEmpty)
    // Another database of the same name, where others were first.
    let other = FaultyStore(MemoryStore(clock: ManualClock(wallMilliseconds: 0)))
    _ = try await other.agree(on: ["opaque/key/0": "bad"])
    let gate = self.gate(mine, remembered: remembered)
    #expect(gate.isReady)
    let keeper = OpaqueKeeper(
      gate: gate, store: other, path: self.path, interval: .seconds(1), storeReady: {}, logger: self.log.logger)
    let error = await #expect(throws: ConfigurationErrors.self) { try await keeper.compare() }
    #expect(error?.description.hasPrefix("settings: opaque.keys: slot 0 has another key than the nodes") == true)
    #expect(try self.file().confirmed.isEmpty && !gate.isReady)
    try FileManager.default.removeItem(atPath: self.path)
  }

  @Test func `a store that refuses is no start, one that does not answer is`() async throws {
    let keeper = self.keeper(self.gate(try OpaqueAgreementTests.memory(["a": 63])))
    let attempts: [() async throws -> Void] = [{ try await keeper.compare() }, { try await keeper.agree() }]
    for attempt in attempts {
      self.store.failNext(1, with: IDError(.storeRejected, "no right"))
      await #expect(throws: IDError(.storeRejected, "no right")) { try await attempt() }
      self.store.failNext(1)
      try await attempt()
    }
    #expect(self.log.count(of: "the store was not asked") == 2)
  }

  @Test func `a store that is away is asked until it answers`() async throws {
    let gate = self.gate(try OpaqueAgreementTests.memory(["a": 63]))
    let keeper = self.keeper(gate)
    self.store.failNext(3)
    try await testGracefulShutdown { trigger in
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await keeper.run() }
        await self.log.wait(for: "round")
        #expect(gate.isReady && self.log.count(of: "pause") == 3 && self.log.count(of: "opaque numbers are made") == 1)
        // Said once, not at each attempt.
        #expect(self.log.count(of: "the store was not asked") == 1)
        trigger.triggerGracefulShutdown()
        try await group.waitForAll()
      }
    }
    #expect(try self.file().confirmed.count == 3)
    try FileManager.default.removeItem(atPath: self.path)
  }

  @Test func `what is contradicted while running is not made any more, and said once`() async throws {
    let mine = try OpaqueAgreementTests.memory(["a": 63])
    // The store lost what this node had put there, and another node came.
    var remembered = mine
    (remembered.store, remembered.confirmed) = ("memory", Set(mine.facts.keys))
    let gate = self.gate(mine, remembered: remembered)
    _ = try await self.store.agree(on: ["opaque/slot_bits": "4", "opaque/key/0": "bad"])
    let keeper = self.keeper(gate)
    #expect(gate.isReady)
    let forms = try TagFormsTests.make().guarded(by: gate)
    let tag = try Tag("parcels")
    let one = try Tag("a")
    try gate.check(one)
    try await testGracefulShutdown { trigger in
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await keeper.run() }
        await self.log.wait(for: "opaque numbers are not made any more reason=slot 0 has another key")
        #expect(!gate.isReady && gate.isRefused && keeper.obstacles.count == 1)
        #expect(throws: IDError.self) { try gate.check(one) }
        #expect(throws: IDError.self) { try forms.bounds(of: .opaque, tag: tag) }
        self.rounds.open()
        trigger.triggerGracefulShutdown()
        try await group.waitForAll()
      }
    }
    #expect(self.log.count(of: "opaque numbers are not made any more") == 1)
    // What the store says the same of goes on to be believed.
    #expect(try self.file().confirmed == [.slotBits])
    try FileManager.default.removeItem(atPath: self.path)
  }

  @Test func `numbers are opened while none are made, and plain texts are written`() throws {
    let number = try TagFormsTests.make().text(of: 42, .tag, tag: Tag("parcels"), at: 0)
    let forms = try TagFormsTests.make().guarded(by: self.gate(try OpaqueAgreementTests.memory(["parcels": 53])))
    let tag = try Tag("parcels")
    for format in [IDFormat.tag, .opaque] {
      let attempts: [() throws -> Void] = [
        { _ = try forms.text(of: 42, format, tag: tag, at: 0) }, { _ = try forms.bounds(of: format, tag: tag) },
        { _ = try forms.texts(of: [IDRange(start: 1, count: 2)], format, tag: tag, made: { _ in 0 }) },
      ]
      for attempt in attempts {
        let error = #expect(throws: IDError.self) { try attempt() }
        #expect(error?.code == .notReady && error?.message.contains("'parcels'") == true)
      }
    }
    #expect(try forms.open(number, tag: tag).id == 42)
    #expect(try forms.text(of: 42, .digits(.hex), tag: tag, at: 0) == "000000000000002a")
    #expect(try forms.text(of: 42, .tag, tag: Tag("orders"), at: 0).hasPrefix("ORD-"))
  }
}
