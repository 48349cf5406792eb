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
  /// Bytes of body that the request being read still may have, or nil between requests.
  private var bodyLeft: Int?
  private var isBroken = false
  /// Whether the refusal was written: nothing else is written after it.
  private var isRefused = false
  private var order = HTTPAnswerOrder()
  private var requestTimer: Scheduled<Void>?
  private var writeTimer: Scheduled<Void>?
  private var endTimer: Scheduled<Void>?

  /// - Parameters:
  ///   - maximumBody: The longest body, in bytes.
  ///   - requestTimeout: How long a request may take from its header to its end, and how long the client may leave
  ///     answers unread.
  ///   - grace: How long an open connection may take to end once the server stops.
  init(maximumBody: Int, requestTimeout: TimeAmount, grace: TimeAmount) {
    self.maximumBody = maximumBody
    self.requestTimeout = requestTimeout
    self.grace = grace
  }

  func handlerRemoved(context: ChannelHandlerContext) { self.cancelTimers() }

  func channelInactive(context: ChannelHandlerContext) {
    self.cancelTimers()
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
    case .body(let bytes):
      let left = (self.bodyLeft ?? 0) - bytes.readableBytes
      guard left >= 0 else { return self.refuse(context, isOpen: true) }
      self.bodyLeft = left
    case .end:
      self.bodyLeft = nil
      self.requestTimer?.cancel()
      self.requestTimer = nil
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
    }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    self.writeTimer?.cancel()
    self.writeTimer = context.channel.isWritable ? nil : self.closeLater(context, after: self.requestTimeout)
    context.fireChannelWritabilityChanged()
  }

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

  private func cancelTimers() {
    for timer in [self.requestTimer, self.writeTimer, self.endTimer] { timer?.cancel() }
    (self.requestTimer, self.writeTimer, self.endTimer) = (nil, nil, nil)
  }
}
