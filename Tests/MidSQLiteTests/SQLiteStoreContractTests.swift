import GRDB
import MidCore
import MidTestKit
import Testing

@testable import MidSQLite

/// The store contract against real files.
@Suite struct SQLiteStoreContractTests {
  /// Dialects with a promise each, so that the name of a failed test says both.
  static let cases = TableDialect.Kind.allCases.filter { $0 != .mid }.flatMap { kind in
    StoreContract.Case.allCases.map { (kind, $0) }
  }

  @Test(arguments: Self.cases)
  func `keeps the store's promise with another system's table`(
    _ kind: TableDialect.Kind, _ promise: StoreContract.Case
  ) async throws {
    let folder = try TemporaryFolder()
    try await Self.contract(TableDialect(kind), folder).check(promise)
    try folder.remove()
  }

  /// Tables that databases can share, with a promise each.
  static let stripeCases = [TableDialect.Kind.tinyid, .stripe].flatMap { kind in
    StoreContract.StripeCase.allCases.map { (kind, $0) }
  }

  @Test(arguments: Self.stripeCases)
  func `keeps the promise as a stripe`(_ kind: TableDialect.Kind, _ promise: StoreContract.StripeCase) async throws {
    let folder = try TemporaryFolder()
    try await Self.contract(TableDialect(kind), folder).check(promise)
    try folder.remove()
  }

  @Test(arguments: TableDialect.Kind.allCases.filter { TableDialect($0).residueColumns == nil })
  func `a table without a delta is no stripe`(_ kind: TableDialect.Kind) async throws {
    let folder = try TemporaryFolder()
    try await Self.contract(TableDialect(kind), folder).isNoStripe()
    try folder.remove()
  }

  @Test(arguments: [TableDialect.Kind.tinyid, .stripe])
  func `keeps its promises where databases share a tag`(_ kind: TableDialect.Kind) async throws {
    let folder = try TemporaryFolder()
    let contract = try await Self.contract(TableDialect(kind), folder)
    let other = try DatabaseQueue(path: folder.file("mid.db"))
    try await contract.sharesTags { statement in
      try await other.write { try $0.execute(sql: statement) }
    } number: { statement in
      try await other.read { try Int64.fetchOne($0, sql: statement) ?? -1 }
    }
    try other.close()
    try folder.remove()
  }

  @Test func `keeps its promises with names of somebody's own`() async throws {
    var dialect = TableDialect(.tinyid)
    (dialect.table, dialect.tagColumn, dialect.maxColumn) = ("my-ids", "select", "group")
    (dialect.stepColumn, dialect.versionColumn) = ("order", "v-1")
    for promise in [StoreContract.Case.firstIDs, .giveBack, .updateTag, .listsTags, .oddNames] {
      let folder = try TemporaryFolder()
      try await Self.contract(dialect, folder).check(promise)
      try folder.remove()
    }
  }

  /// The contract on a table that is made as its own system would make it, with the row `default`.
  private static func contract(_ dialect: TableDialect, _ folder: TemporaryFolder) async throws -> StoreContract {
    let path = folder.file("mid.db")
    let table = SQLiteTable(dialect: dialect)
    let maker = try DatabaseQueue(path: path)
    try await maker.write { db in
      try db.execute(sql: table.creation)
      try db.execute(sql: table.insert, arguments: ["default", dialect.maxID(beforeNext: 1), 10_000])
    }
    try maker.close()
    return StoreContract(dialect: dialect) {
      let store = SQLiteStore(path: path, table: dialect)
      try await store.prepare()
      return store
    }
  }

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
