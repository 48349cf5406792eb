import GRDB
public import MidCore

extension SQLiteStore: TokenStore {
  /// All rows of `tiny_id_token` that have a token and a tag.
  public func clientTokens() async throws(IDError) -> [ClientToken] {
    let path = self.path
    return try await self.read("tokens") { db in
      guard try db.tableExists("tiny_id_token") else {
        throw IDError(.storeRejected, "there is no table tiny_id_token in \(path)")
      }
      return try Row.fetchAll(db, sql: "SELECT biz_type, token FROM tiny_id_token").compactMap { row in
        guard let tag = String.fromDatabaseValue(row[0]), let secret = String.fromDatabaseValue(row[1]),
          !tag.isEmpty, !secret.isEmpty
        else { return nil }
        return ClientToken(tag: tag, secret: secret)
      }
    }
  }
}
