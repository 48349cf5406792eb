/// Changes of tags, for which all databases have to answer, but for ``advanceTag(_:past:)``.
extension StripedStore {
  /// Creates the tag in every database, with the remainder of its place in the list. Where an earlier try came only half
  /// way, or a database has lost the row, the missing rows are made, if `first` lies above all that the others have given
  /// out.
  ///
  /// - Throws: ``IDError/Code/tagExists`` where every database has it, ``IDError/Code/storeRejected`` where `first` is too
  ///   low for that, or where the rows that are there belong to another list of databases; nothing was created then.
  public func createTag(_ tag: Tag, step: Int64, first: Int64) async throws(IDError) -> TagRecord {
    let residues = try self.residues()
    let rows = try await self.readRows(of: tag)
    for (database, row) in rows.enumerated() {
      guard let row, row.state != .open(residues[database]) else { continue }
      throw IDError(
        .storeRejected,
        "tag \(tag) stands in \(self.databases.names[database]) for another list of databases, or is being restriped: "
          + "use `mid tag restripe`")
    }
    guard rows.contains(where: { $0 == nil }) else {
      throw IDError(.tagExists, "tag \(tag) is there already, in all \(rows.count) databases")
    }
    let present = rows.compactMap { $0?.lastID }
    // A row that is missing may have been lost: what it has given out, nobody here can know.
    if let highest = present.max(), first <= highest {
      throw IDError(
        .storeRejected,
        "tag \(tag) stands in \(present.count) of \(rows.count) databases, with ids up to \(highest): where it was created half "
          + "way, create it with a first id above that; where a database has lost its row, above all that was given out of it"
      )
    }
    var record: TagRecord?
    // In the order of their names, so that of two at a time, over lists in another order, one stops at the first row.
    for database in rows.indices.sorted(by: { self.databases.names[$0] < self.databases.names[$1] })
    where rows[database] == nil {
      let created = try await self.named(database) { store throws(IDError) in
        try await store.createStripe(tag, residue: residues[database], step: step, first: first)
      }
      // The tag's first id is the smallest of all.
      if (record?.next ?? .max) > (created.next ?? .max) { record = created }
    }
    guard let record else { throw IDError(.tagExists, "tag \(tag) is there already") }
    return record
  }

  /// Changes the tag's step in every database, and moves every row that stands lower forward to `next`.
  ///
  /// - Throws: ``IDError/Code/unknownTag``, or ``IDError/Code/wentBackwards`` where some row has given out `next` already.
  public func updateTag(_ tag: Tag, step: Int64?, next: Int64?) async throws(IDError) -> TagRecord {
    let rows = try await self.readRows(of: tag)
    let present = rows.compactMap { $0 }
    guard !present.isEmpty else { throw .unknown(tag) }
    guard present.allSatisfy({ if case .open = $0.state { true } else { false } }) else { throw .restriped(tag) }
    if let next, let highest = present.map(\.lastID).max(), highest >= next {
      throw IDError(.wentBackwards, "tag \(tag) has given out ids up to \(highest): its next id can't become \(next)")
    }
    return try await self.update(tag, step: step, next: next)
  }

  /// What became of ``advanceTag(_:past:)``.
  public struct Advance: Sendable {
    /// The rows of the databases that answered, together.
    public var record: TagRecord
    /// Whether one of them was moved.
    public var isMoved: Bool
    /// Why the rows of other databases could not be moved or seen, each with its database.
    public var failures: [IDError]

    /// Creates an outcome.
    public init(record: TagRecord, isMoved: Bool, failures: [IDError] = []) {
      self.record = record
      self.isMoved = isMoved
      self.failures = failures
    }
  }

  /// Moves every row of the tag that stands lower past `last`, for databases that lost commits: in each database by itself,
  /// since one that is away must not keep the others from being used.
  ///
  /// - Throws: ``IDError/Code/unknownTag``, or what the first database says, where no row could be moved or seen.
  public func advanceTag(_ tag: Tag, past last: Int64) async throws(IDError) -> Advance {
    var lists: [[TagRecord]?] = []
    var isMoved = false
    var failures: [IDError] = []
    for database in self.databases.all.indices {
      do throws(IDError) {
        let row = try await self.named(database) { store throws(IDError) in try await store.stripe(of: tag) }
        let isLow = (row?.lastID ?? .max) < last
        lists.append(
          row == nil ? nil : try await self.update(tag, in: database, step: nil, next: isLow ? last + 1 : nil))
        if isLow { isMoved = true }
      } catch {
        failures.append(error)
      }
    }
    guard let record = StripeLists(lists).records.first else { throw failures.first ?? .unknown(tag) }
    return Advance(record: record, isMoved: isMoved, failures: failures)
  }

  /// Carries a change out in every database that has the tag.
  private func update(
    _ tag: Tag, step: Int64?, next: Int64?
  ) async throws(IDError) -> TagRecord {
    var lists: [[TagRecord]?] = []
    for database in self.databases.all.indices {
      lists.append(try await self.update(tag, in: database, step: step, next: next))
    }
    guard let record = StripeLists(lists).records.first else { throw .unknown(tag) }
    return record
  }

  /// Carries a change out in one database.
  ///
  /// - Returns: The row, or nil where there is none.
  private func update(_ tag: Tag, in database: Int, step: Int64?, next: Int64?) async throws(IDError) -> [TagRecord]? {
    try await self.named(database) { store throws(IDError) in
      do throws(IDError) {
        return [try await store.updateTag(tag, step: step, next: next)]
      } catch {
        switch error.code {
        // A node has moved it further this very moment.
        case .wentBackwards: return [try await store.updateTag(tag, step: step, next: nil)]
        // It was never created here: the others serve the tag.
        case .unknownTag: return nil
        default: throw error
        }
      }
    }
  }

  /// The remainders by the places in the list.
  private func residues() throws(IDError) -> [TableDialect.Residue] {
    let count = self.databases.count
    return try self.databases.all.indices.map { index throws(IDError) in
      guard let residue = TableDialect.Residue(delta: Int64(count), remainder: Int64(index)) else {
        throw IDError(.invalidArgument, "\(count) databases can't share a tag")
      }
      return residue
    }
  }

  /// The tag's rows, in the order of the databases.
  ///
  /// - Throws: Where one does not answer.
  public func readRows(of tag: Tag) async throws(IDError) -> [StripeRow?] {
    var rows: [StripeRow?] = []
    for database in self.databases.all.indices {
      rows.append(try await self.named(database) { store throws(IDError) in try await store.stripe(of: tag) })
    }
    return rows
  }

  private func named<Value: Sendable>(
    _ database: Int, _ body: (any SegmentDatabaseStore) async throws(IDError) -> Value
  ) async throws(IDError) -> Value {
    do throws(IDError) {
      return try await body(self.databases.all[database].store)
    } catch {
      throw IDError(error.code, "\(self.databases.names[database]): \(error.message)")
    }
  }
}
