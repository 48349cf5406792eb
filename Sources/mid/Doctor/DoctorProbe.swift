import Foundation
import Logging
import MidCore
import MidRPC
import MidServer
import Synchronization

/// Looks at everything that a server of this configuration needs, and changes nothing. What is seen is judged by the checks.
struct DoctorProbe {
  /// How long asking whoever has a port may take, each step.
  private static let portTimeout = Duration.seconds(2)

  let configuration: ServerConfiguration
  /// The store that the configuration names, not opened yet.
  let store: any IDStore
  /// The databases of segments that it names, not opened yet; nil where segments are in the store.
  let databases: (any CompositeStore)?
  /// The databases of tickets that the configuration names besides.
  let ticketStores: [any TicketStore]
  /// Which worker id the configuration wants on this host.
  let wish: WorkerWish
  private let clock = SystemClock()

  /// Looks at one part after the other. Closes the store.
  func findings() async -> [Finding] {
    let folder = self.lookAtFolder()
    var (findings, facts) = await self.checkStore(folder)
    findings += await self.checkTickets()
    findings += await self.checkDatabases()
    findings +=
      FolderCheck(
        folder: self.configuration.dataDirectory, look: folder, isFixed: self.isFixed,
        now: self.clock.wallMilliseconds(),
        settings: self.configuration.snowflake.leaseSettings
      ).findings
    let clock = ClockCheck(maximumOffset: self.configuration.clock.maxOffset)
    findings.append(clock.kernel(KernelClock.read()))
    findings.append(await self.askNTP(clock))
    findings +=
      LayoutCheck(layout: self.configuration.snowflake.layout, now: self.clock.wallMilliseconds()).findings
    findings += self.checkCertificate()
    findings +=
      FormsCheck(
        settings: self.configuration.forms, environment: ProcessInfo.processInfo.environment,
        folder: self.configuration.dataDirectory, facts: facts
      ).findings
    findings += await self.checkPorts(folder)
    return findings
  }

  private var isFixed: Bool { if case .fixed = self.wish { true } else { false } }

  // MARK: - The store

  /// Looks at the store, and asks for its facts where there are keys of opaque ids to hold against them.
  private func checkStore(
    _ folder: FolderCheck.Look
  ) async -> (findings: [Finding], facts: Result<[String: String], IDError>?) {
    let inspection = await Self.result { () throws(IDError) in try await self.store.inspect() }
    let (list, sent, received) = await self.timed { () throws(IDError) in try await self.store.workers() }
    let tags = await Self.result { () throws(IDError) in try await self.store.tags() }
    var check = StoreCheck(
      place: "\(self.store.kind) \(self.store.location)", inspection: inspection,
      durabilityWarnings: self.store.durabilityWarnings)
    let requiresSemiSync = self.configuration.store.requireSemiSync
    let semiSync = await Self.result { () throws(IDError) in requiresSemiSync ? try await self.store.semiSync() : true }
    let facts = await self.readFacts(inspection)
    await self.store.close()
    // What an incomplete store does not tell is no news.
    if case .success([]) = inspection {
      for error in [Self.error(list), Self.error(tags)] { if let error { check.inspection = .failure(error) } }
    }
    var findings = check.findings
    if requiresSemiSync, case .success(let isOn) = semiSync { findings.append(StoreCheck.semiSync(isOn)) }
    if case .success(let list) = list {
      findings += self.judge(list, folder)
      if self.store.isShared {
        findings.append(
          ClockCheck(maximumOffset: self.configuration.clock.maxOffset)
            .store(list.storeTime, sent: sent, received: received))
      }
    }
    if self.databases == nil, case .success(let tags) = tags { findings += TagCheck(tags: tags).findings }
    return (findings, facts)
  }

  private func readFacts(_ inspection: Result<[String], IDError>) async -> Result<[String: String], IDError>? {
    guard !self.configuration.forms.keys.isEmpty, case .success([]) = inspection,
      let store = self.store as? any FactStore
    else { return nil }
    return await Self.result { () throws(IDError) in try await store.facts() }
  }

  private func checkTickets() async -> [Finding] {
    guard !self.ticketStores.isEmpty else { return [] }
    let tables = Set(self.configuration.ticket.tables.values).sorted { $0.name < $1.name }
    var databases: [(place: String, inspection: Result<TicketInspection, IDError>)] = []
    for store in self.ticketStores {
      databases.append(
        (store.location, await Self.result { () throws(IDError) in try await store.inspect(tables) }))
      await store.close()
    }
    return TicketCheck(databases: databases).findings
  }

  private func checkDatabases() async -> [Finding] {
    guard let composite = self.databases else { return [] }
    var looks: [DatabaseCheck.Look] = []
    for database in composite.databases.all {
      let inspection = await Self.result { () throws(IDError) in try await database.store.inspect() }
      let tags = await Self.result { () throws(IDError) in try await database.store.tags() }
      var look = DatabaseCheck.Look(
        name: database.name, inspection: inspection, durabilityWarnings: database.store.durabilityWarnings)
      if case .success([]) = inspection {
        switch tags {
        case .success(let list): look.tags = list
        case .failure(let error): look.inspection = .failure(error)
        }
      }
      looks.append(look)
    }
    await composite.close()
    let homes = (composite as? ShardedStore)?.homes
    var tags: [Tag: TagRecord] = [:]
    for (index, look) in looks.enumerated() {
      for record in look.tags ?? [] where !record.isClosed && (homes.map { $0.home(of: record.tag) == index } ?? true) {
        if record.lastID >= tags[record.tag]?.lastID ?? .min { tags[record.tag] = record }
      }
    }
    let check = DatabaseCheck(looks: looks, isStriped: homes == nil)
    return check.findings + TagCheck(tags: Array(tags.values)).findings
  }

  private func judge(_ list: WorkerList, _ folder: FolderCheck.Look) -> [Finding] {
    var check = WorkerCheck(wish: self.wish, list: list)
    switch folder {
    case .state(let reading, _): check.ownToken = reading.ownerToken(host: HostName.current)
    case .unreadable: check.isFolderKnown = false
    case .absent, .empty: break
    }
    let bounds = WorkerBoundCheck(
      wish: self.wish, list: list, now: self.clock.wallMilliseconds(),
      settings: self.configuration.snowflake.leaseSettings,
      maximumOffset: self.configuration.clock.maxOffset.wholeMilliseconds)
    return check.findings + bounds.findings
  }

  private func timed<Value: Sendable>(
    _ body: () async throws(IDError) -> Value
  ) async -> (Result<Value, IDError>, sent: Int64, received: Int64) {
    let sent = self.clock.wallMilliseconds()
    let result = await Self.result(body)
    return (result, sent, self.clock.wallMilliseconds())
  }

  private static func result<Value: Sendable>(
    _ body: () async throws(IDError) -> Value
  ) async -> Result<Value, IDError> {
    do throws(IDError) { return .success(try await body()) } catch { return .failure(error) }
  }

  private static func error(_ result: Result<some Sendable, IDError>) -> IDError? {
    if case .failure(let error) = result { error } else { nil }
  }

  // MARK: - This machine

  private func lookAtFolder() -> FolderCheck.Look {
    let files = FileManager.default
    let folder = self.configuration.dataDirectory
    guard files.fileExists(atPath: folder) else {
      var parent = URL(fileURLWithPath: folder).standardizedFileURL
      while !files.fileExists(atPath: parent.path), parent.path != "/" { parent.deleteLastPathComponent() }
      return .absent(canBeMade: files.isWritableFile(atPath: parent.path))
    }
    do throws(IDError) {
      guard let reading = try WorkerStateReading.read(folder: folder, wish: self.wish) else {
        return .empty(canBeWritten: files.isWritableFile(atPath: folder))
      }
      return .state(reading, canBeWritten: files.isWritableFile(atPath: reading.path))
    } catch {
      return .unreadable(error.message)
    }
  }

  static let quiet = Logger(label: "mid.doctor", factory: { _ in SwiftLogNoOpLogHandler() })

  private func askNTP(_ check: ClockCheck) async -> Finding {
    let servers = Set(self.configuration.clock.ntpServers)
    let client = SNTPClient(clock: self.clock)
    let failures = Mutex<[String]>([])
    let monitor = NTPMonitor(
      servers: servers.sorted { $0.description < $1.description }, interval: self.configuration.clock.ntpInterval,
      registry: PrometheusRegistry(), logger: Self.quiet, read: { [clock] in ClockMonitor.moment(of: clock) },
      ask: { server in
        let answer = await client.ask(server)
        if case .failure(let reason) = answer { failures.withLock { $0.append("\(server) \(reason)") } }
        return answer
      },
      sleep: { _ in })
    let reading = servers.isEmpty ? nil : await monitor.check()
    return check.ntp(
      servers: servers.count, reading: reading, failures: failures.withLock { $0.sorted() },
      falsetickers: monitor.contradictions.falsetickers.map(\.description).sorted(),
      isSplit: monitor.contradictions.isSplit)
  }

  private func checkCertificate() -> [Finding] {
    guard let settings = self.configuration.grpc.tls.settings else { return [] }
    let now = self.clock.wallMilliseconds()
    do throws(ConfigurationErrors) {
      let certificates = try TLSCertificates(settings, logger: Self.quiet, now: { now })
      guard let certificate = certificates.context?.certificate else { return [] }
      return CertificateCheck(certificate: .success(certificate), now: now / 1000).findings
    } catch {
      return CertificateCheck(certificate: .failure(error), now: now / 1000).findings
    }
  }

  private func checkPorts(_ folder: FolderCheck.Look) async -> [Finding] {
    let grpc = self.configuration.grpc.address
    let metrics = self.configuration.metricsAddress
    let metricsLook = await self.look("metrics", metrics) { await $0.askMetrics($1) }
    let hasTLS = self.configuration.grpc.tls.isOn
    let grpcLook = await self.look("grpc", grpc) { hasTLS ? .notAsked : await $0.askGRPC($1) }
    let http = self.configuration.http
    let httpLook = await self.look("http", http.address) { hasTLS ? .notAsked : await $0.askHTTP($1) }
    let tinyidLook = await self.look("http.tinyid", http.tinyidAddress) { hasTLS ? .notAsked : await $0.askHTTP($1) }
    var isServerHere = if case .state(let reading, _) = folder { reading.isLocked } else { false }
    if case .mid = metricsLook { isServerHere = true }
    return [
      ("grpc", grpc, grpcLook), ("http", http.address, httpLook), ("http.tinyid", http.tinyidAddress, tinyidLook),
      ("metrics", metrics, metricsLook),
    ].flatMap { PortCheck(purpose: $0.0, address: $0.1, look: $0.2, isServerHere: isServerHere).findings }
  }

  private func look(
    _ purpose: String, _ address: HostPort?, _ ask: (PortProbe, HostPort) async -> PortCheck.Look
  ) async -> PortCheck.Look {
    guard let address, address.port > 0 else { return .free }
    let probe = PortProbe(purpose: purpose, address: address, timeout: Self.portTimeout)
    return await probe.look { await ask(probe, $0) }
  }
}
