import MidCore
import NIOCore

/// The rules of the queue of calls that wait for the clock: who is next, who is too late, and when the next round is.
///
/// Single ids come first: they cost nothing. Batches are served one after another, each to its end before the next is
/// begun, in the order in which they came. A batch that can't be finished before its deadline is never begun: it waits
/// for its deadline without taking ids that others can use.
///
/// Cost: constant for each event, but for a logarithm of the number of waiting calls in what concerns deadlines, and
/// cleaning up that is paid for by earlier events. Memory is bounded by `maximumWaiters`.
struct ClockQueueStateMachine<Call: Sendable>: Sendable {
  /// Names a waiting call. Never used again.
  struct WaiterID: Sendable, Hashable {
    fileprivate let number: UInt64
  }

  /// How fast the layout gives ids.
  struct Rate: Sendable {
    /// Ids of one tick, at least 1.
    var idsPerTick: Int64
    /// The length of a tick in nanoseconds, at least 1.
    var tickNanoseconds: Int64
  }

  /// A time to begin a round at. A later alarm replaces an earlier one, whose round does not take place.
  struct Alarm: Sendable, Hashable {
    var time: NIODeadline
    fileprivate var number: UInt64
  }

  /// The answer to a call that wants to wait.
  enum Admission {
    case full
    /// Waits; the alarm, if there is one, is to be set.
    case waiting(WaiterID, Alarm?)
  }

  /// The answer to ids that were taken for a call.
  enum Delivery {
    /// The call has all its ids.
    case complete(Call, [IDRange])
    case incomplete
    /// The call ended meanwhile.
    case gone
  }

  private struct Waiter: Sendable {
    var call: Call
    var missing: Int64
    var taken: [IDRange]
    var deadline: NIODeadline
  }

  private enum Driver: Sendable {
    case idle
    case armed(Alarm)
    /// A round is under way; `isAsked` is set by calls that came during it.
    case running(isAsked: Bool)
  }

  /// The least time between the end of a round and the start of the next: other work of the event loop comes between.
  static var pause: TimeAmount { .milliseconds(1) }
  /// The longest time between rounds: the clock may be stepped forward meanwhile.
  static var longestPause: TimeAmount { .milliseconds(500) }
  /// What a batch must have to spare before its deadline, as rounds are not exact.
  static var slack: TimeAmount { .milliseconds(4) }

  private let maximumWaiters: Int
  private let rate: Rate
  private var waiters: [WaiterID: Waiter] = [:]
  /// In order of arrival. They also hold calls that have ended, until those come to the front or are cleaned up.
  private var singles = CircularBuffer<WaiterID>()
  private var batches = CircularBuffer<WaiterID>()
  private var deadlines = DeadlineHeap<WaiterID>()
  private var lastNumber: UInt64 = 0
  private var driver = Driver.idle
  private var earliestRound = NIODeadline.uptimeNanoseconds(0)

  init(maximumWaiters: Int, rate: Rate) {
    self.maximumWaiters = maximumWaiters
    self.rate = rate
  }

  /// How many calls wait.
  var count: Int { self.waiters.count }

  // MARK: - Calls

  /// A call wants to wait for one id, or for the rest of a batch of `count`.
  mutating func enqueue(
    _ call: Call, count: Int64?, taken: [IDRange], deadline: NIODeadline, now: NIODeadline
  ) -> Admission {
    guard self.waiters.count < self.maximumWaiters else { return .full }
    self.lastNumber += 1
    let id = WaiterID(number: self.lastNumber)
    self.waiters[id] = Waiter(call: call, missing: (count ?? 1) - taken.total, taken: taken, deadline: deadline)
    if count == nil {
      self.singles.append(id)
    } else {
      self.batches.append(id)
    }
    self.deadlines.insert(id, deadline)
    return .waiting(id, self.wake(now: now))
  }

  /// A call's caller gave up. What it has is lost as a gap.
  ///
  /// - Returns: Whether it still waited.
  @discardableResult
  mutating func cancel(_ id: WaiterID) -> Bool { self.remove(id) != nil }

  /// Removes up to `limit` calls whose deadline is not after `time`, the earliest first.
  mutating func removeCalls(dueBy time: NIODeadline, limit: Int) -> [Call] {
    var calls: [Call] = []
    while calls.count < limit, let first = self.firstDeadline, first <= time, let id = self.deadlines.popFirst() {
      if let waiter = self.remove(id) { calls.append(waiter.call) }
    }
    return calls
  }

  // MARK: - Ids

  /// The call for one id that is next.
  mutating func nextSingle() -> WaiterID? {
    while let id = self.singles.first {
      if self.waiters[id] != nil { return id }
      self.singles.removeFirst()
    }
    return nil
  }

  /// The batch that is next, and how many ids it lacks.
  ///
  /// - Parameter reach: how many ids could be taken now.
  mutating func nextBatch(now: NIODeadline, reach: Int64) -> (id: WaiterID, missing: Int64)? {
    while let id = self.batches.first {
      if let waiter = self.waiters[id], !waiter.taken.isEmpty || self.isInTime(waiter, now: now, reach: reach) {
        return (id, waiter.missing)
      }
      // Over, or too late: as the reach grows no faster than time passes, it never can be served any more.
      self.batches.removeFirst()
    }
    return nil
  }

  private func isInTime(_ waiter: Waiter, now: NIODeadline, reach: Int64) -> Bool {
    guard waiter.missing > reach else { return true }
    let left = (waiter.deadline - now - Self.slack).nanoseconds / self.rate.tickNanoseconds
    let (ids, isMore) = max(0, left).multipliedReportingOverflow(by: self.rate.idsPerTick)
    return isMore || waiter.missing - reach <= ids
  }

  /// Ids were taken for a call.
  mutating func give(_ ranges: [IDRange], to id: WaiterID) -> Delivery {
    // Out of the table while it is changed, so that the list of ranges is not copied.
    guard var waiter = self.waiters.removeValue(forKey: id) else { return .gone }
    for range in ranges {
      if let last = waiter.taken.last, last.end == range.start, last.stride == range.stride {
        waiter.taken[waiter.taken.count - 1] = IDRange(
          start: last.start, count: last.count + range.count, stride: last.stride)
      } else {
        waiter.taken.append(range)
      }
      waiter.missing -= range.count
    }
    guard waiter.missing <= 0 else {
      self.waiters[id] = waiter
      return .incomplete
    }
    self.cleanUp()
    return .complete(waiter.call, waiter.taken)
  }

  // MARK: - Rounds

  private mutating func wake(now: NIODeadline) -> Alarm? {
    let time = max(now, self.earliestRound)
    switch self.driver {
    case .running:
      self.driver = .running(isAsked: true)
      return nil
    case .armed(let alarm) where alarm.time <= time: return nil
    case .armed, .idle: return self.arm(time)
    }
  }

  private mutating func arm(_ time: NIODeadline) -> Alarm {
    self.lastNumber += 1
    let alarm = Alarm(time: time, number: self.lastNumber)
    self.driver = .armed(alarm)
    return alarm
  }

  /// An alarm went off. Returns whether a round begins; exactly one ``endRound(now:pause:)`` follows it.
  mutating func beginRound(_ alarm: Alarm) -> Bool {
    guard case .armed(alarm) = self.driver else { return false }
    self.driver = .running(isAsked: false)
    return true
  }

  /// The round is over. Returns when the next one is: after `pause`, or at the earliest deadline before that.
  mutating func endRound(now: NIODeadline, pause: TimeAmount) -> Alarm? {
    let isAsked = if case .running(isAsked: true) = self.driver { true } else { false }
    self.earliestRound = now + Self.pause
    self.driver = .idle
    guard let deadline = self.firstDeadline else { return nil }
    if isAsked { return self.arm(self.earliestRound) }
    return self.arm(max(self.earliestRound, min(now + min(pause, Self.longestPause), deadline)))
  }

  // MARK: - Bookkeeping

  /// The earliest deadline of the calls that wait.
  private var firstDeadline: NIODeadline? {
    mutating get {
      while let first = self.deadlines.first {
        if self.waiters[first.id] != nil { return first.deadline }
        _ = self.deadlines.popFirst()
      }
      return nil
    }
  }

  private mutating func remove(_ id: WaiterID) -> Waiter? {
    let waiter = self.waiters.removeValue(forKey: id)
    self.cleanUp()
    return waiter
  }

  /// Forgets calls that have ended, once they are the greater part.
  private mutating func cleanUp() {
    guard self.entries > 4 * self.waiters.count + 128 else { return }
    let waiters = self.waiters
    self.singles = CircularBuffer(self.singles.filter { waiters[$0] != nil })
    self.batches = CircularBuffer(self.batches.filter { waiters[$0] != nil })
    self.deadlines.keep { waiters[$0] != nil }
  }

  /// How many entries the lists hold, those of calls that have ended included.
  var entries: Int { self.singles.count + self.batches.count + self.deadlines.count }
}
