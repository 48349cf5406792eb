/// When the calls of one connection are due. Pure: the time comes in, in nanoseconds.
///
/// In a closed loop a call is due as soon as it can be made. With a rate, calls are due at fixed times that do not depend
/// on the answers: connection k of c makes the calls k, k + c, k + 2c and so on of the run, the i-th of which is due
/// i / rate seconds after the start.
struct CallSchedule: Sendable {
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
    // Calls that were due before the end and could not be made by then are not made: see `unsent(at:)`.
    guard now < self.end, let due = self.nextDue, due <= now else { return nil }
    self.issued += 1
    return self.interval == nil ? now : due
  }

  /// Gives out no more calls.
  mutating func stop() { self.isStopped = true }

  /// How many calls were due before `now` and have not been given out. Always 0 in a closed loop.
  func unsent(at now: UInt64) -> Int {
    guard let interval = self.interval, now > self.start else { return 0 }
    let until = min(now, self.end)
    // About the last one, then exactly.
    var due = Int(Double(until - self.start) / interval / Double(self.connections))
    while self.dueTime(due) < until { due += 1 }
    while due > 0, self.dueTime(due - 1) >= until { due -= 1 }
    return max(0, min(due, self.limit) - self.issued)
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
