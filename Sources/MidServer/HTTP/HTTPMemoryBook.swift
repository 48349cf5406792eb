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

  /// Whether ``reserve(_:for:at:)`` would grant so many bytes now. Nobody gives way for the question.
  func hasRoom(_ bytes: Int, for id: ObjectIdentifier, at now: NIODeadline) -> Bool {
    self.chosen(for: id, toFree: min(bytes, self.limit), at: now).isGranted
  }

  /// Reserves room for an answer, if there is any. One that is longer than the limit has room where nothing else is held.
  mutating func reserve(_ bytes: Int, for id: ObjectIdentifier, at now: NIODeadline) -> Verdict {
    let verdict = self.chosen(for: id, toFree: min(bytes, self.limit), at: now)
    self.name(verdict.givingWay, at: now)
    if verdict.isGranted { self.change(id, at: now) { $0.reserved += bytes } }
    return verdict
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
    let named = self.givingWay(toFree: 0, at: now) ?? []
    self.name(named, at: now)
    return named
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

  /// What becomes of a reservation, before anything is changed for it.
  private func chosen(for id: ObjectIdentifier, toFree bytes: Int, at now: NIODeadline) -> Verdict {
    guard let givingWay = self.givingWay(toFree: bytes, at: now) else { return Verdict(isGranted: false) }
    // Who gives way gets nothing more.
    let isGranted = !givingWay.contains(id) && self.holdings[id]?.isLeaving != true
    return Verdict(isGranted: isGranted, givingWay: givingWay)
  }

  private mutating func name(_ connections: [ObjectIdentifier], at now: NIODeadline) {
    for id in connections { self.change(id, at: now) { $0.isLeaving = true } }
  }

  /// Which connections have to give way for `bytes` more to have room; nil where that can't be had.
  private func givingWay(toFree bytes: Int, at now: NIODeadline) -> [ObjectIdentifier]? {
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
    return missing <= 0 || bytes == 0 ? named : nil
  }
}
