import GRDB
public import MidCore

extension SQLiteStore: TicketStore {
  /// Takes the next `count` tickets of `table`: one transaction that replaces the table's one row by that of the last.
  ///
  /// The table is Flickr's, with SQLite's `AUTOINCREMENT`, which never gives a number twice, also where its row is gone.
  public func takeTickets(_ count: Int64, of table: TicketTable) async throws(IDError) -> IDRange {
    guard count >= 1 else { throw IDError(.invalidArgument, "a statement takes at least 1 ticket, not \(count)") }
    return try await self.transaction("take_tickets") { db in
      if try !db.tableExists(table.name) {
        try db.execute(
          // Another process may have made it since GRDB last looked.
          sql: """
            CREATE TABLE IF NOT EXISTS "\(table)" (id INTEGER PRIMARY KEY AUTOINCREMENT, stub TEXT NOT NULL DEFAULT '' UNIQUE)
            """)
      }
      let sql = """
        SELECT MAX(COALESCE((SELECT seq FROM sqlite_sequence WHERE name = ?1), 0),
          COALESCE((SELECT MAX(id) FROM "\(table)"), 0))
        """
      guard let last = try Int64.fetchOne(try db.cachedStatement(sql: sql), arguments: [table.name]), last >= 0 else {
        throw IDError(.storeRejected, "the table \(table) in \(self.path) has no number as its last")
      }
      // A half-open range's end has to fit as well.
      guard last < Int64.max - count else {
        throw IDError(
          .exhausted, "the table \(table) stands at \(last): \(count) more tickets would not fit in 63 bits")
      }
      let replace = try db.cachedStatement(sql: "REPLACE INTO \"\(table)\" (id, stub) VALUES (?, 'a')")
      try replace.execute(arguments: [last + count])
      return IDRange(start: last + 1, count: count)
    }
  }

  /// Looks which tables there are. Every file that this store opens is durable.
  public func inspect(_ tables: [TicketTable]) async throws(IDError) -> TicketInspection {
    try await self.read("inspect_tickets") { db in
      TicketInspection(missing: try tables.filter { try !db.tableExists($0.name) })
    }
  }
}
