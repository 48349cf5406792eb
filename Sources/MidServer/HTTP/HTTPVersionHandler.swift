import NIOCore
import NIOHTTP1

/// What the codec and the server leave undone of a request's header, mostly as they know no versions.
///
/// - Which requests leave the connection open. The server closes where a request says `close`: so those of HTTP/1.0 that do
///   not ask to be kept are made to say it, and those that do are told that they are. Source: RFC 9112, section 9.3.
/// - Which requests have the Host that they need. Those that may be without one, of HTTP/1.0, go on with an empty one; those
///   that have none, more than one, or one with signs that are in none, go on without, which ``HTTPConnectionLimits`` refuses.
///   Source: RFC 9112, section 3.2.
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
    let hasHost = Self.hasHost(head.headers, isOld: isOld)
    guard isOld || !head.isKeepAlive || !hasHost else { return context.fireChannelRead(data) }
    if !hasHost {
      head.headers.remove(name: "host")
    } else if isOld, !head.headers.contains(name: "host") {
      head.headers.add(name: "host", value: "")
    }
    // Such a client knows nothing of what comes before an answer.
    if isOld { head.headers.remove(name: "expect") }
    if !head.isKeepAlive { head.headers.replaceOrAdd(name: "connection", value: "close") }
    context.fireChannelRead(self.wrapInboundOut(.head(head)))
  }

  private static func hasHost(_ headers: HTTPHeaders, isOld: Bool) -> Bool {
    var count = 0
    for (name, value) in headers where name.utf8.count == 4 && name.lowercased() == "host" {
      count += 1
      // The codec leaves blanks behind a value, which are no part of it. Source: RFC 9112, section 5.1.
      var host = value.utf8[...]
      while host.last == UInt8(ascii: " ") || host.last == UInt8(ascii: "\t") { host.removeLast() }
      guard host.allSatisfy(self.mayBeInHost) else { return false }
    }
    return count == 1 || (isOld && count == 0)
  }

  /// Whether a byte may be part of a host and a port. Source: RFC 3986, section 3.2.2.
  private static func mayBeInHost(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: ":-._~!$&'()*+,;=%[]".utf8.contains(byte)
    }
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard self.keepsOld, case .head(var head) = self.unwrapOutboundIn(data), !head.headers.contains(name: "connection")
    else { return context.write(data, promise: promise) }
    head.headers.add(name: "connection", value: "keep-alive")
    context.write(self.wrapOutboundOut(.head(head)), promise: promise)
  }
}
