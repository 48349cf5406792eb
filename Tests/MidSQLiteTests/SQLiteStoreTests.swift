import Foundation
import GRDB
import MidCore
import MidTestKit
import Synchronization
import Testing

@testable import MidSQLite

@Suite struct SQLiteStoreTests {
  @Test func `the writing connection commits durably`() async throws {
    let folder = try TemporaryFolder()
    let database = try SQLiteFile.connect(folder.file("mid.db"), busyTimeout: .seconds(1))
    let proof = try await database.writeWithoutTransaction { try SQLiteFile.durability(of: $0) }
    #expect(proof.journalMode == "wal")
    #expect(proof.synchronous == 2)
    try database.close()
    try folder.remove()
  }

  @Test func `a database that can't use write-ahead mode is refused`() async throws {
    let error = await #expect(throws: IDError.self) { try await SQLiteStore(path: ":memory:").prepare() }
    #expect(error?.code == .storeRejected)
    #expect(error?.message.contains("memory") == true)
  }

  @Test func `missing folders are created for this user alone`() async throws {
    let folder = try TemporaryFolder()
    let store = SQLiteStore(path: folder.file("one/two/mid.db"))
    try await store.prepare()
    #expect(try await store.allocate(1, for: .default).start == 1)
    await store.close()
    for name in ["one", "one/two"] {
      let mode = try FileManager.default.attributesOfItem(atPath: folder.file(name))[.posixPermissions]
      #expect(mode as? Int == 0o700)
    }
    try folder.remove()
  }

  @Test func `a path whose folder can't be made is refused with what to do`() async throws {
    let folder = try TemporaryFolder()
    try Data("a file".utf8).write(to: folder.url.appendingPathComponent("file"))
    for path in [folder.file("file/mid.db"), folder.file("file/deeper/mid.db"), "/proc/no/mid.db", folder.url.path, ""]
    {
      let error = await #expect(throws: IDError.self, "\(path)") { try await SQLiteStore(path: path).prepare() }
      #expect(error?.code == .storeRejected, "\(path): \(String(describing: error))")
      #expect(path.isEmpty || error?.message.contains(path) == true, "\(path): \(String(describing: error))")
      #expect(error?.message.contains("\n") == false)
    }
    try folder.remove()
  }

  @Test(.enabled(if: geteuid() != 0, "root may write everywhere"))
  func `a file this user may not write is refused with what to do`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.file("mid.db")
    let store = SQLiteStore(path: path)
    try await store.prepare()
    await store.close()
    try FileManager.default.setAttributes([.posixPermissions: 0o400], ofItemAtPath: path)
    let error = await #expect(throws: IDError.self) { try await SQLiteStore(path: path).prepare() }
    #expect(error?.code == .storeRejected)
    try folder.remove()
  }

  @Test func `a file that is not a database is refused and left alone`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.file("notes.txt")
    let text = Data(String(repeating: "these are notes, not pages. ", count: 100).utf8)
    try text.write(to: URL(fileURLWithPath: path))
    let error = await #expect(throws: IDError.self) { try await SQLiteStore(path: path).prepare() }
    #expect(error?.code == .storeRejected)
    #expect(error?.message.contains("not a SQLite database") == true)
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == text)
    try folder.remove()
  }

  @Test func `a table that is there already is used as it is`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.file("mid.db")
    let schema = """
      CREATE TABLE id_segments (id INTEGER PRIMARY KEY, biz_tag VARCHAR(50) UNIQUE, max_id BIGINT DEFAULT 0,
        step INT DEFAULT 10000, created_at TIMESTAMP, updated_at TIMESTAMP, note TEXT)
      """
    let other = try DatabaseQueue(path: path)
    try await other.write { db in
      try db.execute(sql: schema)
      try db.execute(
        sql: """
          INSERT INTO id_segments (biz_tag, max_id, step, note) VALUES
          ('orders', 500, 20, 'kept'), ('broken', NULL, 20, NULL), ('', 1, 1, NULL)
          """)
    }
    let store = SQLiteStore(path: path)
    try await store.prepare()
    #expect(try await store.allocate(20, for: Tag("orders")) == IDRange(start: 501, count: 20))
    // No first row is put into somebody else's table.
    let error = await #expect(throws: IDError.self) { try await store.allocate(1, for: .default) }
    #expect(error?.code == .unknownTag)
    let broken = await #expect(throws: IDError.self) { try await store.allocate(1, for: Tag("broken")) }
    #expect(broken?.code == .storeRejected)
    await store.close()
    let (kept, note) = try await other.read { db in
      (
        try String.fetchOne(db, sql: "SELECT sql FROM sqlite_master WHERE name = 'id_segments'"),
        try String.fetchOne(db, sql: "SELECT note FROM id_segments WHERE biz_tag = 'orders'")
      )
    }
    #expect(kept == schema)
    #expect(note == "kept")
    try other.close()
    try folder.remove()
  }

  @Test func `the table of stripes is made where it is missing, empty, and its rows can be closed`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.file("mid.db")
    let store = SQLiteStore(path: path, table: .stripe)
    try await store.prepare()
    #expect(try await store.tags() == [])
    await store.close()
    let again = SQLiteStore(path: path, table: .stripe)
    #expect(try await again.inspect() == [])
    try await again.prepare()
    let tag = try Tag("orders")
    let residue = try #require(TableDialect.Residue(delta: 16, remainder: 15))
    let record = try await again.createStripe(tag, residue: residue, step: 1000, first: 1)
    #expect(record.next == 15 && record.step == 1000)
    let other = try DatabaseQueue(path: path)
    let row = try other.read { try Row.fetchOne($0, sql: "SELECT max_id, step, delta, remainder FROM mid_stripes") }
    #expect(row == ["max_id": 0, "step": 16_000, "delta": 16, "remainder": 15])
    // Nonsense is refused, and closed by nobody: somebody wrote it by hand, and has to say what it was.
    try await other.write { try $0.execute(sql: "UPDATE mid_stripes SET delta = -4, remainder = 9, max_id = 10") }
    let error = await #expect(throws: IDError.self) { try await again.stripe(of: tag) }
    #expect(error?.code == .storeRejected)
    await #expect(throws: IDError.self) { try await again.closeStripe(of: tag, ifStill: nil, token: 5, step: 1) }
    try await other.write { try $0.execute(sql: "UPDATE mid_stripes SET delta = 16, remainder = 15") }
    try await again.closeStripe(of: tag, token: 5, step: 1)
    #expect(try await again.stripe(of: tag) == StripeRow(state: .closed(token: 5), lastID: 10, step: 1000))
    // A look names the table that is missing.
    try await other.write { try $0.execute(sql: "DROP TABLE mid_stripes") }
    #expect(try await again.inspect() == ["the table mid_stripes"])
    await again.close()
    try other.close()
    try folder.remove()
  }

  @Test func `rows below zero are claimed by their sign`() async throws {
    let folder = try TemporaryFolder()
    let store = SQLiteStore(path: folder.file("mid.db"))
    try await store.prepare()
    let other = try DatabaseQueue(path: folder.file("mid.db"))
    try await other.write { try $0.execute(sql: "UPDATE id_segments SET max_id = -1000") }
    #expect(
      try await store.allocate(SegmentClaim(count: 10, above: -500, notBelow: -1000), for: .default)
        == IDRange(start: -499, count: 10))
    #expect(
      try await store.allocate(SegmentClaim(count: 10, above: -495), for: .default) == IDRange(start: -489, count: 10))
    let error = await #expect(throws: IDError.self) {
      try await store.allocate(SegmentClaim(count: 10, notBelow: -479), for: .default)
    }
    #expect(error?.code == .wentBackwards && error?.message.contains("-480") == true)
    await store.close()
    try other.close()
    try folder.remove()
  }

  @Test func `a look tells what is missing and makes nothing`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.file("deeper/mid.db")
    let store = SQLiteStore(path: path)
    #expect(try await store.inspect() == ["the file \(path)"])
    #expect(!FileManager.default.fileExists(atPath: folder.file("deeper")))
    await #expect(throws: IDError.self) { try await store.workers() }

    let empty = folder.file("empty.db")
    let other = try DatabaseQueue(path: empty)
    try await other.write { try $0.execute(sql: "CREATE TABLE id_segments (biz_tag, max_id, step, updated_at)") }
    try other.close()
    let before = try Data(contentsOf: URL(fileURLWithPath: empty))
    let incomplete = SQLiteStore(path: empty)
    #expect(
      try await incomplete.inspect() == ["the table mid_workers", "write-ahead mode (it is in mode delete)"])
    await incomplete.close()
    #expect(try Data(contentsOf: URL(fileURLWithPath: empty)) == before)
    try folder.remove()
  }

  @Test func `a look at a file beside its server leaves no files behind`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.file("mid.db")
    let server = SQLiteStore(path: path)
    try await server.prepare()
    _ = try await server.allocate(7, for: .default)
    let looker = SQLiteStore(path: path)
    #expect(try await looker.inspect() == [])
    #expect(try await looker.tags().map(\.maxID) == [7])
    await looker.close()
    #expect(try await server.allocate(1, for: .default).start == 8)
    await server.close()
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.url.path) == ["mid.db"])
    await #expect(throws: IDError.self, "a store that was closed stays so") { try await looker.inspect() }
    try folder.remove()
  }

  @Test func `a table that lacks a column is refused`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.file("mid.db")
    let other = try DatabaseQueue(path: path)
    try await other.write { try $0.execute(sql: "CREATE TABLE id_segments (biz_tag TEXT UNIQUE, max_id INT)") }
    let error = await #expect(throws: IDError.self) { try await SQLiteStore(path: path).prepare() }
    #expect(error?.code == .storeRejected)
    #expect(error?.message.contains("step") == true)
    try other.close()
    try folder.remove()
  }

  @Test func `a lock held past the busy timeout is a store that is away, and heals`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.file("mid.db")
    let store = SQLiteStore(path: path, busyTimeout: .milliseconds(20))
    try await store.prepare()
    var configuration = Configuration()
    configuration.allowsUnsafeTransactions = true
    let locker = try DatabaseQueue(path: path, configuration: configuration)
    try await locker.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
    let error = await #expect(throws: IDError.self) { try await store.allocate(1, for: .default) }
    #expect(error?.code == .storeUnavailable)
    try await locker.writeWithoutTransaction { try $0.execute(sql: "ROLLBACK") }
    #expect(try await store.allocate(1, for: .default).start == 1)
    try locker.close()
    await store.close()
    try folder.remove()
  }

  @Test func `a store that is not open yet refuses calls`() async throws {
    let error = await #expect(throws: IDError.self) {
      try await SQLiteStore(path: "/nowhere/mid.db").allocate(1, for: .default)
    }
    #expect(error?.code == .storeUnavailable)
  }

  @Test func `every operation is observed once, by name and outcome`() async throws {
    let folder = try TemporaryFolder()
    let seen = Mutex<[String]>([])
    let observer: SQLiteStore.Observer = { operation, duration, error in
      #expect(duration > .zero)
      seen.withLock { $0.append(operation + (error.map { " \($0.code)" } ?? "")) }
    }
    let store = SQLiteStore(path: folder.file("mid.db"), observer: observer)
    try await store.prepare()
    _ = try await store.allocate(5, for: .default)
    _ = try await store.giveBack(IDRange(start: 5, count: 1), of: .default)
    _ = try await store.tags()
    _ = try await store.createTag(Tag("a"), step: 1, first: 1)
    _ = try await store.updateTag(Tag("a"), step: 2, next: nil)
    _ = await #expect(throws: IDError.self) { try await store.allocate(1, for: Tag("b")) }
    let owner = WorkerOwner(token: "t", description: "d")
    _ = try await store.claimWorker(1, owner: owner, leaseMilliseconds: 1000, bound: 0)
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
    try folder.remove()
  }

  @Test func `leases end by the clock the store was given`() async throws {
    let folder = try TemporaryFolder()
    let clock = Atomic<Int64>(1_000_000)
    let store = SQLiteStore(path: folder.file("mid.db"), now: { clock.load(ordering: .relaxed) })
    try await store.prepare()
    let (one, two) = (WorkerOwner(token: "1", description: "one"), WorkerOwner(token: "2", description: "two"))
    _ = try await store.claimWorker(0, owner: one, leaseMilliseconds: 1000, bound: 0)
    clock.store(1_000_999, ordering: .relaxed)
    let error = await #expect(throws: IDError.self) {
      try await store.claimWorker(0, owner: two, leaseMilliseconds: 1000, bound: 0)
    }
    #expect(error?.code == .leaseLost)
    clock.store(1_001_000, ordering: .relaxed)
    #expect(try await store.claimWorker(0, owner: two, leaseMilliseconds: 1000, bound: 0).storeTime == 1_001_000)
    await store.close()
    try folder.remove()
  }
}
