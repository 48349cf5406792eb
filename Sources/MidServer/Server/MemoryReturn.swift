import CMemory
import NIOPosix
import ServiceLifecycle

/// When freed memory is given back to the system: once much less is held than was.
struct MemoryReturnRule: Sendable {
  /// Less than this is not worth the work.
  static let leastPeak = 2 << 20

  /// The most that was held since the last time.
  private(set) var peak = 0

  /// Whether the time has come, given how many bytes are held now.
  mutating func isDue(held: Int) -> Bool {
    self.peak = max(self.peak, held)
    guard self.peak >= Self.leastPeak, held <= self.peak / 4 else { return false }
    self.peak = held
    return true
  }
}

/// Gives memory that connections held, and hold no longer, back to the system.
///
/// The C library keeps freed memory that lies below some that is still in use: after a flood of half-sent requests that is
/// megabytes, for as long as the process lives. glibc only; other systems' allocators do it by themselves.
struct MemoryReturn: Service {
  /// How many bytes are held now.
  let held: @Sendable () -> Int

  /// Looks every second until graceful shutdown.
  func run() async throws {
    await cancelWhenGracefulShutdown {
      var rule = MemoryReturnRule()
      do {
        while true {
          try await Task.sleep(for: .seconds(1))
          guard rule.isDue(held: self.held()) else { continue }
          // It takes a millisecond or so: not on a thread that others wait for.
          try await NIOThreadPool.singleton.runIfActive { mid_return_freed_memory() }
          // Nor all the time, where floods come and go.
          try await Task.sleep(for: .seconds(5))
        }
      } catch {
        // Cancelled: the service ends.
      }
    }
  }
}
