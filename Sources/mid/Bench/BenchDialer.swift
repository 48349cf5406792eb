import MidRPC
import MidServer
import NIOCore
import NIOPosix

/// Makes the channels of a run: the one place that knows the server's address and what lies between it and HTTP/2.
struct BenchDialer: Sendable {
  let server: HostPort
  let timeout: TimeAmount

  /// Whether requests say `https`.
  var isSecure: Bool { false }

  /// Opens a connection for `lane` on its event loop.
  func dial(_ lane: BenchLane, _ eventLoop: any EventLoop) -> EventLoopFuture<Void> {
    let bound = NIOLoopBound(lane, eventLoop: eventLoop)
    return ClientBootstrap(group: eventLoop)
      .connectTimeout(self.timeout)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          // What encrypts goes in front of this handler.
          try channel.pipeline.syncOperations.addHandler(BenchConnectionHandler(lane: bound.value))
        }
      }
      .connect(host: self.server.host, port: self.server.port)
      .map { _ in }
  }
}
