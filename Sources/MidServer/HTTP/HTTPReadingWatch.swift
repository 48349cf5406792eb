import NIOCore

/// Whether the client of an answer that stands still takes any of it. Rules without a channel.
///
/// The system takes more of an answer once the client has taken some of what it has already; so a client that reads slowly
/// is seen by what is left to hand over, as one that reads nothing is.
struct HTTPReadingWatch: Sendable {
  private var left: Int
  private var since: NIODeadline

  /// Begins to watch.
  ///
  /// - Parameter left: How many bytes of answers the system has not taken.
  init(left: Int, at now: NIODeadline) {
    self.left = left
    self.since = now
  }

  /// Whether nothing has moved for as long as `patience`. To be asked again and again, at least four times within that.
  mutating func isOver(left: Int, at now: NIODeadline, patience: TimeAmount) -> Bool {
    if left != self.left {
      self.left = left
      self.since = now
    }
    return now - self.since >= patience
  }
}
