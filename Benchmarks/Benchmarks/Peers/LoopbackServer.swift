public import NIOCore
import NIOPosix

/// A server on the loopback address that the program's measurements are held against: what a peer adds is its pipeline.
public enum LoopbackServer {
  /// Listens until the process ends.
  ///
  /// - Parameters:
  ///   - port: Where.
  ///   - loops: How many event loops serve, 1 or more.
  ///   - setUp: Adds a connection's handlers, on its event loop.
  /// - Throws: What binding throws.
  public static func run(
    port: Int, loops: Int, setUp: @escaping @Sendable (any Channel) throws -> Void
  ) async throws {
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup(numberOfThreads: loops))
      .serverChannelOption(.backlog, value: 1024)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelInitializer { channel in channel.eventLoop.makeCompletedFuture { try setUp(channel) } }
      .bind(host: "127.0.0.1", port: port).get()
    try await channel.closeFuture.get()
  }
}
