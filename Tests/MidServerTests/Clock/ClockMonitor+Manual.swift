import Logging
import MidTestKit

@testable import MidServer

extension ClockMonitor {
  /// A monitor that reads a manual clock, and allows an offset of a second.
  static func reading(
    _ clock: ManualClock, log: EventLog, registry: PrometheusRegistry = PrometheusRegistry(),
    hasSharedStore: Bool = true, kernel: KernelClock? = nil
  ) -> ClockMonitor {
    ClockMonitor(
      maxOffset: .seconds(1), renewal: .seconds(1), hasSharedStore: hasSharedStore, registry: registry,
      logger: log.logger,
      read: {
        ClockHealth.Moment(wall: clock.wallMilliseconds() * 1_000_000, monotonic: clock.monotonicNanoseconds())
      }, readKernel: { kernel })
  }
}
