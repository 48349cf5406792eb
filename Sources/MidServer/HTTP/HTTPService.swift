import Hummingbird
import HummingbirdCore
import Logging
import MidRPC
import NIOCore
import ServiceLifecycle

/// Runs one HTTP port within the service group.
package struct HTTPService: Service {
  /// What is served on a port, and where.
  struct Port: Sendable {
    /// The setting's name without `.address`, for messages.
    var purpose: String
    /// Where to listen; port 0 takes a free one.
    var address: HostPort
    /// What is served there.
    var responder: HTTPRouter.Responder
  }

  /// What answers say of their server.
  package static let serverName = "mid"

  private let port: Port
  private let settings: ServerConfiguration.HTTP
  private let memory: HTTPMemory
  private let metrics: HTTPMetrics
  private let tls: RPCTLSContext?
  private let grace: Duration
  private let onListening: @Sendable (HostPort) -> Void

  /// Creates a service that does not listen yet.
  ///
  /// - Parameters:
  ///   - settings: The limits.
  ///   - memory: The account of all ports.
  ///   - metrics: Counts the connections that are ended.
  ///   - tls: The certificate, or nil to serve without TLS.
  ///   - grace: How long connections may take to end.
  ///   - onListening: Is told the address that was bound.
  init(
    _ port: Port, settings: ServerConfiguration.HTTP, memory: HTTPMemory, metrics: HTTPMetrics, tls: RPCTLSContext?,
    grace: Duration,
    onListening: @escaping @Sendable (HostPort) -> Void
  ) {
    self.port = port
    self.settings = settings
    self.memory = memory
    self.metrics = metrics
    self.tls = tls
    self.grace = grace
    self.onListening = onListening
  }

  /// Listens until graceful shutdown: what was asked before is still answered, idle connections are closed at once, and
  /// the rest after the grace time.
  ///
  /// - Throws: ``ListenError`` where the address can't be had.
  package func run() async throws {
    let (address, purpose) = (self.port.address, self.port.purpose)
    let application = self.makeApplication()
    let grace = self.grace
    do {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await application.run() }
        group.addTask {
          // Calls that still wait for ids then are cancelled.
          try await gracefulShutdown()
          try await Task.sleep(for: grace)
        }
        defer { group.cancelAll() }
        try await group.next()
      }
    } catch let error as IOError {
      throw ListenError(purpose: purpose, address: address, errno: error.errnoCode)
    } catch let error as SocketAddressError {
      throw ListenError(purpose: purpose, address: address, reason: "is no address of this machine: \(error)")
    }
  }

  private func makeApplication() -> some ApplicationProtocol {
    let (address, onListening, tls) = (self.port.address, self.onListening, self.tls)
    let bounds = HTTPConnectionLimits.Bounds(
      maximumBody: self.settings.maxBodyBytes, requestTimeout: TimeAmount(self.settings.requestTimeout),
      leastRate: self.settings.minReadRate, grace: TimeAmount(self.grace))
    let (memory, metrics) = (self.memory, self.metrics)
    let header = self.settings.maxHeaderBytes
    let connections = HTTPConnections(maximum: self.settings.maxConnections)
    let configuration = HTTP1Channel.Configuration(
      additionalChannelHandlers: [
        HTTPConnectionLimits(bounds, connections: connections, memory: memory) { metrics.connectionEnded(by: $0) }
      ],
      idleTimeout: TimeAmount(self.settings.idleTimeout),
      httpDecoderConfiguration: .init(maxHeaderFieldSize: header, maxHeaderListSize: header, maxHeaderFieldCount: 100))
    return Application(
      responder: self.port.responder,
      server: HTTPServerBuilder { responder in
        HTTPChildChannel(http: HTTP1Channel(responder: responder, configuration: configuration), tls: tls)
      },
      configuration: ApplicationConfiguration(
        address: .hostname(address.host, port: address.port),
        serverName: Self.serverName,
        availableConnectionsDelegate: HTTPConnections.Delegate(connections: connections)),
      onServerRunning: { channel in
        onListening(HostPort(host: address.host, port: channel.localAddress?.port ?? address.port))
      },
      logger: Self.quiet
    )
  }

  /// Requests are counted, not logged: a query may hold a token.
  private static let quiet = Logger(label: "mid.http", factory: { _ in SwiftLogNoOpLogHandler() })
}

/// Runs services that begin and end together, as one: each is told to stop at the same time.
struct SideBySide: Service {
  let services: [any Service]

  /// Runs until all have ended; where one fails, the others are cancelled.
  ///
  /// - Throws: What the first that failed threw.
  func run() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for service in self.services { group.addTask { try await service.run() } }
      // Not `waitForAll()`, which would wait for those that go on.
      while try await group.next() != nil {}
    }
  }
}
