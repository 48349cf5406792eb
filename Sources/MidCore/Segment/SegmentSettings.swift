/// The limits of one tag's generator.
public struct SegmentSettings: Sendable, Hashable {
  /// How much of the serving range is used, in percent, when the standby one is asked for: 0 to 100, 10 by default.
  public var loadAfterPercent: Int64
  /// How many callers may wait for a load at a time, 0 to 1,000,000, 10,000 by default. One more is
  /// ``IDError/Code/overloaded``.
  public var maximumWaiters: Int
  /// The most ids that waiters can make one load ask for, 1 or more, 1,000,000 by default. A larger step wins, and so
  /// does a single larger batch.
  public var maximumLoad: Int64
  /// The longest pause after the first failed load; doubled with each further one. 100 ms by default.
  public var firstRetryDelay: Duration
  /// The longest pause between failed loads, 2 s by default.
  public var maximumRetryDelay: Duration

  /// Creates settings.
  public init(
    loadAfterPercent: Int64 = 10, maximumWaiters: Int = 10_000, maximumLoad: Int64 = 1_000_000,
    firstRetryDelay: Duration = .milliseconds(100), maximumRetryDelay: Duration = .seconds(2)
  ) {
    self.loadAfterPercent = loadAfterPercent
    self.maximumWaiters = maximumWaiters
    self.maximumLoad = maximumLoad
    self.firstRetryDelay = firstRetryDelay
    self.maximumRetryDelay = maximumRetryDelay
  }

  /// Checks all bounds.
  ///
  /// - Throws: ``IDError/Code/invalidArgument`` with every reason.
  public func validate() throws(IDError) {
    var reasons: [String] = []
    if !(0...100).contains(self.loadAfterPercent) {
      reasons.append("a load starts after 0 to 100 percent, not \(self.loadAfterPercent)")
    }
    if !(0...1_000_000).contains(self.maximumWaiters) {
      reasons.append("0 to 1000000 callers may wait, not \(self.maximumWaiters)")
    }
    if self.maximumLoad < 1 { reasons.append("a load has at least 1 id, not \(self.maximumLoad)") }
    if self.firstRetryDelay < .zero || self.maximumRetryDelay < self.firstRetryDelay {
      reasons.append("retry delays are not negative, and the first is not longer than the longest")
    }
    guard reasons.isEmpty else { throw IDError(.invalidArgument, "segment: " + reasons.joined(separator: "; ")) }
  }
}

/// What a store is to be asked for. At most one load of a tag is under way.
public struct SegmentLoad: Sendable, Hashable {
  /// Whose ids.
  public let tag: Tag
  /// How many, 1 or more.
  public let count: Int64
}

/// What a tag's generator looks like at one moment, for metrics and pages.
public struct SegmentSnapshot: Sendable, Hashable {
  /// Ids left in the serving range.
  public var servingLeft: Int64 = 0
  /// Ids left in standby.
  public var standbyLeft: Int64 = 0
  /// Callers that wait.
  public var waiters: Int = 0
  /// Ids that they wait for.
  public var waitingIDs: Int64 = 0
  /// Whether a load is under way or waits for its retry.
  public var isLoading: Bool = false
  /// Loads that arrived since the start.
  public var loads: UInt64 = 0
  /// Loads that failed since the last one that arrived.
  public var failures: Int = 0
  /// Why the last load failed, until one arrives.
  public var lastError: IDError?
  /// The end of the highest range received, or nil before the first.
  public var highWater: Int64?
  /// The step that loads take at least.
  public var step: Int64 = 0
}
