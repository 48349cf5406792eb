import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import ServiceLifecycle

/// Serves `GET /metrics` over HTTP to Prometheus, and `/healthz` and `/readyz` to whoever watches over the process: also
/// while callers take every connection of the HTTP port. Nothing else.
package struct MetricsServer: Service {
  /// How many connections are served at once; more wait in the system's queue.
  static let maximumConnections = 64

  private let address: HostPort
  private let registry: PrometheusRegistry
  private let health: HealthRoutes
  private let onListening: @Sendable (HostPort) -> Void

  /// Creates a server that does not listen yet.
  ///
  /// - Parameters:
  ///   - address: Where to listen; port 0 takes a free one.
  ///   - registry: What is told of the process.
  ///   - readiness: Says whether ids can be had.
  ///   - onListening: Told the address once it is bound, with its real port.
  package init(
    address: HostPort, registry: PrometheusRegistry, readiness: Readiness,
    onListening: @escaping @Sendable (HostPort) -> Void = { _ in }
  ) {
    self.address = address
    self.registry = registry
    self.health = HealthRoutes(readiness: readiness)
    self.onListening = onListening
  }

  /// Serves until graceful shutdown or cancellation.
  ///
  /// - Throws: ``ListenError`` where the address can't be bound.
  package func run() async throws {
    let registry = self.registry
    let router = Router()
    router.get("metrics") { _, _ in
      Response(
        status: .ok, headers: [.contentType: PrometheusText.contentType],
        body: ResponseBody(byteBuffer: ByteBuffer(string: registry.scrape())))
    }
    self.health.add(to: router)
    let address = self.address
    let onListening = self.onListening
    let application = Application(
      router: router,
      server: .http1(configuration: .init(idleTimeout: .seconds(10))),
      configuration: ApplicationConfiguration(
        address: .hostname(address.host, port: address.port),
        availableConnectionsDelegate: MaximumAvailableConnections(Self.maximumConnections)),
      onServerRunning: { channel in
        onListening(HostPort(host: address.host, port: channel.localAddress?.port ?? address.port))
      },
      // A scrape every few seconds is not worth a line.
      logger: Logger(label: "mid.metrics", factory: { _ in SwiftLogNoOpLogHandler() })
    )
    do {
      try await application.run()
    } catch let error as IOError {
      throw ListenError(purpose: "metrics", address: address, errno: error.errnoCode)
    } catch let error as SocketAddressError {
      throw ListenError(purpose: "metrics", address: address, reason: "is no address of this machine: \(error)")
    }
  }
}
