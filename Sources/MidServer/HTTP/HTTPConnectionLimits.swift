import HTTPTypes
import HummingbirdCore
import NIOCore
import NIOHTTPTypes

/// What one HTTP connection may cost: a bound for a request's body, for the time that it takes to come, for the time that
/// an answer stands still because its client does not read, and for the end.
///
/// It lies between the codec and the server: what breaks a bound is answered or closed here, and the server is not asked.
final class HTTPConnectionLimits: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  private let maximumBody: Int
  private let requestTimeout: TimeAmount
  private let grace: TimeAmount
  private let connections: HTTPConnections?
  private var member: HTTPConnections.Member?
  /// Bytes of body that the request being read still may have, or nil between requests.
  private var bodyLeft: Int?
  private var isBroken = false
  /// Whether the refusal was written: nothing else is written after it.
  private var isRefused = false
  private var order = HTTPAnswerOrder()
  private var requestTimer: Scheduled<Void>?
  private var reading: HTTPReadingWatch?
  private var writeTimer: RepeatedTask?
  private var endTimer: Scheduled<Void>?

  /// - Parameters:
  ///   - maximumBody: The longest body, in bytes.
  ///   - requestTimeout: How long a request may take from its header to its end, and how long the client may take nothing
  ///     of answers that wait for it.
  ///   - grace: How long an open connection may take to end once the server stops.
  ///   - connections: Where the connection says whether it waits for a request, if anywhere.
  init(maximumBody: Int, requestTimeout: TimeAmount, grace: TimeAmount, connections: HTTPConnections? = nil) {
    self.connections = connections
    self.maximumBody = maximumBody
    self.requestTimeout = requestTimeout
    self.grace = grace
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
    if self.isIdle { channel.close(promise: nil) }
  }

  func handlerRemoved(context: ChannelHandlerContext) { self.end() }

  func channelInactive(context: ChannelHandlerContext) {
    self.end()
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !self.isBroken else { return }
    switch self.unwrapInboundIn(data) {
    case .head(let head):
      self.bodyLeft = self.maximumBody
      if let length = head.headerFields[.contentLength], Int(length) ?? .max > self.maximumBody {
        return self.refuse(context, isOpen: false)
      }
      self.order.requestBegan()
      self.member?.becameBusy()
    case .body(let bytes):
      let left = (self.bodyLeft ?? 0) - bytes.readableBytes
      guard left >= 0 else { return self.refuse(context, isOpen: true) }
      self.bodyLeft = left
    case .end:
      self.bodyLeft = nil
      self.requestTimer?.cancel()
      self.requestTimer = nil
      if self.isIdle { self.member?.becameIdle() }
    }
    context.fireChannelRead(data)
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    // Most requests come whole in one read and need no timer.
    if self.bodyLeft != nil, self.requestTimer == nil {
      self.requestTimer = self.closeLater(context, after: self.requestTimeout)
    }
    context.fireChannelReadComplete()
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard !self.isRefused else {
      promise?.fail(ChannelError.outputClosed)
      return
    }
    switch self.unwrapOutboundIn(data) {
    case .head(let head):
      if head.status.kind != .informational { self.order.responseBegan() }
      context.write(data, promise: promise)
    case .body: context.write(data, promise: promise)
    case .end:
      context.write(data, promise: promise)
      if let refusal = self.order.responseEnded() { self.end(context, refusal) }
      if self.isIdle { self.member?.becameIdle() }
    }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    self.writeTimer?.cancel()
    self.writeTimer = nil
    if !context.channel.isWritable { self.watchReading(context) }
    context.fireChannelWritabilityChanged()
  }

  /// Looks now and then whether the client takes any of what waits for it, and ends a connection whose client does not.
  private func watchReading(_ context: ChannelHandlerContext) {
    let loop = context.eventLoop
    let interval = TimeAmount.nanoseconds(max(1, self.requestTimeout.nanoseconds / 4))
    let bound = NIOLoopBound((handler: self, channel: context.channel), eventLoop: loop)
    self.reading = HTTPReadingWatch(left: Self.unsentBytes(context.channel), at: loop.now)
    self.writeTimer = loop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { task in
      let (handler, channel) = bound.value
      let left = Self.unsentBytes(channel)
      guard handler.reading?.isOver(left: left, at: loop.now, patience: handler.requestTimeout) ?? true else { return }
      task.cancel()
      channel.close(promise: nil)
    }
  }

  private static func unsentBytes(_ channel: any Channel) -> Int {
    do {
      return try channel.syncOptions?.getOption(.bufferedWritableBytes) ?? 0
    } catch {
      return 0  // The channel is closed: it holds nothing.
    }
  }

  /// Whether the connection waits for a request, having answered all before.
  private var isIdle: Bool { self.bodyLeft == nil && self.order.isDone && !self.isBroken }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is ChannelShouldQuiesceEvent, self.endTimer == nil {
      self.endTimer = self.closeLater(context, after: self.grace)
    }
    context.fireUserInboundEventTriggered(event)
  }

  /// Reads nothing more, answers 413 once the requests before have their answers, and ends the connection.
  private func refuse(_ context: ChannelHandlerContext, isOpen: Bool) {
    self.isBroken = true
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
    let problem = HTTPProblem.tooLarge(self.maximumBody)
    var head = problem.response.head
    head.headerFields[.connection] = "close"
    context.write(self.wrapOutboundOut(.head(head)), promise: nil)
    context.write(self.wrapOutboundOut(.body(ByteBuffer(string: problem.text))), promise: nil)
    context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
  }

  private func closeLater(_ context: ChannelHandlerContext, after time: TimeAmount) -> Scheduled<Void> {
    let channel = context.channel
    return context.eventLoop.scheduleTask(in: time) { channel.close(promise: nil) }
  }

  private func end() {
    self.member?.left()
    self.member = nil
    self.writeTimer?.cancel()
    for timer in [self.requestTimer, self.endTimer] { timer?.cancel() }
    (self.requestTimer, self.writeTimer, self.endTimer) = (nil, nil, nil)
  }
}
