import ArgumentParser
import Foundation
import Logging
import MidCore
import MidRPC
import MidServer

/// `mid serve`: runs the server until it is told to stop.
struct ServeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve",
    abstract: "Run the server.",
    discussion: """
      Without arguments it serves on loopback and keeps its data in ./mid-data, one SQLite file:
        mid serve

      Beside other nodes on one MySQL or MariaDB, where each takes a worker id that is free:
        MID_STORE_PASSWORD=... mid serve --store mysql://mid@db.example:3306/ids

      Every setting can stand in a YAML file (--config), in the environment (MID_GRPC_ADDRESS for grpc.address), or \
      for the common ones in a flag. Flags win over the environment, the environment over the file. \
      `mid serve --list-settings` prints them all.

      SIGTERM stops gracefully: calls under way are answered, unused ids go back to the store, exit code 0.
      SIGHUP reads the TLS certificate and key again, for new connections; open ones go on. It also reads the list of \
      tags again, and thereby says that their rows are right: tags that were refused because their table went backwards \
      are served again where `mid tag advance` has moved the row far enough.
      """
  )

  @OptionGroup var options: ServerOptions

  @Flag(help: "Print every setting with its default, and end.")
  var listSettings = false

  func run() async throws {
    if listSettings {
      print(Settings.helpText)
      return
    }
    var configuration = try self.options.load()
    LineLogHandler.bootstrap(level: configuration.log.level, format: configuration.log.format)
    let logger = Logger(label: "mid")
    Self.fitFileLimit(&configuration, logger)
    let registry = PrometheusRegistry()
    let location = configuration.store.location
    let kind = if case .sqlite = location { "sqlite" } else { "mysql" }
    if !configuration.grpc.tls.isOn {
      let open = [
        ("grpc", configuration.grpc.address), ("http", configuration.http.address),
        ("http.tinyid", configuration.http.tinyidAddress),
      ]
      .filter { $0.1?.isLoopback == false }
      for case (let purpose, let address?) in open {
        logger.warning(
          "serving without TLS on an address that others can reach", metadata: [purpose: "\(address)"])
      }
    }
    do {
      let store = try StoreOpener.store(
        at: location, table: configuration.table.dialect, password: configuration.store.password?.reveal(),
        connections: configuration.store.connections, timeout: configuration.store.timeout,
        observer: ServerMetrics.storeObserver(registry, kind: kind))
      let tickets = try StoreOpener.ticketStores(
        of: configuration, beside: store, observer: ServerMetrics.storeObserver(registry, kind: "mysql"))
      let server = MidServer(
        configuration: configuration, store: store,
        segmentSource: try StoreOpener.segmentSource(
          of: configuration, observer: ServerMetrics.storeObserver(registry, kind: "segments")),
        ticketStores: tickets, registry: registry, logger: logger)
      let tls = configuration.grpc.tls
      let databases = configuration.databases.named
      try await server.run { self.announce($0, location, databases, tls) }
    } catch let error as ConfigurationErrors {
      // Files that settings name, looked at only now.
      throw ServerOptions.broken(error.errors.map(\.description))
    } catch let error as IDError where error.code == .invalidArgument {
      // Settings that are right one by one and can't go together with this store.
      throw ServerOptions.broken([error.message])
    } catch let error as IDError {
      throw CommandFailure(error.message)
    } catch let error as ListenError {
      throw CommandFailure(error.description)
    }
  }

  /// Lets the process open as many files, sockets among them, as the system allows it to, and takes no more connections
  /// than that leaves room for: one more would hang instead of being refused, and so would the store and the metrics.
  private static func fitFileLimit(_ configuration: inout ServerConfiguration, _ logger: Logger) {
    var limit = rlimit()
    guard getrlimit(Self.fileLimit, &limit) == 0 else { return }
    if limit.rlim_cur < limit.rlim_max {
      limit.rlim_cur = limit.rlim_max
      guard setrlimit(Self.fileLimit, &limit) == 0, getrlimit(Self.fileLimit, &limit) == 0 else { return }
    }
    let loops = ProcessInfo.processInfo.activeProcessorCount
    let files = UInt64(limit.rlim_cur)
    let http = Int(clamping: max(1, files / 4))
    if configuration.http.address != nil && http < configuration.http.maxConnections {
      logger.warning(
        "this process may open fewer files than http.max_connections asks for",
        metadata: [
          "files": "\(files)", "http.max_connections": "\(configuration.http.maxConnections)", "connections": "\(http)",
          "advice": "raise the limit: ulimit -n, or LimitNOFILE of systemd",
        ])
      configuration.http.maxConnections = http
    }
    // The store, the files, the event loops' own, those who scrape the metrics, and HTTP's.
    let kept = UInt64(
      (configuration.databases.named.count + 1) * configuration.store.connections
        + 4 * max(loops, configuration.grpc.eventLoops) + 64
        + (configuration.http.address == nil ? 0 : configuration.http.maxConnections))
    let most = Int(clamping: max(1, files > kept ? files - kept : 1))
    guard most < configuration.grpc.maxConnections else { return }
    logger.warning(
      "this process may open fewer files than grpc.max_connections asks for",
      metadata: [
        "files": "\(files)", "grpc.max_connections": "\(configuration.grpc.maxConnections)", "connections": "\(most)",
        "advice": "raise the limit: ulimit -n, or LimitNOFILE of systemd",
      ])
    configuration.grpc.maxConnections = most
  }

  #if canImport(Glibc)
    private static let fileLimit = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
  #else
    private static let fileLimit = RLIMIT_NOFILE
  #endif

  /// Says where the server listens, and what to try.
  private func announce(
    _ addresses: MidServer.Addresses, _ location: StoreLocation, _ databases: [ShardLocation],
    _ tls: ServerConfiguration.TLS
  ) {
    var lines = ["mid \(MidVersion.current) serves", "  gRPC     \(addresses.grpc)\(tls.isOn ? " (TLS)" : "")"]
    if let http = addresses.http { lines.append("  HTTP     http\(tls.isOn ? "s" : "")://\(http)") }
    if let tinyid = addresses.tinyid { lines.append("  Tinyid   http\(tls.isOn ? "s" : "")://\(tinyid)") }
    if let metrics = addresses.metrics { lines.append("  metrics  http://\(metrics)/metrics") }
    lines.append("  store    \(location)")
    lines += databases.map { "  segments \($0.name)" }
    lines.append("Try, in another terminal:")
    let server = addresses.grpc.port == 50_051 && addresses.grpc.isLoopback ? "" : " --server \(addresses.grpc)"
    lines.append("  \(CommandLine.arguments.first ?? "mid") next\(server)\(Self.clientFlags(tls))")
    if let http = addresses.http, !tls.isOn { lines.append("  curl http://\(http)/v1/ids/snowflake") }
    print(lines.joined(separator: "\n"))
    fflush(nil)
  }

  /// What a client of such a server needs to be told.
  private static func clientFlags(_ tls: ServerConfiguration.TLS) -> String {
    guard tls.isOn else { return "" }
    return tls.clientCertificates == .required ? " --tls --cert FILE --key FILE" : " --tls"
  }
}
