import GRDB
import MidCore

/// The tables, made where they are missing and never altered.
enum SQLiteSchema {
  /// Creates the missing tables in one transaction, so that two processes starting at once do not meet a half-made one. Of
  /// tables of tags that is mid's own alone.
  static func create(in db: Database, _ table: SQLiteTable) throws {
    try db.inTransaction(.immediate) {
      if try !db.tableExists(table.dialect.table) {
        guard table.dialect.isOwn else { throw self.missing(table) }
        try db.execute(sql: table.creation)
        // Where databases share their tags, whoever creates a tag does so in all of them.
        if table.dialect == .mid {
          try db.execute(sql: "INSERT INTO id_segments (biz_tag, max_id, step) VALUES ('default', 0, 10000)")
        }
      }
      if try !db.tableExists("mid_workers") { try db.execute(sql: self.workers) }
      // A table of somebody else's making is found out now, not at the first id.
      for (_, probe) in self.probes(table) { _ = try Row.fetchOne(db, sql: probe) }
      return .commit
    }
  }

  /// The tables that are not there and would be made. Throws where one that is there lacks a column.
  static func missing(in db: Database, _ table: SQLiteTable) throws -> [String] {
    try self.probes(table).compactMap { name, probe in
      guard try db.tableExists(name) else {
        guard name == "mid_workers" || table.dialect.isOwn else { throw self.missing(table) }
        return "the table \(name)"
      }
      _ = try Row.fetchOne(db, sql: probe)
      return nil
    }
  }

  /// A table that another system made holds the numbers which that one has given out. Where it is missing, the file or the
  /// name is most likely the wrong one, and an empty table would begin at 1 again.
  private static func missing(_ table: SQLiteTable) -> IDError {
    let creation = table.creation.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    return IDError(
      .storeRejected,
      "there is no table \(table.dialect.table) in this file, and mid makes none but its own; check store.url and "
        + "segment.table.name, or make it: \(creation)")
  }

  /// Statements that fail where a table lacks a column.
  private static func probes(_ table: SQLiteTable) -> KeyValuePairs<String, String> {
    [
      table.dialect.table: table.probe,
      "mid_workers": "SELECT worker, owner_token, owner, term, expires_at, bound FROM mid_workers LIMIT 1",
    ]
  }

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
