import Glibc
import MidCore
import Synchronization
import Testing

@testable import MidMySQL

extension MySQLServerTests {
  @Suite struct MySQLStoreTests {
    /// Runs `body`, expects the code, and that the message is one line without a password.
    @discardableResult
    private func expectError(
      _ code: IDError.Code, _ body: () async throws -> Void, at location: SourceLocation = #_sourceLocation
    ) async -> String {
      let error = await #expect(throws: IDError.self, sourceLocation: location) { try await body() }
      #expect(error?.code == code, "\(String(describing: error))", sourceLocation: location)
      let message = error?.message ?? ""
      #expect(!message.contains(TestDatabase.password) && !message.contains("\n"), sourceLocation: location)
      return message
    }

    /// Asks the server until `condition` holds, at most 10 s.
    private func poll(_ condition: () async throws -> Bool) async throws {
      let end = ContinuousClock.now + .seconds(10)
      while try await !condition() { try #require(ContinuousClock.now < end, "the server never got there") }
    }

    @Test func `the original's table is used as it is`() async throws {
      let database = try await TestDatabase()
      try await database.sql(originalTable, originalRow, "UPDATE id_segments SET max_id = 70000")
      let before = try await database.sql("SHOW CREATE TABLE id_segments")
      let store = MySQLStore(database.configuration)
      try await store.prepare()
      #expect(try await store.allocate(10_000, for: .default) == IDRange(start: 70_001, count: 10_000))
      #expect(try await database.sql("SELECT max_id FROM id_segments") == [["80000"]])
      let after = try await database.sql("SHOW CREATE TABLE id_segments")
      #expect(after == before)
      await store.close()
      try await database.drop()
    }

    @Test func `a trigger on the table, which hides the load's number, costs ids and repeats none`() async throws {
      let database = try await TestDatabase()
      try await database.sql(originalTable, originalRow, "UPDATE id_segments SET max_id = 1000")
      let store = MySQLStore(database.configuration)
      try await store.prepare()
      #expect(try await store.allocate(10, for: .default) == IDRange(start: 1001, count: 10))
      try await database.sql("CREATE TRIGGER watched BEFORE UPDATE ON id_segments FOR EACH ROW DO SLEEP(0.001)")
      // The first load after that is lost.
      #expect(try await store.allocate(10, for: .default) == IDRange(start: 1021, count: 10))
      #expect(try await store.allocate(5, for: .default) == IDRange(start: 1031, count: 5))
      #expect(try await database.sql("SELECT max_id FROM id_segments") == [["1035"]])
      await self.expectError(.unknownTag) { _ = try await store.allocate(1, for: Tag("nobody")) }
      await store.close()
      try await database.drop()
    }

    @Test func `an empty table of somebody else's making gets no rows`() async throws {
      let database = try await TestDatabase()
      try await database.sql(originalTable)
      let store = MySQLStore(database.configuration)
      try await store.prepare()
      await self.expectError(.unknownTag) { _ = try await store.allocate(1, for: .default) }
      #expect(try await database.sql("SELECT COUNT(*) FROM id_segments") == [["0"]])
      await store.close()
      try await database.drop()
    }

    @Test func `many nodes that prepare at once all succeed`() async throws {
      let database = try await TestDatabase()
      try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in 0..<6 {
          group.addTask {
            let store = MySQLStore(database.configuration)
            try await store.prepare()
            await store.close()
          }
        }
        try await group.waitForAll()
      }
      #expect(try await database.sql("SELECT biz_tag, max_id, step FROM id_segments") == [["default", "0", "10000"]])
      try await database.drop()
    }

    @Test func `a row without a number is refused, and the tag still listed`() async throws {
      let database = try await TestDatabase()
      try await database.sql(originalTable, "INSERT INTO id_segments (biz_tag, max_id) VALUES ('default', NULL)")
      let store = MySQLStore(database.configuration)
      try await store.prepare()
      let message = await self.expectError(.storeRejected) { _ = try await store.allocate(1, for: .default) }
      #expect(message.contains("NULL"))
      #expect(try await store.tags().map(\.tag) == [.default])
      await store.close()
      try await database.drop()
    }

    @Test func `a table that lacks a column is refused by its name`() async throws {
      let database = try await TestDatabase()
      try await database.sql("CREATE TABLE id_segments (biz_tag VARCHAR(50) PRIMARY KEY, max_id BIGINT)")
      let message = await self.expectError(.storeRejected) { try await MySQLStore(database.configuration).prepare() }
      #expect(message.contains("'step'") && message.contains("biz_tag, max_id, step"))
      try await database.drop()
    }

    @Test func `a name too long for the column can't be created, and harms nothing`() async throws {
      let database = try await TestDatabase()
      let store = MySQLStore(database.configuration)
      try await store.prepare()
      let (fits, tooLong) = (try Tag(String(repeating: "é", count: 50)), try Tag(String(repeating: "x", count: 51)))
      #expect(try await store.createTag(fits, step: 1, first: 1).tag == fits)
      #expect(try await store.allocate(1, for: fits).start == 1)
      await self.expectError(.invalidArgument) { _ = try await store.createTag(tooLong, step: 1, first: 1) }
      await self.expectError(.unknownTag) { _ = try await store.allocate(1, for: tooLong) }
      await self.expectError(.invalidArgument) { _ = try await store.createTag(Tag("s"), step: 1 << 31, first: 1) }
      #expect(try await store.tags().count == 2)
      await store.close()
      try await database.drop()
    }

    @Test func `a column of another character set finds its tags and no others`() async throws {
      let database = try await TestDatabase()
      try await database.sql(
        originalTable.replacing("utf8mb4_general_ci", with: "latin1_swedish_ci")
          .replacing("utf8mb4", with: "latin1"))
      let store = MySQLStore(database.configuration)
      try await store.prepare()
      _ = try await store.createTag(Tag("café"), step: 1, first: 7)
      #expect(try await store.allocate(1, for: Tag("café")).start == 7)
      for name in ["cafe", "Café", "訂單", "😀"] {
        await self.expectError(.unknownTag) { _ = try await store.allocate(1, for: Tag(name)) }
      }
      await self.expectError(.invalidArgument) { _ = try await store.createTag(Tag("訂單"), step: 1, first: 1) }
      await store.close()
      try await database.drop()
    }

    @Test func `finding the row of exactly one tag uses the key`() async throws {
      for table in [originalTable, originalTable.replacing("utf8mb4_general_ci", with: "utf8mb4_bin")] {
        let database = try await TestDatabase()
        try await database.sql(
          table, originalRow, "INSERT INTO id_segments (biz_tag) SELECT CONCAT('tag', seq) FROM seq_1_to_1000")
        let configuration = database.configuration
        let plan = try await MySQLPool(configuration).run { connection in
          try connection.rows(
            """
            EXPLAIN UPDATE id_segments SET max_id = LAST_INSERT_ID(max_id + 1)
            WHERE \(MySQLTable(dialect: .mid).isTag(try connection.literal("tag500"))) AND max_id <= 5
            """)
        }.get()
        // Columns: id, select_type, table, type, possible_keys, key, key_len, ref, rows, Extra.
        #expect(plan.count == 1)
        #expect(["range", "const", "ref"].contains(plan[0][3]))
        #expect(plan[0][5] == "uk_biz_tag")
        #expect(plan[0][8] == "1")
        try await database.drop()
      }
    }

    @Test func `an allocation is one round trip`() async throws {
      let database = try await TestDatabase()
      let store = MySQLStore(database.configuration)
      try await store.prepare()
      let tag = try Tag(database.configuration.database)
      _ = try await store.createTag(tag, step: 1, first: 1)
      // The log in a table holds every statement of every connection; only this test's store knows this tag.
      try await database.sql(
        "SET GLOBAL log_output = 'TABLE'", "TRUNCATE mysql.general_log", "SET GLOBAL general_log = ON")
      for _ in 0..<20 { _ = try await store.allocate(3, for: tag) }
      try await database.sql("SET GLOBAL general_log = OFF")
      let threads = "SELECT thread_id FROM mysql.general_log WHERE argument LIKE '%LAST_INSERT_ID(%\(tag)%'"
      let statements = try await database.sql(
        "SELECT command_type, argument FROM mysql.general_log WHERE thread_id IN (\(threads)) ORDER BY event_time")
      #expect(statements.count == 20)
      #expect(statements.allSatisfy { $0[1]?.hasPrefix("UPDATE `id_segments` SET `max_id` = LAST_INSERT_ID") == true })
      await store.close()
      try await database.drop()
    }

    @Test func `a wrong password, database or user is refused with what to do`() async throws {
      let database = try await TestDatabase()
      var wrong = try await database.user(grants: "ALL ON DB.*")
      wrong.password += "x"
      var message = await self.expectError(.storeRejected) { try await MySQLStore(wrong).prepare() }
      #expect(message.contains("login was refused") && message.contains(wrong.location) && message.contains(wrong.user))
      wrong.user = "nobody"
      await self.expectError(.storeRejected) { try await MySQLStore(wrong).prepare() }
      var missing = database.configuration
      missing.database = "mid_test_missing"
      message = await self.expectError(.storeRejected) { try await MySQLStore(missing).prepare() }
      #expect(message.contains("CREATE DATABASE"))
      try await database.drop()
    }

    @Test func `a password with special characters works`() async throws {
      let database = try await TestDatabase()
      let user = try await database.user(grants: "SELECT, INSERT, UPDATE, CREATE ON DB.*")
      let encoded = "se'cret%40%3a%2F%25"
      let url = "mysql://\(user.user):\(encoded)@\(user.host):\(user.port)/\(user.database)"
      let store = MySQLStore(try MySQLConfiguration(url: url))
      try await store.prepare()
      #expect(try await store.allocate(1, for: .default).start == 1)
      await store.close()
      try await database.drop()
    }

    @Test func `missing rights are refused with the grant that is needed`() async throws {
      let database = try await TestDatabase()
      // No right to create, and no table.
      let reader = try await database.user(grants: "SELECT, INSERT, UPDATE ON DB.*")
      var message = await self.expectError(.storeRejected) { try await MySQLStore(reader).prepare() }
      #expect(message.contains("GRANT SELECT, INSERT, UPDATE, CREATE") && message.contains("id_segments"))
      // No right to the database at all.
      let stranger = try await database.user(grants: "USAGE ON *.*")
      message = await self.expectError(.storeRejected) { try await MySQLStore(stranger).prepare() }
      #expect(message.contains("GRANT"))
      // Tables are there, and may only be read.
      let owner = MySQLStore(database.configuration)
      try await owner.prepare()
      await owner.close()
      let onlooker = try await database.user(grants: "SELECT ON DB.*")
      message = await self.expectError(.storeRejected) { try await MySQLStore(onlooker).prepare() }
      #expect(message.contains("UPDATE command denied"))
      // Everything that is needed once the tables are there.
      let store = MySQLStore(reader)
      try await store.prepare()
      #expect(try await store.allocate(1, for: .default).start == 1)
      await store.close()
      try await database.drop()
    }

    @Test func `connections killed while idle cost no call`() async throws {
      let database = try await TestDatabase()
      let user = try await database.user(grants: "ALL ON DB.*")
      let store = MySQLStore(user)
      try await store.prepare()
      #expect(try await store.allocate(1, for: .default).start == 1)
      for round: Int64 in 2...4 {
        try await database.sql("KILL HARD USER '\(user.user)'@'127.0.0.1'")
        // The server answers KILL before it has closed the socket; wait for that, so that the store can see it.
        let connections = "SELECT 1 FROM information_schema.processlist WHERE user = '\(user.user)'"
        try await self.poll { try await database.sql(connections).isEmpty }
        #expect(try await store.allocate(1, for: .default).start == round)
      }
      await store.close()
      try await database.drop()
    }

    @Test func `a connection killed in the middle of a call fails that call and heals`() async throws {
      let database = try await TestDatabase()
      let user = try await database.user(grants: "ALL ON DB.*")
      let store = MySQLStore(user)
      try await store.prepare()
      let killed = Task {
        try await store.run("allocate") { connection in try connection.rows("SELECT SLEEP(30)") }
      }
      let running = "SELECT id FROM information_schema.processlist WHERE user = '\(user.user)' AND info LIKE '%SLEEP%'"
      var id: String?
      try await self.poll {
        id = try await database.sql(running).first?[0]
        return id != nil
      }
      try await database.sql("KILL CONNECTION \(try #require(id))")
      await self.expectError(.storeUnavailable) { _ = try await killed.value }
      #expect(try await store.allocate(1, for: .default).start == 1)
      await store.close()
      try await database.drop()
    }

    @Test func `a statement that takes too long ends with the read timeout`() async throws {
      let database = try await TestDatabase()
      var configuration = database.configuration
      configuration.readTimeout = .seconds(1)
      let store = MySQLStore(configuration)
      try await store.prepare()
      let start = ContinuousClock.now
      await self.expectError(.storeUnavailable) {
        _ = try await store.run("allocate") { connection in try connection.rows("SELECT SLEEP(30)") }
      }
      // Far above the timeouts and far below the minutes of a system without them: the machine may be busy with other tests.
      #expect(start.duration(to: .now) < .seconds(180))
      #expect(try await store.allocate(1, for: .default).start == 1)
      await store.close()
      try await database.drop()
    }

    @Test func `a lock held by another is waited for, retried, and had in the end`() async throws {
      let database = try await TestDatabase()
      let store = MySQLStore(database.configuration)
      try await store.prepare()
      let locker = MySQLPool(database.configuration)
      let released = Atomic(false)
      let holder = Task {
        try await locker.run { connection in
          try connection.transaction {
            _ = try connection.rows("SELECT * FROM id_segments WHERE biz_tag = 'default' FOR UPDATE")
            // Longer than one lock wait of the store's sessions, which is 1 s.
            _ = try connection.rows("SELECT SLEEP(1.5)")
            released.store(true, ordering: .relaxed)
          }
        }.get()
      }
      let waiting = "SELECT 1 FROM information_schema.processlist WHERE info LIKE '%SLEEP(1.5)%' AND db = DATABASE()"
      // One is the list's own query.
      try await self.poll { try await database.sql(waiting).count >= 2 }
      #expect(try await store.allocate(1, for: .default).start == 1)
      let wasReleased = released.load(ordering: .relaxed)
      #expect(wasReleased)
      try await holder.value
      await locker.close()
      await store.close()
      try await database.drop()
    }

    @Test(.timeLimit(.minutes(10)))
    func `rows that others hold locked, as many as there are connections, keep no other row waiting`() async throws {
      let database = try await TestDatabase()
      var configuration = database.configuration
      configuration.connections = 2
      // Far longer than the test may take: whoever held a connection so long would be seen.
      configuration.readTimeout = .seconds(600)
      let store = MySQLStore(configuration)
      try await store.prepare()
      let locked = [try Tag("first"), try Tag("second")]
      for tag in locked { _ = try await store.createTag(tag, step: 1, first: 1) }
      let holder = MySQLConnection(configuration)
      try holder.open()
      try holder.execute("START TRANSACTION")
      for tag in locked { _ = try holder.rows("SELECT * FROM id_segments WHERE biz_tag = '\(tag)' FOR UPDATE") }
      let waiting = locked.map { tag in Task { try await store.allocate(1, for: tag) } }
      let loads = "SELECT 1 FROM information_schema.processlist WHERE info LIKE 'UPDATE%' AND db = DATABASE()"
      try await self.poll { try await database.sql(loads).count == 2 }
      #expect(try await store.allocate(1, for: .default).start == 1)
      try holder.execute("COMMIT")
      for task in waiting { #expect(try await task.value.start == 1) }
      holder.close()
      await store.close()
      try await database.drop()
    }

    @Test func `a read-only server is away, with a hint`() async throws {
      let failure = MySQLFailure(code: 1290, message: "The MariaDB server is running with the --read-only option")
      let error = MySQLErrors.translate(failure, MySQLConfiguration(host: "h", database: "d", user: "u"))
      #expect(error.code == .storeUnavailable)
      #expect(error.message.contains("name the primary"))
      #expect(failure.endsConnection)
    }

    @Test func `settings that make a crash repeat ids are warned of`() async throws {
      let database = try await TestDatabase()
      try await database.sql(originalTable.replacing("InnoDB", with: "MyISAM"))
      let store = MySQLStore(database.configuration)
      #expect(store.durabilityWarnings.isEmpty)
      try await store.prepare()
      #expect(store.durabilityWarnings.contains { $0.contains("MyISAM") })
      await store.close()
      try await database.drop()
    }

    @Test func `a look tells which tables are missing and makes none`() async throws {
      let database = try await TestDatabase()
      let store = MySQLStore(database.configuration)
      #expect(try await store.inspect() == ["the table id_segments", "the table mid_workers"])
      try await database.sql(originalTable.replacing("InnoDB", with: "MyISAM"))
      #expect(try await store.inspect() == ["the table mid_workers"])
      #expect(store.durabilityWarnings.contains { $0.contains("MyISAM") })
      #expect(try await database.sql("SHOW TABLES").count == 1)
      try await database.sql("DROP TABLE id_segments")
      try await store.prepare()
      #expect(try await store.inspect() == [])
      await store.close()

      let reader = MySQLStore(try await database.user(grants: "SELECT ON DB.*"))
      let message = await self.expectError(.storeRejected) { _ = try await reader.inspect() }
      #expect(message.contains("GRANT"), "\(message)")
      await reader.close()
      try await database.drop()
    }

    @Test func `TLS that is demanded and not there is refused`() async throws {
      let database = try await TestDatabase()
      guard try await database.sql("SHOW GLOBAL VARIABLES LIKE 'have_ssl'").first?[1] != "YES" else { return }
      for tls in [MySQLConfiguration.TLS.required, .verify] {
        var configuration = database.configuration
        configuration.tls = tls
        let message = await self.expectError(.storeRejected) { try await MySQLStore(configuration).prepare() }
        #expect(message.contains("TLS"))
      }
      try await database.drop()
    }

    @Test func `every operation is observed once, by name and outcome`() async throws {
      let database = try await TestDatabase()
      let seen = Mutex<[String]>([])
      let store = MySQLStore(database.configuration) { operation, duration, error in
        #expect(duration > .zero)
        seen.withLock { $0.append(operation + (error.map { " \($0.code)" } ?? "")) }
      }
      try await store.prepare()
      _ = try await store.allocate(5, for: .default)
      _ = try await store.giveBack(IDRange(start: 5, count: 1), of: .default)
      _ = try await store.tags()
      _ = try await store.createTag(Tag("a"), step: 1, first: 1)
      _ = try await store.updateTag(Tag("a"), step: 2, next: nil)
      await self.expectError(.unknownTag) { _ = try await store.allocate(1, for: Tag("b")) }
      _ = try await store.claimWorker(
        1, owner: WorkerOwner(token: "t", description: "d"), leaseMilliseconds: 1000, bound: 0)
      _ = try await store.renewWorker(1, token: "t", term: 1, leaseMilliseconds: 1000, bound: 0)
      try await store.releaseWorker(1, token: "t", term: 1, bound: 0)
      _ = try await store.freeWorker(1, ifTerm: 1, force: false)
      _ = try await store.workers()
      _ = try await store.inspect()
      await store.close()
      #expect(
        seen.withLock { $0 } == [
          "prepare", "allocate", "give_back", "tags", "create_tag", "update_tag", "allocate unknownTag", "claim_worker",
          "renew_worker", "release_worker", "free_worker", "workers", "inspect",
        ])
      try await database.drop()
    }
  }
}
