import MidCore
import MidTestKit
import Testing

@testable import MidMySQL

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

    /// Dialects with a promise each, so that the name of a failed test says both.
    static let cases = TableDialect.Kind.allCases.filter { $0 != .mid }.flatMap { kind in
      StoreContract.Case.allCases.map { (kind, $0) }
    }

    @Test(arguments: Self.cases)
    func `keeps the store's promise with another system's table`(
      _ kind: TableDialect.Kind, _ promise: StoreContract.Case
    ) async throws {
      let database = try await TestDatabase()
      try await Self.contract(database, TableDialect(kind)).check(promise)
      try await database.drop()
    }

    /// Tables that databases can share, with a promise each.
    static let stripeCases = [TableDialect.Kind.tinyid, .stripe].flatMap { kind in
      StoreContract.StripeCase.allCases.map { (kind, $0) }
    }

    @Test(arguments: Self.stripeCases)
    func `keeps the promise as a stripe`(_ kind: TableDialect.Kind, _ promise: StoreContract.StripeCase) async throws {
      let database = try await TestDatabase()
      try await Self.contract(database, TableDialect(kind)).check(promise)
      try await database.drop()
    }

    @Test(arguments: TableDialect.Kind.allCases.filter { TableDialect($0).residueColumns == nil })
    func `a table without a delta is no stripe`(_ kind: TableDialect.Kind) async throws {
      let database = try await TestDatabase()
      try await Self.contract(database, TableDialect(kind)).isNoStripe()
      try await database.drop()
    }

    @Test(arguments: [TableDialect.Kind.tinyid, .stripe])
    func `keeps its promises where databases share a tag`(_ kind: TableDialect.Kind) async throws {
      let database = try await TestDatabase()
      try await Self.contract(database, TableDialect(kind)).sharesTags { statement in
        try await database.sql(statement)
      } number: { statement in
        try await database.sql(statement).first?.first?.flatMap { Int64($0) } ?? -1
      }
      try await database.drop()
    }

    @Test func `keeps its promises with names of somebody's own`() async throws {
      var dialect = TableDialect(.tinyid)
      (dialect.table, dialect.tagColumn, dialect.maxColumn) = ("my-ids", "select", "group")
      (dialect.stepColumn, dialect.versionColumn) = ("order", "v-1")
      for promise in [StoreContract.Case.firstIDs, .giveBack, .updateTag, .listsTags, .oddNames] {
        let database = try await TestDatabase()
        try await Self.contract(database, dialect).check(promise)
        try await database.drop()
      }
    }

    /// The contract on a table that is made as its own system would make it, with the row `default`.
    private static func contract(_ database: TestDatabase, _ dialect: TableDialect) async throws -> StoreContract {
      let table = MySQLTable(dialect: dialect)
      try await database.sql(
        table.creation, table.insert("'default'", maxID: dialect.maxID(beforeNext: 1), step: 10_000))
      var configuration = database.configuration
      configuration.table = dialect
      return StoreContract(dialect: dialect) { [configuration] in
        let store = MySQLStore(configuration)
        try await store.prepare()
        return store
      }
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
