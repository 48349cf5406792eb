public import MidCore

extension MySQLConfiguration {
  /// Reads `mysql://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?tls=off|prefer|required|verify&ca=FILE&socket=PATH&connections=N]`.
  ///
  /// Every part may be percent-encoded. An IPv6 address stands in brackets. The port is 3306 where none is given.
  ///
  /// - Parameters:
  ///   - url: The URL.
  ///   - password: The password given by other means; it wins over the URL's.
  /// - Throws: ``IDError/Code/invalidArgument``, with all that is wrong. The message never repeats the URL: there may be
  ///   a password in it.
  public init(url: String, password: String? = nil) throws(IDError) {
    let form = "mysql://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?tls=off|prefer|required|verify&ca=FILE]"
    guard url.hasPrefix("mysql://") else { throw IDError(.invalidArgument, "a MySQL URL has the form \(form)") }
    let (main, query) = Self.split(url.dropFirst("mysql://".count), at: "?")
    let (authority, database) = Self.split(main, at: "/")
    guard let at = authority.lastIndex(of: "@"), let database, !database.isEmpty else {
      throw IDError(.invalidArgument, "the MySQL URL names no user or no database; it has the form \(form)")
    }
    let (user, urlPassword) = Self.split(authority[..<at], at: ":")
    let (host, port) = try Self.hostAndPort(authority[authority.index(after: at)...])
    let decodedPassword = try Self.decode(urlPassword ?? "", "password")
    self.init(
      host: try Self.decode(host, "host"), port: port, database: try Self.decode(database, "database"),
      user: try Self.decode(user, "user"), password: password ?? decodedPassword)
    for pair in (query ?? "").split(separator: "&") {
      let (key, value) = Self.split(pair, at: "=")
      try self.set(String(key), to: try Self.decode(value ?? "", "setting \(key)"))
    }
    guard !self.user.isEmpty, !self.host.isEmpty, !self.database.isEmpty else {
      throw IDError(.invalidArgument, "the MySQL URL has an empty user, host or database; it has the form \(form)")
    }
  }

  private mutating func set(_ key: String, to value: String) throws(IDError) {
    switch key {
    case "tls":
      guard let tls = TLS(rawValue: value) else {
        let allowed = TLS.allCases.map(\.rawValue).joined(separator: ", ")
        throw IDError(.invalidArgument, "the MySQL URL's tls is one of \(allowed), not \(value)")
      }
      self.tls = tls
    case "ca": self.certificateAuthority = value
    case "socket": self.socket = value
    case "connections":
      guard let connections = Int(value), Self.allowedConnections.contains(connections) else {
        throw IDError(.invalidArgument, "the MySQL URL's connections is a number from 1 to 64, not \(value)")
      }
      self.connections = connections
    default:
      throw IDError(
        .invalidArgument, "the MySQL URL has an unknown setting \(key); there are tls, ca, socket and connections")
    }
  }

  private static func hostAndPort(_ text: Substring) throws(IDError) -> (Substring, UInt16) {
    var (host, port): (Substring, Substring?)
    if text.first == "[" {
      let (address, rest) = self.split(text.dropFirst(), at: "]")
      guard let rest, rest.isEmpty || rest.first == ":" else {
        throw IDError(.invalidArgument, "the MySQL URL's IPv6 address has no closing bracket; write [::1]:3306")
      }
      (host, port) = (address, rest.isEmpty ? nil : rest.dropFirst())
    } else {
      (host, port) = self.split(text, at: ":")
      if port?.contains(":") == true {
        throw IDError(.invalidArgument, "the MySQL URL's IPv6 address needs brackets; write [::1]:3306")
      }
    }
    guard let port else { return (host, 3306) }
    guard let number = UInt16(port), number > 0 else {
      throw IDError(.invalidArgument, "the MySQL URL's port is a number from 1 to 65535")
    }
    return (host, number)
  }

  /// The text before the first `mark`, and the text after it, if it is there at all.
  private static func split(_ text: Substring, at mark: Character) -> (Substring, Substring?) {
    guard let index = text.firstIndex(of: mark) else { return (text, nil) }
    return (text[..<index], text[text.index(after: index)...])
  }

  private static func decode(_ text: Substring, _ what: String) throws(IDError) -> String {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard let digits = String(rest.prefix(2)), digits.utf8.count == 2, digits.allSatisfy(\.isHexDigit),
        let value = UInt8(digits, radix: 16), value != 0
      else {
        throw IDError(.invalidArgument, "the MySQL URL's \(what) has a % that no two hexadecimal digits follow")
      }
      bytes.append(value)
      rest = rest.dropFirst(2)
    }
    guard let decoded = String(validating: bytes, as: UTF8.self) else {
      throw IDError(.invalidArgument, "the MySQL URL's \(what) is not UTF-8")
    }
    return decoded
  }
}
