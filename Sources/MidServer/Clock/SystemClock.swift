import CClock
import MidCore

/// The machine's two clocks, as the core reads them.
///
/// On Linux the monotonic reading is `CLOCK_BOOTTIME`, on Darwin `CLOCK_MONOTONIC_RAW`: both go on while the machine
/// sleeps and the process is stopped, which `CLOCK_MONOTONIC` on Linux does not.
package struct SystemClock: TimeSource {
  /// Creates the clock. It holds no state; all instances read the same clocks.
  package init() {}

  /// Milliseconds since 1970-01-01T00:00:00Z by `CLOCK_REALTIME`, rounded down.
  package func wallMilliseconds() -> Int64 {
    let (milliseconds, rest) = self.wallNanoseconds().quotientAndRemainder(dividingBy: 1_000_000)
    return rest < 0 ? milliseconds - 1 : milliseconds
  }

  /// Nanoseconds since the machine started, its sleep included.
  package func monotonicNanoseconds() -> UInt64 {
    mid_monotonic_nanoseconds()
  }

  /// Nanoseconds since 1970-01-01T00:00:00Z by `CLOCK_REALTIME`; runs out in 2262.
  package func wallNanoseconds() -> Int64 {
    mid_wall_nanoseconds()
  }
}
