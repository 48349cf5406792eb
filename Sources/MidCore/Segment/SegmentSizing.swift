/// Why a tag's loads have the size they have.
public enum SegmentSizeReason: String, Sendable, Hashable, CaseIterable {
  /// Nothing has been measured yet: the table's step.
  case start
  /// Ids are used faster than before: at most twice the last size.
  case faster
  /// Ids are used slower than before: at least half the last size.
  case slower
  /// The step in the table is the least, and the rate would do with less, or the step was raised.
  case step
  /// ``SegmentSettings/maximumLoad`` is the most, and the rate would take more.
  case maximum
}

/// How many ids a tag's next load takes: so many that they last for ``SegmentSettings/target`` at the measured rate.
///
/// The rate is the larger of two: that of the last window, which ends with a load once a whole load's worth of ids was
/// used, or ten seconds have passed; and the average of the last hour. From one load to the next the size doubles or
/// halves at most, so that one burst does not take a million ids out of the table; and it lies between the table's step
/// and ``SegmentSettings/maximumLoad``, the step winning.
///
/// The same numbers say how many ids have to be at hand so that the store may be away for ``SegmentSettings/outage``:
/// the hour's average times that, and ``slack`` for the time between two looks.
struct SegmentSizing: Sendable {
  /// The shortest window that ends by time.
  static let window: UInt64 = 10_000_000_000
  /// The longest time between two looks at what is at hand; see ``SegmentGenerator/sample()``.
  static let slack: Duration = .seconds(30)

  private struct Reading: Sendable {
    var time: UInt64
    var total: Int64
  }

  /// The size of the next load, before waiters.
  private(set) var size: Int64
  /// Why it changed last.
  private(set) var reason = SegmentSizeReason.start
  /// How often it has changed.
  private(set) var changes: UInt64 = 0
  /// How many ids have to be at hand.
  private(set) var reserve: Int64 = 0
  private var hour = SegmentRate()
  /// Ids a second within the last window that ended.
  private var recent = 0.0
  private var windowBegin: Reading?

  init(step: Int64) { self.size = step }

  /// A look at what is used, every few seconds: the only time at which the reserve changes, so that a burst takes no more
  /// loads than those who wait need.
  mutating func sample(total: Int64, now: UInt64, settings: SegmentSettings) {
    self.record(total: total, now: now)
    let seconds = (settings.outage + Self.slack) / .seconds(1)
    self.reserve = settings.outage > .zero ? Self.whole(self.hour.average * seconds) : 0
  }

  /// Notes that `total` ids have been used up to `now`.
  private mutating func record(total: Int64, now: UInt64) {
    if self.windowBegin == nil { self.windowBegin = Reading(time: now, total: total) }
    self.hour.record(total: total, now: now)
  }

  /// The average of the last hour, ids a second.
  var average: Double { self.hour.average }

  /// Ids a second at this moment: within the running window where it says something already, else within the last one.
  func rate(total: Int64, now: UInt64) -> Double {
    guard let begin = self.windowBegin, now >= begin.time + 1_000_000_000 else { return self.recent }
    return Double(total - begin.total) / (Double(now - begin.time) / 1e9)
  }

  /// A load begins: its size.
  mutating func next(total: Int64, now: UInt64, step: Int64, settings: SegmentSettings) -> Int64 {
    self.record(total: total, now: now)
    self.endWindow(total: total, now: now)
    let wanted = Self.whole(max(self.recent, self.hour.average) * (settings.target / .seconds(1)))
    let most = max(step, settings.maximumLoad)
    let doubled = self.size.multipliedReportingOverflow(by: 2)
    let near = min(max(wanted, self.size / 2), doubled.overflow ? .max : doubled.partialValue)
    let size = min(max(near, step), most)
    guard size != self.size else { return size }
    if size == step && near <= step {
      self.reason = .step
    } else if size == most && wanted > most {
      self.reason = .maximum
    } else {
      self.reason = size > self.size ? .faster : .slower
    }
    self.changes += 1
    self.size = size
    return size
  }

  private mutating func endWindow(total: Int64, now: UInt64) {
    guard let begin = self.windowBegin, now > begin.time else { return }
    let used = total - begin.total
    guard used >= self.size || now - begin.time >= Self.window else { return }
    // A window of less than a millisecond is no measure of a second.
    self.recent = Double(used) / max(Double(now - begin.time) / 1e9, 0.001)
    self.windowBegin = Reading(time: now, total: total)
  }

  /// The number without its fraction, within Int64.
  private static func whole(_ number: Double) -> Int64 {
    number < 9e18 ? Int64(max(0, number)) : Int64(9e18)
  }
}

/// What a generator has measured, for the next one of its tag: how fast ids are used, how many a load takes for that, how many
/// are kept at hand, and how many were used.
public struct SegmentHistory: Sendable {
  let sizing: SegmentSizing
  let used: Int64
}
