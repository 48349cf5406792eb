import NIOCore

/// Joins a connection's state machine to its socket: reads go in, and all that one read brought about leaves in one write.
final class RPCConnectionHandler: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundIn = Never
  typealias OutboundOut = ByteBuffer

  /// Asks every connection to end gracefully.
  struct DrainEvent: Sendable {}

  /// Output buffers up to this size are kept from one write to the next while the connection is busy.
  private static let keptOutput = 32 * 1024
  /// How long input that has had its turn waits for the next, at least: enough that the timer is not due at once.
  private static let turnDelay = TimeAmount.microseconds(20)

  let methods: [RPCMethod]
  private let observer: (any RPCObserver)?
  private let timeouts: RPCTimeouts
  private let memory: RPCMemory
  let eventLoop: any EventLoop

  private var machine: ConnectionStateMachine
  private var output = ByteBuffer()
  private var context: ChannelHandlerContext?
  private var heldRead = false
  private var isTurnDue = false
  private var isClosing = false
  private var hasToldEnd = false
  private var heldMemory = 0
  private var timer: RepeatedTask?
  private var refilledAt: NIODeadline
  private var lastRead: NIODeadline
  private var unwritableSince: NIODeadline?
  private var pingSentAt: NIODeadline?
  // What is left to send on a connection that is closing, and since when it has been as much.
  private var leavingBytes = 0
  private var leavingSince: NIODeadline
  private let opened: NIODeadline
  private let endOfAge: NIODeadline?

  /// The calls that were left for later, by stream.
  var waiting: [UInt32: RPCReply] = [:]
  var openMailbox: RPCMailbox?

  // The calls that the current burst has answered, told to the observer in one go.
  var burstStart: NIODeadline
  var burstMethod = 0
  var burstCount = 0

  init(
    methods: [RPCMethod], routes: RPCRoutes, limits: RPCLimits, timeouts: RPCTimeouts, memory: RPCMemory,
    observer: (any RPCObserver)?, eventLoop: any EventLoop
  ) {
    self.methods = methods
    self.observer = observer
    self.timeouts = timeouts
    self.memory = memory
    self.eventLoop = eventLoop
    self.machine = ConnectionStateMachine(
      limits: limits, routes: routes.numbers, streamingRoutes: routes.streaming)
    let now = eventLoop.now
    self.opened = now
    self.refilledAt = now
    self.lastRead = now
    self.burstStart = now
    self.leavingSince = now
    // Connections that were opened together do not end together.
    self.endOfAge = timeouts.age.map { now + .nanoseconds(Int64(Double($0.nanoseconds) * .random(in: 0.9...1.1))) }
  }

  func channelActive(context: ChannelHandlerContext) {
    self.context = context
    self.observer?.connectionOpened()
    self.machine.open(output: &self.output)
    self.flush(context)
    self.startTimer()
    context.fireChannelActive()
  }

  func channelInactive(context: ChannelHandlerContext) {
    self.timer?.cancel()
    self.timer = nil
    var dispatcher = MethodDispatcher(handler: self)
    self.machine.close(dispatcher: &dispatcher)
    for reply in self.waiting.values { reply.cancel() }
    self.waiting = [:]
    _ = self.memory.move(from: self.heldMemory, to: 0)
    self.heldMemory = 0
    if self.context != nil { self.observer?.connectionClosed() }
    self.context = nil
    self.openMailbox?.close()
    self.openMailbox = nil
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let bytes = self.unwrapInboundIn(data)
    self.burstStart = self.eventLoop.now
    self.lastRead = self.burstStart
    self.machine.now = self.burstStart.uptimeNanoseconds
    var dispatcher = MethodDispatcher(handler: self)
    bytes.withUnsafeReadableBytes {
      self.machine.receive($0, dispatcher: &dispatcher, output: &self.output)
    }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    self.flush(context)
    context.fireChannelReadComplete()
  }

  /// A peer that does not read what it is sent is not read from either, so that a connection's memory stays bounded.
  func read(context: ChannelHandlerContext) {
    if context.channel.isWritable && !self.machine.isPaused || self.machine.isClosed {
      context.read()
    } else {
      self.heldRead = true
    }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    self.unwritableSince = context.channel.isWritable ? nil : self.eventLoop.now
    // Not here and now: this may come from within a write of what still stands in the output.
    if context.channel.isWritable { self.goOnLater() }
    context.fireChannelWritabilityChanged()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is DrainEvent {
      self.drain(context)
    } else {
      context.fireUserInboundEventTriggered(event)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // A reset connection or the like: nobody is left to tell.
    context.close(promise: nil)
  }

  // MARK: - Output

  /// Sends what has gathered, and closes once nothing is left to do.
  private func flush(_ context: ChannelHandlerContext) {
    if self.output.readableBytes > 0 {
      context.writeAndFlush(self.wrapOutboundOut(self.output), promise: nil)
      if self.output.capacity <= Self.keptOutput {
        self.output.clear()
      } else {
        self.output = ByteBuffer()
      }
    }
    self.tellBurst()
    if self.heldMemory != self.machine.memory || self.unwritableSince != nil { self.account(context) }
    if self.machine.isPaused { self.goOnAfterOthers() }
    if (self.machine.isClosed || self.machine.isDrained) && !self.isClosing {
      self.isClosing = true
      if let fault = self.machine.fault { self.tellEnd(fault.code == .enhanceYourCalm ? .flood : .protocolError) }
      self.closeAfterPeer(context)
      // What is still to come is read and thrown away.
      if self.heldRead && self.machine.isClosed {
        self.heldRead = false
        context.read()
      }
    }
  }

  /// Has input that waits for the output to leave dealt with, not from within what is being done now.
  private func goOnLater() {
    let handler = NIOLoopBound(self, eventLoop: self.eventLoop)
    self.eventLoop.execute {
      let handler = handler.value
      if let context = handler.context { handler.goOn(context) }
    }
  }

  /// Has input that waits for its turn dealt with once other connections' sockets have been looked at.
  ///
  /// NIO runs what `execute` puts off, and timers that are due, before it looks at sockets again: hence a moment's delay.
  private func goOnAfterOthers() {
    guard !self.isTurnDue else { return }
    self.isTurnDue = true
    let handler = NIOLoopBound(self, eventLoop: self.eventLoop)
    self.eventLoop.scheduleTask(in: Self.turnDelay) {
      let handler = handler.value
      handler.isTurnDue = false
      if let context = handler.context { handler.goOn(context) }
    }
  }

  /// Goes on with what waited for the socket: first the input that has come already, then reading.
  private func goOn(_ context: ChannelHandlerContext) {
    guard context.channel.isWritable else { return }
    if self.heldMemory != self.machine.memory { self.account(context) }
    if self.machine.isPaused {
      self.machine.now = self.eventLoop.now.uptimeNanoseconds
      var dispatcher = MethodDispatcher(handler: self)
      self.machine.resume(dispatcher: &dispatcher, output: &self.output)
      self.flush(context)
    }
    if self.heldRead && !self.machine.isPaused && context.channel.isWritable {
      self.heldRead = false
      context.read()
    }
  }

  /// Tells the common account what this connection holds, and ends it where that is too much.
  private func account(_ context: ChannelHandlerContext) {
    // What the socket does not take counts as well. Below NIO's watermark, 64 KiB, it is only looked at now and then.
    let unsent = context.channel.unsentBytes
    let held = self.machine.memory + unsent
    let isAllowed = self.memory.move(from: self.heldMemory, to: held)
    self.heldMemory = held
    guard !isAllowed, !self.machine.isClosed else { return }
    self.tellEnd(.memory)
    var dispatcher = MethodDispatcher(handler: self)
    self.machine.fail(
      ConnectionFault(.enhanceYourCalm, "the server's memory for half-sent requests and unread answers is used up"),
      dispatcher: &dispatcher, output: &self.output)
    self.flush(context)
  }

  /// Closes the connection so that the peer still reads what was sent last: our side first, the rest a moment later.
  ///
  /// Closing at once with unread input in the socket would make the kernel send RST, and the peer lose the GOAWAY. Answers
  /// that were promised have as long as any that a peer does not take; whoever broke a rule has only that moment.
  private func closeAfterPeer(_ context: ChannelHandlerContext) {
    let channel = context.channel
    let (eventLoop, linger) = (self.eventLoop, self.timeouts.linger)
    let close: @Sendable () -> Void = { channel.close(promise: nil) }
    guard self.machine.fault == nil else {
      channel.close(mode: .output, promise: nil)
      eventLoop.scheduleTask(in: linger, close)
      return
    }
    // Our side is closed once all has left.
    channel.close(mode: .output).whenComplete { _ in eventLoop.scheduleTask(in: linger, close) }
  }

  private func drain(_ context: ChannelHandlerContext) {
    self.machine.beginDrain(output: &self.output)
    self.flush(context)
    // A peer that does not answer the PING is not waited for.
    let handler = NIOLoopBound(self, eventLoop: self.eventLoop)
    self.eventLoop.scheduleTask(in: self.timeouts.linger) { handler.value.endDrain() }
  }

  private func endDrain() {
    guard let context = self.context, !self.isClosing else { return }
    self.machine.sendFinalGoAway(output: &self.output)
    self.flush(context)
  }

  /// Writes the answers that have come for calls left open.
  func deliver() {
    guard let context = self.context else { return }
    self.burstStart = self.eventLoop.now
    self.machine.now = self.burstStart.uptimeNanoseconds
    var dispatcher = MethodDispatcher(handler: self)
    for letter in self.mailbox.take() {
      let stream = letter.reply.stream
      guard self.waiting[stream] === letter.reply else { continue }
      let code: RPCStatus.Code
      switch letter.content {
      case .room(let bytes):
        self.machine.keepRoom(stream: stream, bytes: bytes, dispatcher: &dispatcher)
        continue
      case .answer(.success(let message)):
        self.waiting[stream] = nil
        guard
          self.machine.reply(stream: stream, message: message, dispatcher: &dispatcher, output: &self.output)
        else { continue }
        code = .ok
      case .answer(.failure(let status)):
        self.waiting[stream] = nil
        guard self.machine.fail(stream: stream, status: status, dispatcher: &dispatcher, output: &self.output)
        else { continue }
        code = status.code
      }
      self.tell(letter.reply.route, code, since: letter.reply.started)
    }
    self.flush(context)
  }

  // MARK: - Telling

  func tellBurst() {
    guard self.burstCount > 0 else { return }
    let nanoseconds = (self.eventLoop.now - self.burstStart).nanoseconds
    self.observer?.completed(
      method: self.burstMethod, code: .ok, count: self.burstCount, nanoseconds: UInt64(clamping: nanoseconds))
    self.burstCount = 0
  }

  func tell(_ method: Int?, _ code: RPCStatus.Code, since start: NIODeadline) {
    let nanoseconds = (self.eventLoop.now - start).nanoseconds
    self.observer?.completed(method: method, code: code, count: 1, nanoseconds: UInt64(clamping: nanoseconds))
  }

  private func tellEnd(_ reason: RPCConnectionEnd) {
    guard !self.hasToldEnd else { return }
    self.hasToldEnd = true
    self.observer?.connectionEnded(by: reason)
  }

  // MARK: - Time

  private func startTimer() {
    let handler = NIOLoopBound(self, eventLoop: self.eventLoop)
    let interval = self.timeouts.interval
    self.timer = self.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
      handler.value.checkTime()
    }
  }

  private func checkTime() {
    guard let context = self.context else { return }
    let now = self.eventLoop.now
    guard !self.isClosing else { return self.checkLeaving(context, now) }
    self.machine.now = now.uptimeNanoseconds
    if now - self.refilledAt >= .seconds(15) {
      self.refilledAt = now
      self.machine.refillBudget()
    }
    if let reason = self.reasonToClose(now) {
      self.tellEnd(reason)
      context.close(promise: nil)
      return
    }
    let stuck = UInt64(clamping: self.timeouts.stuck.nanoseconds)
    if self.machine.hasUnfinishedInput(olderThan: stuck) {
      self.tellEnd(.stuck)
      var dispatcher = MethodDispatcher(handler: self)
      self.machine.fail(
        ConnectionFault(.enhanceYourCalm, "a frame or a header block did not come whole in time"),
        dispatcher: &dispatcher, output: &self.output)
      return self.flush(context)
    }
    if context.channel.unsentBytes > 0 || self.heldMemory != self.machine.memory { self.account(context) }
    if self.machine.hasCallsUnderWay {
      var dispatcher = MethodDispatcher(handler: self)
      self.machine.endStuck(olderThan: stuck, dispatcher: &dispatcher, output: &self.output)
      self.flush(context)
    }
    self.checkQuiet(context, now)
  }

  /// Ends a connection whose last answers nobody takes.
  private func checkLeaving(_ context: ChannelHandlerContext, _ now: NIODeadline) {
    let unsent = context.channel.unsentBytes
    if unsent != self.leavingBytes { self.leavingSince = now }
    self.leavingBytes = unsent
    if unsent > 0, now - self.leavingSince >= self.timeouts.stuck {
      self.tellEnd(.stuck)
      context.close(promise: nil)
    }
  }

  /// Why the connection has to end at once: nobody reads there any more, or ever did.
  private func reasonToClose(_ now: NIODeadline) -> RPCConnectionEnd? {
    if !self.machine.isEstablished && now - self.opened >= self.timeouts.firstRequest { return .handshake }
    if let since = self.unwritableSince, now - since >= self.timeouts.stuck { return .stuck }
    if let sent = self.pingSentAt, now - sent >= self.timeouts.keepaliveAnswer, self.lastRead < sent {
      return .keepalive
    }
    return nil
  }

  /// Looks after a connection that says nothing: asks whether somebody is there, or asks it to end.
  private func checkQuiet(_ context: ChannelHandlerContext, _ now: NIODeadline) {
    guard self.machine.isEstablished, !self.machine.isClosed else { return }
    let quiet = now - self.lastRead
    if let end = self.endOfAge, now >= end, !self.machine.isDraining {
      self.tellEnd(.age)
      return self.drain(context)
    }
    if !self.machine.hasCallsUnderWay {
      if quiet >= .seconds(15) {
        self.output = ByteBuffer()
        self.machine.trim()
      }
      if let idle = self.timeouts.idle, quiet >= idle, !self.machine.isDraining {
        self.tellEnd(.idle)
        return self.drain(context)
      }
    }
    if let keepalive = self.timeouts.keepalive, quiet >= keepalive, (self.pingSentAt ?? self.opened) <= self.lastRead {
      self.pingSentAt = now
      self.machine.sendKeepalive(output: &self.output)
      self.flush(context)
    }
  }
}
