package import Logging
package import MidCore
import MidRPC
import NIOCore
import NIOPosix
import ServiceLifecycle

/// The whole server: store, worker id, segments, gRPC, metrics and clock, joined and run as one group of services.
package struct MidServer {
  /// Where the server listens, once it does.
  package struct Addresses: Sendable {
    /// The gRPC port.
    package var grpc: HostPort
    /// The HTTP port, or nil where HTTP is off.
    package var http: HostPort?
    /// The port of Tinyid's paths alone, or nil where there is none.
    package var tinyid: HostPort?
    /// The metrics port, or nil where metrics are off.
    package var metrics: HostPort?
  }

  let configuration: ServerConfiguration
  let store: any IDStore
  private let segmentSource: SegmentSource
  private let ticketStores: [any TicketStore]
  let registry: PrometheusRegistry
  let logger: Logger
  let clock = SystemClock()

  /// Creates a server.
  ///
  /// - Parameters:
  ///   - configuration: every setting.
  ///   - store: the store that it names, not prepared yet.
  ///   - segmentSource: where segments come from.
  ///   - ticketStores: the databases of tickets, at least one; closed at the end.
  ///   - registry: where metrics go.
  ///   - logger: where events go.
  package init(
    configuration: ServerConfiguration, store: any IDStore, segmentSource: SegmentSource,
    ticketStores: [any TicketStore], registry: PrometheusRegistry, logger: Logger
  ) {
    self.configuration = configuration
    self.store = store
    self.segmentSource = segmentSource
    self.ticketStores = ticketStores
    self.registry = registry
    self.logger = logger
  }

  /// Serves until SIGTERM or SIGINT, then answers what was asked, gives back what is left, and returns.
  ///
  /// - Parameter onListening: is told the addresses once calls are taken.
  /// - Throws: ``IDError`` where an operator has to mend something first, ``ListenError`` where an address is taken,
  ///   ``ConfigurationErrors`` where the files of TLS are of no use.
  package func run(onListening: @escaping @Sendable (Addresses) -> Void) async throws {
    let signals = await StopSignals()
    let watch = Task { await signals.watch() }
    defer { watch.cancel() }
    let clock = self.clock
    let certificates = try TLSCertificates(
      self.configuration.grpc.tls.settings, logger: self.logger, now: { clock.wallMilliseconds() })
    certificates.collect(in: self.registry)
    let supervisor = StoreSupervisor(store: self.store, logger: self.logger)
    let wish = try self.configuration.snowflake.wish(host: HostName.current)
    let file = try WorkerStateFile(folder: self.configuration.dataDirectory, wish: wish)
    let (forms, opaque) = try self.makeForms(supervisor)
    let clockMonitor = self.makeClockMonitor()
    let ntp = self.makeNTPMonitor(clockMonitor)
    let asksForTime = !self.configuration.clock.ntpServers.isEmpty
    try await signals.during {
      try await supervisor.tryOnce()
      if supervisor.isReady { try await opaque?.compare() }
      // Before the worker id, as a node whose clock is wrong must not begin. Takes 2 s at most.
      if asksForTime { _ = await ntp.check() }
    }
    let keeper = try self.makeKeeper(supervisor, wish: wish, file: file, clockMonitor: clockMonitor)
    await keeper.start()
    let metrics = ServerMetrics(registry: self.registry, methods: self.methodPaths)
    let marks = SegmentMarks(try SegmentMarkFile(folder: self.configuration.dataDirectory))
    let databases = try self.segmentSource.open(
      marks: marks, patience: self.configuration.databases.timeout, logger: self.logger)
    let segmentSupervisor = databases.map { StoreSupervisor(store: $0, logger: self.logger) }
    if let segmentSupervisor { try await signals.during { try await segmentSupervisor.tryOnce() } }
    let segments = try self.makeSegments(
      databases ?? self.store, segmentSupervisor ?? supervisor, marks: marks, metrics: metrics)
    let tickets = try self.makeTickets()
    let semiSync = SemiSyncMonitor(
      isRequired: self.configuration.store.requireSemiSync, location: databases?.location ?? self.store.location,
      ask: { [store] in
        do throws(IDError) {
          guard let databases else { return .success(try await store.semiSync()) }
          return .success(try await databases.semiSync())
        } catch {
          return .failure(error)
        }
      },
      storeReady: { try await (segmentSupervisor ?? supervisor).waitUntilReady() }, registry: self.registry,
      logger: self.logger)
    let health = HealthMethods(
      isSnowflakeReady: { keeper.isReady && clockMonitor.isTrusted },
      isSegmentReady: { segments.directory.isReady && semiSync.isSatisfied },
      isTicketReady: { tickets.directory.isReady },
      isOpaqueReady: opaque?.readiness,
      hasReflection: self.configuration.grpc.reflection)
    self.collect(metrics, segments: segments, health: health, keeper: keeper)

    let listening = self.makeListening(onListening)
    let ids = self.makeIDs(metrics: metrics, segments: segments, tickets: tickets, keeper: keeper, forms: forms)
    let rpc = try self.makeRPC(ids, metrics: metrics, health: health, tls: certificates.context) { address in
      listening.bound("grpc", address)
    }
    let readiness = Readiness(health: health) { mode in
      switch mode {
      case "snowflake": Self.obstacles(keeper, clockMonitor)
      case "segment":
        segments.directory.obstacles
          + (semiSync.isSatisfied ? [] : ["the database's commits do not wait for a replica"])
      case "opaque": opaque?.obstacles ?? []
      default: ["a database of tickets failed the last time that it was asked, or there is none"]
      }
    }
    // Stopped in reverse: first no new calls, then the segments' rests and the worker id go back, then the store closes.
    var services: [any Service] = [signals, supervisor]
    if let databases, let segmentSupervisor {
      metrics.collect(databases: databases)
      services += [
        segmentSupervisor as any Service,
        SegmentDatabaseMonitor(databases.databases, isOpen: { try await segmentSupervisor.waitUntilReady() }),
      ]
    }
    services += [tickets, keeper, segments, ntp]
    if let opaque { services.append(opaque) }
    services.append(
      ReloadSignals(
        reload: {
          certificates.reload()
          segments.reload()
        }, logger: self.logger))
    services.append(semiSync)
    let tokens = self.makeTokens(databases)
    if let tokens { services.append(tokens) }
    let memory = HTTPMemory(limit: self.configuration.http.maxMemoryBytes, now: { .now() })
    services.append(MemoryReturn { rpc.heldMemory + memory.total })
    if let address = self.configuration.metricsAddress {
      services.append(
        MetricsServer(address: address, registry: self.registry, readiness: readiness) {
          listening.bound("metrics", $0)
        })
    }
    let http = self.makeHTTP(ids, readiness: readiness, tokens: tokens, tls: certificates.context, memory: memory) {
      listening.bound($0, $1)
    }
    services.append(SideBySide(services: [rpc] + http))
    // Last, as a node that does not start for another reason need not have said anything to the others.
    if supervisor.isReady, let opaque { try await signals.during { try await opaque.agree() } }
    var configuration = ServiceGroupConfiguration(
      // Also where one fails, a port in use for one: what was taken goes back in the same order.
      services: services.map {
        .init(
          service: $0, successTerminationBehavior: .gracefullyShutdownGroup,
          failureTerminationBehavior: .gracefullyShutdownGroup)
      },
      logger: self.quietLogger)
    configuration.maximumGracefulShutdownDuration = self.configuration.shutdownGrace
    try await ServiceGroup(configuration: configuration).run()
    self.logger.info("server stopped")
  }

  /// The group's own lines say nothing to an operator unless something is wrong.
  private var quietLogger: Logger {
    var logger = self.logger
    logger.logLevel = max(.error, logger.logLevel)
    return logger
  }

  /// The paths of all methods, in the server's order.
  private var methodPaths: [String] {
    [
      "/pb.IDMaker/MakeIDService", "/mid.v1.IDService/GenerateID", "/mid.v1.IDService/GenerateBatch",
      "/mid.v1.IDService/StreamIDs", "/mid.v1.IDService/DecodeID", "/grpc.health.v1.Health/Check",
    ] + (self.configuration.grpc.reflection ? ReflectionMethods.paths : [])
  }

  // MARK: - Snowflake

  private func makeKeeper(
    _ supervisor: StoreSupervisor, wish: WorkerWish, file: sending WorkerStateFile, clockMonitor: ClockMonitor
  ) throws(IDError) -> WorkerKeeper {
    let settings = self.configuration.snowflake
    let layout = settings.layout
    let snowflake = try SnowflakeNode(
      layout: layout, clock: self.clock, maxAhead: settings.maxAhead, sequenceJitter: settings.sequenceJitter,
      salt: .random(in: 0 ... .max))
    self.logger.info(
      "snowflake layout",
      metadata: ["epoch_ms": "\(layout.epochMilliseconds)", "end_of_time": "\(layout.endOfTimeDescription)"])
    return WorkerKeeper(
      wish, snowflake: snowflake, store: self.store, isStoreReady: { supervisor.isReady }, file: file,
      host: HostName.current, process: Int(getpid()), clock: self.clock, clockMonitor: clockMonitor,
      settings: settings.leaseSettings, logger: self.logger)
  }

  // MARK: - The other parts

  private func makeSegments(
    _ store: any SegmentStore, _ supervisor: StoreSupervisor, marks: SegmentMarks, metrics: ServerMetrics
  ) throws(IDError) -> SegmentService {
    let settings = self.configuration.segment
    return try SegmentService(
      store: store, storeReady: { try await supervisor.waitUntilReady() },
      settings: SegmentSettings(
        loadAfterPercent: Int64((settings.loadAt * 100).rounded()), maximumWaiters: settings.maxWaiters,
        maximumLoad: Int64(settings.maxLoad), target: settings.target, outage: settings.outage),
      refreshInterval: settings.tagRefresh, unused: settings.unused, marks: marks,
      hasFixedStrides: self.configuration.segmentDialect.residueColumns == nil, clock: self.clock, logger: self.logger,
      observer: { metrics.loaded(tag: $0, duration: $1, error: $2) })
  }

  private func makeTickets() throws(IDError) -> TicketService {
    let settings = self.configuration.ticket
    return try TicketService(
      stores: self.ticketStores, tables: settings.tables,
      settings: TicketSettings(
        maximumWaiters: self.configuration.segment.maxWaiters, maximumBatch: Int64(settings.batchMax)),
      timeout: settings.timeout, clock: self.clock, logger: self.logger)
  }

  private func makeIDs(
    metrics: ServerMetrics, segments: SegmentService, tickets: TicketService, keeper: WorkerKeeper, forms: TagForms
  ) -> IDMethods {
    IDMethods(
      snowflake: keeper.snowflake, segments: segments.directory, tickets: tickets.directory,
      texts: TextIDs(
        increment: self.configuration.uuid7Increment, clock: self.clock, random: SystemRandom(),
        onClockReturn: { [logger] mode, step in
          metrics.clockReturned(mode)
          logger.warning(
            "ids follow the clock back",
            metadata: ["mode": "\(mode)", "by_ms": "\(step.wholeMilliseconds)"])
        }),
      forms: forms, clock: self.clock,
      limits: IDMethods.Limits(
        maximumWait: self.configuration.segment.maxWait, maximumBatch: Int64(self.configuration.batchMax),
        maximumWaiters: self.configuration.segment.maxWaiters),
      meter: metrics)
  }

  private func makeRPC(
    _ ids: IDMethods, metrics: ServerMetrics, health: HealthMethods, tls: RPCTLSContext?,
    onListening: @escaping @Sendable (HostPort) -> Void
  ) throws(IDError) -> RPCService {
    let settings = self.configuration.grpc
    let reflection = settings.reflection ? ReflectionMethods(paths: self.methodPaths).all : []
    let methods = ids.all + [health.check] + reflection
    precondition(methods.map(\.path) == self.methodPaths, "metrics name the methods in the server's order")
    let loops = settings.eventLoops > 0 ? settings.eventLoops : System.coreCount
    let group = MultiThreadedEventLoopGroup(numberOfThreads: loops)
    let server = RPCServer(
      methods: methods, group: group, maxConnections: settings.maxConnections,
      maxHandshakes: settings.tls.maxHandshakes, maxMemory: settings.maxMemoryBytes,
      limits: RPCLimits(settings), timeouts: RPCTimeouts(settings), observer: metrics)
    metrics.collect(rpc: server)
    // Some of the grace time is left for giving back what is left.
    return RPCService(
      server: server, group: group, address: settings.address, tls: tls,
      grace: self.configuration.shutdownGrace * 0.8, stopping: health.stopping, onListening: onListening)
  }

  private func makeClockMonitor() -> ClockMonitor {
    let clock = self.clock
    return ClockMonitor(
      maxOffset: self.configuration.clock.maxOffset,
      renewal: self.configuration.snowflake.renewInterval, hasSharedStore: self.store.isShared, registry: self.registry,
      logger: self.logger, read: { ClockMonitor.moment(of: clock) })
  }

  private func makeNTPMonitor(_ clockMonitor: ClockMonitor) -> NTPMonitor {
    let client = SNTPClient(clock: self.clock)
    return NTPMonitor(
      servers: self.configuration.clock.ntpServers, interval: self.configuration.clock.ntpInterval,
      registry: self.registry, logger: self.logger, read: { clockMonitor.now }, isUrgent: { !clockMonitor.isTrusted },
      observe: { clockMonitor.measured(ntp: $0) }, ask: { await client.ask($0) },
      sleep: { try await Task.sleep(for: $0) })
  }

  private func collect(
    _ metrics: ServerMetrics, segments: SegmentService, health: HealthMethods, keeper: WorkerKeeper
  ) {
    ProcessMetrics.register(in: self.registry, version: MidVersion.current)
    KernelClock.register(in: self.registry)
    metrics.collect(segments: segments.directory, health: health, keeper: keeper)
  }
}

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif
