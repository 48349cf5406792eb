internal import Synchronization

/// Segments whose tags are shared out over several databases: each lives in one, its home by ``ShardHomes``.
///
/// A database that is down takes its own tags with it and no others. Its tags are not unknown for that: what it said last
/// of them stands, and a name that it might have is ``IDError/Code/storeUnavailable``, not
/// ``IDError/Code/unknownTag``. A row of a tag in another database than its home is not looked at.
public final class ShardedStore: CompositeStore {
  /// The databases.
  public let databases: SegmentDatabases
  /// Where tags live.
  public let homes: ShardHomes
  /// Tags that have a row in another database than their home, by the last ``tags()``, with which one. So that a name that is not
  /// there costs no look through all lists.
  private let strays = Mutex<[Tag: Int]>([:])

  /// Creates a store over databases that are not open yet, named as `homes` has them and in that order.
  public init(_ databases: SegmentDatabases, homes: ShardHomes) {
    self.databases = databases
    self.homes = homes
  }

  /// Nothing is left out for good.
  public func confirm() {}

  /// None.
  public var leftOut: [Int] { Array(repeating: 0, count: self.databases.count) }

  public func isAway(_ tag: Tag) -> Bool {
    let state = self.databases.state
    return !state[self.homes.home(of: tag)].isUp && state.contains(where: \.isUp)
  }

  /// The tag's home, whatever the ids.
  public func database(of tag: Tag, _ residue: TableDialect.Residue) -> Int? { self.homes.home(of: tag) }

  public func allocate(_ claim: SegmentClaim, for tag: Tag) async throws(IDError) -> IDRange {
    try await self.atHome(of: tag) { store throws(IDError) in try await store.allocate(claim, for: tag) }
  }

  public func giveBack(_ rest: IDRange, of tag: Tag) async throws(IDError) -> Bool {
    try await self.atHome(of: tag) { store throws(IDError) in try await store.giveBack(rest, of: tag) }
  }

  /// The tags that live where their row is. Of a database that does not answer, those that it had when it was read last.
  public func tags() async throws(IDError) -> [TagRecord] {
    try await self.databases.readLists()
    var records: [TagRecord] = []
    var strays: [Tag: Int] = [:]
    for (index, member) in self.databases.state.enumerated() {
      for record in member.list ?? [] {
        if self.homes.home(of: record.tag) == index {
          records.append(record)
        } else {
          strays[record.tag] = strays[record.tag] ?? index
        }
      }
    }
    self.strays.withLock { $0 = strays }
    return records
  }

  /// Why `tag` is in no list: unknown where its home was read and answers, out of reach where not.
  public func absence(of tag: Tag) -> IDError {
    let home = self.homes.home(of: tag)
    let member = self.databases.state[home]
    guard member.list == nil || !member.isUp else {
      guard let other = self.strays.withLock({ $0[tag] }) else { return .unknown(tag) }
      return IDError(
        .unknownTag,
        "tag \(tag) is not in the database \(self.databases.names[home]), where it is looked for, but in "
          + "\(self.databases.names[other]): pin it there with segment.pins")
    }
    return IDError(
      .storeUnavailable,
      "tag \(tag) is in the database \(self.databases.names[home]) if anywhere, which does not answer: "
        + (member.error?.message ?? "it was not read yet"))
  }

  /// Creates the tag in its home, if no other database has given out `first` or more of it: after a change of the list a
  /// tag's home may be another database than the one that has its row.
  ///
  /// - Throws: As a single store; ``IDError/Code/storeRejected`` where another database has a row that stands too high, and
  ///   ``IDError/Code/storeUnavailable`` where one does not answer.
  public func createTag(_ tag: Tag, step: Int64, first: Int64) async throws(IDError) -> TagRecord {
    for (index, database) in self.databases.all.enumerated() where index != self.homes.home(of: tag) {
      let list: [TagRecord]
      do throws(IDError) { list = try await database.store.tags() } catch {
        throw IDError(error.code, "\(database.name), which may have the tag: \(error.message)")
      }
      guard let row = list.first(where: { $0.tag == tag }), row.lastID >= first else { continue }
      throw IDError(
        .storeRejected,
        "tag \(tag) stands in \(database.name), with ids up to \(row.lastID): pin it there with segment.pins, or create it with a "
          + "first id above all that was given out")
    }
    return try await self.atHome(of: tag) { store throws(IDError) in
      try await store.createTag(tag, step: step, first: first)
    }
  }

  public func updateTag(_ tag: Tag, step: Int64?, next: Int64?) async throws(IDError) -> TagRecord {
    try await self.atHome(of: tag) { store throws(IDError) in try await store.updateTag(tag, step: step, next: next) }
  }

  /// Asks the home, and notes whether it answers.
  private func atHome<Value: Sendable>(
    of tag: Tag, _ body: (any SegmentDatabaseStore) async throws(IDError) -> Value
  ) async throws(IDError) -> Value {
    let home = self.homes.home(of: tag)
    guard self.databases.state[home].isOpen else { throw self.absence(of: tag) }
    do throws(IDError) {
      let value = try await body(self.databases.all[home].store)
      self.databases.answered(home)
      return value
    } catch {
      switch error.code {
      case .storeUnavailable where error != .restriped(tag): self.databases.failed(home, error)
      case .storeRejected: break
      default: self.databases.answered(home)
      }
      throw IDError(error.code, "\(self.databases.names[home]): \(error.message)")
    }
  }
}
