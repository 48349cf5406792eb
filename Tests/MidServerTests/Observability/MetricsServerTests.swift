import Foundation
import FoundationNetworking
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization
import Testing

@testable import MidServer

@Suite struct MetricsServerTests {
  /// Of a node that has Snowflake ids and no segments.
  private static var readiness: Readiness {
    Readiness(
      health: HealthMethods(isSnowflakeReady: { true }, isSegmentReady: { false }, isTicketReady: { true })
    ) { ["\($0) is off"] }
  }

  /// Runs a server on a free port while `body` runs, then shuts it down gracefully.
  private func withServer(
    _ registry: PrometheusRegistry, _ body: @Sendable (HostPort) async throws -> Void
  ) async throws {
    let (ports, continuation) = AsyncStream.makeStream(of: HostPort.self)
    let server = MetricsServer(
      address: HostPort(host: "127.0.0.1", port: 0), registry: registry,
      readiness: Self.readiness, onListening: { continuation.yield($0) })
    let group = ServiceGroup(
      services: [server], logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await group.run() }
      var iterator = ports.makeAsyncIterator()
      let address = try #require(await iterator.next())
      try await body(address)
      await group.triggerGracefulShutdown()
      try await tasks.waitForAll()
    }
  }

  @Test(.timeLimit(.minutes(10))) func itServesMetricsAndNothingElse() async throws {
    let registry = PrometheusRegistry()
    registry.counter(MetricCatalogue.idGenerate, "snowflake").add(5)
    try await self.withServer(registry) { address in
      #expect(address.port > 0)
      let url = try #require(URL(string: "http://\(address)/metrics"))
      let (data, response) = try await URLSession.shared.data(from: url)
      let reply = try #require(response as? HTTPURLResponse)
      #expect(reply.statusCode == 200)
      #expect(reply.value(forHTTPHeaderField: "Content-Type") == "text/plain; version=0.0.4; charset=utf-8")
      #expect(String(decoding: data, as: UTF8.self).contains("id_generate_total{mode=\"snowflake\"} 5\n"))
      for path in ["/", "/metricsx", "/metrics/x"] {
        let (_, other) = try await URLSession.shared.data(from: try #require(URL(string: "http://\(address)\(path)")))
        #expect((other as? HTTPURLResponse)?.statusCode == 404)
      }
    }
  }

  @Test(.timeLimit(.minutes(10))) func itSaysWhetherTheProcessLivesAndIsReady() async throws {
    try await self.withServer(PrometheusRegistry()) { address in
      for (path, status, part) in [
        ("/healthz", 200, #"{"status":"ok"}"#),
        ("/readyz", 503, #""segment":{"ready":false,"reasons":["segment is off"]}"#),
      ] {
        var request = URLRequest(url: try #require(URL(string: "http://\(address)\(path)")))
        let (data, response) = try await URLSession.shared.data(for: request)
        #expect((response as? HTTPURLResponse)?.statusCode == status)
        #expect(String(decoding: data, as: UTF8.self).contains(part))
        request.httpMethod = "HEAD"
        let (none, head) = try await URLSession.shared.data(for: request)
        #expect((head as? HTTPURLResponse)?.statusCode == status && none.isEmpty)
      }
    }
  }

  @Test(.timeLimit(.minutes(10))) func anIdleConnectionDoesNotHoldUpTheShutdown() async throws {
    try await self.withServer(PrometheusRegistry()) { address in
      _ = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .connect(host: address.host, port: address.port).get()
    }
  }

  @Test(.timeLimit(.minutes(10))) func anAddressInUseIsToldInOneLine() async throws {
    let taken = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .bind(host: "127.0.0.1", port: 0).get()
    let address = HostPort(host: "127.0.0.1", port: try #require(taken.localAddress?.port))
    let error = await #expect(throws: ListenError.self) {
      try await MetricsServer(address: address, registry: PrometheusRegistry(), readiness: Self.readiness).run()
    }
    #expect(
      error?.description
        == "metrics address \(address) is in use: stop the program that has it, or set metrics.address to another port")
    try await taken.close()
  }

  @Test(.timeLimit(.minutes(10))) func anAddressOfAnotherMachineIsToldInOneLine() async throws {
    let address = HostPort(host: "192.0.2.1", port: 9_190)
    let error = await #expect(throws: ListenError.self) {
      try await MetricsServer(address: address, registry: PrometheusRegistry(), readiness: Self.readiness).run()
    }
    #expect(error?.description.hasPrefix("metrics address 192.0.2.1:9190 is no address of this machine") == true)
  }
}
