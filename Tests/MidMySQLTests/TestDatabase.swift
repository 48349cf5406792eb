import Dispatch
import Foundation
import MidCore

@testable import MidMySQL

/// A fresh database on the server that `MID_TEST_MYSQL_URL` names, whose user may do everything there.
struct TestDatabase: Sendable {
  /// The server's URL, where tests are to have one.
  static let url = ProcessInfo.processInfo.environment["MID_TEST_MYSQL_URL"]

  let configuration: MySQLConfiguration
  private let admin: MySQLPool

  init() async throws {
    guard let url = Self.url else { throw IDError(.notReady, "MID_TEST_MYSQL_URL is not set") }
    var configuration = try MySQLConfiguration(url: url)
    self.admin = MySQLPool(configuration)
    let bits = UInt64.random(in: .min ... .max)
    configuration.database = "mid_test_\(String(bits, radix: 36))"
    self.configuration = configuration
    try await self.sql("CREATE DATABASE \(configuration.database) CHARACTER SET utf8mb4")
  }

  /// Runs statements as the administrator, one after another, and returns the last one's rows.
  @discardableResult
  func sql(_ statements: String...) async throws -> [[String?]] {
    let database = self.configuration.database
    return try await self.admin.run { connection in
      var rows: [[String?]] = []
      for statement in ["USE `\(statements[0].hasPrefix("CREATE DATABASE") ? "information_schema" : database)`"]
        + statements
      {
        rows = try connection.rows(statement)
      }
      return rows
    }.get()
  }

  /// A new user with the password `se'cret@:/%`, and a configuration for it.
  func user(grants: String...) async throws -> MySQLConfiguration {
    var configuration = self.configuration
    configuration.user = "u\(String(UInt64.random(in: .min ... .max), radix: 36))"
    configuration.password = Self.password
    let account = "'\(configuration.user)'@'127.0.0.1'"
    try await self.sql("CREATE USER \(account) IDENTIFIED BY 'se''cret@:/%'")
    for grant in grants {
      try await self.sql("GRANT \(grant.replacing("DB", with: configuration.database)) TO \(account)")
    }
    return configuration
  }

  static let password = "se'cret@:/%"

  func drop() async throws {
    try await self.sql("DROP DATABASE \(self.configuration.database)")
    await self.admin.close()
  }
}

/// The table as the Go original's own script makes it, on a server's usual collation, which takes `Order` for `order`.
let originalTable = """
  CREATE TABLE id_segments (
    id INT AUTO_INCREMENT PRIMARY KEY,
    biz_tag VARCHAR(50) NOT NULL,
    max_id BIGINT DEFAULT 0,
    step INT DEFAULT 10000,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    UNIQUE KEY uk_biz_tag (biz_tag)
  ) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci
  """
let originalRow = "INSERT INTO id_segments (biz_tag, max_id, step) VALUES ('default', 0, 10000)"
