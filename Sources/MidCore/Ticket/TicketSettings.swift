/// The bounds of one table's tickets.
public struct TicketSettings: Sendable, Hashable {
  /// How many calls may wait at once, those of statements under way included; 1 to 1,000,000.
  public var maximumWaiters: Int
  /// The most tickets of one statement, and so of one call; 1 to 1,000.
  public var maximumBatch: Int64
  /// The longest pause after a database's first failure. Each further one doubles it.
  public var firstPause: Duration
  /// The longest pause there is.
  public var longestPause: Duration

  /// Creates settings.
  public init(
    maximumWaiters: Int = 10_000, maximumBatch: Int64 = 50, firstPause: Duration = .milliseconds(100),
    longestPause: Duration = .seconds(5)
  ) {
    self.maximumWaiters = maximumWaiters
    self.maximumBatch = maximumBatch
    self.firstPause = firstPause
    self.longestPause = longestPause
  }

  /// Checks the bounds.
  ///
  /// - Throws: ``IDError/Code/invalidArgument``, with what is allowed.
  func validate() throws(IDError) {
    guard (1...1_000_000).contains(self.maximumWaiters) else {
      throw IDError(.invalidArgument, "1 to 1000000 calls may wait for tickets, not \(self.maximumWaiters)")
    }
    guard (1...1_000).contains(self.maximumBatch) else {
      throw IDError(.invalidArgument, "a statement takes 1 to 1000 tickets, not \(self.maximumBatch)")
    }
    guard self.firstPause > .zero, self.longestPause >= self.firstPause else {
      throw IDError(.invalidArgument, "the pauses after failures are above 0 and do not shrink")
    }
  }
}

/// Names one waiting call for tickets.
public struct TicketCallID: Sendable, Hashable, Comparable {
  let number: UInt64

  /// By arrival.
  public static func < (left: TicketCallID, right: TicketCallID) -> Bool { left.number < right.number }
}

/// A statement to carry out now: `count` tickets of one database.
public struct TicketStatement: Sendable, Hashable {
  /// The database's index in the generator's list.
  public let database: Int
  /// Tells the statements of one generator apart.
  public let number: UInt64
  /// How many tickets, at least 1.
  public let count: Int64
}
