/// Which store to open, and where: `sqlite:PATH`, or a `mysql://` URL, whose details are the MySQL store's own matter.
package enum StoreLocation: Sendable, Equatable, CustomStringConvertible {
  /// One SQLite file.
  case sqlite(path: String)
  /// A database of the MySQL family: `mysql://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?SETTINGS]`, checked for its form
  /// only. The whole URL is a secret, as there may be a password in it.
  case mysql(url: Secret)

  /// Reads a store's URL. Returns nil where `text` has not the form of one.
  package init?(_ text: String) {
    if text.hasPrefix("sqlite:") {
      let path = String(text.dropFirst("sqlite:".count))
      // `sqlite://…` is how others write URLs; taken as a path it would silently make a file in the root folder.
      guard !path.isEmpty, !path.hasPrefix("//"), !path.utf8.contains(0) else { return nil }
      self = .sqlite(path: path)
      return
    }
    guard let parts = Self.parts(text), !parts.user.isEmpty, !parts.address.isEmpty, !parts.database.isEmpty else {
      return nil
    }
    self = .mysql(url: Secret(text))
  }

  /// The location without password and settings, for the log.
  package var description: String {
    switch self {
    case .sqlite(let path): return "sqlite:\(path)"
    case .mysql(let url):
      guard let parts = Self.parts(url.reveal()) else { return "mysql:" }
      return "mysql://\(parts.user)@\(parts.address)/\(parts.database)"
    }
  }

  /// Whether the URL itself carries a password.
  package var hasPassword: Bool {
    switch self {
    case .sqlite: false
    case .mysql(let url): Self.parts(url.reveal())?.hasPassword ?? true
    }
  }

  /// `text` with whatever may be a password replaced, for the error that says it is no URL.
  static func redacted(_ text: String) -> String {
    guard let at = text.lastIndex(of: "@") else { return text }
    let start = text.firstRange(of: "://")?.upperBound ?? text.startIndex
    guard start <= at, let colon = text[start..<at].firstIndex(of: ":") else { return text }
    return "\(text[...colon])***\(text[at...])"
  }

  private typealias Parts = (user: Substring, hasPassword: Bool, address: Substring, database: Substring)

  private static func parts(_ text: String) -> Parts? {
    guard text.hasPrefix("mysql://") else { return nil }
    let main = text.dropFirst("mysql://".count).prefix { $0 != "?" }
    guard let slash = main.firstIndex(of: "/"), let at = main[..<slash].lastIndex(of: "@") else { return nil }
    let user = main[..<at].prefix { $0 != ":" }
    return (user, user.endIndex != at, main[main.index(after: at)..<slash], main[main.index(after: slash)...])
  }
}
