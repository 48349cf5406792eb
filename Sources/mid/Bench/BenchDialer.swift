import MidRPC
import MidServer
import NIOCore
import NIOPosix

/// Makes the channels of a run: the one place that knows the server's address and what lies between it and HTTP/2.
struct BenchDialer: Sendable {
  let server: HostPort
  /// How to secure connections, or nil for none of it.
  let tls: SecuredClient?
  /// How long a connection may take to come about, and a TLS handshake again.
  let timeout: TimeAmount

  /// Creates a dialer; reads the files of `tls`.
  ///
  /// - Throws: `INVALID_ARGUMENT` with the option, the file and what is wrong.
  init(server: HostPort, tls: ClientTLS?, timeout: TimeAmount) throws(RPCStatus) {
    self.server = server
    self.tls = try tls.map { tls throws(RPCStatus) in try SecuredClient(tls, host: server.host) }
    self.timeout = timeout
  }

  /// Whether requests say `https`.
  var isSecure: Bool { self.tls != nil }

  /// Whom the requests are for.
  var authority: String { HostPort(host: self.tls?.serverName ?? self.server.host, port: self.server.port).description }

  /// Opens a connection for `lane` on its event loop. The lane hears of it once it is there, with its TLS.
  func dial(_ lane: BenchLane, _ eventLoop: any EventLoop) -> EventLoopFuture<Void> {
    let bound = NIOLoopBound(lane, eventLoop: eventLoop)
    let bootstrap = ClientBootstrap(group: eventLoop)
      .connectTimeout(self.timeout)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
    guard let tls = self.tls else {
      return
        bootstrap
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture { try Self.addConnection(bound, to: channel) }
        }
        .connect(host: self.server.host, port: self.server.port)
        .map { _ in }
    }
    let timeout = self.timeout
    return
      bootstrap
      .channelInitializer { channel in
        // A name may lead to several addresses, tried at once: each has a handshake, one of them is gone on with.
        channel.eventLoop.makeCompletedFuture { _ = try tls.secure(channel, timeout: timeout) }
      }
      .connect(host: self.server.host, port: self.server.port)
      .flatMap { channel in
        do {
          return try channel.pipeline.syncOperations.handler(type: TLSHandshakeHandler.self).done
            .flatMapThrowing { try Self.addConnection(bound, to: channel) }
        } catch {
          return channel.eventLoop.makeFailedFuture(error)
        }
      }
  }

  private static func addConnection(_ lane: NIOLoopBound<BenchLane>, to channel: any Channel) throws {
    try channel.pipeline.syncOperations.addHandler(BenchConnectionHandler(lane: lane.value))
  }
}
