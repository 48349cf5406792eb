import MidCore
import MidTestKit
import Testing

@testable import MidMySQL

/// Flickr's table, as their servers had it.
private let flickrTable = """
  CREATE TABLE `Tickets64` (
    `id` bigint(20) unsigned NOT NULL auto_increment,
    `stub` char(1) NOT NULL default '',
    PRIMARY KEY (`id`),
    UNIQUE KEY `stub` (`stub`)
  ) ENGINE=MyISAM
  """

extension MySQLServerTests {
  /// Tickets of a real server.
  @Suite struct MySQLTicketTests {
    private static func store(
      _ database: TestDatabase, _ counting: MySQLConfiguration.AutoIncrement? = nil
    ) -> MySQLTicketStore {
      var configuration = database.configuration
      configuration.autoIncrement = counting
      return MySQLTicketStore(configuration)
    }

    @Test(arguments: TicketStoreContract.Case.allCases)
    func `keeps the promise`(_ promise: TicketStoreContract.Case) async throws {
      let database = try await TestDatabase()
      try await TicketStoreContract { Self.store(database) }.check(promise)
      try await database.drop()
    }

    @Test(arguments: TicketStoreContract.Case.allCases)
    func `keeps the promise as the second of three servers`(_ promise: TicketStoreContract.Case) async throws {
      let database = try await TestDatabase()
      let contract = TicketStoreContract(stride: 3) {
        Self.store(database, MySQLConfiguration.AutoIncrement(increment: 3, offset: 2))
      }
      try await contract.check(promise)
      try await database.drop()
    }

    @Test func `servers with offsets of their own never give the same ticket`() async throws {
      let databases = [try await TestDatabase(), try await TestDatabase()]
      var ids: [Int64] = []
      for (index, database) in databases.enumerated() {
        let store = Self.store(database, MySQLConfiguration.AutoIncrement(increment: 2, offset: index + 1))
        for count: Int64 in [1, 5, 1, 3] {
          let range = try await store.takeTickets(count, of: .default)
          ids += (0..<count).map { range.start + $0 * range.stride }
        }
        await store.close()
      }
      #expect(ids.sorted() == Array(1...20))
      for database in databases { try await database.drop() }
    }

    @Test(arguments: ["MyISAM", "InnoDB"])
    func `the old client goes on on the same table, and no ticket is given to both`(engine: String) async throws {
      let database = try await TestDatabase()
      try await database.sql(flickrTable.replacing("MyISAM", with: engine))
      let store = Self.store(database)
      let ids = try await withThrowingTaskGroup(of: [Int64].self) { group in
        group.addTask {
          var ids: [Int64] = []
          for _ in 0..<100 {
            let rows = try await database.sql("REPLACE INTO Tickets64 (stub) VALUES ('a')", "SELECT LAST_INSERT_ID()")
            ids.append(try #require(rows.first?.first??.asInt64))
          }
          return ids
        }
        for _ in 0..<2 {
          group.addTask {
            var ids: [Int64] = []
            for turn in 0..<50 {
              let range = try await store.takeTickets(Int64(1 + turn % 9), of: .default)
              ids += (0..<range.count).map { range.start + $0 * range.stride }
            }
            return ids
          }
        }
        return try await group.reduce(into: [[Int64]]()) { $0.append($1) }
      }
      for caller in ids { #expect(zip(caller, caller.dropFirst()).allSatisfy { $0 < $1 }) }
      let all = ids.flatMap { $0 }
      #expect(Set(all).count == all.count)
      #expect(try await database.sql("SELECT COUNT(*) FROM Tickets64") == [["1"]])
      await store.close()
      try await database.drop()
    }

    @Test func `numbers that no longer fit in 63 bits are not given out`() async throws {
      let database = try await TestDatabase()
      let store = Self.store(database)
      _ = try await store.takeTickets(1, of: .default)
      try await database.sql("ALTER TABLE Tickets64 AUTO_INCREMENT = 9223372036854775806")
      #expect(try await store.takeTickets(1, of: .default).start == Int64.max - 1)
      for _ in 0..<2 {
        let error = await #expect(throws: IDError.self) { try await store.takeTickets(1, of: .default) }
        #expect(error?.code == .exhausted)
      }
      await store.close()
      try await database.drop()
    }

    @Test func `a look tells of a table whose writes a crash may lose, with the rights that tickets need`() async throws
    {
      let database = try await TestDatabase()
      try await database.sql(flickrTable)
      let store = MySQLTicketStore(try await database.user(grants: "INSERT, DELETE ON DB.*"))
      let other = try TicketTable("TicketsOrders")
      let found = try await store.inspect([.default, other])
      #expect(found.missing == [other])
      #expect(found.warnings.contains { $0.contains("Tickets64 is a table of MyISAM") }, "\(found.warnings)")
      await store.close()
      try await database.drop()
    }

    @Test func `a user without the right to replace hears what to grant`() async throws {
      let database = try await TestDatabase()
      try await database.sql(flickrTable)
      let store = MySQLTicketStore(try await database.user(grants: "SELECT ON DB.*"))
      let error = await #expect(throws: IDError.self) { try await store.takeTickets(1, of: .default) }
      #expect(error?.code == .storeRejected)
      await store.close()
      try await database.drop()
    }
  }
}

extension String {
  fileprivate var asInt64: Int64? { Int64(self) }
}
