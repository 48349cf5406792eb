import CMariaDB
import MidCore

/// The tables: made where they are missing, checked where they are there, never altered.
enum MySQLSchema {
  /// Checks both tables and the rights on them, and creates what is missing: of tables of tags, mid's own alone.
  static func prepare(_ connection: MySQLConnection, _ table: MySQLTable) throws {
    if try self.isMissing(table.probe, connection) {
      guard table.dialect.isOwn else { throw self.missing(table) }
      try connection.execute(table.creation)
      // Only where the table was missing: rows of a table of somebody else's making are that one's business. And where
      // databases share their tags, whoever creates a tag does so in all of them.
      if table.dialect == .mid {
        try connection.execute("INSERT IGNORE INTO id_segments (biz_tag, max_id, step) VALUES ('default', 0, 10000)")
      }
    }
    try connection.execute(table.writeProbe)
    if try self.isMissing(self.workersProbe, connection) { try connection.execute(self.workers) }
    try self.checkWorkerRights(connection)
  }

  /// The tables that are not there and would be made; those that are there are checked, and the rights on them.
  static func missing(_ connection: MySQLConnection, _ table: MySQLTable) throws -> [String] {
    var missing: [String] = []
    if try self.isMissing(table.probe, connection) {
      guard table.dialect.isOwn else { throw self.missing(table) }
      missing.append("the table \(table.dialect.table)")
    } else {
      try connection.execute(table.writeProbe)
    }
    if try self.isMissing(self.workersProbe, connection) {
      missing.append("the table mid_workers")
    } else {
      try self.checkWorkerRights(connection)
    }
    return missing
  }

  /// A table that another system made holds the numbers which that one has given out. Where it is missing, the database or
  /// the name is most likely the wrong one, and an empty table would begin at 1 again.
  private static func missing(_ table: MySQLTable) -> IDError {
    let creation = table.creation.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    return IDError(
      .storeRejected,
      "there is no table \(table.dialect.table) in this database, and mid makes none but its own; check store.url and "
        + "segment.table.name, or make it: \(creation)")
  }

  // Statements that touch no row find out about missing rights now, not at the first id.

  private static func checkWorkerRights(_ connection: MySQLConnection) throws {
    try connection.execute("UPDATE mid_workers SET term = term WHERE 1 = 0")
    let columns = self.workerColumns
    try connection.execute("INSERT INTO mid_workers (\(columns)) SELECT \(columns) FROM mid_workers WHERE 1 = 0")
  }

  private static let workerColumns = "worker, owner_token, owner, term, expires_at, bound"
  private static let workersProbe = "SELECT \(workerColumns) FROM mid_workers WHERE 1 = 0"

  /// What lets a crash of the server take back commits it has reported.
  static func durabilityWarnings(_ connection: MySQLConnection, _ table: MySQLTable) throws -> [String] {
    try self.durability(connection, of: [table.dialect.table])?.warnings ?? []
  }

  /// What lets a crash of the server take back commits it has reported, and which of the tables there are, as far as this
  /// user may know. Nil where the server, or a proxy, says nothing of the kind.
  ///
  /// - Parameter tables: Names that need no escaping within quotation marks.
  static func durability(
    _ connection: MySQLConnection, of tables: [String]
  ) throws -> (warnings: [String], present: Set<String>)? {
    let settings: [[String?]]
    let engines: [[String?]]
    do {
      settings = try connection.rows(
        "SELECT @@global.innodb_flush_log_at_trx_commit, @@global.log_bin, @@global.sync_binlog")
      let names = tables.map { "'\($0)'" }.joined(separator: ", ")
      engines = try connection.rows(
        """
        SELECT table_name, engine FROM information_schema.tables WHERE table_schema = DATABASE() \
        AND table_name IN (\(names))
        """)
    } catch let failure as MySQLFailure where !failure.endsConnection {
      return nil
    }
    var warnings: [String] = []
    if let flush = settings.first?[0], flush != "1" {
      warnings.append(
        "innodb_flush_log_at_trx_commit is \(flush): a crash of the server can take back loads and repeat ids; set it to 1"
      )
    }
    if let log = settings.first?[1], log == "1" || log == "ON", let sync = settings.first?[2], sync != "1" {
      warnings.append(
        "sync_binlog is \(sync): a crash of the server can leave replicas behind, and a failover repeat ids; set it to 1"
      )
    }
    for row in engines {
      if let name = row[0], let engine = row[1], engine.lowercased() != "innodb" {
        warnings.append("\(name) is a table of \(engine): its writes may not survive a crash; use InnoDB")
      }
    }
    return (warnings, Set(engines.compactMap { $0[0] }))
  }

  private static func isMissing(_ probe: String, _ connection: MySQLConnection) throws -> Bool {
    do {
      _ = try connection.rows(probe)
      return false
    } catch let failure as MySQLFailure where failure.isMissingTable {
      return true
    }
  }

  /// Times are milliseconds since the Unix epoch.
  private static let workers = """
    CREATE TABLE IF NOT EXISTS mid_workers (
      worker BIGINT NOT NULL PRIMARY KEY,
      owner_token VARCHAR(128) NOT NULL,
      owner VARCHAR(255) NOT NULL,
      term BIGINT NOT NULL,
      expires_at BIGINT NOT NULL,
      bound BIGINT NOT NULL
    ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
    """
}
