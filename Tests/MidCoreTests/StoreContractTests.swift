import MidCore
import MidTestKit
import Synchronization
import Testing

/// The store contract against the reference store.
@Suite struct StoreContractTests {
  /// A clock that moves on by 1 ms whenever somebody looks.
  private final class TickingClock: TimeSource {
    private let milliseconds = Atomic<Int64>(1_700_000_000_000)

    func wallMilliseconds() -> Int64 { self.milliseconds.add(1, ordering: .relaxed).newValue }

    func monotonicNanoseconds() -> UInt64 { UInt64(self.wallMilliseconds()) * 1_000_000 }
  }

  @Test(arguments: StoreContract.Case.allCases)
  func `the memory store keeps the promise`(_ promise: StoreContract.Case) async throws {
    let store = MemoryStore(clock: TickingClock())
    try await store.prepare()
    try await StoreContract(isPersistent: false) { store }.check(promise)
  }

  @Test(arguments: StoreContract.StripeCase.allCases)
  func `the memory store keeps the promise as a stripe`(_ promise: StoreContract.StripeCase) async throws {
    try await Self.stripe(MemoryStore(clock: TickingClock())).check(promise)
  }

  @Test(arguments: StoreContract.StripeCase.allCases)
  func `the faulty store passes a stripe's calls on`(_ promise: StoreContract.StripeCase) async throws {
    try await Self.stripe(FaultyStore(MemoryStore(clock: TickingClock()))).check(promise)
  }

  @Test(arguments: [StoreContract.Case.claimsAbove, .claimsNotBelow, .claimsAtTheEnd])
  func `a store that answers too low is found out`(_ promise: StoreContract.Case) async throws {
    let store = FaultyStore(MemoryStore(clock: TickingClock()))
    store.goBackwards(by: 3)
    await #expect(throws: StoreContract.Violation.self) {
      try await StoreContract(isPersistent: false) { store }.check(promise)
    }
  }

  private static func stripe(_ store: any IDStore) -> StoreContract {
    StoreContract(dialect: .stripe, isPersistent: false) { store }
  }

  @Test(arguments: [StoreContract.Case.firstIDs, .listsTags, .createTag, .workerExpires])
  func `a store that does not keep a promise is found out`(_ promise: StoreContract.Case) async throws {
    // Rows that a fresh store does not have, and a clock that stands.
    let store = MemoryStore(clock: StoppedClock())
    _ = try await store.updateTag(.default, step: 7, next: 100)
    for name in ["plain", "tag1"] { _ = try await store.createTag(Tag(name), step: 3, first: 9) }
    _ = try await store.claimWorker(
      7, owner: WorkerOwner(token: "squatter", description: "squatter"), leaseMilliseconds: 1000, bound: 0)
    await #expect(throws: (any Error).self) { try await StoreContract(isPersistent: false) { store }.check(promise) }
  }

  private struct StoppedClock: TimeSource {
    func wallMilliseconds() -> Int64 { 1_700_000_000_000 }
    func monotonicNanoseconds() -> UInt64 { 0 }
  }
}
