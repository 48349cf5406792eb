package import MidCore
package import MidRPC
import Synchronization

/// Turns what the server does into metrics. The hot path pays an atomic add per call and mode, and two a burst of calls.
package final class ServerMetrics: RPCObserver, IDMethods.Meter {
  private struct CallKey: Hashable {
    var method: Int?
    var code: RPCStatus.Code
  }

  private let registry: PrometheusRegistry
  private let methods: [String]
  private let answered: [PrometheusCounter]
  private let durations: [PrometheusHistogram]
  private let failures = Mutex<[CallKey: PrometheusCounter]>([:])
  private let connections: PrometheusGauge
  private let snowflakeIDs: PrometheusCounter
  private let segmentIDs: PrometheusCounter
  private let ticketIDs: PrometheusCounter
  private let textIDs: [TextMode: PrometheusCounter]
  private let namedIDs: [NameMode: PrometheusCounter]
  private let queries: PrometheusHistogram

  /// Creates the metrics of a server with methods of these paths, in the server's order.
  package init(registry: PrometheusRegistry, methods: [String]) {
    self.registry = registry
    self.methods = methods.map { String($0.dropFirst()) }
    self.answered = self.methods.map { registry.counter(MetricCatalogue.calls, $0, "OK") }
    self.durations = self.methods.map { registry.histogram(MetricCatalogue.callDuration, $0) }
    self.connections = registry.gauge(MetricCatalogue.connections)
    self.snowflakeIDs = registry.counter(MetricCatalogue.idGenerate, "snowflake")
    self.segmentIDs = registry.counter(MetricCatalogue.idGenerate, "segment")
    self.ticketIDs = registry.counter(MetricCatalogue.idGenerate, "ticket")
    self.textIDs = TextMode.allCases.reduce(into: [:]) {
      $0[$1] = registry.counter(MetricCatalogue.idGenerate, $1.rawValue)
    }
    self.namedIDs = NameMode.allCases.reduce(into: [:]) {
      $0[$1] = registry.counter(MetricCatalogue.idGenerate, $1.rawValue)
    }
    for mode in TextMode.allCases where mode.isOrdered {
      registry.counter(MetricCatalogue.clockReturns, mode.rawValue).add(0)
    }
    self.queries = registry.histogram(MetricCatalogue.queryDuration)
  }

  package func connectionOpened() { self.connections.add(1) }
  package func connectionClosed() { self.connections.add(-1) }

  package func connectionEnded(by reason: RPCConnectionEnd) {
    self.registry.counter(MetricCatalogue.connectionEnds, reason.rawValue).add(1)
  }

  package func handshakeFailed(_ reason: RPCHandshakeFailure) {
    self.registry.counter(MetricCatalogue.handshakeFailures, reason.rawValue).add(1)
  }

  package func completed(method: Int?, code: RPCStatus.Code, count: Int, nanoseconds: UInt64) {
    if let method {
      self.durations[method].observe(nanoseconds: Int64(clamping: nanoseconds), count: Int64(count))
      if code == .ok { return self.answered[method].add(Int64(count)) }
    }
    let name = method.map { self.methods[$0] } ?? "unknown"
    let counter = self.failures.withLock { failures in
      let key = CallKey(method: method, code: code)
      if let counter = failures[key] { return counter }
      let counter = self.registry.counter(MetricCatalogue.calls, name, code.description)
      failures[key] = counter
      return counter
    }
    counter.add(Int64(count))
  }

  package func issued(snowflake count: Int64) { self.snowflakeIDs.add(count) }
  package func issued(segment count: Int64) { self.segmentIDs.add(count) }
  package func issued(ticket count: Int64) { self.ticketIDs.add(count) }
  package func issued(_ mode: TextMode, count: Int64) { self.textIDs[mode]?.add(count) }
  package func issued(_ mode: NameMode, count: Int64) { self.namedIDs[mode]?.add(count) }

  /// Notes that ids of a mode followed the clock back.
  package func clockReturned(_ mode: TextMode) {
    self.registry.counter(MetricCatalogue.clockReturns, mode.rawValue).add(1)
  }

  /// Notes a load of a segment.
  package func loaded(tag: Tag, duration: Duration, error: IDError?) {
    self.queries.observe(duration / .seconds(1))
    self.registry.counter(MetricCatalogue.segmentLoads, tag.name, error?.code.description ?? "ok").add(1)
  }

  /// What a store tells of its operations becomes metrics.
  package static func storeObserver(
    _ registry: PrometheusRegistry, kind: String
  ) -> @Sendable (_ operation: String, _ duration: Duration, _ error: IDError?) -> Void {
    { operation, duration, error in
      registry.histogram(MetricCatalogue.storeDuration, kind, operation).observe(duration / .seconds(1))
      if let error {
        registry.counter(MetricCatalogue.storeErrors, kind, operation, error.code.description).add(1)
      }
    }
  }

  /// Adds what is read at each scrape: buffers, readiness, the worker id and its bound.
  package func collect(rpc: RPCServer) {
    self.registry.collect { writer in writer.write(MetricCatalogue.heldMemory, value: Double(rpc.heldMemory)) }
  }

  /// Reads what is only known at the moment of a scrape.
  package func collect(databases store: any CompositeStore) {
    self.registry.collect { writer in
      let databases = store.databases
      for (status, leftOut) in zip(databases.statuses, store.leftOut) {
        writer.write(MetricCatalogue.segmentDatabaseUp, status.name, value: status.isUp ? 1 : 0)
        writer.write(MetricCatalogue.segmentTagsLeftOut, status.name, value: Double(leftOut))
      }
    }
  }

  /// Reads what is only known at the moment of a scrape.
  package func collect(segments: SegmentDirectory, health: HealthMethods, keeper: WorkerKeeper?) {
    self.registry.collect { writer in
      var serving: Int64 = 0
      var standby: Int64 = 0
      for (tag, snapshot) in segments.snapshots {
        serving += snapshot.servingLeft
        standby += snapshot.standbyLeft
        writer.write(MetricCatalogue.segmentWaiters, tag.name, value: Double(snapshot.waiters))
        writer.write(MetricCatalogue.segmentIDsLeft, tag.name, "serving", value: Double(snapshot.servingLeft))
        writer.write(MetricCatalogue.segmentIDsLeft, tag.name, "standby", value: Double(snapshot.standbyLeft))
        writer.write(
          MetricCatalogue.segmentSize, tag.name, snapshot.sizeReason.rawValue, value: Double(snapshot.size))
        writer.write(MetricCatalogue.segmentRate, tag.name, "now", value: snapshot.rate)
        writer.write(MetricCatalogue.segmentRate, tag.name, "hour", value: snapshot.averageRate)
        if let seconds = snapshot.servingSeconds, let all = snapshot.secondsLeft {
          writer.write(MetricCatalogue.segmentDry, tag.name, "serving", value: seconds)
          writer.write(MetricCatalogue.segmentDry, tag.name, "all", value: all)
        }
      }
      writer.write(MetricCatalogue.bufferUsage, "segment", "buffer1", value: Double(serving))
      writer.write(MetricCatalogue.bufferUsage, "segment", "buffer2", value: Double(standby))
      writer.write(MetricCatalogue.ready, "snowflake", value: health.isSnowflakeReady() ? 1 : 0)
      writer.write(MetricCatalogue.ready, "segment", value: health.isSegmentReady() ? 1 : 0)
      writer.write(MetricCatalogue.ready, "ticket", value: health.isTicketReady() ? 1 : 0)
      if let isReady = health.isOpaqueReady { writer.write(MetricCatalogue.ready, "opaque", value: isReady() ? 1 : 0) }
      guard let keeper else { return }
      let layout = keeper.snowflake.layout
      writer.write(MetricCatalogue.layoutEnd, value: Double(layout.endOfTimeMilliseconds) / 1000)
      let status = keeper.status
      if let worker = status.worker { writer.write(MetricCatalogue.workerID, value: Double(worker)) }
      if let term = status.term { writer.write(MetricCatalogue.workerTerm, value: Double(term)) }
      if let left = status.leaseLeft { writer.write(MetricCatalogue.workerLease, value: left / .seconds(1)) }
      if status.bound > 0 { writer.write(MetricCatalogue.workerBound, value: Double(status.bound) / 1000) }
      writer.write(MetricCatalogue.workerChanges, value: Double(status.changes))
    }
  }
}
