import Histogram

/// How long calls took, in nanoseconds: an HdrHistogram of three significant digits up to a minute, and the exact sum and
/// largest value beside it.
struct LatencyRecord: Sendable {
  /// The percentiles that are told.
  static let percentiles = [50.0, 75, 90, 95, 99, 99.9, 99.99]

  /// Longer times count as a minute in the percentiles.
  private static let longest: UInt64 = 60_000_000_000

  private var histogram = Histogram<UInt64>(
    lowestDiscernibleValue: 1, highestTrackableValue: longest, numberOfSignificantValueDigits: .three)
  /// A `Double`, since calls that were never sent may have waited for longer than 64 bits of nanoseconds, all together.
  private var sum = 0.0
  private(set) var maximum: UInt64 = 0
  private(set) var count = 0

  /// Creates an empty record.
  init() {}

  /// Takes one call in.
  @inline(__always)
  mutating func record(_ nanoseconds: UInt64) {
    self.histogram.record(min(nanoseconds, Self.longest))
    self.sum += Double(nanoseconds)
    self.maximum = max(self.maximum, nanoseconds)
    self.count += 1
  }

  /// Takes in calls that took equally long.
  mutating func record(_ nanoseconds: UInt64, calls: Int) {
    self.histogram.record(min(nanoseconds, Self.longest), count: UInt64(calls))
    self.sum += Double(nanoseconds) * Double(calls)
    self.maximum = max(self.maximum, nanoseconds)
    self.count += calls
  }

  /// Takes in all calls of another record.
  mutating func add(_ other: LatencyRecord) {
    self.histogram.add(other.histogram)
    self.sum += other.sum
    self.maximum = max(self.maximum, other.maximum)
    self.count += other.count
  }

  /// The mean, 0 where there is no call.
  var mean: Double { self.count == 0 ? 0 : self.sum / Double(self.count) }

  /// The time that `percent` of the calls did not exceed, to three digits; 0 where there is no call.
  func value(at percent: Double) -> UInt64 { min(self.histogram.valueAtPercentile(percent), self.maximum) }
}
