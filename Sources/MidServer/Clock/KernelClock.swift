import CClock

/// What the kernel knows of its own clock's health: whether something disciplines it, and how far off it may be.
package struct KernelClock: Sendable, Equatable {
  /// Whether the clock is synchronised (by an NTP daemon, PTP or the like).
  package var isSynchronized: Bool
  /// 1 where a leap second is to be inserted at the end of the UTC day, -1 where one is to be left out, else 0.
  package var leap: Int
  /// The estimated error.
  package var estimatedError: Duration
  /// The largest error there can be; it grows while nothing disciplines the clock.
  package var maximumError: Duration

  /// Creates a state.
  package init(isSynchronized: Bool, leap: Int = 0, estimatedError: Duration, maximumError: Duration) {
    self.isSynchronized = isSynchronized
    self.leap = leap
    self.estimatedError = estimatedError
    self.maximumError = maximumError
  }

  /// Asks the kernel, by `adjtimex(2)` with nothing to adjust. Returns nil where it can't be asked: outside Linux, or in
  /// a sandbox that forbids the call.
  package static func read() -> KernelClock? {
    var state = mid_kernel_clock()
    guard mid_read_kernel_clock(&state) == 1 else { return nil }
    return KernelClock(
      isSynchronized: state.synchronized == 1, leap: Int(state.leap),
      estimatedError: .microseconds(state.estimated_error),
      maximumError: .microseconds(state.maximum_error))
  }

  /// Adds the `mid_clock_kernel_…` gauges, read at each scrape; they are absent where the kernel can't be asked.
  package static func register(
    in registry: PrometheusRegistry, read: @escaping @Sendable () -> KernelClock? = KernelClock.read
  ) {
    registry.collect { writer in
      guard let clock = read() else { return }
      writer.write(MetricCatalogue.kernelSynchronized, value: clock.isSynchronized ? 1 : 0)
      writer.write(MetricCatalogue.kernelLeap, value: Double(clock.leap))
      writer.write(MetricCatalogue.kernelEstimatedError, value: clock.estimatedError / .seconds(1))
      writer.write(MetricCatalogue.kernelMaximumError, value: clock.maximumError / .seconds(1))
    }
  }
}
