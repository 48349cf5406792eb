import Metrics
import Synchronization

/// A number that goes up and down. Thread-safe.
package final class PrometheusGauge: MeterHandler, RecorderHandler {
  private let bits = Atomic<UInt64>(0)

  /// Creates a gauge at 0.
  package init() {}

  /// The number now.
  package var value: Double { Double(bitPattern: self.bits.load(ordering: .relaxed)) }

  /// Sets the number.
  package func set(_ value: Double) {
    self.bits.store(value.bitPattern, ordering: .relaxed)
  }

  /// Sets the number; exact up to 2^53.
  package func set(_ value: Int64) {
    self.set(Double(value))
  }

  /// Adds to the number, or takes from it where `amount` is negative.
  package func add(_ amount: Double) {
    var old = self.bits.load(ordering: .relaxed)
    while true {
      let new = (Double(bitPattern: old) + amount).bitPattern
      let (exchanged, current) = self.bits.compareExchange(expected: old, desired: new, ordering: .relaxed)
      guard !exchanged else { return }
      old = current
    }
  }

  /// Adds, as swift-metrics calls it.
  package func increment(by amount: Double) {
    self.add(amount)
  }

  /// Takes away, as swift-metrics calls it.
  package func decrement(by amount: Double) {
    self.add(-amount)
  }

  /// Sets, as swift-metrics calls it for a recorder that doesn't aggregate.
  package func record(_ value: Int64) {
    self.set(value)
  }

  /// Sets, as swift-metrics calls it for a recorder that doesn't aggregate.
  package func record(_ value: Double) {
    self.set(value)
  }
}
