import MidCore

/// Which databases tags are spread over from now on, and how that is found out and done for each.
struct RestripePlan {
  /// Those of the new list, in order, then the others of the old one.
  let databases: [SegmentDatabases.Database]
  /// Places in ``databases``.
  let new: [Int]
  /// Places in ``databases``, where they were named.
  let old: [Int]?

  /// All new ids lie above this number.
  let past: Int64
  /// Places in ``databases`` where the table of tags is missing.
  private var isMissing: Set<Int> = []

  private let isRecovery: Bool
  private let table: String

  /// Creates a plan; see the properties. `table` is the name of the table of tags.
  init(
    databases: [SegmentDatabases.Database], table: String, new: [Int], old: [Int]?, past: Int64, isRecovery: Bool
  ) {
    (self.databases, self.table, self.new, self.old, self.past) = (databases, table, new, old, past)
    self.isRecovery = isRecovery
  }

  /// A tag, and what became of it: lines for people.
  typealias Outcome = (tag: Tag, result: Result<[String], IDError>)

  /// Looks at all databases and restripes one tag, or all that some database has, by name. One that fails stops no other.
  /// Tables are made only where a row is to stand, once the rules have nothing against it.
  ///
  /// - Throws: Where a database does not answer: nothing was changed then.
  mutating func carryOut(_ name: String?, isDryRun: Bool) async throws(IDError) -> [Outcome] {
    var tags: Set<Tag> = []
    for index in self.databases.indices {
      let missing = try await self.ask(index) { store throws(IDError) in try await store.inspect() }
      guard !missing.contains(where: { $0.hasPrefix("the file ") || $0 == "the table \(self.table)" }) else {
        self.isMissing.insert(index)
        continue
      }
      guard name == nil else { continue }
      tags.formUnion(try await self.ask(index) { store throws(IDError) in try await store.tags().map(\.tag) })
    }
    if let name { tags = [try Tag(name)] }
    var outcomes: [Outcome] = []
    for tag in tags.sorted(by: { $0.name < $1.name }) {
      do throws(IDError) {
        outcomes.append((tag, .success(try await self.restripe(tag, isDryRun: isDryRun))))
      } catch {
        outcomes.append((tag, .failure(error)))
      }
    }
    return outcomes
  }

  /// Closes all databases.
  func close() async {
    for database in self.databases { await database.store.close() }
  }

  private func ask<Value: Sendable>(
    _ index: Int, _ body: (any SegmentDatabaseStore) async throws(IDError) -> Value
  ) async throws(IDError) -> Value {
    do throws(IDError) { return try await body(self.databases[index].store) } catch {
      throw IDError(error.code, "\(self.databases[index].name): \(error.message); nothing was changed")
    }
  }

  /// Restripes one tag, or says what that would change.
  ///
  /// - Returns: Lines for people.
  mutating func restripe(_ tag: Tag, isDryRun: Bool) async throws(IDError) -> [String] {
    var rows: [StripeRow?] = []
    for index in self.databases.indices {
      guard !self.isMissing.contains(index) else {
        rows.append(nil)
        continue
      }
      rows.append(try await self.ask(index) { store throws(IDError) in try await store.stripe(of: tag) })
    }
    guard rows.contains(where: { $0 != nil }) else {
      throw IDError(.unknownTag, "there is no such tag; nothing was changed")
    }
    if self.isDone(rows) {
      if let low = rows.compactMap({ $0?.lastID }).min(), low < self.past {
        throw IDError(
          .storeRejected,
          "already over \(self.wanted) as wanted, but a row stands at \(low): mid tag advance \(tag) --past "
            + "\(self.past) moves it")
      }
      return ["tag \(tag): already over \(self.wanted) as wanted"]
    }
    let old = try self.layout(of: rows)
    let run = try Restripe(
      tag: tag, databases: self.databases.map { ($0.name, $0.store) }, old: old, new: self.new, past: self.past,
      isRecovery: self.isRecovery, run: .random(in: RestripeStateMachine.runs))
    try run.check(rows)
    guard !isDryRun else { return self.preview(tag, rows, old) }
    for index in self.isMissing {
      try await self.ask(index) { store throws(IDError) in try await store.prepare() }
      self.isMissing.remove(index)
    }
    let last = try await run.run()
    return ["tag \(tag): over \(self.wanted) now, was \(old.count); next ids lie above \(last)"]
  }

  private var wanted: String { self.new.count == 1 ? "1 database" : "\(self.new.count) databases" }

  /// Whether the rows of the new list are open as wanted, and no other is open.
  func isDone(_ rows: [StripeRow?]) -> Bool {
    rows.enumerated().allSatisfy { database, row in
      guard let place = self.new.firstIndex(of: database) else {
        if case .open? = row?.state { return false }
        return true
      }
      guard case .open(let residue)? = row?.state else { return false }
      return residue.delta == Int64(self.new.count) && residue.remainder == Int64(place)
    }
  }

  /// The databases of the old layout: as they were named, or, where they were not, those whose open rows are all of one.
  ///
  /// - Throws: Where the rows do not show the whole layout: a database that is left out could have given out higher ids.
  func layout(of rows: [StripeRow?]) throws(IDError) -> [Int] {
    if let old = self.old { return old }
    var open: [(database: Int, residue: TableDialect.Residue)] = []
    for (database, row) in rows.enumerated() {
      switch row?.state {
      case .open(let residue)?: open.append((database, residue))
      case .closed?, .settled?:
        throw IDError(
          .storeRejected,
          "its row in \(self.databases[database].name) is closed by another run: name all databases that it was "
            + "in before with --from; nothing was changed")
      case nil: break
      }
    }
    let deltas = Set(open.map(\.residue.delta))
    guard deltas == [Int64(open.count)], Set(open.map(\.residue.remainder)).count == open.count else {
      let found = deltas.sorted().map(String.init).joined(separator: " and ")
      throw IDError(
        .storeRejected,
        "\(open.count) rows are here, of a layout of \(found) databases: name all that it is in so far with --from; nothing "
          + "was changed")
    }
    return open.map(\.database)
  }

  private func preview(_ tag: Tag, _ rows: [StripeRow?], _ old: [Int]) -> [String] {
    let highest = max(rows.compactMap { $0?.lastID }.max() ?? 0, self.past)
    var lines = [
      "tag \(tag): would go from \(old.count) to \(self.wanted), next ids above \(highest) or later"
    ]
    for (database, row) in rows.enumerated() {
      let now =
        switch row?.state {
        case .open(let residue)?: "ids of remainder \(residue.remainder) by \(residue.delta), up to \(row?.lastID ?? 0)"
        case .closed?: "closed, up to \(row?.lastID ?? 0)"
        case .settled?: "closed for good, up to \(row?.lastID ?? 0)"
        case nil: "no row"
        }
      let then = self.new.firstIndex(of: database).map { "remainder \($0) by \(self.new.count)" } ?? "closed for good"
      lines.append("  \(self.databases[database].name): \(now); then \(then)")
    }
    return lines
  }
}
