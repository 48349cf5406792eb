import MidCore
import NIOCore
import NIOPosix
import Synchronization

/// The same calls for callers that can await: the HTTP door. They go to the same generators and queues as gRPC's, are
/// bounded by the same limits, and count in the same metrics.
extension IDMethods {
  /// How a call ends that has to wait.
  struct Wait: Sendable {
    /// Ends it at its deadline, or nil where the queue sees to that itself.
    var expire: (@Sendable () -> Void)?
    /// Ends it because its caller is gone.
    var cancel: @Sendable () -> Void
  }

  /// Exactly `count` ids, waiting up to ``Limits/maximumWait`` where too few are at hand.
  ///
  /// - Parameters:
  ///   - tag: Whose ids; Snowflake ids have no tag.
  ///   - count: 1 to ``Limits/maximumBatch``.
  ///   - deadline: How long it may wait; ``Limits/maximumWait`` from now where none is given.
  /// - Throws: ``MidCore/IDError/Code/invalidArgument`` for another count or a mode that hands out no 64-bit ids, and what
  ///   the generator throws. A cancelled task's call ends with ``MidCore/IDError/Code/deadlineExceeded``.
  func ids(
    of mode: RequestFields.Mode, tag: Tag, count: Int64, deadline: NIODeadline? = nil
  ) async throws(IDError) -> [IDRange] {
    let deadline = deadline ?? self.latest
    guard (1...self.limits.maximumBatch).contains(count) else {
      throw IDError(.invalidArgument, "count is \(count); a batch has 1 to \(self.limits.maximumBatch) ids")
    }
    switch mode {
    case .snowflake: return try await self.snowflakeIDs(count, deadline)
    case .segment: return try await self.segmentIDs(of: tag, count, deadline)
    case .ticket:
      let generator = try self.tickets.generator(for: tag)
      let range = try await self.awaiting(until: deadline) { answer in
        generator.enqueue(count: count, completion: answer).map { id in
          Wait(expire: { generator.expire(id) }, cancel: { generator.cancel(id) })
        }
      }
      self.meter.issued(ticket: range.count)
      return [range]
    default: throw IDError(.invalidArgument, "no ids of this mode; allowed: \(Self.modes)")
    }
  }

  private func segmentIDs(of tag: Tag, _ count: Int64, _ deadline: NIODeadline) async throws(IDError) -> [IDRange] {
    if let taken = self.segments.cached(tag)?.take(exactly: count) {
      self.meter.issued(segment: count)
      return [taken]
    }
    let ranges = try await self.waitForSegment(of: tag, until: deadline) { _ in count }
    self.meter.issued(segment: ranges.total)
    return ranges
  }

  /// Neighbouring ids for a caller that hands them out by itself: as many as the tag's loads take at least, at most
  /// ``MidCore/BatchLimit/maximum``; fewer where the range at hand ends before.
  ///
  /// They come from the same generator as all others of the tag, and so pass the same checks of a table that went back.
  ///
  /// - Throws: As ``ids(of:tag:count:)`` for segments.
  func segment(of tag: Tag) async throws(IDError) -> IDRange {
    var taken = self.segments.cached(tag).flatMap { $0.take(upTo: Self.step(of: $0)) }
    if taken == nil {
      // Two ranges where a call came between: the larger one is handed out, as a caller can use but one.
      taken = try await self.waitForSegment(of: tag, until: self.latest, count: Self.step).max { $0.count < $1.count }
    }
    guard let taken else { throw IDError(.notReady, "the segment came without ids, try again") }
    self.meter.issued(segment: taken.count)
    return taken
  }

  /// How many ids the tag's loads take at least, as far as a call may ask for them.
  private static func step(of generator: SegmentGenerator) -> Int64 {
    min(max(generator.snapshot.step, 1), BatchLimit.maximum)
  }

  /// Ids that are not at hand, as many as `count` says of the tag's generator.
  private func waitForSegment(
    of tag: Tag, until deadline: NIODeadline, count: (SegmentGenerator) -> Int64
  ) async throws(IDError) -> [IDRange] {
    while true {
      let generator = try await self.segmentGenerator(of: tag, deadline: deadline)
      do throws(IDError) {
        let count = count(generator)
        return try await self.awaiting(until: deadline) { answer in
          guard case .waiting(let id) = generator.enqueue(count: count, completion: answer) else { return nil }
          return Wait(expire: { generator.expire(id) }, cancel: { generator.cancel(id) })
        }
      } catch {
        // Another generator may have taken the tag over, or one that was not used for long has just ended: the call goes on
        // with the next one.
        guard error.code == .notReady, self.segments.cached(tag) !== generator else { throw error }
      }
    }
  }

  /// The generator of `tag`, looked up in the store where it is not known.
  func segmentGenerator(of tag: Tag, deadline: NIODeadline? = nil) async throws(IDError) -> SegmentGenerator {
    try await self.awaiting(until: deadline) { answer in
      switch self.segments.generator(for: tag, completion: answer) {
      case .found(let generator): answer(.success(generator))
      case .failed(let error): answer(.failure(error))
      case .waiting(let id):
        return Wait(expire: { self.segments.expire(id) }, cancel: { self.segments.expire(id) })
      }
      return nil
    }
  }

  private func snowflakeIDs(_ count: Int64, _ deadline: NIODeadline) async throws(IDError) -> [IDRange] {
    var taken: [IDRange] = []
    // Behind those that wait already, and nothing is taken before it is sure that the rest can come in time.
    if self.clockQueue.count == 0 {
      switch self.snowflake.reach() {
      case .ids(let reach) where reach >= count:
        switch self.snowflake.take(upTo: count) {
        case .ids(let ranges): taken = ranges
        case .wait: break
        case .failure(let error): throw error
        }
      case .ids, .wait: break
      case .failure(let error): throw error
      }
    }
    guard taken.total < count else {
      self.meter.issued(snowflake: count)
      return taken
    }
    let ranges = try await self.waitForClock(count, taken: taken, deadline)
    self.meter.issued(snowflake: ranges.total)
    return ranges
  }

  private func waitForClock(
    _ count: Int64, taken: [IDRange], _ deadline: NIODeadline
  ) async throws(IDError) -> [IDRange] {
    return try await self.awaiting { answer in
      let call = ClockQueue.Call(
        schedule: { time, body in _ = Self.loop.scheduleTask(deadline: time, body) }, answer: answer)
      guard
        let id = self.clockQueue.enqueue(call, count: count == 1 ? nil : count, taken: taken, deadline: deadline)
      else {
        answer(.failure(IDError(.overloaded, "\(self.limits.maximumWaiters) calls wait for the clock already")))
        return nil
      }
      return Wait(
        cancel: {
          // The queue answers no call that gave up.
          guard self.clockQueue.cancel(id) else { return }
          answer(.failure(IDError(.deadlineExceeded, "the caller gave up")))
        })
    }
  }

  // MARK: - Waiting

  /// Where timers run.
  private static var loop: any EventLoop { MultiThreadedEventLoopGroup.singleton.any() }

  /// When a call that comes now is answered at the latest.
  private var latest: NIODeadline { .now() + .nanoseconds(Int64(self.limits.maximumWait / .nanoseconds(1))) }

  /// Awaits one answer.
  ///
  /// - Parameters:
  ///   - deadline: When it is expired; `maximumWait` from now where none is given.
  ///   - begin: Begins the call, and returns how to end it, or nil where it has been answered. It hands on the answer
  ///     exactly once, on any thread.
  private func awaiting<Value: Sendable>(
    until deadline: NIODeadline? = nil,
    _ begin: (_ answer: @escaping @Sendable (Result<Value, IDError>) -> Void) -> Wait?
  ) async throws(IDError) -> Value {
    let pending = PendingCall()
    let result: Result<Value, IDError> = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        guard let wait = begin({ continuation.resume(returning: $0) }) else { return }
        let timer = wait.expire.map { Self.loop.scheduleTask(deadline: deadline ?? self.latest, $0) }
        pending.arm(timer: timer, cancel: wait.cancel)
      }
    } onCancel: {
      pending.cancel()
    }
    pending.end()
    return try result.get()
  }
}

/// Brings a call's timer, its caller's cancellation and its end together, in whatever order they come.
private final class PendingCall: Sendable {
  private enum State {
    case unarmed
    case armed(Scheduled<Void>?, cancel: @Sendable () -> Void)
    case cancelled
    case ended
  }

  private let state = Mutex(State.unarmed)

  /// Keeps what ends the call. Where it has ended already, the timer is of no use; where it was cancelled, it is ended.
  func arm(timer: Scheduled<Void>?, cancel: @escaping @Sendable () -> Void) {
    let before = self.state.withLock { state in
      defer { if case .unarmed = state { state = .armed(timer, cancel: cancel) } }
      return state
    }
    if case .unarmed = before { return }
    timer?.cancel()
    if case .cancelled = before { cancel() }
  }

  /// The caller is gone.
  func cancel() {
    if case .armed(let timer, let cancel) = self.leave(for: .cancelled) {
      timer?.cancel()
      cancel()
    }
  }

  /// The call was answered.
  func end() {
    if case .armed(let timer, _) = self.leave(for: .ended) { timer?.cancel() }
  }

  private func leave(for next: State) -> State {
    self.state.withLock { state in
      defer { state = next }
      return state
    }
  }
}
