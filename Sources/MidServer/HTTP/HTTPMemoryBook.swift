import NIOCore

/// What the connections of all HTTP ports together hold of answers and requests that can't move on. Rules without a channel.
///
/// Two things count: what a connection holds, and what is reserved for an answer from before it is made until it is the
/// connection's. Where all together would be more than the limit, connections give way whose clients do not take what they
/// asked for: first those that have cost most, in bytes times the time that they were held. Those that began to hold something a
/// moment ago are spared, as their clients may be just about to take it. Only where that makes no room is an answer refused.
struct HTTPMemoryBook: Sendable {
  /// What becomes of a reservation.
  struct Verdict: Sendable, Equatable {
    /// Whether the answer may be made.
    var isGranted: Bool
    /// Which connections give way. Each is named once, until it holds something anew.
    var givingWay: [ObjectIdentifier] = []
  }

  private struct Holding {
    /// Bytes that the connection can't get rid of.
    var held = 0
    /// Bytes of its answers that are being made, or wait for those before.
    var reserved = 0
    /// Since when it holds something.
    var since: NIODeadline
    var isLeaving = false

    var total: Int { self.held + self.reserved }
  }

  /// How long a connection must have held something to give way.
  static let leastHold = TimeAmount.seconds(1)

  /// The bytes that are held and reserved.
  private(set) var total = 0
  /// How many of these belong to connections that were named.
  private var leaving = 0
  private var holdings: [ObjectIdentifier: Holding] = [:]
  private let limit: Int

  /// - Parameter limit: The bytes that all connections may hold together.
  init(limit: Int) { self.limit = limit }

  /// Reserves room for an answer, if there is any. One that is longer than the limit has room where nothing else is held.
  mutating func reserve(_ bytes: Int, for id: ObjectIdentifier, at now: NIODeadline) -> Verdict {
    let needed = min(bytes, self.limit)
    let givingWay = self.makeRoom(needed, at: now)
    // Who gives way gets nothing more.
    guard let givingWay, !givingWay.contains(id), self.holdings[id]?.isLeaving != true else {
      return Verdict(isGranted: false, givingWay: givingWay ?? [])
    }
    self.change(id, at: now) { $0.reserved += bytes }
    return Verdict(isGranted: true, givingWay: givingWay)
  }

  /// A reservation has another size from now on; 0 gives it back.
  mutating func resize(_ bytes: Int, to size: Int, for id: ObjectIdentifier, at now: NIODeadline) {
    self.change(id, at: now) { $0.reserved += size - bytes }
  }

  /// A connection holds so many bytes from now on.
  ///
  /// - Returns: Which connections give way.
  mutating func hold(_ bytes: Int, by id: ObjectIdentifier, at now: NIODeadline) -> [ObjectIdentifier] {
    let before = self.holdings[id]?.held ?? 0
    self.change(id, at: now) { holding in
      if before == 0, bytes > 0 {
        holding.since = now
        holding.isLeaving = false
      }
      holding.held = bytes
    }
    guard bytes > before, self.total - self.leaving > self.limit else { return [] }
    return self.makeRoom(0, at: now) ?? []
  }

  private mutating func change(_ id: ObjectIdentifier, at now: NIODeadline, _ body: (inout Holding) -> Void) {
    var holding = self.holdings[id] ?? Holding(since: now)
    self.total -= holding.total
    if holding.isLeaving { self.leaving -= holding.total }
    body(&holding)
    precondition(holding.held >= 0 && holding.reserved >= 0, "what is given back was taken before")
    self.total += holding.total
    if holding.isLeaving { self.leaving += holding.total }
    self.holdings[id] = holding.total > 0 ? holding : nil
  }

  /// Names connections to give way until `bytes` more have room; nil, and names none, where that can't be had.
  private mutating func makeRoom(_ bytes: Int, at now: NIODeadline) -> [ObjectIdentifier]? {
    var missing = self.total - self.leaving + bytes - self.limit
    guard missing > 0 else { return [] }
    let candidates = self.holdings.filter { _, holding in
      holding.held > 0 && !holding.isLeaving && now - holding.since >= Self.leastHold
    }
    func cost(_ holding: Holding) -> Double { Double(holding.total) * Double((now - holding.since).nanoseconds) }
    var named: [ObjectIdentifier] = []
    for (id, holding) in candidates.sorted(by: { cost($0.value) > cost($1.value) }) where missing > 0 {
      named.append(id)
      missing -= holding.total
    }
    guard missing <= 0 || bytes == 0 else { return nil }
    for id in named { self.change(id, at: now) { $0.isLeaving = true } }
    return named
  }
}
