import NIOCore

/// Whether the client of an answer that waits takes it fast enough. Rules without a channel.
///
/// A client may fall behind the least rate by what that rate makes of the patience, and what it has taken too much does not
/// count for later: over any stretch of time it takes `rate × (time - patience)` bytes at least, and it never takes nothing
/// for as long as the patience.
struct HTTPReadingWatch: Sendable {
  /// How a client stands.
  enum Standing: Sendable, Equatable {
    /// It takes enough.
    case good
    /// It takes something, but too little.
    case slow
    /// It has taken nothing for as long as the patience.
    case stuck
  }

  private let patience: TimeAmount
  private let rate: Int
  private var unread: Int
  private var movedAt: NIODeadline
  /// When the client has fallen behind too far unless it takes something before.
  private var deadline: NIODeadline

  /// Begins to watch.
  ///
  /// - Parameters:
  ///   - unread: How many bytes of answers the client has not taken.
  ///   - patience: How long it may take nothing.
  ///   - rate: How many bytes a second it has to take, 1 or more.
  init(unread: Int, at now: NIODeadline, patience: TimeAmount, rate: Int) {
    self.patience = patience
    self.rate = rate
    self.unread = unread
    self.movedAt = now
    self.deadline = now + patience
  }

  /// Sees how much is unread, and how the client stands. To be asked again and again, at least four times within the patience,
  /// and before anything more is written.
  mutating func look(unread: Int, at now: NIODeadline) -> Standing {
    let taken = self.unread - unread
    self.unread = unread
    if taken > 0 {
      self.movedAt = now
      let worth = Double(taken) / Double(self.rate) * 1e9
      // No more than the patience from now on; it also keeps the sum within bounds.
      let gained = TimeAmount.nanoseconds(Int64(min(worth, Double((now + self.patience - self.deadline).nanoseconds))))
      self.deadline = self.deadline + gained
    }
    if now - self.movedAt >= self.patience { return .stuck }
    return now >= self.deadline ? .slow : .good
  }

  /// More was written: so many bytes are unread from here on.
  mutating func wrote(unread: Int) { self.unread = unread }
}
