import MidCore
import MidRPC
import NIOCore
import Synchronization

/// Calls that can't be answered at once. Nobody blocks: the answer comes from the generator, or from a timer.
extension IDMethods {
  /// The message of an answer, as bytes.
  static func message(_ ranges: [IDRange], isBatch: Bool) -> [UInt8] {
    var buffer = ByteBuffer()
    if isBatch {
      buffer.writeBatchResponse(ranges)
    } else if let id = ranges.first?.start {
      buffer.writeIDResponse(id)
    }
    return Array(buffer.readableBytesView)
  }

  /// When a call has to be answered by: a little before its caller stops waiting, so that the caller hears the reason.
  func patience(_ call: borrowing RPCCall) -> NIODeadline {
    let now = NIODeadline.now()
    guard let deadline = call.deadline else {
      return now + .nanoseconds(Int64(self.limits.maximumWait / .nanoseconds(1)))
    }
    let left = max(0, (deadline - now).nanoseconds)
    return deadline - .nanoseconds(min(left / 10, 50_000_000))
  }

  // MARK: - Segments

  /// Waits for the tag's generator where it must be looked up, then for its ids.
  func waitForSegment(_ call: borrowing RPCCall, tag: Tag, count: Int64?) -> RPCOutcome {
    self.waitForSegment(call, call.answerLater(), tag: tag, count: count, key: nil)
  }

  /// The same with the call's reply taken already, and the key that its answer is kept under.
  func waitForSegment(
    _ call: borrowing RPCCall, _ reply: RPCReply, tag: Tag, count: Int64?, key: [UInt8]?
  ) -> RPCOutcome {
    let waiting = StoreWait(
      reply: reply, deadline: self.patience(call), count: count, key: key, keys: self.keys)
    waiting.reply.onCancel { waiting.cancel() }
    self.find(tag, waiting)
    return .later
  }

  private func find(_ tag: Tag, _ waiting: StoreWait) {
    let attempt = waiting.begin()
    let lookup = self.segments.generator(for: tag) { result in
      switch result {
      case .success(let generator): self.wait(for: generator, waiting)
      case .failure(let error): waiting.fail(error)
      }
    }
    switch lookup {
    case .found(let generator): self.wait(for: generator, waiting)
    case .failed(let error): waiting.fail(error)
    case .waiting(let id):
      waiting.arm(attempt, giveUp: { self.segments.expire(id) }, expire: { self.segments.expire(id) })
    }
  }

  private func wait(for generator: SegmentGenerator, _ waiting: StoreWait) {
    let attempt = waiting.begin()
    let result = generator.enqueue(count: waiting.count ?? 1) { result in
      switch result {
      case .success(let ranges):
        self.meter.issued(segment: ranges.total)
        waiting.succeed(ranges, Self.message(ranges, isBatch: waiting.count != nil))
      case .failure(let error):
        // Another generator may have taken the tag over, with ids that lie further apart, or one that was not used for
        // long has just ended: the call goes on with the next one.
        guard error.code == .notReady, self.segments.cached(generator.tag) !== generator else {
          return waiting.fail(error)
        }
        self.find(generator.tag, waiting)
      }
    }
    if case .waiting(let id) = result {
      waiting.arm(attempt, giveUp: { generator.cancel(id) }, expire: { generator.expire(id) })
    }
  }

  /// A call that waits for a segment or a ticket, and its timer.
  final class StoreWait: Sendable {
    private enum State {
      case unarmed
      case armed(attempt: Int, timer: Scheduled<Void>, giveUp: @Sendable () -> Void)
      case answered
      case cancelled
    }

    /// Counts what the call waits for, one after another.
    private let attempts = Atomic(0)
    let reply: RPCReply
    let deadline: NIODeadline
    let count: Int64?
    private let key: [UInt8]?
    private let keys: RequestKeys
    private let state = Mutex(State.unarmed)

    init(reply: RPCReply, deadline: NIODeadline, count: Int64?, key: [UInt8]?, keys: RequestKeys) {
      self.key = key
      self.keys = keys
      self.reply = reply
      self.deadline = deadline
      self.count = count
    }

    /// The call begins to wait for something: a tag's generator, its ids, or those of the generator after it. Different
    /// threads may do so at once, each with an end of what the other waits for.
    func begin() -> Int { self.attempts.wrappingAdd(1, ordering: .relaxed).newValue }

    /// Calls `expire` at the deadline, and `giveUp` when the caller gives up. Replaces what an earlier attempt has armed, and
    /// leaves what a later one has; a call that was answered meanwhile gets no timer.
    func arm(_ attempt: Int, giveUp: @escaping @Sendable () -> Void, expire: @escaping @Sendable () -> Void) {
      let timer = self.reply.eventLoop.scheduleTask(deadline: self.deadline) { expire() }
      let (obsolete, isCancelled) = self.state.withLock { state -> (Scheduled<Void>?, Bool) in
        switch state {
        case .unarmed:
          state = .armed(attempt: attempt, timer: timer, giveUp: giveUp)
          return (nil, false)
        case .armed(let present, let earlier, _):
          guard present < attempt else { return (timer, false) }
          state = .armed(attempt: attempt, timer: timer, giveUp: giveUp)
          return (earlier, false)
        case .answered: return (timer, false)
        case .cancelled: return (timer, true)
        }
      }
      obsolete?.cancel()
      if isCancelled { giveUp() }
    }

    func succeed(_ ranges: [IDRange], _ message: [UInt8]) {
      self.disarm()
      self.keys.succeed(self.key, ranges, message: message)
      self.reply.succeed(message)
    }

    func fail(_ error: IDError) {
      self.disarm()
      self.keys.fail(self.key, RPCStatus(error))
      self.reply.fail(RPCStatus(error))
    }

    /// The caller is gone: nobody waits any more, and no timer runs.
    func cancel() { self.end(.cancelled) { giveUp in giveUp() } }

    private func disarm() { self.end(.answered) { _ in } }

    private func end(_ end: State, _ body: (@Sendable () -> Void) -> Void) {
      let last = self.state.withLock { state -> State in
        defer {
          switch state {
          case .unarmed, .armed: state = end
          case .answered, .cancelled: break
          }
        }
        return state
      }
      guard case .armed(_, let timer, let giveUp) = last else { return }
      timer.cancel()
      body(giveUp)
    }
  }

  // MARK: - The clock

  /// Answers a batch of Snowflake ids at once where all are there, else lets it wait.
  func snowflakeBatch(_ call: borrowing RPCCall, count: Int64, _ response: inout ByteBuffer) -> RPCOutcome {
    // Behind those that wait, and nothing is taken before it is sure that the rest can come in time.
    guard self.clockQueue.count == 0 else { return self.waitForClock(call, count: count) }
    switch self.snowflake.reach() {
    case .ids(let reach) where reach >= count: break
    case .ids, .wait: return self.waitForClock(call, count: count)
    case .failure(let error): return .failure(RPCStatus(error))
    }
    switch self.snowflake.take(upTo: count) {
    case .ids(let ranges):
      guard ranges.total == count else { return self.waitForClock(call, count: count, taken: ranges) }
      self.meter.issued(snowflake: count)
      response.writeBatchResponse(ranges)
      return .reply
    case .wait: return self.waitForClock(call, count: count)
    case .failure(let error): return .failure(RPCStatus(error))
    }
  }

  /// Puts the call into the queue for the clock.
  ///
  /// - Parameters:
  ///   - count: the size of a batch, nil for one id.
  ///   - taken: what the batch has already; lost as a gap if the rest does not come.
  func waitForClock(_ call: borrowing RPCCall, count: Int64?, taken: [IDRange] = []) -> RPCOutcome {
    self.waitForClock(call, call.answerLater(), count: count, taken: taken, key: nil)
  }

  /// The same with the call's reply taken already, and the key that its answer is kept under.
  func waitForClock(
    _ call: borrowing RPCCall, _ reply: RPCReply, count: Int64?, taken: [IDRange] = [], key: [UInt8]?
  ) -> RPCOutcome {
    let waiter = ClockQueue.Call(
      schedule: { time, body in _ = reply.eventLoop.scheduleTask(deadline: time, body) },
      answer: { result in
        switch result {
        case .success(let ranges):
          self.meter.issued(snowflake: ranges.total)
          let message = Self.message(ranges, isBatch: count != nil)
          self.keys.succeed(key, ranges, message: message)
          reply.succeed(message)
        case .failure(let error):
          self.keys.fail(key, RPCStatus(error))
          reply.fail(RPCStatus(error))
        }
      })
    if let id = self.clockQueue.enqueue(waiter, count: count, taken: taken, deadline: self.patience(call)) {
      reply.onCancel {
        guard self.clockQueue.cancel(id) else { return }
        self.keys.fail(key, RPCStatus(.cancelled, "the first call with this request_key was cancelled; call again"))
      }
    } else {
      let status = RPCStatus(.resourceExhausted, "\(self.limits.maximumWaiters) calls wait for the clock already")
      self.keys.fail(key, status)
      reply.fail(status)
    }
    return .later
  }
}
