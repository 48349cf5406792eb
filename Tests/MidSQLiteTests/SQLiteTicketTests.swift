import GRDB
import MidCore
import MidSQLite
import MidTestKit
import Testing

/// Tickets of real files.
@Suite struct SQLiteTicketTests {
  @Test(arguments: TicketStoreContract.Case.allCases)
  func `keeps the promise`(_ promise: TicketStoreContract.Case) async throws {
    let folder = try TemporaryFolder()
    let contract = TicketStoreContract {
      let store = SQLiteStore(path: folder.file("mid.db"))
      try await store.prepare()
      return store
    }
    try await contract.check(promise)
    try folder.remove()
  }

  @Test func `a client that replaces rows itself gets other numbers, and a row deleted is not counted again`()
    async throws
  {
    let folder = try TemporaryFolder()
    let store = SQLiteStore(path: folder.file("mid.db"))
    try await store.prepare()
    #expect(try await store.takeTickets(5, of: .default) == IDRange(start: 1, count: 5))
    let other = try DatabaseQueue(path: folder.file("mid.db"))
    let theirs = try await other.write { db in
      try db.execute(sql: "REPLACE INTO Tickets64 (stub) VALUES ('a')")
      return db.lastInsertedRowID
    }
    #expect(theirs == 6)
    try await other.write { try $0.execute(sql: "DELETE FROM Tickets64") }
    #expect(try await store.takeTickets(2, of: .default) == IDRange(start: 7, count: 2))
    try await other.write { try $0.execute(sql: "INSERT INTO Tickets64 (id, stub) VALUES (\(Int64.max - 3), 'b')") }
    await #expect(throws: IDError.self) { try await store.takeTickets(3, of: .default) }
    #expect(try await store.takeTickets(2, of: .default) == IDRange(start: Int64.max - 2, count: 2))
    try other.close()
    await store.close()
    try folder.remove()
  }
}
