import MidCore
import MidTestKit
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import MidRPC
@testable import MidServer

/// The id methods behind a real server on a loopback port, with a clock and loads in the test's hands.
final class IDServer: Sendable {
  /// What loads of segments come to.
  enum Loads: Sendable {
    case served
    case held
    case failing
  }

  static let paths =
    [
      "/pb.IDMaker/MakeIDService", "/mid.v1.IDService/GenerateID", "/mid.v1.IDService/GenerateBatch",
      "/mid.v1.IDService/StreamIDs", "/mid.v1.IDService/DecodeID", "/grpc.health.v1.Health/Check",
    ] + ReflectionMethods.paths
  static let check = "/grpc.health.v1.Health/Check"
  static let start: Int64 = 1_700_000_000_000

  let clock = ManualClock(wallMilliseconds: IDServer.start)
  let log = EventLog()
  let snowflake: SnowflakeNode
  let directory: SegmentDirectory
  let tickets: TicketDirectory
  /// What becomes of statements for tickets.
  let statements: TicketSource
  let registry = PrometheusRegistry()
  let metrics: ServerMetrics
  let health: HealthMethods
  let readiness = Mutex<(snowflake: Bool, segment: Bool)>((true, true))
  let loads = Mutex<Loads>(.served)
  private let source: Source
  private let boundAddress = Mutex<SocketAddress?>(nil)
  /// Where it listens, for more clients.
  var address: SocketAddress { get throws { try #require(self.boundAddress.withLock { $0 }) } }

  init(maximumWaiters: Int, step: Int64) throws {
    self.snowflake = try SnowflakeNode(
      layout: .original, clock: self.clock, maxAhead: .seconds(1), sequenceJitter: 0, salt: 1)
    let source = Source(log: self.log)
    self.source = source
    self.directory = try SegmentDirectory(
      settings: SegmentSettings(maximumWaiters: maximumWaiters), maximumWaiting: maximumWaiters, clock: self.clock,
      onLoadNeeded: { source.load(for: $0, $1) }, onRefreshNeeded: { source.log.note("refresh") },
      onPauseNeeded: { source.log.note("pause \($0)") })
    let statements = TicketSource()
    self.statements = statements
    self.tickets = TicketDirectory([
      .default: try TicketGenerator(
        table: .default, databases: ["db"], settings: TicketSettings(maximumWaiters: maximumWaiters),
        clock: self.clock, onStatementNeeded: { statements.take($1, for: $0) }, onWaitNeeded: { _, _ in })
    ])
    self.metrics = ServerMetrics(registry: self.registry, methods: Self.paths)
    let box = Box()
    self.health = HealthMethods(
      isSnowflakeReady: { box.server?.readiness.withLock { $0.snowflake } ?? false },
      isSegmentReady: { box.server?.readiness.withLock { $0.segment } ?? false },
      isTicketReady: { box.server?.tickets.isReady ?? false })
    box.set(self)
    source.server.set(self)
    self.directory.refreshed([TagRecord(tag: .default, maxID: 0, step: step)])
    self.clock.advance(by: 1000)
    try self.snowflake.grant(
      worker: 7, floorWallMilliseconds: 0, boundWallMilliseconds: Self.start + 3_600_000, leaseEnd: .max)
  }

  /// Carries out the loads that are held, and all that come.
  func release() {
    self.loads.withLock { $0 = .served }
    self.source.release()
  }

  /// Breaks the circle between a server and what asks it.
  private final class Box: Sendable {
    private struct Reference { weak var server: IDServer? }
    private let reference = Mutex(Reference())
    var server: IDServer? { self.reference.withLock { $0.server } }
    func set(_ server: IDServer) { self.reference.withLock { $0.server = server } }
  }

  /// Answers loads as the server's `loads` says.
  private final class Source: Sendable {
    let log: EventLog
    let server = Box()
    private let next = Mutex<Int64>(1)
    private let held = Mutex<[(SegmentGenerator, SegmentLoad)]>([])

    init(log: EventLog) { self.log = log }

    func load(for generator: SegmentGenerator, _ load: SegmentLoad) {
      self.log.note("load \(load.tag) \(load.count)")
      switch self.server.server?.loads.withLock({ $0 }) ?? .held {
      case .held: self.held.withLock { $0.append((generator, load)) }
      case .failing: _ = generator.loadFailed(FaultyStore.unavailable, random: 0.5)
      case .served:
        let start = self.next.withLock { next in
          defer { next += load.count }
          return next
        }
        generator.loaded(IDRange(start: start, count: load.count))
      }
    }

    func release() {
      let held = self.held.withLock { held in
        defer { held = [] }
        return held
      }
      for (generator, load) in held { self.load(for: generator, load) }
    }
  }

  /// Runs `body` against the server, then stops it, which ends only when no call is left open.
  static func with(
    maximumWaiters: Int = 100, maximumBatch: Int64 = 10_000, maximumWait: Duration = .seconds(60), step: Int64 = 1000,
    forms: TagForms = .none, _ body: (IDServer, WireClient) async throws -> Void
  ) async throws {
    let server = try IDServer(maximumWaiters: maximumWaiters, step: step)
    let methods = IDMethods(
      snowflake: server.snowflake, segments: server.directory, tickets: server.tickets,
      texts: TextIDs(increment: .counter, clock: server.clock, random: SeededRandom(seed: 1)),
      forms: forms, clock: server.clock,
      limits: IDMethods.Limits(
        maximumWait: maximumWait, maximumBatch: maximumBatch, maximumWaiters: maximumWaiters),
      meter: server.metrics)
    var limits = RPCLimits()
    limits.minPingInterval = .zero  // The client asks by PING whether what it sent has come.
    // A test's task may have to wait for its turn longer than a client may for its first request.
    var timeouts = RPCTimeouts()
    timeouts.firstRequest = .minutes(5)
    timeouts.keepalive = nil
    let rpc = RPCServer(
      methods: methods.all + [server.health.check] + ReflectionMethods(paths: Self.paths).all,
      group: MultiThreadedEventLoopGroup.singleton, limits: limits, timeouts: timeouts, observer: server.metrics)
    let address = try await rpc.start(host: "127.0.0.1", port: 0)
    server.boundAddress.withLock { $0 = address }
    let client = try await WireClient.connect(to: address)
    do { try await body(server, client) } catch { Issue.record(error) }
    try await client.close()
    await rpc.stop(grace: .seconds(5))
    #expect(server.directory.defaultGenerator?.snapshot.waiters == 0)
    #expect(methods.clockQueue.count == 0)
  }
}

/// Answers statements for tickets at once, or holds them, or fails them.
final class TicketSource: Sendable {
  private struct State {
    var next: Int64 = 1
    var loads = IDServer.Loads.served
    var held: [(TicketGenerator, TicketStatement)] = []
    var error = FaultyStore.unavailable
  }

  private let state = Mutex(State())

  /// How many statements are held.
  var held: Int { self.state.withLock { $0.held.count } }

  func set(_ loads: IDServer.Loads, error: IDError = FaultyStore.unavailable) {
    self.state.withLock { ($0.loads, $0.error) = (loads, error) }
  }

  func take(_ statement: TicketStatement, for generator: TicketGenerator) {
    let (loads, start, error) = self.state.withLock { state in
      if case .held = state.loads { state.held.append((generator, statement)) }
      if case .served = state.loads { state.next += statement.count }
      return (state.loads, state.next - statement.count, state.error)
    }
    switch loads {
    case .held: break
    case .served: generator.taken(statement, IDRange(start: start, count: statement.count), random: 0.5)
    case .failing: generator.failed(statement, error, random: 0.5)
    }
  }

  /// Carries out what is held, and what comes of it at once.
  func release() {
    let held = self.state.withLock { state in
      state.loads = .served
      defer { state.held = [] }
      return state.held
    }
    for (generator, statement) in held { self.take(statement, for: generator) }
  }
}
