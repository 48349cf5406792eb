package import MidRPC
import NIOCore
package import NIOPosix
import ServiceLifecycle

/// Runs the gRPC server within the service group: it stops first, so that what it was asked before is still answered.
package struct RPCService: Service {
  private let server: RPCServer
  private let group: MultiThreadedEventLoopGroup
  private let address: HostPort
  private let tls: RPCTLSContext?
  private let grace: Duration
  private let stopping: StopFlag
  private let onListening: @Sendable (HostPort) -> Void

  /// Creates the service.
  ///
  /// - Parameters:
  ///   - server: what to run.
  ///   - group: its event loops, shut down at the end.
  ///   - address: where to listen.
  ///   - tls: the certificate, or nil to serve without TLS.
  ///   - grace: how long connections may take to end.
  ///   - stopping: raised as soon as the server is told to stop.
  ///   - onListening: is told the address that was bound.
  package init(
    server: RPCServer, group: MultiThreadedEventLoopGroup, address: HostPort, tls: RPCTLSContext? = nil,
    grace: Duration, stopping: StopFlag, onListening: @escaping @Sendable (HostPort) -> Void
  ) {
    self.server = server
    self.group = group
    self.address = address
    self.tls = tls
    self.grace = grace
    self.stopping = stopping
    self.onListening = onListening
  }

  /// Bytes that connections hold now because they can't move on.
  var heldMemory: Int { self.server.heldMemory }

  /// Listens until graceful shutdown.
  ///
  /// - Throws: ``ListenError`` where the address can't be had.
  package func run() async throws {
    do {
      let bound = try await self.server.start(
        host: self.address.host, port: self.address.port, tls: self.tls)
      self.onListening(HostPort(host: self.address.host, port: bound.port ?? self.address.port))
    } catch let error as IOError {
      throw ListenError(purpose: "grpc", address: self.address, errno: error.errnoCode)
    } catch {
      throw ListenError(purpose: "grpc", address: self.address, reason: "can't be used: \(error)")
    }
    do {
      try await gracefulShutdown()
    } catch {
      // Cancelled: the same end, sooner.
    }
    self.stopping.raise()
    await self.server.stop(grace: .nanoseconds(Int64(self.grace / .nanoseconds(1))))
    try await self.group.shutdownGracefully()
  }
}
