import Synchronization

/// What all connections of a server together hold of requests and responses that can't move on.
final class RPCMemory: Sendable {
  private let used = Atomic<Int>(0)
  private let limit: Int
  private let fairShare: Int

  /// Creates an account.
  ///
  /// - Parameters:
  ///   - limit: bytes that may be held in all.
  ///   - connections: how many connections there may be. Each has its share whatever the others hold.
  init(limit: Int, connections: Int) {
    self.limit = limit
    self.fairShare = max(16 * 1024, limit / max(1, connections))
  }

  /// The bytes that are held now.
  var total: Int { self.used.load(ordering: .relaxed) }

  /// Notes that a connection holds `now` bytes where it held `before`.
  ///
  /// - Returns: Whether it may. False where all hold too much together and this one more than its share.
  func move(from before: Int, to now: Int) -> Bool {
    let total = self.used.add(now - before, ordering: .relaxed).newValue
    return total <= self.limit || now <= self.fairShare
  }
}
