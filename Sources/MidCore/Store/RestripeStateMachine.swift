/// The rules of spreading a tag over other databases than before, as a value: it says what to do next, and is told what
/// came of it.
///
/// 1. *Look*: every row is read. Nothing has been changed so far, and nothing will be where a database does not answer,
///    where no row is there, or where an open row is none of the layout that was named.
/// 2. *Close*: every row, in all databases of the old layout and of the new one, gets this run's token.
/// 3. *Read*: only once all are closed. Each has to be closed with this token still, or another run is under way. The
///    highest of what they show is the number that all ids given out so far lie at or below.
/// 4. *Open*: each row of the new layout, above that number and only while it is closed with the token: those of both
///    layouts first, so that what an interrupted run leaves behind shows in a database that the next one looks at. Rows
///    that leave the layout stay closed.
///
/// Why no id comes twice: loads match a row's own delta and remainder, so none passes a closed row; all that passed
/// before lies at or below what the rows show in step 3; and rows that are open at a time are of one layout, as nothing is
/// opened before everything was closed. A run that ends anywhere leaves closed rows, or open ones of its new layout alone:
/// the next run, over the same databases, begins at step 1 again. Of two runs at once over the same databases, the later
/// to close a row takes it from the other, which can then not open it.
///
/// What it does not see: databases that were not named and hold an open row of the tag; another run at the same time
/// over other databases; and a database that loses commits meanwhile, by a failover.
public struct RestripeStateMachine: Sendable {
  /// What to do next. Databases go by their place in the list that the run was made with.
  public enum Action: Sendable, Hashable {
    /// Read the row: ``StripeStore/stripe(of:)``; then ``RestripeStateMachine/read(_:)``.
    case read(database: Int)
    /// Close the row: ``StripeStore/closeStripe(of:token:step:)``; then ``RestripeStateMachine/closed(_:)``.
    case close(database: Int, step: Int64)
    /// Open the row: ``StripeStore/openStripe(of:token:residue:lastID:step:)``; then ``RestripeStateMachine/opened(_:)``.
    case open(database: Int, residue: TableDialect.Residue, lastID: Int64, step: Int64)
    /// All rows of the new layout are open; the next ids lie above this number.
    case done(lastID: Int64)
    /// The run is over and has not done what it was to do. The message says whether rows are closed.
    case failed(IDError)
  }

  private enum Phase: Sendable {
    case looking
    case closing
    case reading
    case opening
    case ended(Action)
  }

  /// Whose rows.
  public let tag: Tag
  /// By which this run's closed rows go, one of ``StripeRow/tokens``.
  public let token: Int64
  private let names: [String]
  private let old: Set<Int>
  private let residues: [(database: Int, residue: TableDialect.Residue)]
  private var phase = Phase.looking
  /// How many databases are through with the phase.
  private var finished = 0
  private var isFound = false
  private var step: Int64 = 1
  private var lastID: Int64 = 0

  /// Creates a run that has done nothing yet.
  ///
  /// - Parameters:
  ///   - tag: Whose rows.
  ///   - databases: Every database of both layouts, by the name that errors call it by.
  ///   - old: Which of them the tag is spread over so far.
  ///   - new: Which of them it is to be spread over, in the order of the remainders.
  ///   - token: This run's own, one of ``StripeRow/tokens``: draw it at random, and never use it again.
  /// - Throws: ``IDError/Code/invalidArgument`` with every reason: an empty layout, a database that is named twice or is in
  ///   neither layout, a token out of range.
  public init(tag: Tag, databases: [String], old: [Int], new: [Int], token: Int64) throws(IDError) {
    var reasons: [String] = []
    if old.isEmpty || new.isEmpty { reasons.append("a layout has one database or more") }
    if Set(old).count < old.count || Set(new).count < new.count { reasons.append("a database is named twice") }
    if Set(old).union(new) != Set(databases.indices) {
      reasons.append("every database is in a layout, and no other is")
    }
    if !StripeRow.tokens.contains(token) {
      reasons.append("a token is \(StripeRow.tokens.lowerBound) to \(StripeRow.tokens.upperBound), not \(token)")
    }
    var residues: [(database: Int, residue: TableDialect.Residue)] = []
    for (remainder, database) in new.enumerated() {
      guard let residue = TableDialect.Residue(delta: Int64(new.count), remainder: Int64(remainder)) else {
        reasons.append("a layout has \(TableDialect.Residue.maximumDelta) databases at most")
        break
      }
      residues.append((database, residue))
    }
    guard reasons.isEmpty else { throw IDError(.invalidArgument, "restripe: " + reasons.joined(separator: "; ")) }
    self.old = Set(old)
    self.residues = residues.filter { old.contains($0.database) } + residues.filter { !old.contains($0.database) }
    (self.tag, self.names, self.token) = (tag, databases, token)
  }

  /// What to do now: the same until its outcome was told, and for good once it is ``Action/done(lastID:)`` or
  /// ``Action/failed(_:)``.
  public func next() -> Action {
    switch self.phase {
    case .looking, .reading: return .read(database: self.finished)
    case .closing: return .close(database: self.finished, step: self.step)
    case .opening:
      let (database, residue) = self.residues[self.finished]
      return .open(database: database, residue: residue, lastID: self.lastID, step: self.step)
    case .ended(let action): return action
    }
  }

  /// The row was read: it, nil where there is none, or why it could not be.
  public mutating func read(_ row: Result<StripeRow?, IDError>) {
    switch (self.phase, row) {
    case (.looking, .failure(let error)), (.reading, .failure(let error)): self.fail(error)
    case (.looking, .success(let row)): self.look(at: row)
    case (.reading, .success(let row)): self.verify(row)
    default: preconditionFailure("nothing was to be read")
    }
  }

  /// The row was closed, or nobody knows.
  public mutating func closed(_ result: Result<Void, IDError>) {
    guard case .closing = self.phase else { preconditionFailure("nothing was to be closed") }
    switch result {
    case .success: self.advance(past: self.names.count, to: .reading)
    case .failure(let error): self.fail(error)
    }
  }

  /// The row was opened, was no longer closed with the token (`false`), or nobody knows.
  public mutating func opened(_ result: Result<Bool, IDError>) {
    guard case .opening = self.phase else { preconditionFailure("nothing was to be opened") }
    switch result {
    case .success(true): self.advance(past: self.residues.count, to: .ended(.done(lastID: self.lastID)))
    case .success(false): self.fail(self.overtaken(self.residues[self.finished].database))
    case .failure(let error): self.fail(error)
    }
  }

  private mutating func look(at row: StripeRow?) {
    if let row {
      if case .open(let residue) = row.state, !self.isExpected(residue) { return self.fail(self.unexpected(residue)) }
      self.isFound = true
      self.step = max(self.step, row.step)
    }
    if self.finished + 1 == self.names.count && !self.isFound { return self.fail(.unknown(self.tag)) }
    self.advance(past: self.names.count, to: .closing)
  }

  /// Whether an open row is one of the layout that was named, or one that an interrupted run to the same new layout has
  /// opened.
  private func isExpected(_ residue: TableDialect.Residue) -> Bool {
    if self.old.contains(self.finished) && residue.delta == Int64(self.old.count) { return true }
    return self.residues.contains { $0.database == self.finished && $0.residue == residue }
  }

  private func unexpected(_ residue: TableDialect.Residue) -> IDError {
    let name = self.names[self.finished]
    let text =
      if self.old.contains(self.finished) {
        "tag \(self.tag) in database \(name) is one of \(residue.delta) stripes, but it was said to be in \(self.old.count) "
          + "databases so far: name all of them"
      } else {
        "database \(name) has ids of tag \(self.tag) to give out, but was not said to be one of those that it is in so far"
      }
    return IDError(.storeRejected, text)
  }

  private mutating func verify(_ row: StripeRow?) {
    guard let row, row.state == .closed(token: self.token) else { return self.fail(self.overtaken(self.finished)) }
    self.lastID = max(self.lastID, row.lastID)
    self.advance(past: self.names.count, to: .opening)
  }

  private mutating func advance(past count: Int, to next: Phase) {
    self.finished += 1
    guard self.finished == count else { return }
    (self.finished, self.phase) = (0, next)
  }

  private func overtaken(_ database: Int) -> IDError {
    IDError(
      .storeRejected,
      "another restripe of tag \(self.tag) is under way: its row in database \(self.names[database]) is no longer closed by "
        + "this one")
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
