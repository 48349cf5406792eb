public import MidCore
import Synchronization

extension MySQLStore {
  /// Takes the next `count` ids of `tag` by the table's own rule, in one round trip; in two where the ids of a tag that
  /// several databases share are not known yet, or have changed.
  public func allocate(_ count: Int64, for tag: Tag) async throws(IDError) -> IDRange {
    guard count >= 1 else { throw IDError(.invalidArgument, "a load takes at least 1 id, not \(count)") }
    return try await self.run("allocate") { connection in
      var residue = self.residue(of: tag)
      // The second time by what the row says.
      for _ in 0..<2 {
        if let residue, let range = try self.load(count, for: tag, residue, connection) { return range }
        let record = try self.record(of: tag, connection)
        if record.residue == residue {
          throw Self.exhausted(record, count, self.table.dialect.lastMaxID(for: count, record.residue))
        }
        self.remember(record)
        residue = record.residue
      }
      throw IDError(.storeUnavailable, "the row of tag \(tag) changed while it was looked at; try again")
    }
  }

  /// One load, or nil where no row is as it has to be.
  private func load(
    _ count: Int64, for tag: Tag, _ residue: TableDialect.Residue, _ connection: MySQLConnection
  ) throws -> IDRange? {
    let table = self.table
    guard let limit = table.dialect.lastMaxID(for: count, residue) else { return nil }
    let name = try connection.literal(tag.name)
    let statement = table.load(name, count: count, limit: limit, residue)
    let (rows, maxID) = try Self.updating(tag) { try self.moved(tag, by: statement, connection) }
    switch rows {
    case 0: return nil
    case 1:
      guard let range = table.dialect.range(endingAt: maxID, count: count, residue) else {
        throw IDError(.storeRejected, "the row of tag \(tag) came to \(maxID), which no load of \(count) ids makes")
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
    guard step >= 1 else { throw IDError(.invalidArgument, "a step is at least 1, not \(step)") }
    guard first >= 1 else { throw IDError(.invalidArgument, "a tag's first id is at least 1, not \(first)") }
    return try await self.run("create_tag") { connection in
      let table = self.table
      let name = try connection.literal(tag.name)
      let maxID = table.dialect.maxID(beforeNext: first)
      do {
        try connection.execute(table.insert(name, maxID: maxID, step: step))
      } catch let failure as MySQLFailure where failure.isDuplicate {
        let there = try connection.rows("\(table.select) WHERE \(table.tag) = \(name)").first?.first ?? nil
        guard let there, there != tag.name else { throw IDError(.tagExists, "tag \(tag) is there already") }
        throw IDError(
          .tagExists, "tag \(tag) can't stand beside tag \(there): the table's collation takes both for one name")
      }
      return table.dialect.record(tag, maxID: maxID, step: step)
    }
  }

  /// Sets the step, and moves the next id forward to `next`.
  public func updateTag(_ tag: Tag, step: Int64?, next: Int64?) async throws(IDError) -> TagRecord {
    if let step, step < 1 { throw IDError(.invalidArgument, "a step is at least 1, not \(step)") }
    return try await self.run("update_tag") { connection in
      try connection.transaction {
        let table = self.table
        var record = try self.record(of: tag, connection, isLocked: true)
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
    let isTag = self.table.isTag(try connection.literal(tag.name))
    let rows = try Self.updating(tag) {
      try connection.rows("\(self.table.select) WHERE \(isTag)\(isLocked ? " FOR UPDATE" : "")")
    }
    guard let row = rows.first else { throw Self.unknown(tag) }
    return try self.table.record(row, tag)
  }

  /// Why a load of `count` changed no row that was there, and is as it was thought to be.
  private static func exhausted(_ record: TagRecord, _ count: Int64, _ limit: Int64?) -> IDError {
    if let limit, record.maxID <= limit {
      return IDError(.storeUnavailable, "the row of tag \(record.tag) changed while it was looked at; try again")
    }
    return IDError(
      .exhausted,
      "tag \(record.tag) stands at \(record.maxID): \(count) more ids would pass the largest, \(Int64.max - 1)")
  }

  /// Runs a statement that looks for `tag`'s row. A name that the column's character set can't even spell is unknown.
  private static func updating<T>(_ tag: Tag, _ statement: () throws -> T) throws -> T {
    do {
      return try statement()
    } catch let failure as MySQLFailure where failure.isOutsideCharacterSet {
      throw Self.unknown(tag)
    }
  }

  private static func unknown(_ tag: Tag) -> IDError {
    IDError(.unknownTag, "there is no tag \(tag); create it first")
  }
}
