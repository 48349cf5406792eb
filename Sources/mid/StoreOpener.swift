import MidCore
import MidMySQL
import MidSQLite
import MidServer

/// From a store's URL to the store: the one place that knows all of them.
enum StoreOpener {
  /// The store that is used where none is named.
  static let defaultURL = "sqlite:./mid-data/mid.db"

  /// Called once for every operation of a store, with its name, how long it took, and its error if it failed.
  typealias Observer = @Sendable (_ operation: String, _ duration: Duration, _ error: IDError?) -> Void

  /// Reads a URL that stood on the command line. A password in it is refused: every user of the machine can read it there.
  static func location(argument: String) throws(CommandFailure) -> StoreLocation {
    let location = try Self.location(argument, from: "--store")
    guard !location.hasPassword else {
      throw CommandFailure(
        "--store holds a password, which every user of this machine can read; set MID_STORE_PASSWORD instead")
    }
    return location
  }

  /// Reads a URL. The text itself is not repeated in the error: it may hold a password.
  static func location(_ text: String, from source: String) throws(CommandFailure) -> StoreLocation {
    guard let location = StoreLocation(text) else {
      throw CommandFailure("\(source) is no store's URL: write sqlite:PATH or mysql://USER@HOST:PORT/DATABASE")
    }
    return location
  }

  /// Makes the store. Opens nothing yet; `prepare()` does.
  ///
  /// - Parameters:
  ///   - location: Where it is.
  ///   - table: The table of tags, with valid names.
  ///   - password: Wins over the one in the URL. SQLite takes none.
  ///   - connections: How many connections a MySQL store may use, 1 to 64, where its URL does not say. SQLite has one.
  ///   - timeout: How long to wait for another process's write (SQLite), or for connecting, sending and the answer each
  ///     (MySQL, rounded up to seconds). At least 1 ms.
  ///   - observer: Told of every operation.
  /// - Throws: ``MidCore/IDError/Code/invalidArgument`` where the URL's details are wrong.
  static func store(
    at location: StoreLocation, table: TableDialect = .mid, password: String?, connections: Int? = nil,
    timeout: Duration = .seconds(5),
    observer: Observer? = nil
  ) throws(IDError) -> any IDStore {
    try Self.segmentDatabase(
      at: location, table: table, password: password, connections: connections, timeout: timeout, observer: observer)
  }

  /// The same, for one of several databases of segments.
  static func segmentDatabase(
    at location: StoreLocation, table: TableDialect, password: String?, connections: Int?, timeout: Duration,
    observer: Observer?
  ) throws(IDError) -> any SegmentDatabaseStore {
    switch location {
    case .sqlite(let path): return SQLiteStore(path: path, table: table, busyTimeout: timeout, observer: observer)
    case .mysql(let url):
      var configuration = try Self.configuration(url, password: password, connections: connections, timeout: timeout)
      configuration.table = table
      return MySQLStore(configuration, observer: observer)
    }
  }

  private static func configuration(
    _ url: Secret, password: String?, connections: Int?, timeout: Duration
  ) throws(IDError) -> MySQLConfiguration {
    var configuration = try MySQLConfiguration(url: url.reveal(), password: password)
    if let connections, !url.reveal().contains("connections=") { configuration.connections = connections }
    configuration.connectTimeout = timeout
    configuration.readTimeout = timeout
    configuration.writeTimeout = timeout
    return configuration
  }

  /// Where segments come from: the databases of `segment.stripes` or `segment.shards`, not opened yet, or the store.
  /// `MID_STORE_PASSWORD` is the password where a URL has none.
  ///
  /// - Throws: ``MidCore/IDError/Code/invalidArgument`` where a URL's details are wrong.
  static func segmentSource(
    of configuration: ServerConfiguration, observer: Observer? = nil
  ) throws(IDError) -> SegmentSource {
    try Self.segmentSource(
      configuration.databases, table: configuration.segmentDialect, password: configuration.store.password?.reveal(),
      connections: configuration.store.connections, timeout: configuration.store.timeout, observer: observer)
  }

  /// The same from its parts.
  static func segmentSource(
    _ configured: ServerConfiguration.Databases, table: TableDialect, password: String?, connections: Int? = nil,
    timeout: Duration = .seconds(5), observer: Observer? = nil
  ) throws(IDError) -> SegmentSource {
    var databases: [SegmentDatabases.Database] = []
    for each in configured.named {
      let store = try Self.segmentDatabase(
        at: each.location, table: table, password: each.location.hasPassword ? nil : password, connections: connections,
        timeout: timeout, observer: observer)
      databases.append(SegmentDatabases.Database(name: each.name, store: store))
    }
    if !configured.stripes.isEmpty { return .stripes(databases) }
    return configured.shards.isEmpty ? .store : .shards(databases, pins: configured.pins)
  }

  /// The databases of tickets: those of `ticket.databases`, the k-th of N counting in steps of N from k, or the store's
  /// own, which counts as its server does. `MID_STORE_PASSWORD` is the password where a URL has none.
  ///
  /// - Throws: ``MidCore/IDError/Code/invalidArgument`` where a URL's details are wrong.
  static func ticketStores(
    of configuration: ServerConfiguration, beside store: any IDStore, observer: @escaping Observer
  ) throws(IDError) -> [any TicketStore] {
    // As many statements may be under way as there are tables.
    let connections = min(configuration.ticket.tables.count, MySQLConfiguration.maximumConnections)
    let (password, timeout) = (configuration.store.password?.reveal(), configuration.store.timeout)
    if configuration.ticket.databases.isEmpty {
      guard case .mysql(let url) = configuration.store.location else {
        guard let store = store as? any TicketStore else { return [] }
        return [store]
      }
      return [
        MySQLTicketStore(
          try Self.configuration(url, password: password, connections: connections, timeout: timeout),
          observer: observer)
      ]
    }
    let locations = configuration.ticket.databases
    var stores: [any TicketStore] = []
    for (index, location) in locations.enumerated() {
      guard case .mysql(let url) = location else { continue }
      var database = try Self.configuration(
        url, password: location.hasPassword ? nil : password, connections: connections, timeout: timeout)
      database.autoIncrement = MySQLConfiguration.AutoIncrement(increment: locations.count, offset: index + 1)
      stores.append(MySQLTicketStore(database, observer: observer))
    }
    return stores
  }
}
