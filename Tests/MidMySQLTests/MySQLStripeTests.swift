import MidCore
import MidTestKit
import Testing

@testable import MidMySQL

/// The statements of claims, without a server.
@Suite struct MySQLClaimTests {
  private static func statement(_ kind: TableDialect.Kind, _ claim: SegmentClaim, _ delta: Int64 = 1) throws -> String {
    let table = MySQLTable(dialect: TableDialect(kind))
    let residue = try #require(TableDialect.Residue(delta: delta, remainder: 0))
    return table.load("'a'", try #require(table.dialect.load(claim, residue)), residue)
  }

  private static let isTag = "AND CAST(CONVERT(`biz_tag` USING utf8mb4) AS BINARY) = CAST('a' AS BINARY)"

  @Test func `a load without wishes is the shortest statement, and names none`() throws {
    #expect(
      try Self.statement(.mid, SegmentClaim(count: 10)) == """
        UPDATE `id_segments` SET `max_id` = LAST_INSERT_ID(`max_id` + 10) WHERE `biz_tag` = 'a' \(Self.isTag) \
        AND `max_id` <= \(Int64.max - 11)
        """)
    #expect(
      try Self.statement(.stripe, SegmentClaim(count: 10), 4) == """
        UPDATE `mid_stripes` SET `max_id` = LAST_INSERT_ID(`max_id` + 40) WHERE `biz_tag` = 'a' \(Self.isTag) \
        AND `max_id` <= \(Int64.max - 44) AND COALESCE(`delta`, 1) = 4 AND COALESCE(`remainder`, 0) = 0
        """)
  }

  @Test func `each wish is one term of the same statement, by the rule of the table`() throws {
    #expect(
      try Self.statement(.mid, SegmentClaim(count: 10, above: 50, notBelow: -7)) == """
        UPDATE `id_segments` SET `max_id` = LAST_INSERT_ID(GREATEST(`max_id`, 50) + 10) WHERE `biz_tag` = 'a' \
        \(Self.isTag) AND `max_id` <= \(Int64.max - 11) AND `max_id` >= -7
        """)
    // Leaf's row shows the next id.
    let leaf = try Self.statement(.leaf, SegmentClaim(count: 10, above: 50, notBelow: 20))
    #expect(leaf.contains("GREATEST(`max_id`, 51) + 10") && leaf.hasSuffix("AND `max_id` >= 21"))
    let above = try Self.statement(.mid, SegmentClaim(count: 1, above: 5))
    #expect(above.contains("GREATEST") && !above.contains(">="))
    let notBelow = try Self.statement(.mid, SegmentClaim(count: 1, notBelow: 5))
    #expect(!notBelow.contains("GREATEST") && notBelow.hasSuffix("AND `max_id` >= 5"))
  }
}

extension MySQLServerTests {
  @Suite struct MySQLStripeTests {
    private func open(
      _ kind: TableDialect.Kind, _ statements: String...
    ) async throws -> (database: TestDatabase, store: MySQLStore) {
      let database = try await TestDatabase()
      var configuration = database.configuration
      configuration.table = TableDialect(kind)
      if !configuration.table.isOwn { try await database.sql(MySQLTable(dialect: configuration.table).creation) }
      let store = MySQLStore(configuration)
      try await store.prepare()
      for statement in statements { try await database.sql(statement) }
      return (database, store)
    }

    private func close(_ database: TestDatabase, _ store: MySQLStore) async throws {
      await store.close()
      try await database.drop()
    }

    @Test func `the table of stripes is made where it is missing, once and empty`() async throws {
      let database = try await TestDatabase()
      var configuration = database.configuration
      configuration.table = .stripe
      let store = MySQLStore(configuration)
      #expect(try await store.inspect() == ["the table mid_stripes", "the table mid_workers"])
      let ready = configuration
      try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in 0..<4 {
          group.addTask {
            let store = MySQLStore(ready)
            try await store.prepare()
            await store.close()
          }
        }
        try await group.waitForAll()
      }
      #expect(try await store.inspect() == [])
      #expect(try await store.tags() == [])
      #expect(try await database.sql("SHOW TABLES").map { $0[0] } == ["mid_stripes", "mid_workers"])
      let tag = try Tag("orders")
      let residue = try #require(TableDialect.Residue(delta: 16, remainder: 15))
      _ = try await store.createStripe(tag, residue: residue, step: 1_000_000_000, first: 1)
      #expect(
        try await database.sql("SELECT biz_tag, max_id, step, delta, remainder FROM mid_stripes")
          == [["orders", "0", "16000000000", "16", "15"]])
      try await self.close(database, store)
    }

    @Test func `a trigger on the table hides no claim's number for long, and repeats no id`() async throws {
      let (database, store) = try await self.open(.mid, "UPDATE id_segments SET max_id = 1000")
      #expect(
        try await store.allocate(SegmentClaim(count: 10, above: 2000, notBelow: 1000), for: .default)
          == IDRange(start: 2001, count: 10))
      try await database.sql("CREATE TRIGGER watched BEFORE UPDATE ON id_segments FOR EACH ROW DO SLEEP(0.001)")
      // The first load after that is lost, and not the wish.
      #expect(
        try await store.allocate(SegmentClaim(count: 10, above: 3000, notBelow: 2010), for: .default)
          == IDRange(start: 3011, count: 10))
      #expect(
        try await store.allocate(SegmentClaim(count: 5, above: 4000, notBelow: 3020), for: .default)
          == IDRange(start: 4001, count: 5))
      let error = await #expect(throws: IDError.self) {
        try await store.allocate(SegmentClaim(count: 5, above: 5000, notBelow: 4006), for: .default)
      }
      #expect(error?.code == .wentBackwards)
      #expect(try await database.sql("SELECT max_id FROM id_segments") == [["4005"]])
      try await self.close(database, store)
    }

    @Test func `rows below zero and up to it are claimed by their sign`() async throws {
      let (database, store) = try await self.open(.mid, "UPDATE id_segments SET max_id = -1000")
      func load(_ claim: SegmentClaim) async throws -> IDRange { try await store.allocate(claim, for: .default) }
      #expect(try await load(SegmentClaim(count: 10)) == IDRange(start: -999, count: 10))
      #expect(try await load(SegmentClaim(count: 10, above: -500)) == IDRange(start: -499, count: 10))
      #expect(try await load(SegmentClaim(count: 10, above: .min + 1)) == IDRange(start: -489, count: 10))
      #expect(try await load(SegmentClaim(count: 10, notBelow: -480)) == IDRange(start: -479, count: 10))
      let error = await #expect(throws: IDError.self) { try await load(SegmentClaim(count: 10, notBelow: -469)) }
      #expect(error?.code == .wentBackwards && error?.message.contains("-470") == true)
      #expect(try await load(SegmentClaim(count: 3, above: -5)) == IDRange(start: -4, count: 3))
      #expect(try await load(SegmentClaim(count: 10, above: 7)) == IDRange(start: 8, count: 10))
      try await self.close(database, store)
    }

    @Test func `a column that is narrower than the numbers refuses the load that passes it`() async throws {
      let (database, store) = try await self.open(
        .mid, "ALTER TABLE id_segments MODIFY max_id INT NOT NULL", "UPDATE id_segments SET max_id = 2147483640")
      for claim in [SegmentClaim(count: 10), SegmentClaim(count: 1, above: 2_147_483_647)] {
        let error = await #expect(throws: IDError.self) { try await store.allocate(claim, for: .default) }
        #expect(error?.code == .invalidArgument && error?.message.contains("Out of range") == true)
      }
      #expect(try await store.allocate(7, for: .default) == IDRange(start: 2_147_483_641, count: 7))
      try await self.close(database, store)
    }

    @Test func `a row that comes to zero costs ids and repeats none`() async throws {
      let (database, store) = try await self.open(.mid, "UPDATE id_segments SET max_id = -10")
      // The number 0 is what a trigger leaves, too.
      #expect(try await store.allocate(10, for: .default) == IDRange(start: 1, count: 10))
      #expect(
        try await store.allocate(SegmentClaim(count: 10, notBelow: 10), for: .default) == IDRange(start: 11, count: 10))
      try await self.close(database, store)
    }

    @Test func `closing and opening a row of Tinyid's shuts out a server of Tinyid's that had read it before`()
      async throws
    {
      let (database, store) = try await self.open(.tinyid)
      let tag = try Tag("orders")
      _ = try await store.createTag(tag, step: 30, first: 501)
      func row() async throws -> [String?] {
        try await database.sql(
          """
          SELECT begin_id, max_id, step, delta, remainder, version,
          update_time > NOW() - INTERVAL 1 MINUTE AND update_time <= NOW() FROM tiny_id_info
          """)[0]
      }
      let oldServers = "UPDATE tiny_id_info SET max_id = max_id + step, version = version + 1 WHERE version = "
      try await database.sql("UPDATE tiny_id_info SET update_time = '2010-01-01 00:00:00'")
      try await store.closeStripe(of: tag, token: 77, step: 1)
      #expect(try await row() == ["500", "500", "30", "0", "77", "1", "1"])
      try await database.sql(oldServers + "0")
      #expect(try await row()[1] == "500")
      let residue = try #require(TableDialect.Residue(delta: 3, remainder: 2))
      #expect(try await store.openStripe(of: tag, token: 77, residue: residue, lastID: 900, step: 30))
      #expect(try await row() == ["500", "900", "90", "3", "2", "2", "1"])
      try await database.sql(oldServers + "1")
      #expect(try await row()[1] == "900")
      try await store.closeStripe(of: tag, token: 78, step: 1)
      #expect(try await row() == ["500", "900", "30", "0", "78", "3", "1"])
      try await self.close(database, store)
    }

    @Test func `a row whose columns hold NULL or nonsense is refused and not closed`() async throws {
      let (database, store) = try await self.open(
        .tinyid, "ALTER TABLE tiny_id_info MODIFY delta INT NULL, MODIFY remainder INT NULL",
        """
        INSERT INTO tiny_id_info (biz_type, max_id, step, delta, remainder)
        VALUES ('a', 10, NULL, NULL, NULL), ('b', 10, 0, -4, 9), ('c', 10, 8, 4, 9)
        """)
      let rows = "SELECT biz_type, max_id, step, delta, remainder, version FROM tiny_id_info ORDER BY biz_type"
      let before = try await database.sql(rows)
      for name in ["a", "b", "c"] {
        for seen: StripeRow.State? in [nil, .open(.all), .closed(token: 5)] {
          let error = await #expect(throws: IDError.self, "\(name)") {
            try await store.closeStripe(of: Tag(name), ifStill: seen, token: 5, step: 99)
          }
          #expect(error?.code == .storeRejected, "\(name)")
        }
      }
      #expect(try await database.sql(rows) == before)
      try await self.close(database, store)
    }

    @Test func `a tag that the collation takes for another closes and opens none`() async throws {
      let (database, store) = try await self.open(.tinyid)
      try await database.sql("ALTER TABLE tiny_id_info CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
      let (order, other) = (try Tag("order"), try Tag("Order"))
      _ = try await store.createTag(order, step: 10, first: 1)
      let error = await #expect(throws: IDError.self) { try await store.closeStripe(of: other, token: 5, step: 10) }
      #expect(error?.code == .tagExists)
      #expect(try await store.stripe(of: other) == nil)
      #expect(try await store.openStripe(of: other, token: 5, residue: .all, lastID: 0, step: 1) == false)
      #expect(try await store.stripe(of: order) == StripeRow(state: .open(.all), lastID: 0, step: 10))
      try await store.closeStripe(of: order, token: 6, step: 10)
      #expect(try await store.openStripe(of: other, token: 6, residue: .all, lastID: 50, step: 1) == false)
      #expect(try await store.stripe(of: order) == StripeRow(state: .closed(token: 6), lastID: 0, step: 10))
      try await self.close(database, store)
    }

    @Test func `a step that Tinyid's column can't hold is refused for a new row, and cut for one that is opened`()
      async throws
    {
      let (database, store) = try await self.open(.tinyid)
      let tag = try Tag("orders")
      let residue = try #require(TableDialect.Residue(delta: 4, remainder: 0))
      let error = await #expect(throws: IDError.self) {
        try await store.createStripe(tag, residue: residue, step: 1_000_000_000, first: 1)
      }
      #expect(error?.code == .invalidArgument)
      try await store.closeStripe(of: tag, token: 5, step: 1_000_000_000)
      #expect(try await store.openStripe(of: tag, token: 5, residue: residue, lastID: 0, step: 1_000_000_000))
      #expect(try await database.sql("SELECT step FROM tiny_id_info") == [["2147483647"]])
      try await self.close(database, store)
    }
  }
}
