public import MidCore
internal import Synchronization

/// A clock that stands still until a test moves it. Safe to use from any thread.
public final class ManualClock: TimeSource {
  private let wall: Atomic<Int64>
  private let monotonic = Atomic<UInt64>(1_000_000_000)

  /// Creates a clock that reads `wallMilliseconds` since the Unix epoch.
  public init(wallMilliseconds: Int64) { self.wall = Atomic(wallMilliseconds) }

  /// The wall clock's reading, in milliseconds since the Unix epoch.
  public func wallMilliseconds() -> Int64 { self.wall.load(ordering: .acquiring) }

  /// The steady clock's reading, in nanoseconds.
  public func monotonicNanoseconds() -> UInt64 { self.monotonic.load(ordering: .acquiring) }

  /// Lets time pass: both clocks move forward by `milliseconds`, 0 or more.
  public func advance(by milliseconds: Int64) {
    precondition(milliseconds >= 0, "time passes forwards; stepWall(by:) steps the wall clock")
    self.wall.wrappingAdd(milliseconds, ordering: .acquiringAndReleasing)
    self.monotonic.wrappingAdd(UInt64(milliseconds) * 1_000_000, ordering: .acquiringAndReleasing)
  }

  /// Steps the wall clock alone, in either direction, as a person or NTP does.
  public func stepWall(by milliseconds: Int64) {
    self.wall.wrappingAdd(milliseconds, ordering: .acquiringAndReleasing)
  }

  /// Sets the wall clock alone.
  public func setWall(to milliseconds: Int64) { self.wall.store(milliseconds, ordering: .releasing) }
}
