import HummingbirdCore
import Logging
import MidRPC
import NIOCore

/// HTTP/1.1 on an accepted connection, within TLS where the server has a certificate. The certificate is asked for at
/// each connection, so that one that was read again counts from then on.
struct HTTPChildChannel: HTTPChannelHandler {
  let http: HTTP1Channel
  let tls: RPCTLSContext?

  var responder: HTTPChannelHandler.Responder { self.http.responder }

  func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<HTTP1Channel.Value> {
    guard let tls = self.tls else { return self.http.setup(channel: channel, logger: logger) }
    return channel.eventLoop.makeCompletedFuture { try tls.secureHTTP1(channel) }
      .flatMap { self.http.setup(channel: channel, logger: logger) }
  }

  func handle(value: HTTP1Channel.Value, logger: Logger) async {
    await self.http.handle(value: value, logger: logger)
  }
}
