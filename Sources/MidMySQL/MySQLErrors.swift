import CMariaDB
import MidCore

/// Turns the client library's and the server's errors into the store's, each with one line of what to do.
///
/// Numbers that the library's headers do not name are MySQL's, MariaDB's or TiDB's own, as their manuals list them.
enum MySQLErrors {
  /// The server is there and can't serve anybody, or us, just now: too many connections, shutting down, a Galera node
  /// without its cluster or not ready yet, a blocked host, a resource used up, a killed connection, a full disk.
  static let unavailable: Set<UInt32> = [1040, 1047, 1053, 1077, 1079, 1080, 1129, 1203, 1226, 1927, 3169, 4031]

  /// The server takes no writes: a replica, or a primary that has stepped down.
  static let readOnly: Set<UInt32> = [1290, 1792, 1836, 3100]

  /// Who or what the connection is, refused.
  private static let refusedLogin: Set<UInt32> = [
    1045, 1130, 1251, 1275, 1524, 1698, 1820, 1862, 2049, 2059, 2061, 3118,
  ]

  /// A right is missing.
  private static let missingRight: Set<UInt32> = [1044, 1142, 1143, 1227, 1370]

  /// A table is not as it has to be.
  private static let wrongTable: Set<UInt32> = [1054, 1064, 1136, 1146, 1347, 1364, 1471, 1288]

  /// A value does not fit its column.
  private static let wrongValue: Set<UInt32> = [1264, 1366, 1406, 3854]

  /// The store's error for `failure`, met while talking to `target`.
  static func translate(_ failure: MySQLFailure, _ target: MySQLConfiguration) -> IDError {
    let place = "MySQL at \(target.location) as user \(target.user)"
    let what = "\(failure.message) (\(failure.code))"
    func rejected(_ advice: String) -> IDError { IDError(.storeRejected, "\(place): \(advice): \(what)") }
    switch failure.code {
    case let code where self.refusedLogin.contains(code):
      return rejected("the login was refused; check user, password and the host the user may come from")
    case 1049: return rejected("there is no such database; create it with CREATE DATABASE `\(target.database)`")
    case let code where self.missingRight.contains(code):
      return rejected(
        "a right is missing; GRANT SELECT, INSERT, UPDATE, CREATE ON `\(target.database)`.* TO this user")
    case let code where self.wrongTable.contains(code):
      return rejected(
        "a table is not as needed (\(target.table.table): \(MySQLTable(dialect: target.table).columns.joined(separator: ", ")); "
          + "mid_workers: worker, owner_token, owner, term, expires_at, bound; mid_facts: name, value); mid alters no table"
      )
    case 3159: return rejected("the server demands TLS; add tls=required or tls=verify")
    case 2026 where self.isRefusal(failure.message):
      return rejected("TLS could not be agreed on; check the server's certificate and the settings tls and ca")
    case let code where self.wrongValue.contains(code):
      return IDError(.invalidArgument, "\(place): the table's column can't hold the value: \(what)")
    case let code where self.readOnly.contains(code):
      return IDError(.storeUnavailable, "\(place): the server is read-only; name the primary, not a replica: \(what)")
    default:
      return IDError(.storeUnavailable, "\(place): \(what)")
    }
  }

  /// Whether a TLS error is about certificates and settings, and not about a connection that broke in the handshake.
  private static func isRefusal(_ message: String) -> Bool {
    let message = message.lowercased()
    return ["certificate", "required", "support", "verif", "no such file"].contains { message.contains($0) }
  }
}
