/// How long to wait before a statement that the server took back is sent again: doubling, with full jitter.
///
/// Short, because what it collided with is over within milliseconds, and because whoever waits long while others write the
/// same row all the time loses to them again and again.
struct Backoff {
  /// The longest wait before the first retry.
  static let first: Duration = .milliseconds(10)
  /// The longest wait before any retry.
  static let cap: Duration = .milliseconds(500)
  /// How long retries may go on, all in all.
  static let limit: Duration = .seconds(10)

  private var ceiling = Backoff.first

  /// The next wait: `fraction`, a random number from 0 to 1, of the ceiling, which doubles up to the cap.
  mutating func next(_ fraction: Double) -> Duration {
    let wait = self.ceiling * fraction
    self.ceiling = min(self.ceiling * 2, Self.cap)
    return wait
  }
}
