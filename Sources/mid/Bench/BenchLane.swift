import MidRPC
import NIOCore

/// One connection of a run as the plan sees it: it makes the calls that are due, and where the server ends the
/// connection, it goes on with a new one. Used on one event loop only.
final class BenchLane {
  /// Opens a channel whose pipeline ends in a new ``BenchConnectionHandler`` of the lane.
  typealias Dial = (_ lane: BenchLane, _ eventLoop: any EventLoop) -> EventLoopFuture<Void>

  let plan: BenchPlan
  let template: RequestTemplate
  let eventLoop: any EventLoop
  private let index: Int
  private let recorder: BenchRecorder
  private let dial: Dial
  private let timeout: UInt64

  /// The ids of this connection.
  private(set) var log: IDLog
  private var schedule: CallSchedule?
  /// The connection that takes new calls.
  private var current: BenchConnectionHandler?
  /// All connections that are not closed: those that finish what is under way as well.
  private var connections: [BenchConnectionHandler] = []
  /// Calls under way; of streams, those that are open.
  private var inFlight = 0
  /// Calls that the server has not looked at: they go first on the next connection.
  private var again: [CallTicket] = []
  /// Open streams that wait until their next request is due.
  private var idle: [(connection: BenchConnectionHandler, stream: UInt32)] = []
  private var failedAttempts = 0
  private var awaySince: UInt64?
  private var wakeTime: UInt64?
  private var sweep: RepeatedTask?

  private let readyPromise: EventLoopPromise<Void>
  private let donePromise: EventLoopPromise<Void>
  private var isReady = false
  private var isDone = false

  /// Creates a lane on `eventLoop`, where it has to be used.
  ///
  /// - Parameters:
  ///   - index: its number in the run, from 0.
  ///   - recorder: what all lanes of the event loop write to.
  ///   - dial: opens its connections.
  init(
    plan: BenchPlan, template: RequestTemplate, index: Int, recorder: BenchRecorder, eventLoop: any EventLoop,
    dial: @escaping Dial
  ) {
    self.plan = plan
    self.template = template
    self.index = index
    self.recorder = recorder
    self.eventLoop = eventLoop
    self.dial = dial
    self.timeout = UInt64(clamping: plan.timeout.nanoseconds)
    self.log = IDLog(limit: plan.checkMemory / plan.connections)
    self.readyPromise = eventLoop.makePromise()
    self.donePromise = eventLoop.makePromise()
  }

  /// The event loop's time in nanoseconds.
  var now: UInt64 { self.eventLoop.now.uptimeNanoseconds }

  /// Fulfilled when the last call has ended, or failed with the reason why the run can't begin.
  var done: EventLoopFuture<Void> { self.donePromise.futureResult }

  /// Opens the first connection. The future is fulfilled once the server has said how many calls it takes.
  func connect() -> EventLoopFuture<Void> {
    let lane = NIOLoopBound(self, eventLoop: self.eventLoop)
    self.dial(self, self.eventLoop).whenFailure { lane.value.readyPromise.fail($0) }
    self.eventLoop.scheduleTask(in: .nanoseconds(Int64(clamping: self.timeout))) {
      guard !lane.value.isReady else { return }
      lane.value.readyPromise.fail(RPCStatus(.unavailable, "it did not answer as an HTTP/2 server does in time"))
    }
    return self.readyPromise.futureResult
  }

  /// Begins the run at `start`, a time of the event loop's clock.
  func begin(at start: UInt64) {
    self.schedule = CallSchedule(self.plan, index: self.index, start: start)
    let lane = NIOLoopBound(self, eventLoop: self.eventLoop)
    let interval = Int64(clamping: max(10_000_000, min(self.timeout / 4, 250_000_000)))
    self.sweep = self.eventLoop.scheduleRepeatedTask(
      initialDelay: .nanoseconds(interval), delay: .nanoseconds(interval)
    ) { _ in lane.value.lookAround() }
    if case .duration(let duration) = self.plan.length {
      let end = start + UInt64(clamping: duration.nanoseconds)
      self.eventLoop.scheduleTask(deadline: .uptimeNanoseconds(end)) { lane.value.stop() }
    }
    self.topUp()
  }

  /// Makes no more calls; those under way are waited for.
  func stop() {
    guard self.schedule?.isStopped == false else { return self.checkDone() }
    // What became due since the last time still goes out where there is room. What then is left found none.
    if self.plan.rate != nil { self.topUp() }
    let now = self.now
    for unsent in self.schedule?.unsent(at: now) ?? [] { self.recorder.record.add(unsent) }
    self.schedule?.stop()
    for _ in self.again {
      self.recorder.failed(RPCStatus(.unavailable, "the server ended the connection before it took the call"), at: now)
    }
    self.again = []
    self.finishIdleStreams()
    self.checkDone()
  }

  /// Closes what is open, once ``done`` is fulfilled or nobody waits for it any more.
  func close() {
    self.isDone = true
    self.sweep?.cancel()
    self.log.finish()
    for connection in self.connections { connection.close() }
    self.readyPromise.fail(CancellationError())
    self.donePromise.succeed()
  }

  // MARK: - Calls

  /// Makes the calls that are due, as far as the plan and the server allow, and sends them in one write.
  func topUp() {
    guard self.schedule != nil, !self.isDone else { return }
    self.recorder.checker.meetOthers()
    let now = self.now
    if !self.template.isUnary { self.goOnWithStreams(now) }
    if let connection = self.current {
      while self.inFlight < self.plan.inFlight, connection.machine.canStart {
        if let ticket = self.again.popLast() {
          connection.start(self.ticket(ticket.due, now))
        } else if let due = self.schedule?.next(now: now) {
          connection.start(self.ticket(due, now))
        } else {
          break
        }
        self.inFlight += 1
      }
      connection.flush()
    }
    self.wakeLater(now)
    self.checkDone()
  }

  /// Sends the next request on streams whose reply has come.
  private func goOnWithStreams(_ now: UInt64) {
    for connection in self.connections { self.idle += connection.takeAnswered().map { (connection, $0) } }
    while !self.idle.isEmpty, let due = self.schedule?.next(now: now) {
      let (connection, stream) = self.idle.removeLast()
      let ticket = self.ticket(due, now)
      if !connection.sendNext(stream, ticket) { self.unprocessed(ticket, now: now, wasOpen: false) }
    }
    for connection in self.connections where connection !== self.current { connection.flush() }
  }

  private func ticket(_ due: UInt64, _ now: UInt64) -> CallTicket {
    CallTicket(due: due, sent: now, floor: self.recorder.checker.highest)
  }

  /// Comes back when the next call is due.
  private func wakeLater(_ now: UInt64) {
    guard self.plan.rate != nil, let due = self.schedule?.nextDue, due > now else { return }
    if let wakeTime = self.wakeTime, wakeTime <= due { return }
    self.wakeTime = due
    let lane = NIOLoopBound(self, eventLoop: self.eventLoop)
    self.eventLoop.scheduleTask(deadline: .uptimeNanoseconds(due)) { lane.value.wake() }
  }

  private func wake() {
    self.wakeTime = nil
    self.topUp()
  }

  /// A reply came.
  @inline(__always)
  func received(_ message: UnsafeRawBufferPointer, ticket: inout CallTicket, now: UInt64) {
    ticket.ids = self.recorder.checker.take(message, floor: ticket.floor, log: &self.log)
    if !self.template.isUnary { self.recorder.succeeded(ticket, at: now) }
  }

  /// A call, or a stream of them, is over.
  @inline(__always)
  func ended(_ ticket: CallTicket, _ status: RPCStatus, now: UInt64) {
    self.inFlight -= 1
    if self.template.isUnary && status.code == .ok {
      self.recorder.succeeded(ticket, at: now)
    } else if ticket.isPending || status.code != .ok {
      self.recorder.failed(status, at: now)
    }
  }

  /// The server has not looked at a call: it is made again, with the time it was due at first.
  func unprocessed(_ ticket: CallTicket, now: UInt64, wasOpen: Bool = true) {
    if wasOpen { self.inFlight -= 1 }
    guard ticket.isPending else { return }
    if self.schedule?.isStopped == true {
      self.recorder.failed(RPCStatus(.unavailable, "the server ended the connection before it took the call"), at: now)
    } else {
      self.recorder.record.repeated += 1
      self.again.append(ticket)
    }
  }

  private func finishIdleStreams() {
    for (connection, stream) in self.idle {
      connection.finish(stream)
      connection.flush()
    }
    self.idle = []
  }

  private func checkDone() {
    guard let schedule = self.schedule, !self.isDone else { return }
    if schedule.nextDue == nil && self.again.isEmpty { self.finishIdleStreams() } else { return }
    guard self.inFlight == 0 else { return }
    self.isDone = true
    self.recorder.record.lastEnd = max(self.recorder.record.lastEnd, self.now)
    self.donePromise.succeed()
  }

  // MARK: - Connections

  /// A connection of this lane was made; it is ready once the server has sent its settings.
  func opened(_ connection: BenchConnectionHandler) { self.connections.append(connection) }

  /// A connection takes calls.
  func ready(_ connection: BenchConnectionHandler) {
    self.current = connection
    self.awaySince = nil
    if !self.isReady {
      self.isReady = true
      self.readyPromise.succeed()
    }
  }

  /// A connection takes no more calls, and may still finish some.
  func leaving(_ connection: BenchConnectionHandler) {
    guard self.current === connection else { return }
    self.current = nil
    if !self.isDone { self.recorder.record.drained += 1 }
    self.failedAttempts = connection.wasOfUse ? 0 : self.failedAttempts + 1
    self.reconnect()
  }

  /// A connection is closed; its calls have been told to be over.
  func closed(_ connection: BenchConnectionHandler) {
    self.connections.removeAll { $0 === connection }
    self.idle.removeAll { $0.connection === connection }
    guard self.isReady else {
      // With TLS 1.3 a server judges our certificate only after our part of the handshake is done.
      let hint = self.template.isSecure ? "" : ", and one without TLS (--tls)"
      let closed = "it closed the connection at once; is this a gRPC server's port\(hint)?"
      self.readyPromise.fail(connection.failure ?? RPCStatus(.unavailable, closed))
      return
    }
    if self.current === connection {
      self.current = nil
      if !self.isDone { self.recorder.record.lost += 1 }
      self.failedAttempts = connection.wasOfUse ? 0 : self.failedAttempts + 1
      self.reconnect()
    } else if !connection.wasReady {
      self.failedAttempts += 1
      self.reconnect()
    }
    self.checkDone()
  }

  /// Opens a new connection: at once, and later and later while that fails.
  private func reconnect() {
    guard !self.isDone, self.schedule?.isStopped != true else { return }
    let now = self.now
    self.awaySince = self.awaySince ?? now
    let longest = min(Int64(1_000_000_000), Int64(10_000_000) << min(self.failedAttempts, 7))
    let delay = self.failedAttempts == 0 ? 0 : Int64.random(in: longest / 2...longest)
    let lane = NIOLoopBound(self, eventLoop: self.eventLoop)
    self.eventLoop.scheduleTask(in: .nanoseconds(delay)) {
      guard !lane.value.isDone, lane.value.schedule?.isStopped != true else { return }
      lane.value.dial(lane.value, lane.value.eventLoop).whenFailure { error in
        lane.value.failedAttempts += 1
        lane.value.reconnect()
      }
    }
  }

  /// Gives up calls that have waited too long, and the run where the server has been away for too long.
  private func lookAround() {
    let now = self.now
    let limit = now > self.timeout ? now - self.timeout : 0
    for connection in self.connections { connection.expire(sentBefore: limit) }
    if let since = self.awaySince, since < limit, self.schedule?.isStopped != true {
      self.recorder.record.givenUp += 1
      self.recorder.failed(RPCStatus(.unavailable, "the server was away for longer than the timeout"), at: now)
      self.stop()
    }
    self.topUp()
    for connection in self.connections { connection.flush() }
  }
}
