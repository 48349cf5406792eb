import GRDB
public import MidCore

extension SQLiteStore: FactStore {
  /// All rows of `mid_facts`.
  public func facts() async throws(IDError) -> [String: String] {
    try await self.read("facts") { db in try self.facts(in: db) ?? [:] }
  }

  /// Puts what is missing, unless something is there otherwise. Writes nothing where nothing is missing.
  public func agree(on facts: [String: String]) async throws(IDError) -> [String: String] {
    try Facts.validate(facts)
    return try await self.transaction("agree") { db in
      let known = try self.facts(in: db)
      if known == nil { try db.execute(sql: Self.creation) }
      var found = (known ?? [:]).filter { facts[$0.key] != nil }
      for (name, value) in Facts.additions(of: facts, to: found) ?? [:] {
        try db.execute(sql: "INSERT INTO mid_facts (name, value) VALUES (?, ?)", arguments: [name, value])
        found[name] = value
      }
      return found
    }
  }

  /// All facts, or nil where there is no table.
  private func facts(in db: Database) throws -> [String: String]? {
    // Asked of the file each time: another process may have made the table since this connection looked first.
    let table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'mid_facts'"
    guard try Row.fetchOne(db, sql: table) != nil else { return nil }
    var facts: [String: String] = [:]
    for row in try Row.fetchAll(db, sql: "SELECT name, value FROM mid_facts") {
      guard let name = String.fromDatabaseValue(row[0]), let value = String.fromDatabaseValue(row[1]) else {
        throw IDError(.storeRejected, "a row of mid_facts in \(self.path) holds a value of the wrong type: \(row)")
      }
      facts[name] = value
    }
    return facts
  }

  private static let creation = "CREATE TABLE mid_facts (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)"
}
