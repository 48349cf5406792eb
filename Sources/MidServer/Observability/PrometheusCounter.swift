import Metrics
import Synchronization

/// A number that only grows. Thread-safe; an addition is one relaxed atomic operation.
package final class PrometheusCounter: CounterHandler {
  private let count = Atomic<Int64>(0)

  /// Creates a counter at 0.
  package init() {}

  /// Adds `amount`; nothing happens where it is negative, for a counter never falls. Wraps around past 2^63.
  @inline(__always)
  package func add(_ amount: Int64) {
    guard amount > 0 else { return }
    self.count.wrappingAdd(amount, ordering: .relaxed)
  }

  /// The count now.
  package var value: Int64 { self.count.load(ordering: .relaxed) }

  /// Adds, as swift-metrics calls it.
  package func increment(by amount: Int64) {
    self.add(amount)
  }

  /// Starts again at 0, as after a restart.
  package func reset() {
    self.count.store(0, ordering: .relaxed)
  }
}
