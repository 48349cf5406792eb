import MidSQLite
import MidTestKit
import Testing

/// The store contract against real files.
@Suite struct SQLiteStoreContractTests {
  @Test(arguments: StoreContract.Case.allCases)
  func `keeps the store's promise`(_ promise: StoreContract.Case) async throws {
    let folder = try TemporaryFolder()
    let contract = StoreContract {
      let store = SQLiteStore(path: folder.file("mid.db"))
      try await store.prepare()
      return store
    }
    try await contract.check(promise)
    try folder.remove()
  }
}
