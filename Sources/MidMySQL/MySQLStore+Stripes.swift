public import MidCore

extension MySQLStore: StripeStore {
  /// The row of one of several databases that share their tags.
  public func stripe(of tag: Tag) async throws(IDError) -> StripeRow? {
    _ = try self.table.dialect.checkStripes()
    do {
      return try await self.run("stripe") { connection in
        try self.row(of: tag, connection).map { try self.table.stripe($0, tag) }
      }
    } catch {
      // The column's character set can't even spell the name.
      guard error.code == .unknownTag else { throw error }
      return nil
    }
  }

  /// Closes the row, or creates a closed one, if it still says what was seen.
  ///
  /// - Throws: ``IDError/Code/tagExists`` where there is none and can be none, since the column's collation takes the name
  ///   for another tag's.
  public func closeStripe(
    of tag: Tag, ifStill seen: StripeRow.State?, token: Int64, step: Int64
  ) async throws(IDError) -> Bool {
    let columns = try self.table.dialect.checkStripes()
    try StripeRow.check(token: token)
    try StripeRow.check(step: step)
    return try await self.run("close_stripe") { connection in
      try connection.transaction {
        // Looked for, since a statement that finds the row closed already may change nothing.
        let row = try self.row(of: tag, connection, isLocked: true)
        guard try row.map({ try self.table.stripe($0, tag).state }) == seen else { return false }
        guard row == nil else {
          try connection.execute(self.table.close(try connection.literal(tag.name), token: token, columns))
          return true
        }
        do {
          try self.insert(tag, connection) {
            self.table.insert($0, maxID: 0, step: step, delta: 0, remainder: token)
          }
          return true
        } catch let error as IDError where error.code == .tagExists {
          // Another run may have been first; another tag of much the same name is left alone.
          guard try self.row(of: tag, connection, isLocked: true) != nil else { throw error }
          return false
        }
      }
    }
  }

  /// Settles the row, if it is closed with `token`.
  public func settleStripe(of tag: Tag, token: Int64) async throws(IDError) -> Bool {
    let columns = try self.table.dialect.checkStripes()
    try StripeRow.check(token: token)
    return try await self.run("settle_stripe") { connection in
      let statement = self.table.settle(try connection.literal(tag.name), token: token, columns)
      return try connection.execute(statement).affectedRows == 1
    }
  }

  /// Opens the row, if it is closed or settled with `token`.
  public func openStripe(
    of tag: Tag, token: Int64, residue: TableDialect.Residue, lastID: Int64, step: Int64
  ) async throws(IDError) -> Bool {
    let columns = try self.table.dialect.checkStripes()
    try StripeRow.check(token: token)
    try StripeRow.check(step: step)
    let storedStep = self.table.dialect.openedStep(step, residue)
    return try await self.run("open_stripe") { connection in
      let statement = self.table.open(
        try connection.literal(tag.name), token: token, columns, residue, lastID: lastID, storedStep: storedStep)
      return try connection.execute(statement).affectedRows == 1
    }
  }

  /// Creates an open row.
  ///
  /// - Throws: As ``createTag(_:step:first:)``.
  public func createStripe(
    _ tag: Tag, residue: TableDialect.Residue, step: Int64, first: Int64
  ) async throws(IDError) -> TagRecord {
    _ = try self.table.dialect.checkStripes()
    try StripeRow.check(step: step)
    try StripeRow.check(first: first)
    let storedStep = try self.table.dialect.storedStep(step, residue)
    return try await self.run("create_stripe") { connection in
      let table = self.table
      let maxID = table.dialect.maxID(beforeNext: first)
      try self.insert(tag, connection) {
        table.insert($0, maxID: maxID, step: storedStep, delta: residue.delta, remainder: residue.remainder)
      }
      return table.dialect.record(tag, maxID: maxID, step: storedStep, residue)
    }
  }
}
