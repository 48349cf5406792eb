import NIOCore
import NIOHTTP1

/// Which requests leave the connection open, by their version. The server behind it knows no versions, and closes where a
/// request says `close`: so those of HTTP/1.0 that do not ask to be kept are made to say it, and those that do are told that
/// they are. Source: RFC 9112, section 9.3.
///
/// It lies behind NIO's codec. Clients that are still of that version: ApacheBench, and proxies by default.
final class HTTPVersionHandler: ChannelDuplexHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias InboundOut = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  /// Whether the client is of HTTP/1.0 and has asked for the connection to be kept.
  private var keepsOld = false

  /// Puts it where it belongs. On the channel's event loop, once the channel speaks HTTP/1.1.
  static func add(to channel: any Channel) throws {
    let pipeline = channel.pipeline.syncOperations
    let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
    try pipeline.addHandler(HTTPVersionHandler(), position: .after(decoder))
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard case .head(var head) = self.unwrapInboundIn(data) else { return context.fireChannelRead(data) }
    let isOld = (head.version.major, head.version.minor) < (1, 1)
    self.keepsOld = isOld && head.isKeepAlive
    guard isOld || !head.isKeepAlive else { return context.fireChannelRead(data) }
    // Such a client knows nothing of what comes before an answer.
    if isOld { head.headers.remove(name: "expect") }
    if !head.isKeepAlive { head.headers.replaceOrAdd(name: "connection", value: "close") }
    context.fireChannelRead(self.wrapInboundOut(.head(head)))
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard self.keepsOld, case .head(var head) = self.unwrapOutboundIn(data), !head.headers.contains(name: "connection")
    else { return context.write(data, promise: promise) }
    head.headers.add(name: "connection", value: "keep-alive")
    context.write(self.wrapOutboundOut(.head(head)), promise: promise)
  }
}
