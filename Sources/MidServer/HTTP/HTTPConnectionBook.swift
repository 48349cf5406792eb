import NIOCore

/// How many connections a port has, and which of them wait for a request. Rules without a channel.
///
/// Where there are as many as there may be, the one that has waited longest gives way: nobody is kept out by connections
/// that nobody uses. One that began to wait a moment ago is spared, as its next request is likely on its way.
struct HTTPConnectionBook: Sendable {
  /// How long a connection must have waited to give way.
  static let leastIdle = TimeAmount.seconds(1)

  private let maximum: Int
  private var count = 0
  /// Since when each waits, by number.
  private var idle: [Int: NIODeadline] = [:]

  /// - Parameter maximum: The most connections at once.
  init(maximum: Int) { self.maximum = maximum }

  /// Whether no other connection may be taken.
  var isFull: Bool { self.count >= self.maximum }

  /// How many connections wait for a request.
  var idleCount: Int { self.idle.count }

  /// A connection was accepted.
  mutating func opened() { self.count += 1 }

  /// A connection is closed.
  mutating func closed() { self.count -= 1 }

  /// A connection waits for a request from now on.
  mutating func becameIdle(_ id: Int, at now: NIODeadline) { self.idle[id] = now }

  /// A connection has a request, or is gone.
  mutating func becameBusy(_ id: Int) { self.idle[id] = nil }

  /// Which connection gives way, nil where there is room or none has waited long enough. It is named once: it waits no
  /// longer until it says so again. Takes a look at each that waits.
  mutating func giveWay(at now: NIODeadline) -> Int? {
    guard self.isFull, let longest = self.idle.min(by: { ($0.value, $0.key) < ($1.value, $1.key) }),
      now - longest.value >= Self.leastIdle
    else { return nil }
    self.idle[longest.key] = nil
    return longest.key
  }
}
