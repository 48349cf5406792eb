import MidCore
import NIOCore
import Synchronization

/// The calls that wait for Snowflake ids, and the one alarm that serves them in rounds. Its rules are those of
/// ``ClockQueueStateMachine``. Safe to use from any thread.
///
/// A round runs on the event loop of a call that waits. It is ended after a millisecond or a bounded number of answers
/// and ids, and what is left is for the next round at least a millisecond later, so that other calls on that event loop
/// are answered between.
final class ClockQueue: Sendable {
  /// Has a body run at a time, once. The queue decides then whether there is something to do.
  typealias Schedule = @Sendable (NIODeadline, @escaping @Sendable () -> Void) -> Void

  /// A call that waits.
  struct Call: Sendable {
    /// Sets alarms.
    var schedule: Schedule
    /// Is told the ids or the error, at most once, outside of locks.
    var answer: @Sendable (Result<[IDRange], IDError>) -> Void
  }

  typealias State = ClockQueueStateMachine<Call>

  /// What one round may do.
  private struct Budget {
    var answers = 1024
    var ids: Int64
    let end: NIODeadline

    func isLeft(at now: NIODeadline) -> Bool { self.answers > 0 && self.ids > 0 && now < self.end }
  }

  private let snowflake: SnowflakeNode
  private let now: @Sendable () -> NIODeadline
  private let state: Mutex<State>
  private let waiting = Atomic<Int>(0)

  /// Creates an empty queue.
  ///
  /// - Parameters:
  ///   - maximumWaiters: how many calls may wait at once.
  ///   - now: the clock of deadlines.
  init(
    snowflake: SnowflakeNode, maximumWaiters: Int, now: @escaping @Sendable () -> NIODeadline = { .now() }
  ) {
    self.snowflake = snowflake
    self.now = now
    let layout = snowflake.layout
    self.state = Mutex(
      State(
        maximumWaiters: maximumWaiters,
        rate: State.Rate(
          idsPerTick: layout.sequencesPerTick, tickNanoseconds: layout.tickMilliseconds * 1_000_000)))
  }

  /// How many calls wait, as of a moment ago. One relaxed load.
  var count: Int { self.waiting.load(ordering: .relaxed) }

  /// Lets a call wait for one id, or for the rest of a batch.
  ///
  /// - Parameters:
  ///   - count: the size of the batch, nil for one id.
  ///   - taken: what the batch has already.
  ///   - deadline: when it is answered at the latest.
  /// - Returns: what ``cancel(_:)`` knows the call by, or nil where too many wait already.
  func enqueue(_ call: Call, count: Int64?, taken: [IDRange] = [], deadline: NIODeadline) -> State.WaiterID? {
    let now = self.now()
    let admission = self.withState { $0.enqueue(call, count: count, taken: taken, deadline: deadline, now: now) }
    guard case .waiting(let id, let alarm) = admission else { return nil }
    if let alarm { self.set(alarm, call.schedule) }
    return id
  }

  /// The caller gave up: it is not answered, and takes no more ids.
  ///
  /// - Returns: Whether it still waited; otherwise it was answered, or is about to be.
  @discardableResult
  func cancel(_ id: State.WaiterID) -> Bool { self.withState { $0.cancel(id) } }

  private func withState<Result>(_ body: (inout sending State) -> sending Result) -> sending Result {
    self.state.withLock { state in
      defer { self.waiting.store(state.count, ordering: .relaxed) }
      return body(&state)
    }
  }

  // MARK: - Rounds

  private func set(_ alarm: State.Alarm, _ schedule: @escaping Schedule) {
    schedule(alarm.time) { self.round(alarm, schedule) }
  }

  private func round(_ alarm: State.Alarm, _ schedule: @escaping Schedule) {
    guard self.withState({ $0.beginRound(alarm) }) else { return }
    let now = self.now()
    var budget = Budget(
      ids: max(BatchLimit.maximum, 512 * self.snowflake.layout.sequencesPerTick), end: now + State.pause)
    var pause = State.longestPause
    if self.expire(now: now, &budget) {
      pause = min(self.serveSingles(&budget), self.serveBatches(&budget))
    }
    let end = self.now()
    if !budget.isLeft(at: end) { pause = State.pause }
    let next = self.withState { $0.endRound(now: end, pause: pause) }
    if let next { self.set(next, schedule) }
  }

  /// Answers those whose time is up, and all where no ids are to be had. Returns whether ids are to be had.
  private func expire(now: NIODeadline, _ budget: inout Budget) -> Bool {
    let error: IDError
    var due = now
    var isServing = true
    switch self.snowflake.reach() {
    case .ids: error = IDError(.deadlineExceeded, "the clock did not get to all ids of the call in time")
    case .wait(let wait): error = self.snowflake.deadlineError(for: wait)
    case .failure(let failure):
      error = failure
      due = .distantFuture
      isServing = false
    }
    let limit = budget.answers
    let calls = self.withState { $0.removeCalls(dueBy: due, limit: limit) }
    budget.answers -= calls.count
    for call in calls { call.answer(.failure(error)) }
    return isServing
  }

  /// Returns how long to wait before the next try.
  private func serveSingles(_ budget: inout Budget) -> TimeAmount {
    while budget.isLeft(at: self.now()), let id = self.withState({ $0.nextSingle() }) {
      switch self.snowflake.next() {
      case .id(let number): self.give([IDRange(start: number, count: 1)], to: id, &budget)
      case .wait(let wait): return TimeAmount(wait.duration)
      case .failure: return State.pause
      }
    }
    return State.longestPause
  }

  /// Returns how long to wait before the next try.
  private func serveBatches(_ budget: inout Budget) -> TimeAmount {
    while true {
      let now = self.now()
      guard budget.isLeft(at: now) else { return State.pause }
      switch self.snowflake.reach() {
      case .ids(let reach):
        guard let (id, missing) = self.withState({ $0.nextBatch(now: now, reach: reach) }) else {
          return State.longestPause
        }
        switch self.snowflake.take(upTo: min(missing, budget.ids, BatchLimit.maximum)) {
        case .ids(let ranges): self.give(ranges, to: id, &budget)
        case .wait(let wait): return TimeAmount(wait.duration)
        case .failure: return State.pause
        }
      case .wait(let wait): return TimeAmount(wait.duration)
      case .failure: return State.pause
      }
    }
  }

  private func give(_ ranges: [IDRange], to id: State.WaiterID, _ budget: inout Budget) {
    budget.ids -= ranges.total
    switch self.withState({ $0.give(ranges, to: id) }) {
    case .complete(let call, let all):
      budget.answers -= 1
      call.answer(.success(all))
    case .incomplete, .gone: break
    }
  }
}
