public import MidCore

extension MySQLStore: TokenStore {
  /// All rows of `tiny_id_token` that have a token and a tag.
  public func clientTokens() async throws(IDError) -> [ClientToken] {
    let location = self.location
    return try await self.run("tokens") { connection in
      do {
        return try connection.rows("SELECT biz_type, token FROM tiny_id_token").compactMap { row in
          guard row.count == 2, let tag = row[0], let secret = row[1], !tag.isEmpty, !secret.isEmpty else { return nil }
          return ClientToken(tag: tag, secret: secret)
        }
      } catch let failure as MySQLFailure where failure.isMissingTable {
        throw IDError(.storeRejected, "there is no table tiny_id_token at \(location)")
      }
    }
  }
}
