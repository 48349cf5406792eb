import MidCore
import MidTestKit
import Testing

@Suite("The test kit")
struct TestKitTests {
  @Test("finds duplicates, ids that are not positive and ids that do not grow")
  func checker() {
    var first = UniquenessChecker.Recorder(caller: "a")
    first.record(IDRange(start: 1, count: 3, stride: 2))
    var second = UniquenessChecker.Recorder(caller: "b")
    for id: Int64 in [0, 5, 4] { second.record(id) }
    #expect(
      Set(violations(of: [first, second])) == [
        .duplicate(id: 5), .notPositive(id: 0, caller: "b"), .notIncreasing(previous: 5, id: 4, caller: "b"),
      ])
    #expect(violations(of: [first]).isEmpty)
    #expect(UniquenessChecker.Violation.duplicate(id: 5).description == "5 was given out twice")
  }

  @Test("fails before the store, after the commit, and backwards, as often as it was told")
  func faultyStore() async throws {
    let store = FaultyStore(MemoryStore(clock: ManualClock(wallMilliseconds: 0)))
    store.failNext(1)
    await #expect(throws: FaultyStore.unavailable) { try await store.allocate(5, for: .default) }
    #expect(try await store.allocate(5, for: .default) == IDRange(start: 1, count: 5))
    store.failAfterCommit(1)
    await #expect(throws: FaultyStore.unavailable) { try await store.allocate(5, for: .default) }
    #expect(try await store.allocate(5, for: .default) == IDRange(start: 11, count: 5))
    store.goBackwards(by: 3)
    #expect(try await store.allocate(5, for: .default).start == 13)
    #expect(try await store.allocate(5, for: .default).start == 21)
    #expect(store.calls == 6)
  }

  @Test("holds calls until it is told to let them go")
  func hold() async throws {
    let store = FaultyStore(MemoryStore(clock: ManualClock(wallMilliseconds: 0)))
    store.hold()
    async let range = store.allocate(5, for: .default)
    while store.heldCalls == 0 { await Task.yield() }
    store.release()
    #expect(try await range.start == 1)
  }

  @Test("keeps the store contract through the faulty store", arguments: [StoreContract.Case.firstIDs, .renewWorker])
  func passesThrough(promise: StoreContract.Case) async throws {
    let store = FaultyStore(MemoryStore(clock: ManualClock(wallMilliseconds: 0)))
    try await StoreContract(isPersistent: false) { store }.check(promise)
  }

  @Test("repeats a random sequence from its seed")
  func random() {
    var first = SplitMix64(seed: 1_234_567)
    var second = SplitMix64(seed: 1_234_567)
    // The published test vector of SplitMix64.
    #expect(first.next() == 6_457_827_717_110_365_317)
    _ = second.next()
    #expect((0..<100).map { _ in first.below(10) } == (0..<100).map { _ in second.below(10) })
  }
}
