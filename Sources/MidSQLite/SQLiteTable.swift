import GRDB
import MidCore

/// The statements on the table of tags, in SQLite's SQL.
///
/// Names stand in backticks, not in quotation marks: those SQLite takes for a text where there is no such column, so that
/// a missing column would not be noticed. A dialect's names are checked to hold nothing that could end them.
struct SQLiteTable {
  let dialect: TableDialect

  /// `name` as an identifier.
  static func quoted(_ name: String) -> String { "`\(name)`" }

  var table: String { Self.quoted(self.dialect.table) }
  var tag: String { Self.quoted(self.dialect.tagColumn) }
  var max: String { Self.quoted(self.dialect.maxColumn) }
  var step: String { Self.quoted(self.dialect.stepColumn) }

  /// Assignments that every change of a row makes beside its own, each after a comma.
  var marksOfChange: String {
    var text = ""
    if let version = self.dialect.versionColumn.map(Self.quoted) { text += ", \(version) = \(version) + 1" }
    if let updated = self.dialect.updatedColumn { text += ", \(Self.quoted(updated)) = CURRENT_TIMESTAMP" }
    return text
  }

  /// Fails where the table lacks a column.
  var probe: String {
    "SELECT \(self.dialect.columns.map(Self.quoted).joined(separator: ", ")) FROM \(self.table) LIMIT 1"
  }

  /// Tag, `max_id`, step, delta and remainder of all rows, to which a condition may be added. ``record(_:_:)`` reads them.
  var select: String { self.select(max: self.max, step: self.step) }

  /// The same with numbers for what is NULL, so that such a row does not take the others away.
  var selectLenient: String { self.select(max: "COALESCE(\(self.max), 0)", step: "COALESCE(\(self.step), 1)") }

  private func select(max: String, step: String) -> String {
    let residue = self.dialect.residueColumns.map {
      "COALESCE(\(Self.quoted($0.delta)), 1), COALESCE(\(Self.quoted($0.remainder)), 0)"
    }
    return "SELECT \(self.tag), \(max), \(step), \(residue ?? "1, 0") FROM \(self.table)"
  }

  /// The row of `tag`.
  ///
  /// - Throws: ``IDError/Code/unknownTag``.
  func record(of tag: Tag, in db: Database) throws -> TagRecord {
    let statement = try db.cachedStatement(sql: "\(self.select) WHERE \(self.tag) = ?")
    guard let row = try Row.fetchOne(statement, arguments: [tag.name]) else {
      throw IDError(.unknownTag, "there is no tag \(tag); create it first")
    }
    return try self.record(row, tag)
  }

  /// The record of a row that ``select`` brought.
  func record(_ row: Row, _ tag: Tag, isLenient: Bool = false) throws(IDError) -> TagRecord {
    guard let maxID = Int64.fromDatabaseValue(row[1]), let step = Int64.fromDatabaseValue(row[2]) else {
      throw IDError(
        .storeRejected,
        "the row of tag \(tag) has no number as \(self.dialect.maxColumn) or \(self.dialect.stepColumn); set them")
    }
    let state = try isLenient ? self.state(row) ?? .open(.all) : self.checkedState(row, tag)
    return self.dialect.record(tag, maxID: maxID, step: step, state)
  }

  /// The row of `tag` as one of several databases' that share it; nil where there is none.
  func stripe(of tag: Tag, in db: Database) throws -> StripeRow? {
    let sql = "\(self.select) WHERE \(self.tag) = ?"
    guard let row = try Row.fetchOne(db, sql: sql, arguments: [tag.name]) else { return nil }
    let record = try self.record(row, tag)
    return StripeRow(state: try self.checkedState(row, tag), lastID: record.lastID, step: record.step)
  }

  private func state(_ row: Row) -> StripeRow.State? {
    Int64.fromDatabaseValue(row[3]).flatMap { delta in
      Int64.fromDatabaseValue(row[4]).flatMap { StripeRow.State(delta: delta, remainder: $0) }
    }
  }

  private func checkedState(_ row: Row, _ tag: Tag) throws(IDError) -> StripeRow.State {
    guard let state = self.state(row) else {
      throw IDError(
        .storeRejected,
        "the row of tag \(tag) in \(self.dialect.table) has a delta and a remainder that no id has; a delta is 1 to "
          + "\(TableDialect.Residue.maximumDelta), a remainder less than it")
    }
    return state
  }

  /// Adds a row, with the tag, `max_id` and step as arguments `?1` to `?3`, or does nothing where there is one.
  var insert: String { self.insert(delta: 1, remainder: 0) }

  /// The same for a row of other numbers.
  func insert(delta: Int64, remainder: Int64) -> String {
    var values = [(self.tag, "?1"), (self.max, "?2"), (self.step, "?3")]
    if let begin = self.dialect.beginColumn { values.append((Self.quoted(begin), "?2")) }
    if let columns = self.dialect.residueColumns {
      values += [(Self.quoted(columns.delta), "\(delta)"), (Self.quoted(columns.remainder), "\(remainder)")]
    }
    let (columns, marks) = (values.map(\.0).joined(separator: ", "), values.map(\.1).joined(separator: ", "))
    return "INSERT INTO \(self.table) (\(columns)) VALUES (\(marks)) ON CONFLICT (\(self.tag)) DO NOTHING"
  }
}

extension SQLiteTable {
  /// How the table is made, in the shape that its system has published, with SQLite's types.
  var creation: String {
    let time = "TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP"
    func name(_ column: String?) -> String { Self.quoted(column ?? "") }
    switch self.dialect.kind {
    case .mid:
      return """
        CREATE TABLE \(self.table) (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          \(self.tag) TEXT NOT NULL UNIQUE,
          \(self.max) INTEGER NOT NULL DEFAULT 0,
          \(self.step) INTEGER NOT NULL DEFAULT 10000,
          created_at \(time),
          \(name(self.dialect.updatedColumn)) \(time)
        )
        """
    case .stripe:
      return """
        CREATE TABLE \(self.table) (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          \(self.tag) TEXT NOT NULL UNIQUE,
          \(self.max) INTEGER NOT NULL DEFAULT 0,
          \(self.step) INTEGER NOT NULL,
          \(name(self.dialect.residueColumns?.delta)) INTEGER NOT NULL,
          \(name(self.dialect.residueColumns?.remainder)) INTEGER NOT NULL,
          created_at \(time),
          \(name(self.dialect.updatedColumn)) \(time)
        )
        """
    case .leaf, .leafSegment:
      return """
        CREATE TABLE \(self.table) (
          \(self.tag) TEXT NOT NULL PRIMARY KEY,
          \(self.max) INTEGER NOT NULL DEFAULT 1,
          \(self.step) INTEGER NOT NULL,
          \(self.dialect.kind == .leaf ? "description" : "`desc`") TEXT DEFAULT NULL,
          \(name(self.dialect.updatedColumn)) \(time)
        )
        """
    case .tinyid:
      return """
        CREATE TABLE \(self.table) (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          \(self.tag) TEXT NOT NULL UNIQUE,
          \(name(self.dialect.beginColumn)) INTEGER NOT NULL DEFAULT 0,
          \(self.max) INTEGER NOT NULL DEFAULT 0,
          \(self.step) INTEGER DEFAULT 0,
          \(name(self.dialect.residueColumns?.delta)) INTEGER NOT NULL DEFAULT 1,
          \(name(self.dialect.residueColumns?.remainder)) INTEGER NOT NULL DEFAULT 0,
          create_time \(time),
          \(name(self.dialect.updatedColumn)) \(time),
          \(name(self.dialect.versionColumn)) INTEGER NOT NULL DEFAULT 0
        )
        """
    }
  }
}
