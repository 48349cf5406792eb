import Logging
import MidCore
import MidRPC
import ServiceLifecycle
import Synchronization

extension MidServer {
  /// The HTTP ports.
  ///
  /// - Parameters:
  ///   - memory: The account of what all connections hold.
  ///   - onListening: Is told a port's purpose and address once it is bound.
  func makeHTTP(
    _ ids: IDMethods, readiness: Readiness, tokens: TinyidTokens?, tls: RPCTLSContext?, memory: HTTPMemory,
    onListening: @escaping @Sendable (_ purpose: String, HostPort) -> Void
  ) -> [any Service] {
    let settings = self.configuration.http
    let httpMetrics = HTTPMetrics(registry: self.registry)
    httpMetrics.collect(memory)
    let health = HealthRoutes(readiness: readiness)
    let tinyid = TinyidRoutes(
      ids: ids,
      tokens: settings.tinyidTokens ? tokens : nil, needsToken: settings.tinyidTokens,
      maximumBody: settings.maxBodyBytes, memory: memory)
    var ports: [HTTPService.Port] = []
    if let address = settings.address {
      let router = HTTPRouter(countingIn: httpMetrics)
      health.add(to: router)
      IDRoutes(ids: ids, maximumList: settings.maxIDs, maximumBody: settings.maxBodyBytes, memory: memory)
        .add(to: router)
      let clock = self.clock
      LeafRoutes(
        ids: ids, now: { clock.wallMilliseconds() }, localTime: { LocalTime.text(milliseconds: $0) }, memory: memory
      ).add(to: router)
      tinyid.add(to: router)
      OpenAPIRoutes(
        maximumList: min(settings.maxIDs, self.configuration.batchMax), maximumBatch: self.configuration.batchMax,
        maximumTickets: self.configuration.ticket.batchMax, forms: ids.forms
      ).add(to: router)
      ports.append(HTTPService.Port(purpose: "http", address: address, responder: router.buildResponder()))
    }
    if let address = settings.tinyidAddress {
      let router = HTTPRouter(countingIn: httpMetrics)
      health.add(to: router)
      tinyid.add(to: router)
      ports.append(HTTPService.Port(purpose: "http.tinyid", address: address, responder: router.buildResponder()))
    }
    return ports.map { port in
      // As gRPC's: some of the grace time is left for giving back what is left.
      HTTPService(
        port, settings: settings, memory: memory, metrics: httpMetrics, tls: tls,
        grace: self.configuration.shutdownGrace * 0.8
      ) {
        onListening(port.purpose, $0)
      }
    }
  }

  /// The tokens of Tinyid's clients, or nil where nobody is asked for one or the store has none.
  ///
  /// - Parameter databases: The databases of segments, where these are not the store.
  func makeTokens(_ databases: (any CompositeStore)?) -> TinyidTokens? {
    let settings = self.configuration.http
    guard settings.tinyidTokens, settings.address != nil || settings.tinyidAddress != nil else { return nil }
    let own = self.store as? any TokenStore
    guard let store: any TokenStore = databases ?? own else { return nil }
    return TinyidTokens(store: store, interval: self.configuration.segment.tagRefresh, logger: self.logger)
  }

  /// Why Snowflake ids can't be had.
  static func obstacles(_ keeper: WorkerKeeper, _ clockMonitor: ClockMonitor) -> [String] {
    var reasons: [String] = []
    if !keeper.isReady {
      reasons.append(
        keeper.status.worker == nil
          ? "this node has no worker id" : "ids wait for the clock, or the time bound is about to be renewed")
    }
    if !clockMonitor.isTrusted { reasons.append("this machine's clock is off by more than clock.max_offset") }
    return reasons
  }

  /// Collects the addresses of all ports, and tells them once they are bound.
  func makeListening(_ onListening: @escaping @Sendable (Addresses) -> Void) -> ListeningPorts {
    var purposes: Set<String> = ["grpc"]
    if self.configuration.metricsAddress != nil { purposes.insert("metrics") }
    if self.configuration.http.address != nil { purposes.insert("http") }
    if self.configuration.http.tinyidAddress != nil { purposes.insert("http.tinyid") }
    let (logger, location) = (self.logger, self.store.location)
    return ListeningPorts(purposes) { bound in
      guard let grpc = bound["grpc"] else { return }
      logger.info(
        "server started",
        metadata: bound.mapValues { "\($0)" }.merging(["store": "\(location)"]) { $1 })
      onListening(Addresses(grpc: grpc, http: bound["http"], tinyid: bound["http.tinyid"], metrics: bound["metrics"]))
    }
  }
}

/// Waits until the ports of all purposes are bound. Safe to use from any thread.
final class ListeningPorts: Sendable {
  private let purposes: Set<String>
  private let onAll: @Sendable ([String: HostPort]) -> Void
  private let bound = Mutex<[String: HostPort]>([:])

  /// - Parameter onAll: Is told all addresses by purpose, once.
  init(_ purposes: Set<String>, onAll: @escaping @Sendable ([String: HostPort]) -> Void) {
    self.purposes = purposes
    self.onAll = onAll
  }

  /// A port is bound.
  func bound(_ purpose: String, _ address: HostPort) {
    let all = self.bound.withLock { bound in
      bound[purpose] = address
      return Set(bound.keys) == self.purposes ? bound : nil
    }
    if let all { self.onAll(all) }
  }
}
