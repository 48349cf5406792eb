import HummingbirdCore
import Logging
import MidRPC
import NIOCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// HTTP/1.1 on an accepted connection, within TLS where the server has a certificate. The certificate is asked for at
/// each connection, so that one that was read again counts from then on.
struct HTTPChildChannel: HTTPChannelHandler {
  let http: HTTP1Channel
  let tls: RPCTLSContext?

  var responder: HTTPChannelHandler.Responder { self.http.responder }

  func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<HTTP1Channel.Value> {
    channel.eventLoop.makeCompletedFuture {
      try Self.limitUnsent(channel)
      try Self.limitReads(channel)
      if let tls = self.tls { try tls.secureHTTP1(channel) }
    }
    .flatMap { self.http.setup(channel: channel, logger: logger) }
    .flatMapThrowing { value in
      try HTTPVersionHandler.add(to: channel)
      return value
    }
  }

  /// Has the system take no more of an answer than the client is about to read, 64 KiB. It would take some megabytes of
  /// them otherwise, whose reading nobody could see: a slow client would look like one that reads nothing.
  private static func limitUnsent(_ channel: any Channel) throws {
    #if os(Linux)
      let option = ChannelOptions.Types.SocketOption(level: .tcp, name: .init(rawValue: TCP_NOTSENT_LOWAT))
      try channel.syncOptions?.setOption(option, value: 64 * 1024)
    #endif
  }

  /// Has few bytes read at once, since all requests that are among them are decoded at once, whatever waits before them: a
  /// request of 20 bytes takes about fifty times as many then.
  private static func limitReads(_ channel: any Channel) throws {
    try channel.syncOptions?.setOption(.maxMessagesPerRead, value: 1)
    try channel.syncOptions?.setOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 4096))
  }

  func handle(value: HTTP1Channel.Value, logger: Logger) async {
    await self.http.handle(value: value, logger: logger)
  }
}
