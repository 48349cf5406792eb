/// The two clocks the core reads: one that people set, and one that only runs forward.
///
/// The core has no clock of its own; every reading comes in through this protocol, so that tests can hold time still.
public protocol TimeSource: Sendable {
  /// Milliseconds since 1970-01-01T00:00:00Z by the system's wall clock. May step in both directions.
  func wallMilliseconds() -> Int64

  /// Nanoseconds of a clock that never steps and also runs while the machine or process is suspended. Origin arbitrary.
  func monotonicNanoseconds() -> UInt64
}
