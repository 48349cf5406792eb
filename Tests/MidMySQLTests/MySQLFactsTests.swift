import MidCore
import Testing

@testable import MidMySQL

extension MySQLServerTests {
  @Suite struct MySQLFactsTests {
    private static let base = [
      "SELECT ON DB.*", "INSERT, UPDATE ON DB.id_segments", "INSERT, UPDATE ON DB.mid_workers",
    ]

    /// A store whose user may do with the facts what `grants` say.
    private func store(_ database: TestDatabase, _ grants: String...) async throws -> MySQLStore {
      var configuration = try await database.user(grants: Self.base[0], Self.base[1], Self.base[2])
      let user = configuration.user
      for grant in grants { try await database.sql("GRANT \(grant) TO '\(user)'@'127.0.0.1'") }
      configuration.connections = 1
      return MySQLStore(configuration)
    }

    @Test func `the table is made by the first fact, and a start without one needs no right to it`() async throws {
      let database = try await TestDatabase()
      let maker = MySQLStore(database.configuration)
      try await maker.prepare()
      let store = try await self.store(database)
      try await store.prepare()
      #expect(try await store.facts() == [:])
      #expect(try await store.inspect() == [])
      let error = await #expect(throws: IDError.self) { try await store.agree(on: ["test/a": "1"]) }
      #expect(error?.code == .storeRejected && error?.message.contains("GRANT SELECT, INSERT, UPDATE, CREATE") == true)
      #expect(try await database.sql("SHOW TABLES").count == 2)
      #expect(try await maker.agree(on: ["test/a": "1"]) == ["test/a": "1"])
      // What is there is agreed on by whoever may read it.
      #expect(try await store.agree(on: ["test/a": "1"]) == ["test/a": "1"])
      #expect(try await store.agree(on: ["test/a": "2"]) == ["test/a": "1"])
      for each in [store, maker] { await each.close() }
      try await database.drop()
    }

    @Test func `the rights that the documentation names are enough, also on a table made by hand`() async throws {
      let database = try await TestDatabase()
      let maker = MySQLStore(database.configuration)
      try await maker.prepare()
      try await database.sql(
        """
        CREATE TABLE mid_facts (name VARBINARY(400) NOT NULL PRIMARY KEY, value VARCHAR(400) NOT NULL)
        ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
        """)
      let store = try await self.store(database, "INSERT, UPDATE ON \(database.configuration.database).mid_facts")
      #expect(try await store.agree(on: ["test/a": "1", "test/b": "2"]) == ["test/a": "1", "test/b": "2"])
      #expect(try await maker.facts() == ["test/a": "1", "test/b": "2"])
      for each in [store, maker] { await each.close() }
      try await database.drop()
    }

    @Test func `a table that is none of this kind is refused`() async throws {
      let database = try await TestDatabase()
      try await database.sql("CREATE TABLE mid_facts (name INT)")
      let store = MySQLStore(database.configuration)
      let error = await #expect(throws: IDError.self) { try await store.facts() }
      #expect(error?.code == .storeRejected && error?.message.contains("mid_facts: name, value") == true)
      try await database.sql(
        "DROP TABLE mid_facts", "CREATE TABLE mid_facts (name VARCHAR(9), value VARCHAR(9))",
        "INSERT INTO mid_facts VALUES ('a', NULL)")
      let empty = await #expect(throws: IDError.self) { try await store.facts() }
      #expect(empty?.code == .storeRejected && empty?.message.contains("holds NULL") == true)
      await store.close()
      try await database.drop()
    }
  }
}
