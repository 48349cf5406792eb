import MidCore

/// The statements on the table of tags, in MySQL's SQL. Every name stands in backticks; a dialect's names are checked to
/// hold nothing that could end them.
struct MySQLTable {
  let dialect: TableDialect

  /// `name` as an identifier.
  static func quoted(_ name: String) -> String { "`\(name)`" }

  var table: String { Self.quoted(self.dialect.table) }
  var tag: String { Self.quoted(self.dialect.tagColumn) }
  var max: String { Self.quoted(self.dialect.maxColumn) }
  var step: String { Self.quoted(self.dialect.stepColumn) }

  /// The columns that statements name. A table whose time of change keeps itself is not asked for it.
  var columns: [String] {
    self.dialect.columns.filter { $0 != self.dialect.updatedColumn || self.setsTime }
  }

  /// Tinyid's server sets the time by hand; in the other tables `ON UPDATE CURRENT_TIMESTAMP` does, where it is asked to.
  private var setsTime: Bool { self.dialect.kind == .tinyid }

  /// Assignments that every change of a row makes beside its own, each after a comma: what an old server looks at to see
  /// that another was first.
  var marksOfChange: String {
    var text = ""
    if let version = self.dialect.versionColumn.map(Self.quoted) { text += ", \(version) = \(version) + 1" }
    if self.setsTime, let updated = self.dialect.updatedColumn { text += ", \(Self.quoted(updated)) = NOW()" }
    return text
  }

  /// Finds out about missing columns, and touches no row.
  var probe: String {
    "SELECT \(self.columns.map(Self.quoted).joined(separator: ", ")) FROM \(self.table) WHERE 1 = 0"
  }

  /// Finds out about missing rights, and touches no row.
  var writeProbe: String { "UPDATE \(self.table) SET \(self.max) = \(self.max)\(self.marksOfChange) WHERE 1 = 0" }

  /// Tag, `max_id`, step, delta and remainder of all rows, to which a condition may be added. ``record(_:_:)`` reads them.
  var select: String { self.select(max: self.max, step: self.step) }

  /// The same with numbers for what is NULL, so that such a row does not take the others away.
  var selectLenient: String { self.select(max: "COALESCE(\(self.max), 0)", step: "COALESCE(\(self.step), 1)") }

  private func select(max: String, step: String) -> String {
    let (delta, remainder) = self.residue ?? ("1", "0")
    return "SELECT \(self.tag), \(max), \(step), \(delta), \(remainder) FROM \(self.table)"
  }

  /// Delta and remainder as Tinyid's server reads them, NULL being 1 and 0.
  private var residue: (delta: String, remainder: String)? {
    self.dialect.residueColumns.map {
      ("COALESCE(\(Self.quoted($0.delta)), 1)", "COALESCE(\(Self.quoted($0.remainder)), 0)")
    }
  }

  /// The condition for the row of exactly the tag whose literal is `name`.
  ///
  /// Most collations take `Order` for `order`. The first half finds the row by the key, under whatever collation the
  /// column has; the second lets only the same bytes through, so that no two tags ever share a row.
  func isTag(_ name: String) -> String {
    "\(self.tag) = \(name) AND CAST(CONVERT(\(self.tag) USING utf8mb4) AS BINARY) = CAST(\(name) AS BINARY)"
  }

  /// Carries a load out in one round trip, where the row stands within its bounds and its ids are still those of
  /// `residue`. The number of the last insert is what `max_id` becomes. Without wishes the statement names none.
  ///
  /// - Parameter isSigned: Whether `max_id` may be below zero after it. `LAST_INSERT_ID` is unsigned: what is below zero
  ///   does not fit the column otherwise.
  func load(
    _ name: String, _ load: TableDialect.Load, _ residue: TableDialect.Residue, isSigned: Bool = false
  ) -> String {
    // No row passes `limit` by being moved up first: that lies below it.
    let old = load.floor.map { "GREATEST(\(self.max), \($0))" } ?? self.max
    let least = load.least.map { " AND \(self.max) >= \($0)" } ?? ""
    let new = "LAST_INSERT_ID(\(old) + \(load.width))"
    return """
      UPDATE \(self.table) SET \(self.max) = \(isSigned ? "CAST(\(new) AS SIGNED)" : new)\(self.marksOfChange) \
      WHERE \(self.isTag(name)) AND \(self.max) <= \(load.limit)\(least)\(self.has(residue))
      """
  }

  /// Puts `max_id` back to `before` where it stands within `taken`.
  func giveBack(
    _ name: String, before: Int64, taken: ClosedRange<Int64>, _ residue: TableDialect.Residue
  ) -> String {
    """
    UPDATE \(self.table) SET \(self.max) = \(before)\(self.marksOfChange) WHERE \(self.isTag(name)) \
    AND \(self.max) BETWEEN \(taken.lowerBound) AND \(taken.upperBound)\(self.has(residue))
    """
  }

  /// Closes the row for loads, which none whose delta is 0 takes. A closed row keeps its step in ids, since the delta is
  /// lost that turns them into numbers; it is computed before the delta is set.
  func close(_ name: String, token: Int64, _ columns: TableDialect.ResidueColumns) -> String {
    let (delta, remainder) = (Self.quoted(columns.delta), Self.quoted(columns.remainder))
    return """
      UPDATE \(self.table) SET \
      \(self.step) = GREATEST(1, COALESCE(\(self.step), 1) DIV GREATEST(1, COALESCE(\(delta), 1))), \
      \(delta) = 0, \(remainder) = \(token)\(self.marksOfChange) WHERE \(self.isTag(name))
      """
  }

  /// Settles the row, where it is closed with `token`.
  func settle(_ name: String, token: Int64, _ columns: TableDialect.ResidueColumns) -> String {
    let (delta, remainder) = (Self.quoted(columns.delta), Self.quoted(columns.remainder))
    return """
      UPDATE \(self.table) SET \(remainder) = \(0 - token)\(self.marksOfChange) \
      WHERE \(self.isTag(name)) AND \(delta) = 0 AND \(remainder) = \(token)
      """
  }

  /// Opens the row where it is closed with `token`.
  func open(
    _ name: String, token: Int64, _ columns: TableDialect.ResidueColumns, _ residue: TableDialect.Residue,
    lastID: Int64, storedStep: Int64
  ) -> String {
    let (delta, remainder) = (Self.quoted(columns.delta), Self.quoted(columns.remainder))
    return """
      UPDATE \(self.table) SET \(self.max) = GREATEST(\(self.max), \(lastID)), \(self.step) = \(storedStep), \
      \(delta) = \(residue.delta), \(remainder) = \(residue.remainder)\(self.marksOfChange) \
      WHERE \(self.isTag(name)) AND \(delta) = 0 AND ABS(\(remainder)) = \(token)
      """
  }

  /// Adds a row.
  func insert(_ name: String, maxID: Int64, step: Int64, delta: Int64 = 1, remainder: Int64 = 0) -> String {
    var values = [(self.tag, name), (self.max, "\(maxID)"), (self.step, "\(step)")]
    if let begin = self.dialect.beginColumn { values.append((Self.quoted(begin), "\(maxID)")) }
    if let columns = self.dialect.residueColumns {
      values += [(Self.quoted(columns.delta), "\(delta)"), (Self.quoted(columns.remainder), "\(remainder)")]
    }
    if self.setsTime, let updated = self.dialect.updatedColumn { values.append((Self.quoted(updated), "NOW()")) }
    let (columns, literals) = (values.map(\.0).joined(separator: ", "), values.map(\.1).joined(separator: ", "))
    return "INSERT INTO \(self.table) (\(columns)) VALUES (\(literals))"
  }

  private func has(_ residue: TableDialect.Residue) -> String {
    guard let (delta, remainder) = self.residue else { return "" }
    return " AND \(delta) = \(residue.delta) AND \(remainder) = \(residue.remainder)"
  }

  /// The record of a row that ``select`` brought.
  func record(_ row: [String?], _ tag: Tag, isLenient: Bool = false) throws(IDError) -> TagRecord {
    func number(_ column: Int) -> Int64? { row[column].flatMap { Int64($0) } }
    guard let maxID = number(1), let step = number(2) else {
      throw IDError(
        .storeRejected,
        "the row of tag \(tag) in \(self.dialect.table) has no whole number as \(self.dialect.maxColumn) or "
          + "\(self.dialect.stepColumn) (NULL?); UPDATE it to one")
    }
    let state = try isLenient ? Self.state(row) ?? .open(.all) : self.checkedState(row, tag)
    return self.dialect.record(tag, maxID: maxID, step: step, state)
  }

  /// The same row as one of several databases' that share the tag.
  func stripe(_ row: [String?], _ tag: Tag) throws(IDError) -> StripeRow {
    let record = try self.record(row, tag)
    return StripeRow(state: try self.checkedState(row, tag), lastID: record.lastID, step: record.step)
  }

  private static func state(_ row: [String?]) -> StripeRow.State? {
    row[3].flatMap { Int64($0) }.flatMap { delta in
      row[4].flatMap { Int64($0) }.flatMap { StripeRow.State(delta: delta, remainder: $0) }
    }
  }

  private func checkedState(_ row: [String?], _ tag: Tag) throws(IDError) -> StripeRow.State {
    guard let state = Self.state(row) else {
      throw IDError(
        .storeRejected,
        "the row of tag \(tag) in \(self.dialect.table) has delta \(row[3] ?? "NULL") and remainder "
          + "\(row[4] ?? "NULL"): no id has that; a delta is 1 to \(TableDialect.Residue.maximumDelta), a remainder "
          + "less than it")
    }
    return state
  }
}

extension MySQLTable {
  /// How the table is made, in the shape that its system has published. `CREATE TABLE IF NOT EXISTS` for mid's own.
  var creation: String {
    let time = "TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP"
    let updated = self.dialect.updatedColumn.map { Self.quoted($0) } ?? ""
    switch self.dialect.kind {
    case .mid:
      // The columns are those of the table's first maker; the collation compares names exactly.
      return """
        CREATE TABLE IF NOT EXISTS \(self.table) (
          id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
          \(self.tag) VARCHAR(50) NOT NULL UNIQUE,
          \(self.max) BIGINT NOT NULL DEFAULT 0,
          \(self.step) INT NOT NULL DEFAULT 10000,
          created_at \(time),
          \(updated) \(time) ON UPDATE CURRENT_TIMESTAMP
        ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
        """
    case .stripe:
      let columns = self.dialect.residueColumns
      return """
        CREATE TABLE IF NOT EXISTS \(self.table) (
          id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
          \(self.tag) VARCHAR(50) NOT NULL UNIQUE,
          \(self.max) BIGINT NOT NULL DEFAULT 0,
          \(self.step) BIGINT NOT NULL,
          \(Self.quoted(columns?.delta ?? "")) INT NOT NULL,
          \(Self.quoted(columns?.remainder ?? "")) INT NOT NULL,
          created_at \(time),
          \(updated) \(time) ON UPDATE CURRENT_TIMESTAMP
        ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
        """
    case .leaf, .leafSegment:
      return """
        CREATE TABLE \(self.table) (
          \(self.tag) VARCHAR(128) NOT NULL DEFAULT '',
          \(self.max) BIGINT NOT NULL DEFAULT 1,
          \(self.step) INT NOT NULL,
          \(self.dialect.kind == .leaf ? "description" : "`desc`") VARCHAR(256) DEFAULT NULL,
          \(updated) \(time) ON UPDATE CURRENT_TIMESTAMP,
          PRIMARY KEY (\(self.tag))
        ) ENGINE = InnoDB
        """
    case .tinyid:
      let columns = self.dialect.residueColumns
      let old = "TIMESTAMP NOT NULL DEFAULT '2010-01-01 00:00:00'"
      func name(_ column: String?) -> String { Self.quoted(column ?? "") }
      return """
        CREATE TABLE \(self.table) (
          id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
          \(self.tag) VARCHAR(63) NOT NULL DEFAULT '' UNIQUE,
          \(name(self.dialect.beginColumn)) BIGINT NOT NULL DEFAULT 0,
          \(self.max) BIGINT NOT NULL DEFAULT 0,
          \(self.step) INT DEFAULT 0,
          \(name(columns?.delta)) INT NOT NULL DEFAULT 1,
          \(name(columns?.remainder)) INT NOT NULL DEFAULT 0,
          create_time \(old),
          \(updated) \(old),
          \(name(self.dialect.versionColumn)) BIGINT NOT NULL DEFAULT 0
        ) ENGINE = InnoDB
        """
    }
  }
}
