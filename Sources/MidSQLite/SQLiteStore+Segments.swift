import GRDB
public import MidCore

extension SQLiteStore {
  /// Takes the next `count` ids of `tag`: `(max_id, max_id + count]` of the row as it was.
  public func allocate(_ count: Int64, for tag: Tag) async throws(IDError) -> IDRange {
    guard count >= 1 else { throw IDError(.invalidArgument, "a load takes at least 1 id, not \(count)") }
    return try await self.transaction("allocate") { db in
      let update = try db.cachedStatement(
        sql: """
          UPDATE id_segments SET max_id = max_id + ?1, updated_at = CURRENT_TIMESTAMP
          WHERE biz_tag = ?2 AND max_id <= ?3 RETURNING max_id
          """)
      // One less than the largest number: a half-open range's end has to fit as well.
      let arguments: StatementArguments = [count, tag.name, Int64.max - 1 - count]
      if let last = try Int64.fetchOne(update, arguments: arguments) {
        return IDRange(start: last - count + 1, count: count)
      }
      let record = try Self.record(of: tag, in: db)
      throw IDError(
        .exhausted, "tag \(tag) stands at \(record.maxID): \(count) more ids would pass the largest, \(Int64.max - 1)")
    }
  }

  /// Puts `max_id` back to just below `rest`, if it still is the last id of `rest`.
  public func giveBack(_ rest: IDRange, of tag: Tag) async throws(IDError) -> Bool {
    guard !rest.isEmpty, rest.stride == 1, rest.start > Int64.min else { return false }
    return try await self.transaction("give_back") { db in
      try db.execute(
        sql: """
          UPDATE id_segments SET max_id = ?, updated_at = CURRENT_TIMESTAMP WHERE biz_tag = ? AND max_id = ?
          """,
        arguments: [rest.start - 1, tag.name, rest.end - 1])
      return db.changesCount == 1
    }
  }

  /// All rows whose names are tags. Others (an empty name, say) can't be asked for and are left out.
  public func tags() async throws(IDError) -> [TagRecord] {
    try await self.read("tags") { db in
      let sql = "SELECT biz_tag, COALESCE(max_id, 0), COALESCE(step, 1) FROM id_segments"
      return try Row.fetchAll(db, sql: sql).compactMap { row in
        guard let name = String.fromDatabaseValue(row[0]) else { return nil }
        do {
          return try Self.record(row, Tag(name))
        } catch let error as IDError where error.code == .invalidArgument {
          return nil
        }
      }
    }
  }

  /// Creates the row of a tag whose first id will be `first`. `step` and `first` are at least 1.
  public func createTag(_ tag: Tag, step: Int64, first: Int64) async throws(IDError) -> TagRecord {
    guard step >= 1 else { throw IDError(.invalidArgument, "a step is at least 1, not \(step)") }
    guard first >= 1 else { throw IDError(.invalidArgument, "a tag's first id is at least 1, not \(first)") }
    return try await self.transaction("create_tag") { db in
      try db.execute(
        sql: "INSERT INTO id_segments (biz_tag, max_id, step) VALUES (?, ?, ?) ON CONFLICT (biz_tag) DO NOTHING",
        arguments: [tag.name, first - 1, step])
      guard db.changesCount == 1 else { throw IDError(.tagExists, "tag \(tag) is there already") }
      return TagRecord(tag: tag, maxID: first - 1, step: step)
    }
  }

  /// Sets the step, and moves the next id forward to `next`.
  public func updateTag(_ tag: Tag, step: Int64?, next: Int64?) async throws(IDError) -> TagRecord {
    if let step, step < 1 { throw IDError(.invalidArgument, "a step is at least 1, not \(step)") }
    return try await self.transaction("update_tag") { db in
      var record = try Self.record(of: tag, in: db)
      if let next {
        guard next > record.maxID else {
          throw IDError(
            .wentBackwards, "tag \(tag) has given out ids up to \(record.maxID): its next id can't become \(next)")
        }
        record.maxID = next - 1
      }
      if let step { record.step = step }
      try db.execute(
        sql: "UPDATE id_segments SET max_id = ?, step = ?, updated_at = CURRENT_TIMESTAMP WHERE biz_tag = ?",
        arguments: [record.maxID, record.step, tag.name])
      return record
    }
  }

  private static func record(of tag: Tag, in db: Database) throws -> TagRecord {
    let sql = "SELECT biz_tag, max_id, step FROM id_segments WHERE biz_tag = ?"
    guard let row = try Row.fetchOne(db, sql: sql, arguments: [tag.name]) else {
      throw IDError(.unknownTag, "there is no tag \(tag); create it first")
    }
    return try self.record(row, tag)
  }

  private static func record(_ row: Row, _ tag: Tag) throws(IDError) -> TagRecord {
    guard let maxID = Int64.fromDatabaseValue(row[1]), let step = Int64.fromDatabaseValue(row[2]) else {
      throw IDError(.storeRejected, "the row of tag \(tag) has no number as max_id or step; set them")
    }
    return TagRecord(tag: tag, maxID: maxID, step: max(1, step))
  }
}
