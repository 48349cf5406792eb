import MidCore
import MidTestKit

/// The databases of the model, and the tools that work on them.
extension SegmentModel {
  struct Row {
    var record: TagRecord
    /// What the row says where it is closed or left.
    var closed: StripeRow.State?
  }

  struct Database {
    /// By tag.
    var rows: [Row?]
    var isAway = false
    /// The last commits, each with the row as it was before; what a failover may lose.
    var commits: [(tag: Int, before: Row, range: IDRange?)] = []

    mutating func commit(_ tag: Int, _ row: Row, range: IDRange? = nil) {
      if let before = self.rows[tag] { self.commits.append((tag, before, range)) }
      if self.commits.count > 6 { self.commits.removeFirst() }
      self.rows[tag] = row
    }
  }

  /// A request on its way to a database. It is carried out once at most.
  enum Request {
    case load(tag: Int, SegmentClaim, TableDialect.Residue)
    case giveBack(tag: Int, IDRange)
    case close(tag: Int, seen: StripeRow.State?, token: Int64, step: Int64)
    case settle(tag: Int, token: Int64)
    case open(tag: Int, token: Int64, residue: TableDialect.Residue, lastID: Int64, step: Int64, layout: [Int])
  }

  enum Answer {
    case range(IDRange)
    case done(Bool)
    /// The row's delta and remainder are others than was believed.
    case mismatch(TableDialect.Residue)
    case failed(IDError)
  }

  /// A request under way, and its answer once it was carried out.
  struct Flight {
    let database: Int
    let request: Request
    var answer: Answer?
  }

  mutating func serve(_ request: Request, _ database: Int) -> Answer {
    do throws(IDError) {
      switch request {
      case .load(let tag, let claim, let believed): return try self.load(tag, claim, believed, database)
      case .giveBack(let tag, let rest):
        guard var row = self.databases[database].rows[tag], row.closed == nil else { return .done(false) }
        guard let (taken, before, residue) = TableDialect.stripe.marks(of: rest) else { return .done(false) }
        let isLast = taken.contains(row.record.maxID) && residue == row.record.residue
        guard isLast || self.sabotage == .blindGiveBack else { return .done(false) }
        row.record.maxID = before
        self.databases[database].commit(tag, row)
        return .done(true)
      case .close(let tag, let seen, let token, let step):
        let found = self.databases[database].rows[tag].map { $0.closed ?? .open($0.record.residue) }
        guard found == seen || self.sabotage == .closesAnyway else { return .done(false) }
        var row = self.databases[database].rows[tag] ?? Row(record: TagRecord(tag: .default, maxID: 0, step: step))
        (row.record.isClosed, row.record.residue, row.closed) = (true, .all, .closed(token: token))
        self.databases[database].rows[tag] = row
        // No failover goes back past this: what the tool's text does not promise.
        self.databases[database].commits = []
        return .done(true)
      case .settle(let tag, let token):
        guard var row = self.databases[database].rows[tag] else { return .done(false) }
        guard row.closed == .closed(token: token) || self.sabotage == .opensAnyway else { return .done(false) }
        row.closed = .settled(token: token)
        self.databases[database].rows[tag] = row
        self.databases[database].commits = []
        return .done(true)
      case .open(let tag, let token, let residue, let lastID, let step, let layout):
        guard let row = self.databases[database].rows[tag] else { return .done(false) }
        guard
          row.closed == .closed(token: token) || row.closed == .settled(token: token) || self.sabotage == .opensAnyway
        else { return .done(false) }
        let record = TagRecord(
          tag: .default, maxID: max(row.record.maxID, lastID), step: step, residue: residue)
        self.databases[database].rows[tag] = Row(record: record)
        self.databases[database].commits = []
        self.layouts[tag] = layout
        self.checkRows(tag)
        return .done(true)
      }
    } catch { return .failed(error) }
  }

  /// Of what is open, two rows have no number in common.
  private mutating func checkRows(_ tag: Int) {
    let open = self.databases.compactMap { $0.rows[tag] }.filter { $0.closed == nil }.map(\.record.residue)
    for (place, one) in open.enumerated() {
      for other in open[(place + 1)...]
      where (0..<one.delta * other.delta).contains(where: {
        $0 % one.delta == one.remainder && $0 % other.delta == other.remainder
      }) {
        self.violations.insert(.shared(tag: tag))
      }
    }
  }

  private mutating func load(
    _ tag: Int, _ claim: SegmentClaim, _ believed: TableDialect.Residue, _ database: Int
  ) throws(IDError) -> Answer {
    guard var row = self.databases[database].rows[tag] else { throw Self.away }
    var record = row.record
    if self.sabotage == .noResidue {
      (record.residue, record.isClosed) = (believed, false)
    } else if !record.isClosed && record.residue != believed {
      self.counts.mismatches += 1
      return .mismatch(record.residue)
    }
    let (maxID, range) = try TableDialect.stripe.taking(claim, from: record)
    row.record.maxID = maxID
    self.databases[database].commit(tag, row, range: range)
    self.counts.loads += 1
    return .range(range)
  }

  mutating func carryOutOrphan() {
    guard !self.orphans.isEmpty else { return }
    let (database, request) = self.orphans.remove(at: self.random.below(self.orphans.count))
    if self.databases[database].isAway { return }
    self.counts.orphans += 1
    _ = self.serve(request, database)
  }

  /// A replica takes over that lacks the last commits.
  mutating func failOver(_ database: Int) {
    let count = min(1 + self.random.below(4), self.databases[database].commits.count)
    guard count > 0 else { return }
    self.counts.failovers += 1
    for _ in 0..<count {
      guard let commit = self.databases[database].commits.popLast() else { return }
      self.databases[database].rows[commit.tag] = commit.before
      if let range = commit.range {
        self.lost[commit.tag].append(range)
        self.counts.lostRanges += 1
      }
    }
  }

  // MARK: - Operators

  /// Another step for one row.
  mutating func setStep() {
    let (database, tag) = (self.random.below(self.databases.count), self.random.below(self.tags))
    guard var row = self.databases[database].rows[tag], row.closed == nil else { return }
    row.record.step = Int64(1 + self.random.below(20))
    self.databases[database].commit(tag, row)
  }

  /// `mid tag advance`, somewhat ahead, as one does.
  mutating func advance() {
    let (database, tag) = (self.random.below(self.databases.count), self.random.below(self.tags))
    guard let row = self.databases[database].rows[tag] else { return }
    self.advance(past: row.record.lastID + Int64(self.random.below(50)), tag, database)
  }

  mutating func advance(past last: Int64, _ tag: Int, _ database: Int) {
    guard var row = self.databases[database].rows[tag], row.closed == nil else { return }
    do throws(IDError) {
      row.record.maxID = try TableDialect.stripe.moving(row.record, to: last + 1)
      self.databases[database].commit(tag, row)
    } catch {
      // It stands higher already.
    }
  }

  /// Moves every row past what any node has received, and tells the nodes so.
  mutating func mend() throws {
    for tag in 0..<self.tags {
      let end = self.nodes.compactMap { $0.generators[tag]?.snapshot.highWater ?? $0.highestMark(tag) }.max() ?? 1
      for database in self.databases.indices { self.advance(past: max(0, end - 1), tag, database) }
    }
    for index in self.nodes.indices { try self.list(index, isConfirmed: true) }
  }
}
