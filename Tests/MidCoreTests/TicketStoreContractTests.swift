import MidCore
import MidTestKit
import Testing

/// The contract of tickets against the reference store.
@Suite struct TicketStoreContractTests {
  @Test(arguments: TicketStoreContract.Case.allCases)
  func `the memory store keeps the promise`(_ promise: TicketStoreContract.Case) async throws {
    let store = MemoryStore(clock: ManualClock(wallMilliseconds: 1_700_000_000_000))
    try await TicketStoreContract(isPersistent: false) { store }.check(promise)
  }

  @Test(arguments: ["", "1234", "a b", "a`b", "Täg", String(repeating: "x", count: 65)])
  func `a table's name that would need quoting is refused`(name: String) {
    #expect(throws: IDError.self) { try TicketTable(name) }
  }
}
