/// The limits of one tag's generator.
public struct SegmentSettings: Sendable, Hashable {
  /// How much of the serving range is used, in percent, when the standby one is asked for: 0 to 100, 10 by default.
  public var loadAfterPercent: Int64
  /// How many callers may wait for a load at a time, 0 to 1,000,000, 10,000 by default. One more is
  /// ``IDError/Code/overloaded``.
  public var maximumWaiters: Int
  /// The most ids that one load asks for, 1 or more, 1,000,000 by default. A larger step wins, and so does a single
  /// larger batch.
  public var maximumLoad: Int64
  /// How long a load is to last at the measured rate: above zero, up to a day, 15 minutes by default. Zero is allowed as
  /// well: loads are of the table's step then, whatever the rate.
  public var target: Duration
  /// For how long the store may be away without a call noticing, at the average rate of the last hour: zero up to a day,
  /// 10 minutes by default. More loads than the two are kept at hand where these do not last as long, up to
  /// ``maximumStandby``.
  public var outage: Duration
  /// The longest pause after the first failed load; doubled with each further one. 100 ms by default.
  public var firstRetryDelay: Duration
  /// The longest pause between failed loads, 2 s by default.
  public var maximumRetryDelay: Duration

  /// How long a store's answer stands that asking again does not change: the tag is unknown, or used up. Until then calls
  /// get the same answer without a query.
  public static let finalAnswerPause: Duration = .seconds(1)

  /// The most ranges that are kept in standby.
  public static let maximumStandby = 1000

  /// Creates settings.
  public init(
    loadAfterPercent: Int64 = 10, maximumWaiters: Int = 10_000, maximumLoad: Int64 = 1_000_000,
    target: Duration = .seconds(900), outage: Duration = .seconds(600),
    firstRetryDelay: Duration = .milliseconds(100), maximumRetryDelay: Duration = .seconds(2)
  ) {
    self.loadAfterPercent = loadAfterPercent
    self.maximumWaiters = maximumWaiters
    self.maximumLoad = maximumLoad
    self.target = target
    self.outage = outage
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
    let day = Duration.zero...Duration.seconds(86_400)
    if !day.contains(self.target) { reasons.append("a load is to last for at most a day, not \(self.target)") }
    if !day.contains(self.outage) { reasons.append("an outage to be borne lasts at most a day, not \(self.outage)") }
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
  /// The end of the serving range, 0 before the first.
  public var servingEnd: Int64 = 0
  /// The distance between neighbouring ids.
  public var stride: Int64 = 1
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
  /// How many ids the next load takes, before waiters.
  public var size: Int64 = 0
  /// Why that changed last.
  public var sizeReason = SegmentSizeReason.start
  /// How often it has changed since the start.
  public var sizeChanges: UInt64 = 0
  /// Ids a second now, over some seconds up to one load.
  public var rate = 0.0
  /// Ids a second, on average over the last hour.
  public var averageRate = 0.0
  /// Ids used since the start.
  public var used: Int64 = 0
  /// The end of what was given out since the start: no id from here on was. Nil before the first.
  public var usedEnd: Int64?

  /// After how many seconds the serving range is used up at the present rate; nil where nothing is used.
  public var servingSeconds: Double? { self.rate > 0 ? Double(self.servingLeft) / self.rate : nil }

  /// After how many seconds serving and standby are used up at the present rate, if nothing more is loaded; nil where
  /// nothing is used.
  public var secondsLeft: Double? {
    self.rate > 0 ? Double(self.servingLeft + self.standbyLeft) / self.rate : nil
  }
}
