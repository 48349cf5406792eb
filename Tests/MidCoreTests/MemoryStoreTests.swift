import MidCore
import MidTestKit
import Testing

@Suite("The memory store")
struct MemoryStoreTests {
  /// The contract lets real time pass; this clock passes a little at every look.
  private struct HurryingClock: TimeSource {
    let clock = ManualClock(wallMilliseconds: 1_700_000_000_000)

    func wallMilliseconds() -> Int64 {
      self.clock.advance(by: 1)
      return self.clock.wallMilliseconds()
    }
    func monotonicNanoseconds() -> UInt64 { self.clock.monotonicNanoseconds() }
  }

  @Test("keeps the contract", arguments: StoreContract.Case.allCases)
  func contract(promise: StoreContract.Case) async throws {
    let store = MemoryStore(clock: HurryingClock())
    try await StoreContract(isPersistent: false) { store }.check(promise)
  }

  @Test("starts with the tag default, whose first id is 1")
  func defaultTag() async throws {
    let store = MemoryStore(clock: ManualClock(wallMilliseconds: 0))
    #expect(try await store.tags() == [TagRecord(tag: .default, maxID: 0, step: 10_000)])
    #expect(try await store.allocate(10, for: .default) == IDRange(start: 1, count: 10))
    #expect(try await MemoryStore(clock: ManualClock(wallMilliseconds: 0), hasDefault: false).tags() == [])
    #expect(store.absence(of: try Tag("nobody")) == IDError(.unknownTag, "there is no tag nobody; create it first"))
    #expect(store.kind == "memory")
    #expect(store.location == "memory")
    #expect(!store.isShared)
  }

  @Test("lets a lease go by its own clock, and keeps the bound for the next holder")
  func leases() async throws {
    let clock = ManualClock(wallMilliseconds: 1000)
    let store = MemoryStore(clock: clock)
    let first = WorkerOwner(token: "a", description: "host a")
    let second = WorkerOwner(token: "b", description: "host b")
    let claim = try await store.claimWorker(3, owner: first, leaseMilliseconds: 100, bound: 5000)
    #expect(claim.current.expiresAt == 1100)
    #expect(claim.previous == nil)
    let error = await #expect(throws: IDError.self) {
      try await store.claimWorker(3, owner: second, leaseMilliseconds: 100, bound: 10)
    }
    #expect(error?.code == .leaseLost)
    #expect(error?.message.contains("host a") == true)
    clock.advance(by: 100)
    let taken = try await store.claimWorker(3, owner: second, leaseMilliseconds: 100, bound: 10)
    #expect(taken.previous == claim.current)
    #expect(taken.current.bound == 5000)
    #expect(taken.current.term == claim.current.term + 1)
    await #expect(throws: IDError.self) {
      try await store.renewWorker(3, token: "a", term: claim.current.term, leaseMilliseconds: 100, bound: 9000)
    }
  }
}
