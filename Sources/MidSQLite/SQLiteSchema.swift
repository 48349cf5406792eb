import GRDB

/// The tables, made where they are missing and never altered.
enum SQLiteSchema {
  /// Creates the missing tables in one transaction, so that two processes starting at once do not meet a half-made one.
  static func create(in db: Database) throws {
    try db.inTransaction(.immediate) {
      if try !db.tableExists("id_segments") {
        try db.execute(sql: self.segments)
        try db.execute(sql: "INSERT INTO id_segments (biz_tag, max_id, step) VALUES ('default', 0, 10000)")
      }
      if try !db.tableExists("mid_workers") { try db.execute(sql: self.workers) }
      // A table of somebody else's making is found out now, not at the first id.
      for (_, probe) in self.probes { _ = try Row.fetchOne(db, sql: probe) }
      return .commit
    }
  }

  /// The tables that are not there. Throws where one that is there lacks a column.
  static func missing(in db: Database) throws -> [String] {
    try self.probes.compactMap { table, probe in
      guard try db.tableExists(table) else { return "the table \(table)" }
      _ = try Row.fetchOne(db, sql: probe)
      return nil
    }
  }

  /// Statements that fail where a table lacks a column.
  private static let probes: KeyValuePairs = [
    "id_segments": "SELECT biz_tag, max_id, step, updated_at FROM id_segments LIMIT 1",
    "mid_workers": "SELECT worker, owner_token, owner, term, expires_at, bound FROM mid_workers LIMIT 1",
  ]

  /// `max_id` is the last id given out.
  private static let segments = """
    CREATE TABLE id_segments (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      biz_tag TEXT NOT NULL UNIQUE,
      max_id INTEGER NOT NULL DEFAULT 0,
      step INTEGER NOT NULL DEFAULT 10000,
      created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
      updated_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
    )
    """

  /// Times are milliseconds since the Unix epoch.
  private static let workers = """
    CREATE TABLE mid_workers (
      worker INTEGER PRIMARY KEY,
      owner_token TEXT NOT NULL,
      owner TEXT NOT NULL,
      term INTEGER NOT NULL,
      expires_at INTEGER NOT NULL,
      bound INTEGER NOT NULL
    )
    """
}
