/// The tags of several databases that share them, put together.
struct StripeLists: Sendable {
  /// One record for each tag.
  let records: [TagRecord]
  /// The tags of which two databases would hand out the same ids, and which two.
  let conflicts: [Tag: (Int, Int)]

  /// Takes the lists in the order of the databases; nil for one that was never read.
  init(_ lists: [[TagRecord]?]) {
    var rows: [Tag: [(database: Int, record: TagRecord)]] = [:]
    for (database, list) in lists.enumerated() {
      for record in list ?? [] { rows[record.tag, default: []].append((database, record)) }
    }
    var conflicts: [Tag: (Int, Int)] = [:]
    for (tag, rows) in rows { conflicts[tag] = Self.conflict(rows) }
    self.conflicts = conflicts
    self.records = rows.values.compactMap { rows in
      let open = rows.map(\.record).filter { !$0.isClosed }
      guard var record = open.first ?? rows.first?.record else { return nil }
      for other in open where other.lastID > record.lastID { record.maxID = other.maxID }
      return record
    }
  }

  /// Two rows that share ids: where the remainders are the same modulo what both deltas can be divided by.
  private static func conflict(_ rows: [(database: Int, record: TagRecord)]) -> (Int, Int)? {
    let open = rows.filter { !$0.record.isClosed }
    for (position, one) in open.enumerated() {
      for other in open[(position + 1)...] {
        let (first, second) = (one.record.residue, other.record.residue)
        let common = Self.greatestCommonDivisor(first.delta, second.delta)
        if (first.remainder - second.remainder) % common == 0 { return (one.database, other.database) }
      }
    }
    return nil
  }

  private static func greatestCommonDivisor(_ first: Int64, _ second: Int64) -> Int64 {
    second == 0 ? first : self.greatestCommonDivisor(second, first % second)
  }
}
