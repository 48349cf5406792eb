import MidRPC
import NIOCore
import NIOHPACK
import NIOHTTP2

/// One unary call on its HTTP/2 stream: sends the request when the stream opens, and completes a promise exactly once.
final class UnaryCallHandler: ChannelInboundHandler {
  typealias InboundIn = HTTP2Frame.FramePayload
  typealias OutboundOut = HTTP2Frame.FramePayload

  private let headers: HPACKHeaders
  private let message: [UInt8]
  private let timeout: TimeAmount
  private var response: UnaryResponse
  private var promise: EventLoopPromise<[UInt8]>?
  private var deadline: Scheduled<Void>?

  /// Creates a call. `promise` is completed with the answer's message or failed with an `RPCStatus`.
  init(
    headers: HPACKHeaders, message: [UInt8], timeout: TimeAmount, maximumMessageLength: Int,
    promise: EventLoopPromise<[UInt8]>
  ) {
    self.headers = headers
    self.message = message
    self.timeout = timeout
    self.response = UnaryResponse(maximumMessageLength: maximumMessageLength)
    self.promise = promise
  }

  func channelActive(context: ChannelHandlerContext) {
    let timeout = self.timeout
    self.deadline = context.eventLoop.assumeIsolated().scheduleTask(in: timeout) {
      self.finish(.failure(RPCStatus(.deadlineExceeded, "no answer within \(timeout.text)")), context)
    }
    var body = context.channel.allocator.buffer(capacity: 5 + self.message.count)
    body.writeInteger(UInt8(0))
    body.writeInteger(UInt32(self.message.count))
    body.writeBytes(self.message)
    context.write(self.wrapOutboundOut(.headers(.init(headers: self.headers))), promise: nil)
    context.writeAndFlush(self.wrapOutboundOut(.data(.init(data: .byteBuffer(body), endStream: true))), promise: nil)
    context.fireChannelActive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let outcome: UnaryResponse.Outcome? =
      switch self.unwrapInboundIn(data) {
      case .headers(let frame): self.response.receive(headers: frame.headers, endStream: frame.endStream)
      case .data(let frame):
        switch frame.data {
        case .byteBuffer(let buffer): self.response.receive(data: buffer, endStream: frame.endStream)
        case .fileRegion: nil
        }
      case .rstStream(let code): self.response.reset(code)
      default: nil
      }
    if let outcome { self.finish(outcome, context) }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    if let closed = error as? NIOHTTP2Errors.StreamClosed {
      self.finish(self.response.reset(closed.errorCode), context)
    } else {
      self.finish(.failure(RPCStatus(.unavailable, "the call broke off: \(error)")), context)
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    self.finish(.failure(RPCStatus(.unavailable, "the server closed the connection before it answered")), context)
    context.fireChannelInactive()
  }

  /// Completes the call once; what comes later has no reader.
  private func finish(_ outcome: UnaryResponse.Outcome, _ context: ChannelHandlerContext) {
    guard let promise = self.promise else { return }
    self.promise = nil
    self.deadline?.cancel()
    promise.completeWith(outcome.mapError { $0 })
    context.close(promise: nil)
  }
}

extension TimeAmount {
  /// The amount in seconds, as people write it: `5 s`, `0.25 s`.
  var text: String {
    let seconds = Double(self.nanoseconds) / 1e9
    return seconds == seconds.rounded() ? "\(Int64(seconds)) s" : "\(seconds) s"
  }
}
