public import MidCore

extension MySQLStore: FactStore {
  /// All rows of `mid_facts`.
  public func facts() async throws(IDError) -> [String: String] {
    try await self.run("facts") { connection in try self.facts(connection, "") ?? [:] }
  }

  /// Puts what is missing, unless something is there otherwise. One query where nothing is missing.
  public func agree(on facts: [String: String]) async throws(IDError) -> [String: String] {
    try Facts.validate(facts)
    guard !facts.isEmpty else { return [:] }
    return try await self.run("agree") { connection in
      let names = try facts.keys.sorted().map { try connection.literal($0) }
      let named = "WHERE name IN (\(names.joined(separator: ", ")))"
      if let found = try self.facts(connection, named) {
        // Rows never change, so what is there already needs no lock.
        guard let additions = Facts.additions(of: facts, to: found), !additions.isEmpty else { return found }
      } else {
        try connection.execute(Self.creation)
      }
      return try connection.transaction {
        let found = try self.facts(connection, "\(named) FOR UPDATE") ?? [:]
        let additions = Facts.additions(of: facts, to: found) ?? [:]
        guard !additions.isEmpty else { return found }
        try Self.insert(additions, connection)
        return found.merging(additions) { found, _ in found }
      }
    }
  }

  private static func insert(_ facts: [String: String], _ connection: MySQLConnection) throws {
    // In one order for all, so that two nodes wait for each other instead of in a circle.
    let rows = try facts.sorted { $0.key < $1.key }.map {
      "(\(try connection.literal($0.key)), \(try connection.literal($0.value)))"
    }
    do {
      try connection.execute("INSERT INTO mid_facts (name, value) VALUES \(rows.joined(separator: ", "))")
    } catch let failure as MySQLFailure where failure.isDuplicate {
      // Another node was first, on a server that does not lock absent rows. Looking again shows its rows.
      throw MySQLFailure.lostRace(failure.message)
    }
  }

  /// The facts that `condition` picks, or nil where there is no table.
  private func facts(_ connection: MySQLConnection, _ condition: String) throws -> [String: String]? {
    let rows: [[String?]]
    do {
      rows = try connection.rows("SELECT name, value FROM mid_facts \(condition)")
    } catch let failure as MySQLFailure where failure.isMissingTable {
      return nil
    }
    var facts: [String: String] = [:]
    for row in rows {
      guard row.count == 2, let name = row[0], let value = row[1] else {
        throw IDError(.storeRejected, "a row of mid_facts holds NULL; delete or mend it")
      }
      facts[name] = value
    }
    return facts
  }

  /// Names are compared byte by byte: no collation may take one tag's for another's.
  private static let creation = """
    CREATE TABLE IF NOT EXISTS mid_facts (
      name VARBINARY(400) NOT NULL PRIMARY KEY,
      value VARCHAR(400) NOT NULL
    ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
    """
}
