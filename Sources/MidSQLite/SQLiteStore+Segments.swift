import GRDB
public import MidCore

extension SQLiteStore {
  /// Takes the next ids of `tag` by the table's own rule.
  public func allocate(_ claim: SegmentClaim, for tag: Tag) async throws(IDError) -> IDRange {
    try claim.validate()
    let table = self.table
    return try await self.transaction("allocate") { db in
      let (maxID, range) = try table.dialect.taking(claim, from: try table.record(of: tag, in: db))
      let update = try db.cachedStatement(
        sql: "UPDATE \(table.table) SET \(table.max) = ?1\(table.marksOfChange) WHERE \(table.tag) = ?2")
      try update.execute(arguments: [maxID, tag.name])
      return range
    }
  }

  /// Puts `max_id` back to just before `rest`, if it still stands at the end of `rest`.
  public func giveBack(_ rest: IDRange, of tag: Tag) async throws(IDError) -> Bool {
    let table = self.table
    guard let (taken, before, residue) = table.dialect.marks(of: rest) else { return false }
    return try await self.transaction("give_back") { db in
      let record: TagRecord
      do {
        record = try table.record(of: tag, in: db)
      } catch let error as IDError where error.code == .unknownTag {
        return false
      }
      guard !record.isClosed, taken.contains(record.maxID), record.residue == residue else { return false }
      try db.execute(
        sql: "UPDATE \(table.table) SET \(table.max) = ?\(table.marksOfChange) WHERE \(table.tag) = ?",
        arguments: [before, tag.name])
      return true
    }
  }

  /// All rows whose names are tags. Others (an empty name, say) can't be asked for and are left out.
  public func tags() async throws(IDError) -> [TagRecord] {
    let table = self.table
    return try await self.read("tags") { db in
      try Row.fetchAll(db, sql: table.selectLenient).compactMap { row in
        guard let name = String.fromDatabaseValue(row[0]) else { return nil }
        do {
          return try table.record(row, Tag(name), isLenient: true)
        } catch let error as IDError where error.code == .invalidArgument {
          return nil
        }
      }
    }
  }

  /// Creates the row of a tag whose first id will be `first`. `step` and `first` are at least 1.
  public func createTag(_ tag: Tag, step: Int64, first: Int64) async throws(IDError) -> TagRecord {
    try StripeRow.check(step: step)
    try StripeRow.check(first: first)
    let table = self.table
    return try await self.transaction("create_tag") { db in
      let maxID = table.dialect.maxID(beforeNext: first)
      try db.execute(sql: table.insert, arguments: [tag.name, maxID, step])
      guard db.changesCount == 1 else { throw IDError(.tagExists, "tag \(tag) is there already") }
      return table.dialect.record(tag, maxID: maxID, step: step)
    }
  }

  /// Sets the step, and moves the next id forward to `next`.
  public func updateTag(_ tag: Tag, step: Int64?, next: Int64?) async throws(IDError) -> TagRecord {
    if let step { try StripeRow.check(step: step) }
    let table = self.table
    return try await self.transaction("update_tag") { db in
      var record = try table.record(of: tag, in: db)
      guard !record.isClosed else { throw IDError.restriped(tag) }
      var changes: [(String, Int64)] = []
      if let next {
        record.maxID = try table.dialect.moving(record, to: next)
        changes.append((table.max, record.maxID))
      }
      if let step {
        record.step = step
        changes.append((table.step, try table.dialect.storedStep(step, record.residue)))
      }
      guard !changes.isEmpty else { return record }
      let assignments = changes.map { "\($0.0) = \($0.1)" }.joined(separator: ", ")
      try db.execute(
        sql: "UPDATE \(table.table) SET \(assignments)\(table.marksOfChange) WHERE \(table.tag) = ?",
        arguments: [tag.name])
      return record
    }
  }
}
