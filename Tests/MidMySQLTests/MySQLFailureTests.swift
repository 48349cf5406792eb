import MidCore
import Testing

@testable import MidMySQL

/// What mid makes of the errors of a cluster and of replicas.
@Suite struct MySQLFailureTests {
  private func translate(_ code: UInt32) -> IDError {
    MySQLErrors.translate(
      MySQLFailure(code: code, message: "text"), MySQLConfiguration(host: "h", database: "d", user: "u"))
  }

  @Test(arguments: [1213, 1205] as [UInt32])
  func `what the server took back is sent again on the same connection`(code: UInt32) {
    let failure = MySQLFailure(code: code, message: "text")
    #expect(failure.isTransient && !failure.endsConnection)
    #expect(self.translate(code).code == .storeUnavailable)
  }

  @Test(arguments: [1047, 1290, 1836] as [UInt32])
  func `a node that is not ready, or takes no writes, is away and its connection is not used again`(code: UInt32) {
    let failure = MySQLFailure(code: code, message: "text")
    #expect(!failure.isTransient && failure.endsConnection)
    #expect(self.translate(code).code == .storeUnavailable)
  }

  @Test(arguments: TableDialect.Kind.allCases)
  func `a table that is not as needed is told by its name and columns`(kind: TableDialect.Kind) {
    var configuration = MySQLConfiguration(host: "h", database: "d", user: "u")
    configuration.table = TableDialect(kind)
    let message = MySQLErrors.translate(MySQLFailure(code: 1054, message: "Unknown column"), configuration).message
    for name in MySQLTable(dialect: configuration.table).columns + [configuration.table.table] {
      #expect(message.contains(name), "\(message)")
    }
    // A table whose time of change keeps itself need not have the column.
    #expect(message.contains("update_time") == (kind == .tinyid) && !message.contains("updated_at"))
  }
}
