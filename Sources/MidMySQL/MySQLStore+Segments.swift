public import MidCore
import Synchronization

extension MySQLStore {
  /// Takes the next ids of `tag` by the table's own rule, in one round trip; in two where the ids of a tag that several
  /// databases share are not known yet, or have changed.
  public func allocate(_ claim: SegmentClaim, for tag: Tag) async throws(IDError) -> IDRange {
    try claim.validate()
    return try await self.run("allocate") { connection in
      var residue = self.residue(of: tag)
      // The second time by what the row says.
      for _ in 0..<2 {
        if let residue, let range = try self.load(claim, for: tag, residue, connection) { return range }
        let record = try self.record(of: tag, connection)
        // Says why no load was made, where the row is as it was thought to be.
        _ = try self.table.dialect.taking(claim, from: record)
        if record.residue == residue { break }
        self.remember(record)
        residue = record.residue
      }
      throw IDError(.storeUnavailable, "the row of tag \(tag) changed while it was looked at; try again")
    }
  }

  /// One load, or nil where no row is as it has to be.
  private func load(
    _ claim: SegmentClaim, for tag: Tag, _ residue: TableDialect.Residue, _ connection: MySQLConnection
  ) throws -> IDRange? {
    let table = self.table
    guard let load = table.dialect.load(claim, residue) else { return nil }
    let name = try connection.literal(tag.name)
    let (rows, maxID) = try Self.updating(tag) {
      do {
        return try self.moved(tag, by: table.load(name, load, residue), connection)
      } catch let failure as MySQLFailure where failure.isOutOfRange {
        // A row that its operator set below zero, and too far for one load.
        return try self.moved(tag, by: table.load(name, load, residue, isSigned: true), connection)
      }
    }
    switch rows {
    case 0: return nil
    case 1:
      guard let range = table.dialect.range(endingAt: maxID, count: claim.count, residue) else {
        throw IDError(
          .storeRejected, "the row of tag \(tag) came to \(maxID), which no load of \(claim.count) ids makes")
      }
      return range
    default:
      throw IDError(
        .storeRejected,
        "tag \(tag) has \(rows) rows in \(table.dialect.table); leave one, and make \(table.dialect.tagColumn) a unique "
          + "key")
    }
  }

  /// Carries out a load's statement.
  ///
  /// A trigger on the table hides the number that the statement leaves in LAST_INSERT_ID: the server puts back what was
  /// there before the trigger. What is taken then is not used, and from then on the row is read within the transaction
  /// that has moved it, which takes two round trips more.
  ///
  /// - Returns: How many rows it has changed, and where the row stands now.
  private func moved(
    _ tag: Tag, by statement: String, _ connection: MySQLConnection
  ) throws -> (rows: UInt64, maxID: Int64) {
    if !self.hidesInsertIDs.load(ordering: .relaxed) {
      let outcome = try connection.execute(statement)
      if outcome.affectedRows != 1 || outcome.insertID != 0 {
        // The library's number is unsigned; a row set below zero by its operator comes back by its bits.
        return (outcome.affectedRows, Int64(bitPattern: outcome.insertID))
      }
      self.hidesInsertIDs.store(true, ordering: .relaxed)
    }
    return try connection.transaction {
      let rows = try connection.execute(statement).affectedRows
      return (rows, rows == 1 ? try self.record(of: tag, connection).maxID : 0)
    }
  }

  /// Puts `max_id` back to just before `rest`, if it still stands at the end of `rest`.
  public func giveBack(_ rest: IDRange, of tag: Tag) async throws(IDError) -> Bool {
    guard let (taken, before, residue) = self.table.dialect.marks(of: rest) else { return false }
    do {
      return try await self.run("give_back") { connection in
        let name = try connection.literal(tag.name)
        let outcome = try Self.updating(tag) {
          try connection.execute(self.table.giveBack(name, before: before, taken: taken, residue))
        }
        return outcome.affectedRows == 1
      }
    } catch {
      guard error.code == .unknownTag else { throw error }
      return false
    }
  }

  /// All rows whose names are tags. Others (an empty name, say) can't be asked for and are left out.
  public func tags() async throws(IDError) -> [TagRecord] {
    try await self.run("tags") { connection in
      try connection.rows(self.table.selectLenient).compactMap { row in
        guard let name = row[0] else { return nil }
        do {
          return try self.table.record(row, Tag(name), isLenient: true)
        } catch let error as IDError where error.code == .invalidArgument {
          return nil
        }
      }
    }
  }

  /// Creates the row of a tag whose first id will be `first`. `step` and `first` are at least 1.
  ///
  /// - Throws: ``IDError/Code/tagExists``, also where the column's collation takes the name for one that is there;
  ///   ``IDError/Code/invalidArgument`` where name or step do not fit their columns: 50 characters and 2,147,483,647 in a
  ///   table of mid's making.
  public func createTag(_ tag: Tag, step: Int64, first: Int64) async throws(IDError) -> TagRecord {
    try StripeRow.check(step: step)
    try StripeRow.check(first: first)
    return try await self.run("create_tag") { connection in
      let table = self.table
      let maxID = table.dialect.maxID(beforeNext: first)
      try self.insert(tag, connection) { table.insert($0, maxID: maxID, step: step) }
      return table.dialect.record(tag, maxID: maxID, step: step)
    }
  }

  /// Sets the step, and moves the next id forward to `next`.
  public func updateTag(_ tag: Tag, step: Int64?, next: Int64?) async throws(IDError) -> TagRecord {
    if let step { try StripeRow.check(step: step) }
    return try await self.run("update_tag") { connection in
      try connection.transaction {
        let table = self.table
        var record = try self.record(of: tag, connection, isLocked: true)
        guard !record.isClosed else { throw IDError.restriped(tag) }
        var changes: [String] = []
        if let next {
          record.maxID = try table.dialect.moving(record, to: next)
          changes.append("\(table.max) = \(record.maxID)")
        }
        if let step {
          record.step = step
          changes.append("\(table.step) = \(try table.dialect.storedStep(step, record.residue))")
        }
        guard !changes.isEmpty else { return record }
        let isTag = table.isTag(try connection.literal(tag.name))
        try connection.execute(
          "UPDATE \(table.table) SET \(changes.joined(separator: ", "))\(table.marksOfChange) WHERE \(isTag)")
        return record
      }
    }
  }

  // MARK: - Rows

  /// Adds a row of `tag` by a statement that is made of the name as a literal.
  ///
  /// - Throws: ``IDError/Code/tagExists``.
  func insert(_ tag: Tag, _ connection: MySQLConnection, _ statement: (String) -> String) throws {
    let name = try connection.literal(tag.name)
    do {
      try connection.execute(statement(name))
    } catch let failure as MySQLFailure where failure.isDuplicate {
      let table = self.table
      let there = try connection.rows("\(table.select) WHERE \(table.tag) = \(name)").first?.first ?? nil
      guard let there, there != tag.name else { throw IDError(.tagExists, "tag \(tag) is there already") }
      throw IDError(
        .tagExists, "tag \(tag) can't stand beside tag \(there): the table's collation takes both for one name")
    }
  }

  /// Which numbers are ids of `tag`, or nil where the row has to be asked first.
  private func residue(of tag: Tag) -> TableDialect.Residue? {
    guard self.table.dialect.residueColumns != nil else { return .all }
    return self.residues.withLock { $0[tag] }
  }

  private func remember(_ record: TagRecord) {
    self.residues.withLock { $0[record.tag] = record.residue }
  }

  private func record(
    of tag: Tag, _ connection: MySQLConnection, isLocked: Bool = false
  ) throws -> TagRecord {
    guard let row = try self.row(of: tag, connection, isLocked: isLocked) else { throw IDError.unknown(tag) }
    return try self.table.record(row, tag)
  }

  /// The row of `tag` as ``MySQLTable/select`` brings it; nil where there is none.
  func row(of tag: Tag, _ connection: MySQLConnection, isLocked: Bool = false) throws -> [String?]? {
    let isTag = self.table.isTag(try connection.literal(tag.name))
    return try Self.updating(tag) {
      try connection.rows("\(self.table.select) WHERE \(isTag)\(isLocked ? " FOR UPDATE" : "")")
    }.first
  }

  /// Runs a statement that looks for `tag`'s row. A name that the column's character set can't even spell is unknown.
  static func updating<T>(_ tag: Tag, _ statement: () throws -> T) throws -> T {
    do {
      return try statement()
    } catch let failure as MySQLFailure where failure.isOutsideCharacterSet {
      throw IDError.unknown(tag)
    }
  }
}
