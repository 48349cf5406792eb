import GRDB
public import MidCore

extension SQLiteStore: StripeStore {
  /// The row of one of several files that share their tags.
  public func stripe(of tag: Tag) async throws(IDError) -> StripeRow? {
    let table = self.table
    _ = try table.dialect.checkStripes()
    return try await self.read("stripe") { db in try table.stripe(of: tag, in: db) }
  }

  /// Closes the row, or creates a closed one, if it still says what was seen.
  public func closeStripe(
    of tag: Tag, ifStill seen: StripeRow.State?, token: Int64, step: Int64
  ) async throws(IDError) -> Bool {
    let table = self.table
    let columns = try table.dialect.checkStripes()
    try StripeRow.check(token: token)
    try StripeRow.check(step: step)
    let (delta, remainder) = (SQLiteTable.quoted(columns.delta), SQLiteTable.quoted(columns.remainder))
    return try await self.transaction("close_stripe") { db in
      guard try table.stripe(of: tag, in: db)?.state == seen else { return false }
      guard seen != nil else {
        try db.execute(sql: table.insert(delta: 0, remainder: token), arguments: [tag.name, 0, step])
        return db.changesCount == 1
      }
      // A closed row keeps its step in ids, since the delta is lost that turns them into numbers.
      try db.execute(
        sql: """
          UPDATE \(table.table) SET \(table.step) = MAX(1, COALESCE(\(table.step), 1) / MAX(1, COALESCE(\(delta), 1))), \
          \(delta) = 0, \(remainder) = ?1\(table.marksOfChange) WHERE \(table.tag) = ?2
          """, arguments: [token, tag.name])
      return true
    }
  }

  /// Settles the row, if it is closed with `token`.
  public func settleStripe(of tag: Tag, token: Int64) async throws(IDError) -> Bool {
    let table = self.table
    let columns = try table.dialect.checkStripes()
    try StripeRow.check(token: token)
    let (delta, remainder) = (SQLiteTable.quoted(columns.delta), SQLiteTable.quoted(columns.remainder))
    return try await self.transaction("settle_stripe") { db in
      try db.execute(
        sql: """
          UPDATE \(table.table) SET \(remainder) = ?1\(table.marksOfChange) WHERE \(table.tag) = ?2 AND \(delta) = 0 \
          AND \(remainder) = ?3
          """, arguments: [0 - token, tag.name, token])
      return db.changesCount == 1
    }
  }

  /// Opens the row, if it is closed or settled with `token`.
  public func openStripe(
    of tag: Tag, token: Int64, residue: TableDialect.Residue, lastID: Int64, step: Int64
  ) async throws(IDError) -> Bool {
    let table = self.table
    let columns = try table.dialect.checkStripes()
    try StripeRow.check(token: token)
    try StripeRow.check(step: step)
    let storedStep = table.dialect.openedStep(step, residue)
    let (delta, remainder) = (SQLiteTable.quoted(columns.delta), SQLiteTable.quoted(columns.remainder))
    return try await self.transaction("open_stripe") { db in
      try db.execute(
        sql: """
          UPDATE \(table.table) SET \(table.max) = MAX(\(table.max), ?1), \(table.step) = ?2, \(delta) = ?3, \
          \(remainder) = ?4\(table.marksOfChange) WHERE \(table.tag) = ?5 AND \(delta) = 0 AND ABS(\(remainder)) = ?6
          """,
        arguments: [lastID, storedStep, residue.delta, residue.remainder, tag.name, token])
      return db.changesCount == 1
    }
  }

  /// Creates an open row.
  public func createStripe(
    _ tag: Tag, residue: TableDialect.Residue, step: Int64, first: Int64
  ) async throws(IDError) -> TagRecord {
    let table = self.table
    _ = try table.dialect.checkStripes()
    try StripeRow.check(step: step)
    try StripeRow.check(first: first)
    let storedStep = try table.dialect.storedStep(step, residue)
    return try await self.transaction("create_stripe") { db in
      let maxID = table.dialect.maxID(beforeNext: first)
      try db.execute(
        sql: table.insert(delta: residue.delta, remainder: residue.remainder),
        arguments: [tag.name, maxID, storedStep])
      guard db.changesCount == 1 else { throw IDError(.tagExists, "tag \(tag) is there already") }
      return table.dialect.record(tag, maxID: maxID, step: storedStep, residue)
    }
  }
}
