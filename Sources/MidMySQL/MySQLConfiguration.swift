public import MidCore

/// Where a MySQL or MariaDB database is, who asks, and how long to wait for it.
///
/// The description shows everything but the password.
public struct MySQLConfiguration: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible {
  /// What the connection has to prove before it is used.
  public enum TLS: String, Sendable, Hashable, CaseIterable {
    /// Plain text, always.
    case off
    /// TLS where the server offers it, plain text otherwise. Guards against listeners, not against anybody in between.
    case prefer
    /// TLS, with whatever certificate; refused where no cipher is in use after connecting.
    case required
    /// TLS, with a certificate for this host name that ``MySQLConfiguration/certificateAuthority`` signed.
    case verify
  }

  /// The server's name or address. IPv6 without brackets.
  public var host: String
  /// The TCP port, 1 to 65535.
  public var port: UInt16
  /// A Unix socket to use instead of host and port.
  public var socket: String?
  /// The database with the table of tags.
  public var database: String
  /// The table with the tags, and how it is read. mid's own where nothing else is said.
  public var table = TableDialect.mid
  /// The user.
  public var user: String
  /// The password; empty for none. Never shown.
  public var password: String
  /// What the connection has to prove.
  public var tls: TLS
  /// A PEM file with the certificates that may sign the server's; nil for the system's own.
  public var certificateAuthority: String?
  /// How many connections there may be at once, 1 to 64. Each has a queue of its own.
  public var connections: Int
  /// How long to wait for a connection. Whole seconds, at least 1; fractions are rounded up.
  public var connectTimeout: Duration
  /// How long to wait for an answer. Whole seconds, at least 1; fractions are rounded up.
  public var readTimeout: Duration
  /// How long to wait for the network to take a statement. Whole seconds, at least 1; fractions are rounded up.
  public var writeTimeout: Duration

  /// How the session counts in auto-increment columns, or nil for as the server does.
  public var autoIncrement: AutoIncrement?

  /// How numbers of an auto-increment column are spread over several servers: `offset`, `offset + increment`, …
  public struct AutoIncrement: Sendable, Hashable {
    /// How many servers count, 1 to 65535.
    public let increment: Int
    /// Which of them this one is, 1 to `increment`.
    public let offset: Int

    /// Creates the counting of one server.
    ///
    /// - Precondition: 1 <= offset <= increment <= 65535. MySQL takes an offset of 0 or above the increment for another
    ///   one, silently.
    public init(increment: Int, offset: Int) {
      precondition((1...65_535).contains(increment) && (1...increment).contains(offset), "1 <= offset <= increment")
      self.increment = increment
      self.offset = offset
    }
  }

  /// Creates a configuration.
  public init(
    host: String, port: UInt16 = 3306, socket: String? = nil, database: String, user: String, password: String = "",
    tls: TLS = .prefer, certificateAuthority: String? = nil, connections: Int = 2,
    connectTimeout: Duration = .seconds(2), readTimeout: Duration = .seconds(2), writeTimeout: Duration = .seconds(2)
  ) {
    precondition(Self.allowedConnections.contains(connections), "1 to 64 connections")
    self.host = host
    self.port = port
    self.socket = socket
    self.database = database
    self.user = user
    self.password = password
    self.tls = tls
    self.certificateAuthority = certificateAuthority
    self.connections = connections
    self.connectTimeout = connectTimeout
    self.readTimeout = readTimeout
    self.writeTimeout = writeTimeout
  }

  /// The most connections there may be.
  public static let maximumConnections = 64

  /// How many connections there may be.
  static let allowedConnections = 1...64

  /// Host, port and database, without user and password.
  public var location: String {
    if let socket { return "\(socket)/\(self.database)" }
    return "\(self.host.contains(":") ? "[\(self.host)]" : self.host):\(self.port)/\(self.database)"
  }

  /// User and location, without the password.
  public var description: String { "mysql://\(self.user)@\(self.location)?tls=\(self.tls.rawValue)" }

  /// The same as ``description``: a dump for debugging keeps the password to itself as well.
  public var debugDescription: String { self.description }

  /// How long any one call may take before its caller is told that the store is away.
  var callTimeout: Duration { self.connectTimeout + self.readTimeout + self.writeTimeout }
}

extension MySQLConfiguration: CustomReflectable {
  /// Reflection, which `dump` and test output use, sees the description only.
  public var customMirror: Mirror { Mirror(self, children: ["description": self.description]) }
}
