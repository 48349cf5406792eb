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

  private let methods: [RPCMethod]
  private let observer: (any RPCObserver)?
  private let timeouts: RPCTimeouts
  private let eventLoop: any EventLoop

  private var machine: ConnectionStateMachine
  private var output = ByteBuffer()
  private var context: ChannelHandlerContext?
  private var heldRead = false
  private var isClosing = false
  private var timer: RepeatedTask?
  private var lastRead = NIODeadline.now()
  private let opened = NIODeadline.now()

  /// The calls that were left for later, by stream.
  var waiting: [UInt32: RPCReply] = [:]
  private(set) lazy var mailbox = RPCMailbox(handler: self, eventLoop: self.eventLoop)

  // The calls that the current burst has answered, told to the observer in one go.
  private var burstStart = NIODeadline.now()
  private var burstMethod = 0
  private var burstCount = 0

  init(
    methods: [RPCMethod], routes: [String: Int32], limits: RPCLimits, timeouts: RPCTimeouts,
    observer: (any RPCObserver)?, eventLoop: any EventLoop
  ) {
    self.methods = methods
    self.observer = observer
    self.timeouts = timeouts
    self.eventLoop = eventLoop
    self.machine = ConnectionStateMachine(limits: limits, routes: routes)
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
    var dispatcher = Dispatcher(handler: self)
    self.machine.close(dispatcher: &dispatcher)
    for reply in self.waiting.values { reply.cancel() }
    self.waiting = [:]
    if self.context != nil { self.observer?.connectionClosed() }
    self.context = nil
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let bytes = self.unwrapInboundIn(data)
    self.burstStart = .now()
    self.lastRead = self.burstStart
    var dispatcher = Dispatcher(handler: self)
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
    if context.channel.isWritable { context.read() } else { self.heldRead = true }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if context.channel.isWritable && self.heldRead {
      self.heldRead = false
      context.read()
    }
    context.fireChannelWritabilityChanged()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is DrainEvent {
      self.machine.beginDrain(output: &self.output)
      self.flush(context)
      // A peer that does not answer the PING is not waited for.
      let handler = NIOLoopBound(self, eventLoop: self.eventLoop)
      self.eventLoop.scheduleTask(in: self.timeouts.linger) { handler.value.endDrain() }
    } else {
      context.fireUserInboundEventTriggered(event)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // A reset connection or the like: nobody is left to tell.
    context.close(promise: nil)
  }

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
    if (self.machine.isClosed || self.machine.isDrained) && !self.isClosing {
      self.isClosing = true
      self.closeAfterPeer(context)
    }
  }

  /// Closes the connection so that the peer still reads what was sent last: our side first, the rest a moment later.
  ///
  /// Closing at once with unread input in the socket would make the kernel send RST, and the peer lose the GOAWAY.
  private func closeAfterPeer(_ context: ChannelHandlerContext) {
    let channel = context.channel
    channel.close(mode: .output, promise: nil)
    self.eventLoop.scheduleTask(in: self.timeouts.linger) { channel.close(promise: nil) }
  }

  private func endDrain() {
    guard let context = self.context, !self.isClosing else { return }
    self.machine.sendFinalGoAway(output: &self.output)
    self.flush(context)
  }

  /// Writes the answers that have come for calls left open.
  func deliver() {
    guard let context = self.context else { return }
    for letter in self.mailbox.take() {
      let stream = letter.reply.stream
      guard self.waiting[stream] === letter.reply else { continue }
      self.waiting[stream] = nil
      let code: RPCStatus.Code
      switch letter.result {
      case .success(let message):
        guard self.machine.reply(stream: stream, message: message, output: &self.output) else { continue }
        code = .ok
      case .failure(let status):
        guard self.machine.fail(stream: stream, status: status, output: &self.output) else { continue }
        code = status.code
      }
      self.tell(letter.reply.route, code, since: letter.reply.started)
    }
    self.flush(context)
  }

  // MARK: - Telling

  private func tellBurst() {
    guard self.burstCount > 0 else { return }
    let nanoseconds = (NIODeadline.now() - self.burstStart).nanoseconds
    self.observer?.completed(
      method: self.burstMethod, code: .ok, count: self.burstCount, nanoseconds: UInt64(clamping: nanoseconds))
    self.burstCount = 0
  }

  private func tell(_ method: Int?, _ code: RPCStatus.Code, since start: NIODeadline) {
    let nanoseconds = (NIODeadline.now() - start).nanoseconds
    self.observer?.completed(method: method, code: code, count: 1, nanoseconds: UInt64(clamping: nanoseconds))
  }

  // MARK: - Time

  private func startTimer() {
    let handler = NIOLoopBound(self, eventLoop: self.eventLoop)
    self.timer = self.eventLoop.scheduleRepeatedTask(
      initialDelay: self.timeouts.firstRequest, delay: .seconds(15)
    ) { _ in handler.value.checkTime() }
  }

  private func checkTime() {
    guard let context = self.context, !self.isClosing else { return }
    self.machine.refillBudget()
    let now = NIODeadline.now()
    if !self.machine.isEstablished && now - self.opened >= self.timeouts.firstRequest {
      context.close(promise: nil)
      return
    }
    let quiet = now - self.lastRead
    if quiet >= .seconds(15), self.machine.openStreams == 0 {
      self.output = ByteBuffer()
      if let idle = self.timeouts.idle, quiet >= idle {
        self.machine.beginDrain(output: &self.output)
        self.machine.sendFinalGoAway(output: &self.output)
        self.flush(context)
      }
    }
  }

  // MARK: - Calls

  /// Leads the state machine's calls to their methods.
  private struct Dispatcher: CallDispatcher {
    let handler: RPCConnectionHandler

    @inline(__always)
    mutating func dispatch(
      route: Int, stream: UInt32, timeout: UInt64, message: UnsafeRawBufferPointer, output: inout ByteBuffer
    ) -> CallResult {
      let handler = self.handler
      let start = handler.burstStart
      let call = RPCCall(
        deadline: timeout == .max ? nil : start + .nanoseconds(Int64(clamping: timeout)),
        eventLoop: handler.eventLoop, route: route, stream: stream, started: start, connection: handler)
      switch handler.methods[route].handler(call, message, &output) {
      case .reply:
        if handler.burstMethod != route {
          handler.tellBurst()
          handler.burstMethod = route
        }
        handler.burstCount += 1
        return .message
      case .failure(let status):
        handler.tell(route, status.code, since: start)
        return .failure(status)
      case .later:
        precondition(handler.waiting[stream] != nil, "a method that answers later must call answerLater()")
        return .later
      }
    }

    mutating func rejected(route: Int?, code: RPCStatus.Code) {
      self.handler.tell(route, code, since: self.handler.burstStart)
    }

    mutating func cancelled(stream: UInt32) {
      self.handler.waiting.removeValue(forKey: stream)?.cancel()
    }
  }
}
