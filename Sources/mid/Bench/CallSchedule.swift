/// When the calls of one connection are due. Pure: the time comes in, in nanoseconds.
///
/// In a closed loop a call is due as soon as it can be made. With a rate, calls are due at fixed times that do not depend
/// on the answers: connection k of c makes the calls k, k + c, k + 2c and so on of the run, the i-th of which is due
/// i / rate seconds after the start.
struct CallSchedule: Sendable {
  /// Calls that were due and had not been given out, with what they had waited at least.
  struct Unsent: Sendable, Hashable {
    var calls: Int
    /// In nanoseconds: the time that the last one of them had waited.
    var waited: UInt64
  }

  /// The most parts that ``unsent(at:)`` tells of.
  static let unsentParts = 1_000

  private let start: UInt64
  private let end: UInt64
  private let limit: Int
  private let index: Int
  private let connections: Int
  private let interval: Double?

  /// How many calls were given out.
  private(set) var issued = 0
  /// Whether no more calls are given out, whatever the time is.
  private(set) var isStopped = false

  /// Creates the schedule of one connection.
  ///
  /// - Parameters:
  ///   - plan: the run's length and rate.
  ///   - index: which connection this is, from 0.
  ///   - start: when the run begins.
  init(_ plan: BenchPlan, index: Int, start: UInt64) {
    self.start = start
    self.index = index
    self.connections = plan.connections
    self.interval = plan.rate.map { 1e9 / $0 }
    switch plan.length {
    case .duration(let duration):
      self.end = start + UInt64(clamping: duration.nanoseconds)
      self.limit = .max
    case .calls(let calls):
      self.end = .max
      self.limit = calls / plan.connections + (index < calls % plan.connections ? 1 : 0)
    }
  }

  /// When the next call is due; nil when there is none any more.
  var nextDue: UInt64? {
    guard !self.isStopped, self.issued < self.limit else { return nil }
    let due = self.dueTime(self.issued)
    return due < self.end ? due : nil
  }

  /// Gives out the next call, with the time from which its latency counts; nil while none is due.
  mutating func next(now: UInt64) -> UInt64? {
    guard let due = self.nextDue, due <= now else { return nil }
    // A call that was due just before the end may be made just after it: a timer is never quite on time.
    guard now < self.end || self.interval != nil else { return nil }
    self.issued += 1
    return self.interval == nil ? now : due
  }

  /// Gives out no more calls.
  mutating func stop() { self.isStopped = true }

  /// The calls that were due before `now` and have not been given out; none in a closed loop.
  ///
  /// Those that waited longest come first. There may be billions: where they are more than ``unsentParts``, neighbours
  /// make up a part, which tells the shortest time that one of them waited. The first call is always by itself.
  func unsent(at now: UInt64) -> [Unsent] {
    let end = self.dueCalls(before: now)
    guard self.issued < end else { return [] }
    let first = Unsent(calls: 1, waited: now - self.dueTime(self.issued))
    let size = max(1, (end - self.issued - 1 + Self.unsentParts - 2) / (Self.unsentParts - 1))
    let others = stride(from: self.issued + 1, to: end, by: size).map { call in
      let next = min(call + size, end)
      return Unsent(calls: next - call, waited: now - self.dueTime(next - 1))
    }
    return [first] + others
  }

  /// How many calls are due before `now`, those given out included.
  private func dueCalls(before now: UInt64) -> Int {
    guard let interval = self.interval, now > self.start else { return 0 }
    let until = min(now, self.end)
    // About the last one, then exactly.
    var due = Int(Double(until - self.start) / interval / Double(self.connections))
    while self.dueTime(due) < until { due += 1 }
    while due > 0, self.dueTime(due - 1) >= until { due -= 1 }
    return min(due, self.limit)
  }

  private func dueTime(_ call: Int) -> UInt64 {
    guard let interval = self.interval else { return self.start }
    return self.start + UInt64(Double(self.index + call * self.connections) * interval)
  }
}

extension Duration {
  /// The whole nanoseconds.
  var nanoseconds: Int64 {
    let (seconds, attoseconds) = self.components
    return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
  }

  /// The seconds.
  var inSeconds: Double { Double(self.nanoseconds) / 1e9 }
}
