import Metrics
import Synchronization

/// Observations counted by size. Thread-safe and without locks: two relaxed atomic additions per observation.
///
/// A reading taken while others observe may be a few observations apart between buckets and sum; its count is always
/// the sum of its buckets.
package final class PrometheusHistogram: RecorderHandler, TimerHandler {
  /// The upper bounds, without the infinite one.
  package let buckets: [Double]

  private let nanosecondBounds: [Int64]
  /// One cell per bucket, the infinite one last.
  private let counts: AtomicCells
  private let nanosecondSum = Atomic<Int64>(0)
  private let sum = PrometheusGauge()

  /// Creates an empty histogram over ascending bounds.
  package init(buckets: [Double]) {
    self.buckets = buckets
    // Bounds past what Int64 nanoseconds can hold are never reached by an observation in nanoseconds.
    self.nanosecondBounds = buckets.map { Int64(exactly: ($0 * 1e9).rounded()) ?? ($0 < 0 ? .min : .max) }
    self.counts = AtomicCells(count: buckets.count + 1)
  }

  /// Counts `count` observations of a time each, for a histogram in seconds. Negative times count as 0.
  package func observe(nanoseconds: Int64, count: Int64 = 1) {
    let nanoseconds = max(nanoseconds, 0)
    var index = 0
    while index < self.nanosecondBounds.count, nanoseconds > self.nanosecondBounds[index] {
      index += 1
    }
    self.counts.add(count, at: index)
    self.nanosecondSum.wrappingAdd(nanoseconds &* count, ordering: .relaxed)
  }

  /// Counts one observation of a value in the histogram's own unit. Not a number is no observation.
  package func observe(_ value: Double) {
    guard !value.isNaN else { return }
    let index = self.buckets.firstIndex { value <= $0 } ?? self.buckets.count
    self.counts.add(1, at: index)
    self.sum.add(value)
  }

  /// What has been observed: cumulative counts by bound, the infinite one last, and the sum of all values.
  package func reading() -> (cumulative: [Int64], sum: Double) {
    var total: Int64 = 0
    let cumulative = self.counts.values().map { count in
      total &+= count
      return total
    }
    return (cumulative, self.sum.value + Double(self.nanosecondSum.load(ordering: .relaxed)) / 1e9)
  }

  /// Counts a value, as swift-metrics calls it.
  package func record(_ value: Int64) {
    self.observe(Double(value))
  }

  /// Counts a value, as swift-metrics calls it.
  package func record(_ value: Double) {
    self.observe(value)
  }

  /// Counts a time, as swift-metrics calls it.
  package func recordNanoseconds(_ duration: Int64) {
    self.observe(nanoseconds: duration)
  }
}
