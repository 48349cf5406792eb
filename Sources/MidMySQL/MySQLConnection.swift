import CMariaDB
import MidCore

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// One connection, opened when it is needed, blocking, for one thread at a time.
///
/// A handle that failed is thrown away; a new one is made for the next statement. Nothing is sent twice: whether a
/// statement that got no answer was carried out is for the caller to assume.
final class MySQLConnection {
  /// What a statement without rows did.
  struct Outcome {
    var affectedRows: UInt64
    var insertID: UInt64
  }

  private let configuration: MySQLConfiguration
  private var handle: UnsafeMutablePointer<MYSQL>?
  private var lastUse = ContinuousClock.now
  /// How the session counts in auto-increment columns, as the server itself says.
  private(set) var counting = MySQLConfiguration.AutoIncrement(increment: 1, offset: 1)
  /// How long the connection may lie unused before it is asked whether it still works.
  private var trustedIdleTime: Duration = .seconds(30)

  init(_ configuration: MySQLConfiguration) {
    self.configuration = configuration
  }

  deinit { self.close() }

  /// Whether there is a handle that has not failed.
  var isOpen: Bool { self.handle != nil }

  /// Makes sure that there is a connection worth sending a statement on.
  ///
  /// A server that ended the connection meanwhile (idle time over, killed, restarted) has left bytes or the end of the
  /// stream to read. Then, and after a long idle time, the connection is tried first, so that it does not cost a call.
  ///
  /// - Parameter willConnect: Called before a new connection is made, which may take long.
  func open(_ willConnect: () -> Void = {}) throws {
    if let handle, self.isSuspect(handle), mysql_ping(handle) != 0 { self.close() }
    guard self.handle == nil else { return }
    willConnect()
    try self.connect()
  }

  /// Ends the connection, if there is one.
  func close() {
    if let handle { mysql_close(handle) }
    self.handle = nil
  }

  /// Sends a statement that returns no rows.
  @discardableResult
  func execute(_ sql: String) throws -> Outcome {
    let handle = try self.send(sql)
    // A statement that does return rows would leave them in the stream.
    if let result = mysql_store_result(handle) { mysql_free_result(result) }
    guard mysql_errno(handle) == 0 else { throw self.fail(handle) }
    return Outcome(affectedRows: mysql_affected_rows(handle), insertID: mysql_insert_id(handle))
  }

  /// Sends a query and reads all its rows, each value as text, or nil for NULL.
  func rows(_ sql: String) throws -> [[String?]] {
    let handle = try self.send(sql)
    guard let result = mysql_store_result(handle) else {
      guard mysql_errno(handle) == 0 else { throw self.fail(handle) }
      return []
    }
    defer { mysql_free_result(result) }
    let columns = Int(mysql_num_fields(result))
    var rows: [[String?]] = []
    while let row = mysql_fetch_row(result), let lengths = mysql_fetch_lengths(result) {
      // SAFETY: the library keeps `columns` pointers and lengths for the row until the next one is fetched.
      rows.append(
        (0..<columns).map { column in
          row[column].map { value in
            String(decoding: UnsafeRawBufferPointer(start: value, count: Int(lengths[column])), as: UTF8.self)
          }
        })
    }
    guard mysql_errno(handle) == 0 else { throw self.fail(handle) }
    return rows
  }

  /// Runs `body` in a transaction: committed when it returns, rolled back when it throws.
  func transaction<T>(_ body: () throws -> T) throws -> T {
    try self.execute("START TRANSACTION")
    do {
      let result = try body()
      try self.execute("COMMIT")
      return result
    } catch {
      if self.isOpen {
        // A connection that can't even roll back is of no more use; closing it makes the server do it.
        do { try self.execute("ROLLBACK") } catch { self.close() }
      }
      throw error
    }
  }

  /// `text` as a literal of SQL, in quotes.
  func literal(_ text: String) throws -> String {
    guard let handle else { throw MySQLFailure(code: UInt32(CR_SERVER_GONE_ERROR), message: "not connected") }
    var text = text
    let escaped = text.withUTF8 { bytes in
      [UInt8](unsafeUninitializedCapacity: bytes.count * 2 + 1) { buffer, count in
        // SAFETY: the library writes at most twice the length and a zero byte.
        bytes.withMemoryRebound(to: CChar.self) { source in
          buffer.withMemoryRebound(to: CChar.self) { target in
            count = Int(mysql_real_escape_string(handle, target.baseAddress, source.baseAddress, UInt(source.count)))
          }
        }
      }
    }
    return "'\(String(decoding: escaped, as: UTF8.self))'"
  }

  // MARK: - Opening

  /// The library's global state, set up once, before the first handle and so before any second thread.
  private static let libraryFailed: Bool = mysql_server_init(0, nil, nil) != 0

  private func connect() throws {
    guard !Self.libraryFailed, let handle = mysql_init(nil) else {
      throw MySQLFailure(code: UInt32(CR_OUT_OF_MEMORY), message: "the MySQL client library can't be set up")
    }
    self.handle = handle
    self.setOptions(handle)
    let configuration = self.configuration
    let connected = mysql_real_connect(
      handle, configuration.host, configuration.user, configuration.password, configuration.database,
      UInt32(configuration.port), configuration.socket, 0)
    guard connected != nil else { throw self.fail(handle, ends: true) }
    if configuration.tls == .required || configuration.tls == .verify, mysql_get_ssl_cipher(handle) == nil {
      self.close()
      throw MySQLFailure(
        code: UInt32(CR_SSL_CONNECTION_ERROR), message: "TLS is required, and the server did not use it")
    }
    do {
      try self.setSession()
    } catch {
      self.close()
      throw error
    }
  }

  private func setSession() throws {
    // Who waits for a row's lock holds the connection, which others need for other rows: the shortest wait there is, and
    // then a pause without the connection before the next try. Nothing is committed when it ends, and that is known.
    try self.execute(
      """
      SET SESSION autocommit = 1, time_zone = '+00:00', innodb_lock_wait_timeout = 1, \
      sql_mode = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'
      """)
    try self.setCounting()
    if let seconds = try self.rows("SELECT @@session.wait_timeout").first?.first.flatMap({ $0 }).flatMap({ Int64($0) })
    {
      self.trustedIdleTime = min(.seconds(30), .seconds(seconds) / 2)
    }
  }

  /// Sets how the session counts where that is given, and reads what it really does: a server or a proxy that ignores
  /// the setting would give two servers the same numbers.
  private func setCounting() throws {
    guard let wish = self.configuration.autoIncrement else { return }
    try self.execute(
      "SET SESSION auto_increment_increment = \(wish.increment), auto_increment_offset = \(wish.offset)")
    let found = try self.readCounting()
    guard found == wish else {
      throw IDError(
        .storeRejected,
        "MySQL at \(self.configuration.location) does not count in steps of \(wish.increment) from \(wish.offset): it "
          + "took the setting and says \(found.increment) from \(found.offset)")
    }
    self.counting = found
  }

  /// Reads how the session counts now.
  func readCounting() throws -> MySQLConfiguration.AutoIncrement {
    let row = try self.rows("SELECT @@session.auto_increment_increment, @@session.auto_increment_offset").first ?? []
    let numbers = row.compactMap { $0.flatMap { Int($0) } }
    guard numbers.count == 2, (1...65_535).contains(numbers[0]), numbers[1] >= 0 else {
      throw IDError(.storeRejected, "MySQL at \(self.configuration.location) does not say how it counts")
    }
    // The server itself takes an offset above the increment for none.
    let offset = (1...numbers[0]).contains(numbers[1]) ? numbers[1] : 1
    return MySQLConfiguration.AutoIncrement(increment: numbers[0], offset: offset)
  }

  private func setOptions(_ handle: UnsafeMutablePointer<MYSQL>) {
    func set(_ option: mysql_option, _ value: UInt32) {
      var value = value
      mysql_options(handle, option, &value)
    }
    func set(_ option: mysql_option, _ flag: Bool) {
      var value: my_bool = flag ? 1 : 0
      mysql_options(handle, option, &value)
    }
    set(MYSQL_OPT_CONNECT_TIMEOUT, self.configuration.connectTimeout.wholeSeconds)
    set(MYSQL_OPT_READ_TIMEOUT, self.configuration.readTimeout.wholeSeconds)
    set(MYSQL_OPT_WRITE_TIMEOUT, self.configuration.writeTimeout.wholeSeconds)
    set(MYSQL_OPT_RECONNECT, false)
    set(MYSQL_OPT_LOCAL_INFILE, UInt32(0))
    let way = self.configuration.socket == nil ? MYSQL_PROTOCOL_TCP : MYSQL_PROTOCOL_SOCKET
    set(MYSQL_OPT_PROTOCOL, UInt32(way.rawValue))
    mysql_options(handle, MYSQL_SET_CHARSET_NAME, "utf8mb4")
    // ENFORCE makes the library try TLS; it goes on in plain text where the server has none.
    set(MYSQL_OPT_SSL_ENFORCE, self.configuration.tls != .off)
    set(MYSQL_OPT_SSL_VERIFY_SERVER_CERT, self.configuration.tls == .verify)
    if let file = self.configuration.certificateAuthority { mysql_options(handle, MYSQL_OPT_SSL_CA, file) }
  }

  // MARK: - Statements

  private func send(_ sql: String) throws -> UnsafeMutablePointer<MYSQL> {
    guard let handle else { throw MySQLFailure(code: UInt32(CR_SERVER_GONE_ERROR), message: "not connected") }
    self.lastUse = .now
    guard mysql_real_query(handle, sql, UInt(sql.utf8.count)) == 0 else { throw self.fail(handle) }
    return handle
  }

  /// Whether the server has sent something unasked, which is most often that it ended the connection, or was not heard
  /// of for long.
  private func isSuspect(_ handle: UnsafeMutablePointer<MYSQL>) -> Bool {
    if self.lastUse.duration(to: .now) > self.trustedIdleTime { return true }
    var descriptor = pollfd(fd: mysql_get_socket(handle), events: Int16(POLLIN), revents: 0)
    return poll(&descriptor, 1, 0) != 0
  }

  private func fail(_ handle: UnsafeMutablePointer<MYSQL>, ends: Bool = false) -> MySQLFailure {
    let failure = MySQLFailure(code: mysql_errno(handle), message: String(cString: mysql_error(handle)))
    if ends || failure.endsConnection { self.close() }
    return failure
  }
}

extension Duration {
  /// Seconds, rounded up, at least 1: what the library's options take.
  var wholeSeconds: UInt32 {
    let (seconds, rest) = self.components
    return UInt32(clamping: max(1, seconds + (rest > 0 ? 1 : 0)))
  }
}
