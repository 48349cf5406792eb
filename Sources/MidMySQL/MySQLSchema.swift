import CMariaDB
import MidCore

/// The tables: made where they are missing, checked where they are there, never altered.
enum MySQLSchema {
  /// Checks both tables and the rights on them, and creates what is missing.
  static func prepare(_ connection: MySQLConnection) throws {
    if try self.isMissing(self.segmentsProbe, connection) {
      try connection.execute(self.segments)
      // Only where the table was missing: rows of a table of somebody else's making are that one's business.
      try connection.execute("INSERT IGNORE INTO id_segments (biz_tag, max_id, step) VALUES ('default', 0, 10000)")
    }
    try self.checkSegmentRights(connection)
    if try self.isMissing(self.workersProbe, connection) { try connection.execute(self.workers) }
    try self.checkWorkerRights(connection)
  }

  /// The tables that are not there; those that are there are checked, and the rights on them.
  static func missing(_ connection: MySQLConnection) throws -> [String] {
    var missing: [String] = []
    if try self.isMissing(self.segmentsProbe, connection) {
      missing.append("the table id_segments")
    } else {
      try self.checkSegmentRights(connection)
    }
    if try self.isMissing(self.workersProbe, connection) {
      missing.append("the table mid_workers")
    } else {
      try self.checkWorkerRights(connection)
    }
    return missing
  }

  // Statements that touch no row find out about missing rights now, not at the first id.

  private static func checkSegmentRights(_ connection: MySQLConnection) throws {
    try connection.execute("UPDATE id_segments SET max_id = max_id WHERE 1 = 0")
  }

  private static func checkWorkerRights(_ connection: MySQLConnection) throws {
    try connection.execute("UPDATE mid_workers SET term = term WHERE 1 = 0")
    let columns = self.workerColumns
    try connection.execute("INSERT INTO mid_workers (\(columns)) SELECT \(columns) FROM mid_workers WHERE 1 = 0")
  }

  private static let workerColumns = "worker, owner_token, owner, term, expires_at, bound"
  private static let segmentsProbe = "SELECT biz_tag, max_id, step FROM id_segments WHERE 1 = 0"
  private static let workersProbe = "SELECT \(workerColumns) FROM mid_workers WHERE 1 = 0"

  /// What lets a crash of the server take back commits it has reported.
  static func durabilityWarnings(_ connection: MySQLConnection) throws -> [String] {
    let rows: [[String?]]
    do {
      rows = try connection.rows(
        """
        SELECT @@global.innodb_flush_log_at_trx_commit, @@global.log_bin, @@global.sync_binlog, \
        (SELECT MAX(engine) FROM information_schema.tables \
        WHERE table_schema = DATABASE() AND table_name = 'id_segments')
        """)
    } catch let failure as MySQLFailure where !failure.endsConnection {
      return []  // A server or proxy without these settings says nothing about them.
    }
    guard let row = rows.first else { return [] }
    var warnings: [String] = []
    if let flush = row[0], flush != "1" {
      warnings.append(
        "innodb_flush_log_at_trx_commit is \(flush): a crash of the server can take back loads and repeat ids; set it to 1"
      )
    }
    if let log = row[1], log == "1" || log == "ON", let sync = row[2], sync != "1" {
      warnings.append(
        "sync_binlog is \(sync): a crash of the server can leave replicas behind, and a failover repeat ids; set it to 1"
      )
    }
    if let engine = row[3], engine.lowercased() != "innodb" {
      warnings.append("id_segments is a table of \(engine): its writes may not survive a crash; use InnoDB")
    }
    return warnings
  }

  private static func isMissing(_ probe: String, _ connection: MySQLConnection) throws -> Bool {
    do {
      _ = try connection.rows(probe)
      return false
    } catch let failure as MySQLFailure where failure.isMissingTable {
      return true
    }
  }

  /// `max_id` is the last id given out. The columns are those of the table's first maker; the collation compares names
  /// exactly.
  private static let segments = """
    CREATE TABLE IF NOT EXISTS id_segments (
      id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
      biz_tag VARCHAR(50) NOT NULL UNIQUE,
      max_id BIGINT NOT NULL DEFAULT 0,
      step INT NOT NULL DEFAULT 10000,
      created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
      updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP
    ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
    """

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
