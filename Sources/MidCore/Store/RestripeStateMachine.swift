/// The rules of spreading a tag over other databases than before, as a value: it says what to do next, and is told what
/// came of it.
///
/// 1. *Look*: every row is read. Nothing has been changed so far, and nothing will be where a database does not answer,
///    where no row is there, or where an open row is none of the layout that was named.
/// 2. *Close*: every row, of the databases of the old layout in order of their names and then of the others, gets this run's
///    token, if it still says what the look has shown.
/// 3. *Read*: only once all are closed. Each has to be closed with its token still, or another run is under way. The
///    highest of what they show is the number that all ids given out so far lie at or below.
/// 4. *Settle*: the rows of the old layout, in the same order, if they are closed with their tokens. With the first one the
///    run stands: whoever else has looked before meets a row that has changed when it comes to close its first.
/// 5. *Open*: each row of the new layout, above that number and only while it is closed or settled with its token: those of
///    both layouts last. Rows that leave the layout stay settled.
///
/// A token says what its row was and is to become: its run, how many databases both layouts have, whether the row was of
/// the old one, and which place it will have in the new one. So a run that finds a settled row of the old layout, or one
/// that is open as in the new, knows whether all rows are what an interrupted run over the same lists has left behind, and
/// then goes on with steps 4 and 5; otherwise it refuses. A row of both layouts that is open as in the new one says no more
/// whose run it was; but it was opened last, so that where a row of the new layout alone is not open, another run has won.
/// Where a run was interrupted before anything was settled, the next begins anew, with whatever new layout, but from the same
/// old one.
///
/// Why no id comes twice: loads match a row's own delta and remainder, so none passes a closed row; all that passed before
/// lies at or below what the rows show in step 3; and rows that are open at a time are of one layout, as nothing is opened
/// before all was closed and settled, and of two runs over the same old layout one alone can settle its first row.
///
/// Where runs over several lists were interrupted, or came between each other, rows may be left that none of them can go on
/// with: a row can come to say again what another run has seen of it. A *recovery* is for that: it begins anew whatever the
/// rows say, over all databases that the tag was ever in.
///
/// What it does not see: databases of the old layout that were not named; and a database that loses commits meanwhile, by a
/// failover.
public struct RestripeStateMachine: Sendable {
  /// What to do next. Databases go by their place in the list that the run was made with.
  public enum Action: Sendable, Hashable {
    /// Read the row: ``StripeStore/stripe(of:)``; then ``RestripeStateMachine/read(_:)``.
    case read(database: Int)
    /// Close the row: ``StripeStore/closeStripe(of:ifStill:token:step:)``; then ``RestripeStateMachine/closed(_:)``.
    case close(database: Int, seen: StripeRow.State?, token: Int64, step: Int64)
    /// Settle the row: ``StripeStore/settleStripe(of:token:)``; then ``RestripeStateMachine/settled(_:)``.
    case settle(database: Int, token: Int64)
    /// Open the row: ``StripeStore/openStripe(of:token:residue:lastID:step:)``; then ``RestripeStateMachine/opened(_:)``.
    case open(database: Int, token: Int64, residue: TableDialect.Residue, lastID: Int64, step: Int64)
    /// All rows of the new layout are open; the next ids lie above this number.
    case done(lastID: Int64)
    /// The run is over and has not done what it was to do. The message says whether rows are closed.
    case failed(IDError)
  }

  private enum Phase: Sendable {
    case looking
    case closing
    case reading
    case settling
    case opening
    case ended(Action)
  }

  /// Which numbers a run can have.
  public static let runs: Range<Int64> = 1..<(1 << 17)
  /// How many databases a layout can have at most.
  public static let maximumCount = 16
  /// The place in the new layout of a row that is in the old one alone.
  private static let noPlace: Int64 = 31
  /// Above the bits of a place: the row was of the old layout.
  private static let oldFlag: Int64 = 1 << 5
  /// Where a token's parts begin: both sizes, each less 1, below the run.
  private static let (countShift, oldCountShift, runShift): (Int64, Int64, Int64) = (6, 10, 14)

  /// Whose rows.
  public let tag: Tag
  /// This run's number, or that of the run that it goes on with.
  public private(set) var run: Int64
  private let names: [String]
  private let old: Set<Int>
  private let count: Int
  private let new: [(database: Int, residue: TableDialect.Residue)]
  /// The databases in the order in which rows are closed, the same for all runs: those of the old layout first.
  private let order: [Int]
  private var phase = Phase.looking
  /// How many databases are through with the phase.
  private var finished = 0
  private var rows: [StripeRow?] = []
  private var settling: [Int] = []
  private var opening: [(database: Int, residue: TableDialect.Residue)] = []
  private var step: Int64 = 1
  private var lastID: Int64
  private let past: Int64
  private let isRecovery: Bool

  /// Creates a run that has done nothing yet.
  ///
  /// - Parameters:
  ///   - tag: Whose rows.
  ///   - databases: Every database of both layouts, by the name that errors call it by.
  ///   - old: Which of them the tag is spread over so far.
  ///   - new: Which of them it is to be spread over, in the order of the remainders.
  ///   - past: All new ids lie above this number, 0 or more, and above what the rows show: for databases that have lost
  ///     commits, so that the rows show less than was given out.
  ///   - isRecovery: Whether to begin anew whatever the rows say. `old` then has to have every database that the tag was ever
  ///     in: one that is left out could go on giving out ids.
  ///   - run: This run's own number, one of ``runs``: draw it at random, and never use it again.
  /// - Throws: ``IDError/Code/invalidArgument`` with every reason: an empty layout, a database that is named twice or is in
  ///   neither layout, a number out of range.
  public init(
    tag: Tag, databases: [String], old: [Int], new: [Int], past: Int64 = 0, isRecovery: Bool = false, run: Int64
  ) throws(IDError) {
    var reasons: [String] = []
    if old.isEmpty || new.isEmpty { reasons.append("a layout has one database or more") }
    if Set(old).count < old.count || Set(new).count < new.count { reasons.append("a database is named twice") }
    if Set(old).union(new) != Set(databases.indices) {
      reasons.append("every database is in a layout, and no other is")
    }
    if !Self.runs.contains(run) {
      reasons.append("a run has a number from 1 to \(Self.runs.upperBound - 1), not \(run)")
    }
    if !(0...Int64.max - 2).contains(past) { reasons.append("ids can't lie above \(past)") }
    if max(old.count, new.count) > Self.maximumCount {
      reasons.append("a layout has \(Self.maximumCount) databases at most")
    }
    var residues: [(database: Int, residue: TableDialect.Residue)] = []
    for (remainder, database) in new.enumerated() {
      guard let residue = TableDialect.Residue(delta: Int64(new.count), remainder: Int64(remainder)) else { break }
      residues.append((database, residue))
    }
    guard reasons.isEmpty else { throw IDError(.invalidArgument, "restripe: " + reasons.joined(separator: "; ")) }
    self.old = Set(old)
    self.new = residues.filter { !old.contains($0.database) } + residues.filter { old.contains($0.database) }
    func byName(_ places: [Int]) -> [Int] { places.sorted { (databases[$0], $0) < (databases[$1], $1) } }
    self.order = byName(old) + byName(databases.indices.filter { !old.contains($0) })
    (self.tag, self.names, self.run, self.count) = (tag, databases, run, new.count)
    (self.past, self.lastID, self.isRecovery) = (past, past, isRecovery)
  }

  /// What to do now: the same until its outcome was told, and for good once it is ``Action/done(lastID:)`` or
  /// ``Action/failed(_:)``.
  public func next() -> Action {
    switch self.phase {
    case .looking, .reading: return .read(database: self.finished)
    case .closing:
      let database = self.order[self.finished]
      return .close(
        database: database, seen: self.rows[database]?.state, token: self.token(of: database), step: self.step)
    case .settling:
      let database = self.settling[self.finished]
      return .settle(database: database, token: self.token(of: database))
    case .opening:
      let (database, residue) = self.opening[self.finished]
      return .open(
        database: database, token: self.token(of: database), residue: residue, lastID: self.lastID, step: self.step)
    case .ended(let action): return action
    }
  }

  /// By which a row of this run's is closed: the run, the sizes of both layouts, whether the row is of the old one, and its
  /// place in the new one.
  public func token(of database: Int) -> Int64 {
    let place = self.new.first { $0.database == database }?.residue.remainder ?? Self.noPlace
    let sizes = Int64(self.old.count - 1) << Self.oldCountShift | Int64(self.count - 1) << Self.countShift
    return self.run << Self.runShift | sizes | (self.old.contains(database) ? Self.oldFlag : 0) | place
  }

  // MARK: - What came of it

  /// The row was read: it, nil where there is none, or why it could not be.
  public mutating func read(_ row: Result<StripeRow?, IDError>) {
    switch (self.phase, row) {
    case (.looking, .failure(let error)), (.reading, .failure(let error)): self.fail(error)
    case (.looking, .success(let row)):
      self.rows.append(row)
      self.finished += 1
      if self.finished == self.names.count { self.begin() }
    case (.reading, .success(let row)): self.verify(row)
    default: preconditionFailure("nothing was to be read")
    }
  }

  /// The row was closed, said something else by then (`false`), or nobody knows.
  public mutating func closed(_ result: Result<Bool, IDError>) {
    guard case .closing = self.phase else { preconditionFailure("nothing was to be closed") }
    switch result {
    case .success(true): self.advance(past: self.names.count, to: .reading)
    case .success(false): self.fail(self.overtaken(self.order[self.finished]))
    case .failure(let error): self.fail(error)
    }
  }

  /// The row was settled, was no longer closed with the token (`false`), or nobody knows.
  public mutating func settled(_ result: Result<Bool, IDError>) {
    guard case .settling = self.phase else { preconditionFailure("nothing was to be settled") }
    switch result {
    case .success(true):
      self.advance(past: self.settling.count, to: self.opening.isEmpty ? .ended(.done(lastID: self.lastID)) : .opening)
    case .success(false): self.fail(self.overtaken(self.settling[self.finished]))
    case .failure(let error): self.fail(error)
    }
  }

  /// The row was opened, was no longer closed with the token (`false`), or nobody knows.
  public mutating func opened(_ result: Result<Bool, IDError>) {
    guard case .opening = self.phase else { preconditionFailure("nothing was to be opened") }
    switch result {
    case .success(true): self.advance(past: self.opening.count, to: .ended(.done(lastID: self.lastID)))
    case .success(false): self.fail(self.overtaken(self.opening[self.finished].database))
    case .failure(let error): self.fail(error)
    }
  }

  private mutating func advance(past count: Int, to next: Phase) {
    self.finished += 1
    guard self.finished == count else { return }
    (self.finished, self.phase) = (0, next)
  }
}

// MARK: - The rules

extension RestripeStateMachine {
  /// All rows have been looked at.
  private mutating func begin() {
    guard self.rows.contains(where: { $0 != nil }) else { return self.fail(.unknown(self.tag)) }
    self.step = self.rows.reduce(1) { max($0, $1?.step ?? 1) }
    guard !self.isRecovery else {
      (self.finished, self.phase) = (0, .closing)
      return
    }
    guard !self.isInterrupted else { return self.resume() }
    for (database, row) in self.rows.enumerated() {
      switch row?.state {
      case .open(let residue)? where !self.isOld(residue, in: database):
        return self.fail(self.unexpected(residue, in: database))
      // A run that knew of another old layout has closed it.
      case .closed(let token)? where !self.isOfOldLayout(token, database): return self.fail(self.foreign)
      case nil where self.old.contains(database): return self.fail(self.missing(in: database))
      default: break
      }
    }
    (self.finished, self.phase) = (0, .closing)
  }

  /// Whether the run that has closed the row believed of the old layout what this one does.
  private func isOfOldLayout(_ token: Int64, _ database: Int) -> Bool {
    let isOld = token & Self.oldFlag != 0
    // A row that was made for another new list says nothing of this one.
    guard isOld || self.old.contains(database) else { return true }
    return isOld == self.old.contains(database) && token >> Self.oldCountShift & 15 == Int64(self.old.count - 1)
  }

  /// Whether a row of the new layout is one of the old layout as well.
  private func isKept(_ row: (database: Int, residue: TableDialect.Residue)) -> Bool {
    self.old.contains(row.database)
  }

  private func isOld(_ residue: TableDialect.Residue, in database: Int) -> Bool {
    self.old.contains(database) && residue.delta == Int64(self.old.count)
  }

  /// Whether a run has come so far that a row of the old layout is settled, or one is open as in the new layout.
  private var isInterrupted: Bool {
    for database in self.old { if case .settled? = self.rows[database]?.state { return true } }
    return self.new.contains { database, residue in
      self.rows[database]?.state == .open(residue) && !self.isOld(residue, in: database)
    }
  }

  /// Goes on where another run was interrupted, if that one was about the same lists.
  private mutating func resume() {
    var runs: Set<Int64> = []
    for row in self.rows {
      switch row?.state {
      case .closed(let token)?, .settled(let token)?: runs.insert(token >> Self.runShift)
      case .open?, nil: break
      }
    }
    guard runs.count <= 1 else { return self.fail(self.foreign) }
    if let run = runs.first { self.run = run }
    self.settling = []
    self.opening = []
    for database in self.order {
      let residue = self.new.first { $0.database == database }?.residue
      switch self.rows[database]?.state {
      case .closed(self.token(of: database))?:
        if self.old.contains(database) { self.settling.append(database) }
      case .settled(self.token(of: database))? where self.old.contains(database): break
      case .open(let found)? where found == residue: break
      default: return self.fail(self.foreign)
      }
    }
    self.opening = self.new.filter { database, residue in self.rows[database]?.state != .open(residue) }
    let isKeptOpen = self.opening.count(where: self.isKept) < self.new.count(where: self.isKept)
    guard !isKeptOpen || self.opening.allSatisfy(self.isKept) else { return self.fail(self.foreign) }
    let isOpen = self.new.filter { database, residue in self.rows[database]?.state == .open(residue) }
    if let low = isOpen.first(where: { database, _ in (self.rows[database]?.lastID ?? 0) < self.past }) {
      return self.fail(self.tooLate(low.database))
    }
    self.lastID = self.rows.reduce(self.past) { max($0, $1?.lastID ?? 0) }
    let last = self.opening.isEmpty ? Phase.ended(.done(lastID: self.lastID)) : .opening
    (self.finished, self.phase) = (0, self.settling.isEmpty ? last : .settling)
  }

  private mutating func verify(_ row: StripeRow?) {
    guard let row, row.state == .closed(token: self.token(of: self.finished)) else {
      return self.fail(self.overtaken(self.finished))
    }
    self.lastID = max(self.lastID, row.lastID)
    self.finished += 1
    guard self.finished == self.names.count else { return }
    self.settling = self.order.filter { self.old.contains($0) }
    self.opening = self.new
    (self.finished, self.phase) = (0, .settling)
  }

  // MARK: - Errors

  private func unexpected(_ residue: TableDialect.Residue, in database: Int) -> IDError {
    let name = self.names[database]
    let text =
      if self.old.contains(database) {
        "tag \(self.tag) in database \(name) is one of \(residue.delta) stripes, but it was said to be in \(self.old.count) "
          + "databases so far: name all of them"
      } else {
        "database \(name) has ids of tag \(self.tag) to give out, but was not said to be one of those that it is in so far"
      }
    return IDError(.storeRejected, text)
  }

  private var foreign: IDError {
    IDError(
      .storeRejected,
      "tag \(self.tag) was spread over other databases already, or a run that was to do so was interrupted: name those that "
        + "it is in now, or the same lists as that run had; where no lists lead on, --recover with all databases that it was "
        + "ever in")
  }

  /// A row is open already, and stands below what all ids are to lie above.
  private func tooLate(_ database: Int) -> IDError {
    IDError(
      .storeRejected,
      "tag \(self.tag) is open in database \(self.names[database]) by an interrupted run already, below \(self.past): end that "
        + "run without --past, then: mid tag advance \(self.tag) --past \(self.past)")
  }

  /// A row that is not there may have been there: then nobody knows how far its ids had come.
  private func missing(in database: Int) -> IDError {
    IDError(
      .storeRejected,
      "tag \(self.tag) has no row in database \(self.names[database]), which was said to be one of those that it is in so "
        + "far. Is it the right database? Where it has lost its rows, create the tag there again above all that it has given out: "
        + "mid tag create \(self.tag) --first N, with all databases of the old layout")
  }

  private func overtaken(_ database: Int) -> IDError {
    IDError(
      .storeRejected,
      "another restripe of tag \(self.tag) is under way: its row in database \(self.names[database]) has changed meanwhile"
    )
  }

  private mutating func fail(_ error: IDError) {
    var error = error
    if case .looking = self.phase {
      error.message += "; nothing was changed"
    } else {
      error.message +=
        "; rows of tag \(self.tag) may be closed, and no ids come from them, until a restripe over the same "
        + "databases has ended well: run it again"
    }
    self.phase = .ended(.failed(error))
  }
}
