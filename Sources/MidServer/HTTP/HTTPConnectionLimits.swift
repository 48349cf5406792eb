import HTTPTypes
import HummingbirdCore
import MidRPC
import NIOCore
import NIOHTTPTypes

/// What one HTTP connection may cost: a bound for a request's body, for the time that it takes to come, for how slowly its
/// client may take answers, and for the end; and what it holds, told to the account of all connections.
///
/// It lies between the codec and the server: what breaks a bound, or names no host, is answered or closed here, and the server
/// is not asked.
final class HTTPConnectionLimits: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  /// The bounds of each connection of a port.
  struct Bounds: Sendable {
    /// The longest body, in bytes.
    var maximumBody: Int
    /// How long a request may take from its header to its end, and how long the client may take nothing of answers that wait
    /// for it.
    var requestTimeout: TimeAmount
    /// How many bytes a second the client has to take of these, ``requestTimeout``'s worth less.
    var leastRate: Int
    /// How long an open connection may take to end once the server stops.
    var grace: TimeAmount
  }

  let bounds: Bounds
  let memory: HTTPMemory?
  private let connections: HTTPConnections?
  private let onEnd: @Sendable (HTTPConnectionEnd) -> Void
  private var member: HTTPConnections.Member?
  /// Whether it was told that the connection waits for a request.
  private var isToldIdle = true
  /// Bytes of body that the request being read still may have, or nil between requests.
  private var bodyLeft: Int?
  var isBroken = false
  /// Whether the refusal was written: nothing else is written after it.
  private var isRefused = false
  /// Why the request being read was refused.
  private var problem: HTTPProblem?
  /// Whether the answer to the request being read has no content: it asks for the header alone.
  private var asksForHead = false
  private(set) var order = HTTPAnswerOrder()
  /// Whether the client of the request being read waits for a word before it sends the body.
  private var owesContinue = false
  /// Whether of an answer only the header was written: it leaves together with what follows at once.
  private var isHeadAlone = false
  private var requestTimer: Scheduled<Void>?
  private var endTimer: Scheduled<Void>?
  /// What the connection does not get rid of.
  var unread = Unread()

  /// - Parameters:
  ///   - connections: Where the connection says whether it waits for a request, if anywhere.
  ///   - memory: Where it says how much it holds, if anywhere.
  ///   - onEnd: Is told where it is ended for breaking a bound of time or memory.
  init(
    _ bounds: Bounds, connections: HTTPConnections? = nil, memory: HTTPMemory? = nil,
    onEnd: @escaping @Sendable (HTTPConnectionEnd) -> Void = { _ in }
  ) {
    self.bounds = bounds
    self.connections = connections
    self.memory = memory
    self.onEnd = onEnd
  }

  func handlerAdded(context: ChannelHandlerContext) {
    let bound = NIOLoopBound((handler: self, channel: context.channel), eventLoop: context.eventLoop)
    let loop = context.eventLoop
    self.member = self.connections?.join {
      loop.execute { bound.value.handler.closeIfIdle(bound.value.channel) }
    }
  }

  /// Makes room for another connection, where this one still waits for a request.
  func closeIfIdle(_ channel: any Channel) {
    self.isToldIdle = false
    guard self.isIdle else { return }
    // One whose client is still taking the end of an answer is closed after that.
    if channel.unsentBytes == 0 { self.closeNow(channel, for: nil) } else { channel.close(promise: nil) }
  }

  func handlerRemoved(context: ChannelHandlerContext) { self.end(context) }

  func channelInactive(context: ChannelHandlerContext) {
    self.end(context)
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !self.isBroken else { return }
    switch self.unwrapInboundIn(data) {
    case .head(let head):
      self.bodyLeft = self.bounds.maximumBody
      self.asksForHead = head.method == .head
      // The version handler has seen to it that those have one that may go on.
      guard head.authority != nil else {
        let problem = HTTPProblem.badRequest("a request has one Host header, with a host and maybe a port")
        return self.refuse(context, problem, isOpen: false)
      }
      if let length = head.headerFields[.contentLength], Int(length) ?? .max > self.bounds.maximumBody {
        return self.refuse(context, .tooLarge(self.bounds.maximumBody), isOpen: false)
      }
      self.order.requestBegan()
      self.isToldIdle = false
      self.member?.becameBusy()
      self.owesContinue = head.headerFields[.expect]?.lowercased() == "100-continue"
    case .body(let bytes):
      self.owesContinue = false
      let left = (self.bodyLeft ?? 0) - bytes.readableBytes
      guard left >= 0 else { return self.refuse(context, .tooLarge(self.bounds.maximumBody), isOpen: true) }
      self.bodyLeft = left
    case .end:
      self.owesContinue = false
      self.bodyLeft = nil
      self.requestTimer?.cancel()
      self.requestTimer = nil
      if self.isIdle { self.tellIfIdle(context.channel.unsentBytes) }
    }
    context.fireChannelRead(data)
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    // Most requests come whole in one read and need no timer.
    if self.bodyLeft != nil, self.requestTimer == nil {
      self.requestTimer = self.closeLater(context, after: self.bounds.requestTimeout, for: .halfSent)
    }
    if self.order.open > Unread.fewRequests { self.settle(context) }
    if self.owesContinue { self.haveBodySent(context) }
    context.fireChannelReadComplete()
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard !self.isRefused else {
      promise?.fail(ChannelError.outputClosed)
      return
    }
    self.lookBeforeWriting(context)
    switch self.unwrapOutboundIn(data) {
    case .head(let head):
      if head.status.kind != .informational {
        // Where it is that of the request being read, the client hears no other word.
        if self.order.isLastNext { self.owesContinue = false }
        self.order.responseBegan()
        self.isHeadAlone = true
      }
      self.unread.unsettled += Unread.head
      context.write(data, promise: promise)
    case .body(let bytes):
      self.isHeadAlone = false
      self.unread.unsettled += bytes.readableBytes
      context.write(data, promise: promise)
    case .end:
      self.isHeadAlone = false
      context.write(data, promise: promise)
      if let refusal = self.order.responseEnded() { self.end(context, refusal) }
      if self.owesContinue { self.haveBodySent(context) }
    }
  }

  /// Tells a client that waits for it to send the body, once all requests before have their answers. Those whose body comes
  /// at once, or is too long, are not told. Source: RFC 9110, section 10.1.1.
  private func haveBodySent(_ context: ChannelHandlerContext) {
    guard self.order.isLastNext, !self.isBroken, !self.isRefused else { return }
    self.owesContinue = false
    context.writeAndFlush(self.wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: nil)
  }

  func flush(context: ChannelHandlerContext) {
    guard !self.isHeadAlone else { return }
    context.flush()
    // Of what is short it is seen now and then only: nearly all of it is with the system already.
    if self.unread.unsettled > HTTPMemory.few || self.unread.held > 0 { return self.settle(context) }
    self.tellIfIdle(self.unread.unsettled)
  }

  /// Tells the port that the connection waits for a request, once its client has taken all but a little of the answers:
  /// one that is still reading does not give way to others.
  func tellIfIdle(_ waiting: Int) {
    guard waiting <= HTTPMemory.few, self.isIdle, !self.isToldIdle else { return }
    self.isToldIdle = true
    self.member?.becameIdle()
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    self.settle(context)
    context.fireChannelWritabilityChanged()
  }

  func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
    guard mode == .all, self.waitsToClose(context, promise) else {
      return context.close(mode: mode, promise: promise)
    }
  }

  /// Whether the connection waits for a request, having answered all before.
  private var isIdle: Bool { self.bodyLeft == nil && self.order.isDone && !self.isBroken }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is ChannelShouldQuiesceEvent, self.endTimer == nil {
      self.endTimer = self.closeLater(context, after: self.bounds.grace)
    }
    context.fireUserInboundEventTriggered(event)
  }

  /// Reads nothing more, answers what is wrong once the requests before have their answers, and ends the connection.
  private func refuse(_ context: ChannelHandlerContext, _ problem: HTTPProblem, isOpen: Bool) {
    self.isBroken = true
    self.problem = problem
    self.bodyLeft = nil
    self.requestTimer?.cancel()
    self.requestTimer = nil
    self.end(context, self.order.refuse(isOpen: isOpen))
  }

  private func end(_ context: ChannelHandlerContext, _ refusal: HTTPAnswerOrder.Refusal) {
    switch refusal {
    case .wait: return
    case .answer: self.answer(context)
    case .close: context.flush()
    }
    self.isRefused = true
    // Not at once: a reset while the client still sends would take the answer from it.
    context.close(mode: .output, promise: nil)
    if self.endTimer == nil { self.endTimer = self.closeLater(context, after: .seconds(1)) }
  }

  private func answer(_ context: ChannelHandlerContext) {
    guard let problem = self.problem else { preconditionFailure("what is refused has a reason") }
    var head = problem.response.head
    head.headerFields[.connection] = "close"
    context.write(self.wrapOutboundOut(.head(head)), promise: nil)
    if !self.asksForHead { context.write(self.wrapOutboundOut(.body(ByteBuffer(string: problem.text))), promise: nil) }
    context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
  }

  private func closeLater(
    _ context: ChannelHandlerContext, after time: TimeAmount, for reason: HTTPConnectionEnd? = nil
  ) -> Scheduled<Void> {
    let bound = NIOLoopBound((handler: self, channel: context.channel), eventLoop: context.eventLoop)
    return context.eventLoop.scheduleTask(in: time) { bound.value.handler.closeNow(bound.value.channel, for: reason) }
  }

  /// Closes the connection, whatever its client has not taken yet.
  ///
  /// - Parameter reason: Which bound it broke, if any.
  func closeNow(_ channel: any Channel, for reason: HTTPConnectionEnd?) {
    if let reason, !self.unread.isClosing { self.onEnd(reason) }
    self.unread.isClosing = true
    channel.close(promise: nil)
  }

  private func end(_ context: ChannelHandlerContext) {
    self.member?.left()
    self.member = nil
    self.letGo(context)
    for timer in [self.requestTimer, self.endTimer] { timer?.cancel() }
    (self.requestTimer, self.endTimer) = (nil, nil)
  }
}
