import CMariaDB
public import MidCore

extension MySQLStore {
  /// Takes the next `count` ids of `tag`, `(max_id, max_id + count]` of the row as it was, in one round trip.
  public func allocate(_ count: Int64, for tag: Tag) async throws(IDError) -> IDRange {
    guard count >= 1 else { throw IDError(.invalidArgument, "a load takes at least 1 id, not \(count)") }
    // One less than the largest number: a half-open range's end has to fit as well.
    let limit = Int64.max - 1 - count
    return try await self.run("allocate") { connection in
      let outcome = try Self.updating(tag) {
        try connection.execute(
          """
          UPDATE id_segments SET max_id = LAST_INSERT_ID(max_id + \(count)) \
          WHERE \(try Self.isTag(tag, connection)) AND max_id <= \(limit)
          """)
      }
      switch outcome.affectedRows {
      case 1:
        // The library's number is unsigned; a row set below zero by its operator comes back by its bits.
        let last = Int64(bitPattern: outcome.insertID)
        return IDRange(start: last - count + 1, count: count)
      case 0:
        throw try self.reason(tag, count, limit, connection)
      case let rows:
        throw IDError(
          .storeRejected, "tag \(tag) has \(rows) rows in id_segments; leave one, and make biz_tag a unique key")
      }
    }
  }

  /// Puts `max_id` back to just below `rest`, if it still is the last id of `rest`.
  public func giveBack(_ rest: IDRange, of tag: Tag) async throws(IDError) -> Bool {
    guard !rest.isEmpty, rest.stride == 1, rest.start > Int64.min else { return false }
    do {
      return try await self.run("give_back") { connection in
        let outcome = try Self.updating(tag) {
          try connection.execute(
            """
            UPDATE id_segments SET max_id = \(rest.start - 1) \
            WHERE \(try Self.isTag(tag, connection)) AND max_id = \(rest.end - 1)
            """)
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
      try connection.rows("SELECT biz_tag, COALESCE(max_id, 0), COALESCE(step, 1) FROM id_segments").compactMap { row in
        guard let name = row[0] else { return nil }
        do {
          return try Self.record(row, Tag(name))
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
      let name = try connection.literal(tag.name)
      do {
        try connection.execute(
          "INSERT INTO id_segments (biz_tag, max_id, step) VALUES (\(name), \(first - 1), \(step))")
      } catch let failure as MySQLFailure where failure.isDuplicate {
        let there = try connection.rows("SELECT biz_tag FROM id_segments WHERE biz_tag = \(name)").first?.first ?? nil
        guard let there, there != tag.name else { throw IDError(.tagExists, "tag \(tag) is there already") }
        throw IDError(
          .tagExists, "tag \(tag) can't stand beside tag \(there): the table's collation takes both for one name")
      }
      return TagRecord(tag: tag, maxID: first - 1, step: step)
    }
  }

  /// Sets the step, and moves the next id forward to `next`.
  public func updateTag(_ tag: Tag, step: Int64?, next: Int64?) async throws(IDError) -> TagRecord {
    if let step, step < 1 { throw IDError(.invalidArgument, "a step is at least 1, not \(step)") }
    return try await self.run("update_tag") { connection in
      try connection.transaction {
        let isTag = try Self.isTag(tag, connection)
        let rows = try Self.updating(tag) {
          try connection.rows("SELECT biz_tag, max_id, step FROM id_segments WHERE \(isTag) FOR UPDATE")
        }
        guard let row = rows.first else { throw Self.unknown(tag) }
        var record = try Self.record(row, tag)
        if let next {
          guard next > record.maxID else {
            throw IDError(
              .wentBackwards, "tag \(tag) has given out ids up to \(record.maxID): its next id can't become \(next)")
          }
          record.maxID = next - 1
        }
        if let step { record.step = step }
        try connection.execute(
          "UPDATE id_segments SET max_id = \(record.maxID), step = \(record.step) WHERE \(isTag)")
        return record
      }
    }
  }

  /// The condition for the row of exactly `tag`.
  ///
  /// Most collations take `Order` for `order`. The first half finds the row by the key, under whatever collation the
  /// column has; the second lets only the same bytes through, so that no two tags ever share a row.
  static func isTag(_ tag: Tag, _ connection: MySQLConnection) throws -> String {
    let name = try connection.literal(tag.name)
    return "biz_tag = \(name) AND CAST(CONVERT(biz_tag USING utf8mb4) AS BINARY) = CAST(\(name) AS BINARY)"
  }

  /// Why a load of `count` changed no row.
  private func reason(_ tag: Tag, _ count: Int64, _ limit: Int64, _ connection: MySQLConnection) throws -> IDError {
    let rows = try connection.rows(
      "SELECT biz_tag, max_id, step FROM id_segments WHERE \(try Self.isTag(tag, connection))")
    guard let row = rows.first else { return Self.unknown(tag) }
    let maxID = try Self.record(row, tag).maxID
    guard maxID > limit else {
      return IDError(.storeUnavailable, "the row of tag \(tag) changed while it was looked at; try again")
    }
    return IDError(
      .exhausted, "tag \(tag) stands at \(maxID): \(count) more ids would pass the largest, \(Int64.max - 1)")
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

  private static func record(_ row: [String?], _ tag: Tag) throws(IDError) -> TagRecord {
    guard let maxID = row[1].flatMap({ Int64($0) }), let step = row[2].flatMap({ Int64($0) }) else {
      throw IDError(
        .storeRejected,
        "the row of tag \(tag) in id_segments has no whole number as max_id or step (NULL?); UPDATE it to one")
    }
    return TagRecord(tag: tag, maxID: maxID, step: max(1, step))
  }
}
