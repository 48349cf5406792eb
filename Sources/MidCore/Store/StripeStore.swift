/// A tag's row in one of the databases that share the tag.
public struct StripeRow: Sendable, Hashable {
  /// Whether ids can be loaded from the row.
  public enum State: Sendable, Hashable {
    /// They can, those of this residue.
    case open(TableDialect.Residue)
    /// They can't: a run of restriping that goes by this token, one of ``StripeRow/tokens``, has closed the row.
    case closed(token: Int64)
    /// They can't: the run of restriping that goes by this token had all rows of the tag closed at once. The tag is spread
    /// over other databases now, or will be once that run, or one that goes on with it, has ended well.
    case settled(token: Int64)
  }

  /// What the row says of loads.
  public var state: State
  /// The largest number that can have been given out of this row.
  public var lastID: Int64
  /// How many ids a load takes at least, 1 or more.
  public var step: Int64

  /// Creates a row.
  public init(state: State, lastID: Int64, step: Int64) {
    self.state = state
    self.lastID = lastID
    self.step = step
  }

  /// What a token may be: a closed row keeps it in the column of the remainder, beside a delta of 0, and a settled one keeps
  /// it there below zero.
  public static let tokens: ClosedRange<Int64> = 1...Int64(Int32.max)
}

/// A database that can be one of several that share tags.
///
/// An id is unique as long as the open rows of a tag in all databases have one delta, and a remainder each. These calls
/// are what a change of that is made of: close every row, read them all, open each above the highest. A row that is
/// closed has a delta of 0, which no number has: nobody loads from it, whatever they believe it to say, and nothing is
/// given back to it.
///
/// Only tables with columns for delta and remainder can be shared. With another, calls fail with
/// ``IDError/Code/storeRejected``.
public protocol StripeStore: SegmentStore {
  /// The row as it stands, closed or open; nil where there is none.
  ///
  /// - Throws: ``IDError/Code/storeRejected`` where it is neither: a delta and a remainder that no number has.
  func stripe(of tag: Tag) async throws(IDError) -> StripeRow?

  /// Closes the row, if it still says what the run has seen of it; creates a closed one that stands at 0 where there was
  /// none. Loads meanwhile do not count: they move the row on and change nothing of what it says.
  ///
  /// - Parameters:
  ///   - tag: Whose row.
  ///   - seen: What the row has said, or nil where there was none.
  ///   - token: The run's own, one of ``StripeRow/tokens``.
  ///   - step: The step of a row that is created, in ids, 1 or more. A row that is there keeps its own.
  /// - Returns: `false` where the row says something else by now. Nothing was changed then.
  /// - Throws: ``IDError/Code/invalidArgument`` for a token or step out of range.
  func closeStripe(of tag: Tag, ifStill seen: StripeRow.State?, token: Int64, step: Int64) async throws(IDError) -> Bool

  /// Settles a row that is closed with `token`: from then on no other run can close it that has seen it before.
  ///
  /// - Parameters:
  ///   - tag: Whose row.
  ///   - token: The run's own.
  /// - Returns: `false` where the row is not closed with it, or is not there. Nothing was changed then.
  /// - Throws: ``IDError/Code/invalidArgument`` for a token out of range.
  func settleStripe(of tag: Tag, token: Int64) async throws(IDError) -> Bool

  /// Opens a row that is closed or settled with `token`. Its next id lies above `lastID`, and above where the row stands.
  ///
  /// - Parameters:
  ///   - tag: Whose row.
  ///   - token: The run's own.
  ///   - residue: Which numbers are its ids from now on.
  ///   - lastID: The largest number that can have been given out of any of the tag's rows.
  ///   - step: How many ids a load takes at least, 1 or more. One that is too large for the column becomes the largest
  ///     that is not: a row that stayed closed for that could be mended by no call.
  /// - Returns: `false` where the row is neither, or is not there. Nothing was changed then.
  /// - Throws: ``IDError/Code/invalidArgument`` for a number out of range.
  func openStripe(
    of tag: Tag, token: Int64, residue: TableDialect.Residue, lastID: Int64, step: Int64
  ) async throws(IDError) -> Bool

  /// Creates an open row.
  ///
  /// - Parameters:
  ///   - tag: Whose row.
  ///   - residue: Which numbers are its ids.
  ///   - step: In ids, 1 or more.
  ///   - first: No id is smaller than this, 1 or more: the first is the smallest of the residue from here on.
  /// - Throws: ``IDError/Code/tagExists`` where there is a row, open or closed, and ``IDError/Code/invalidArgument`` for a
  ///   number out of range.
  func createStripe(
    _ tag: Tag, residue: TableDialect.Residue, step: Int64, first: Int64
  ) async throws(IDError) -> TagRecord
}

extension StripeRow.State {
  /// What a row's delta and remainder say, or nil where no number could have them.
  package init?(delta: Int64, remainder: Int64) {
    if let residue = TableDialect.Residue(delta: delta, remainder: remainder) {
      self = .open(residue)
    } else if delta == 0, StripeRow.tokens.contains(remainder) {
      self = .closed(token: remainder)
    } else if delta == 0, remainder < 0, StripeRow.tokens.contains(0 - max(remainder, -Int64.max)) {
      self = .settled(token: 0 - remainder)
    } else {
      return nil
    }
  }
}

extension TableDialect {
  /// The record of a row, closed or open.
  ///
  /// - Parameter step: As the table shows it: in numbers, but in ids where the row is closed.
  package func record(_ tag: Tag, maxID: Int64, step: Int64, _ state: StripeRow.State) -> TagRecord {
    switch state {
    case .open(let residue): return self.record(tag, maxID: maxID, step: step, residue)
    case .closed, .settled:
      var record = self.record(tag, maxID: maxID, step: step)
      record.isClosed = true
      return record
    }
  }

  /// What the table shows for `step` in a row that is opened: at most what the column holds.
  package func openedStep(_ step: Int64, _ residue: Residue) -> Int64 {
    let (stored, isTooLarge) = step.multipliedReportingOverflow(by: residue.delta)
    // Tinyid's column is an INT, mid's own a BIGINT.
    return min(isTooLarge ? .max : stored, self.kind == .tinyid ? Int64(Int32.max) : .max)
  }

  /// Checks that databases can share this table's tags.
  ///
  /// - Throws: ``IDError/Code/storeRejected`` where there are no columns for it.
  package func checkStripes() throws(IDError) -> ResidueColumns {
    guard let columns = self.residueColumns else {
      throw IDError(
        .storeRejected,
        "the table \(self.table) has no columns for delta and remainder: several databases can't share its tags")
    }
    return columns
  }
}

extension IDError {
  /// The error for a row that is closed.
  package static func restriped(_ tag: Tag) -> IDError {
    IDError(
      .storeUnavailable,
      "tag \(tag) is being restriped, and its row is closed till then; where no `mid tag restripe` is at work, run it again"
    )
  }
}

extension StripeRow {
  /// Checks that `token` is one of ``tokens``.
  ///
  /// - Throws: ``IDError/Code/invalidArgument`` otherwise.
  package static func check(token: Int64) throws(IDError) {
    guard self.tokens.contains(token) else {
      throw IDError(
        .invalidArgument, "a token is \(self.tokens.lowerBound) to \(self.tokens.upperBound), not \(token)")
    }
  }

  /// Checks that `step`, in ids, is 1 or more.
  ///
  /// - Throws: ``IDError/Code/invalidArgument`` otherwise.
  package static func check(step: Int64) throws(IDError) {
    guard step >= 1 else { throw IDError(.invalidArgument, "a step is at least 1, not \(step)") }
  }

  /// Checks that a new tag's first id is 1 or more.
  ///
  /// - Throws: ``IDError/Code/invalidArgument`` otherwise.
  package static func check(first: Int64) throws(IDError) {
    guard first >= 1 else { throw IDError(.invalidArgument, "a tag's first id is at least 1, not \(first)") }
  }
}
