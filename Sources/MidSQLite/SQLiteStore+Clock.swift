#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

extension SQLiteStore {
  /// The machine's wall clock in milliseconds since the Unix epoch.
  @Sendable public static func wallMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
  }
}
