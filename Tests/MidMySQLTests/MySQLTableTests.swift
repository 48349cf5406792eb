import MidCore
import Testing

@testable import MidMySQL

extension MySQLServerTests {
  /// Tables that other systems made.
  @Suite struct MySQLTableTests {
    /// A database with the table of `dialect`, empty, and a configuration for it.
    private func database(_ dialect: TableDialect) async throws -> (TestDatabase, MySQLConfiguration) {
      let database = try await TestDatabase()
      try await database.sql(MySQLTable(dialect: dialect).creation)
      var configuration = database.configuration
      configuration.table = dialect
      return (database, configuration)
    }

    @Test(arguments: [TableDialect(.leaf), TableDialect(.leafSegment), TableDialect(.tinyid)])
    func `a missing table of another system's is refused with how to make it, and not made`(
      dialect: TableDialect
    ) async throws {
      let database = try await TestDatabase()
      var configuration = database.configuration
      configuration.table = dialect
      let store = MySQLStore(configuration)
      for call in [{ try await store.prepare() }, { _ = try await store.inspect() }] as [() async throws -> Void] {
        let error = await #expect(throws: IDError.self) { try await call() }
        #expect(error?.code == .storeRejected)
        let creation = "CREATE TABLE `\(dialect.table)`"
        #expect(error?.message.contains(creation) == true && error?.message.contains("\n") == false)
      }
      #expect(try await database.sql("SHOW TABLES").isEmpty)
      await store.close()
      try await database.drop()
    }

    @Test func `mid's dialect under another name is not made either`() async throws {
      let database = try await TestDatabase()
      var configuration = database.configuration
      configuration.table.table = "my_segments"
      let error = await #expect(throws: IDError.self) { try await MySQLStore(configuration).prepare() }
      #expect(error?.code == .storeRejected)
      #expect(try await database.sql("SHOW TABLES").isEmpty)
      try await database.drop()
    }

    @Test(arguments: [TableDialect(.leaf), TableDialect(.leafSegment), TableDialect(.tinyid)])
    func `a table of another system's is not altered, and gets no row`(dialect: TableDialect) async throws {
      let (database, configuration) = try await self.database(dialect)
      let before = try await database.sql("SHOW CREATE TABLE `\(dialect.table)`")
      let store = MySQLStore(configuration)
      try await store.prepare()
      #expect(try await store.tags().isEmpty)
      _ = try await store.createTag(Tag("orders"), step: 10, first: 1)
      #expect(try await store.allocate(10, for: Tag("orders")) == IDRange(start: 1, count: 10))
      let after = try await database.sql("SHOW CREATE TABLE `\(dialect.table)`")
      #expect(try await database.sql("SHOW TABLES").count == 2)
      func shape(_ rows: [[String?]]) -> String? { rows[0][1]?.replacing(/\ AUTO_INCREMENT=\d+/, with: "") }
      #expect(shape(after) == shape(before))
      await store.close()
      try await database.drop()
    }

    @Test func `every change counts Tinyid's version up and sets its time`() async throws {
      let (database, configuration) = try await self.database(TableDialect(.tinyid))
      let store = MySQLStore(configuration)
      try await store.prepare()
      let tag = try Tag("orders")
      _ = try await store.createTag(tag, step: 10, first: 501)
      func row() async throws -> [String?] {
        try await database.sql(
          """
          SELECT begin_id, max_id, step, delta, remainder, version,
          update_time > NOW() - INTERVAL 1 MINUTE AND update_time <= NOW() FROM tiny_id_info
          """)[0]
      }
      #expect(try await row() == ["500", "500", "10", "1", "0", "0", "1"])
      try await database.sql("UPDATE tiny_id_info SET update_time = '2010-01-01 00:00:00'")
      #expect(try await store.allocate(10, for: tag) == IDRange(start: 501, count: 10))
      #expect(try await row() == ["500", "510", "10", "1", "0", "1", "1"])
      #expect(try await store.giveBack(IDRange(start: 506, count: 5), of: tag))
      #expect(try await row() == ["500", "505", "10", "1", "0", "2", "1"])
      _ = try await store.updateTag(tag, step: 20, next: nil)
      #expect(try await row() == ["500", "505", "20", "1", "0", "3", "1"])
      // What an old server read before that can no longer be written by it.
      let stale = "UPDATE tiny_id_info SET max_id = 520, version = version + 1 WHERE max_id = 505 AND version = 2"
      try await database.sql(stale)
      #expect(try await row()[1] == "505")
      await store.close()
      try await database.drop()
    }

    @Test func `a delta that changes under a store is seen before anything is taken`() async throws {
      let (database, configuration) = try await self.database(TableDialect(.tinyid))
      try await database.sql(
        "INSERT INTO tiny_id_info (biz_type, max_id, step, delta, remainder) VALUES ('a', 0, 10, 2, 1)")
      let store = MySQLStore(configuration)
      try await store.prepare()
      let tag = try Tag("a")
      #expect(try await store.allocate(5, for: tag) == IDRange(start: 1, count: 5, stride: 2))
      try await database.sql("UPDATE tiny_id_info SET delta = 3, remainder = 2")
      #expect(try await store.allocate(5, for: tag) == IDRange(start: 11, count: 5, stride: 3))
      #expect(try await database.sql("SELECT max_id FROM tiny_id_info") == [["25"]])
      await store.close()
      try await database.drop()
    }

    @Test func `the server tells whether its commits wait for a replica`() async throws {
      let database = try await TestDatabase()
      let store = MySQLStore(database.configuration)
      let known = try await database.sql("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_status'").first?[1]
      #expect(try await store.semiSync() == known.map { $0 == "ON" })
      await store.close()
      try await database.drop()
    }
  }
}
