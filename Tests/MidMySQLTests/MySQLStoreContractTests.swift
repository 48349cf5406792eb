import MidMySQL
import MidTestKit
import Testing

/// Tests against a real server, one after another: all of them together would use up its connections.
@Suite(.serialized, .enabled(if: TestDatabase.url != nil, "MID_TEST_MYSQL_URL names no server"))
struct MySQLServerTests {}

extension MySQLServerTests {
  /// The store contract against a real server, with mid's own tables and with the original's.
  @Suite struct MySQLStoreContractTests {
    @Test(arguments: StoreContract.Case.allCases)
    func `keeps the store's promise`(_ promise: StoreContract.Case) async throws {
      let database = try await TestDatabase()
      try await Self.contract(database).check(promise)
      try await database.drop()
    }

    @Test(arguments: StoreContract.Case.allCases)
    func `keeps the store's promise with the original's table`(_ promise: StoreContract.Case) async throws {
      let database = try await TestDatabase()
      try await database.sql(originalTable, originalRow)
      try await Self.contract(database).check(promise)
      try await database.drop()
    }

    private static func contract(_ database: TestDatabase) -> StoreContract {
      StoreContract {
        let store = MySQLStore(database.configuration)
        try await store.prepare()
        return store
      }
    }
  }
}
