import MidCore
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A clock that is a millisecond further at every n-th look: Snowflake's own cost, without the system's clock and
/// without waiting for the next tick.
final class SteppingClock: TimeSource {
  private let looks = Atomic<Int64>(0)
  private let shift: Int64

  /// - Parameter shift: A tick lasts `2^shift` looks.
  init(looksPerTickShift shift: Int64) { self.shift = shift }

  func wallMilliseconds() -> Int64 {
    1_700_000_000_000 + (self.looks.wrappingAdd(1, ordering: .relaxed).newValue >> self.shift)
  }
  func monotonicNanoseconds() -> UInt64 { UInt64(self.wallMilliseconds()) * 1_000_000 }
}

/// The system's clock.
struct SystemClock: TimeSource {
  private func read(_ clock: clockid_t) -> timespec {
    var time = timespec()
    precondition(clock_gettime(clock, &time) == 0, "the system has this clock")
    return time
  }

  func wallMilliseconds() -> Int64 {
    let time = self.read(CLOCK_REALTIME)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
  }
  func monotonicNanoseconds() -> UInt64 {
    let time = self.read(CLOCK_MONOTONIC)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}
