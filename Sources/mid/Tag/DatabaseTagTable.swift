import MidCore
import MidServer

/// The rows of tags in several databases as text: a table for people, JSON for programs. Ordered by tag, then by database.
struct DatabaseTagTable {
  /// One row of one database.
  struct Row {
    var database: String
    var record: TagRecord
    /// Whether ids of the tag are taken from here: `false` for a row elsewhere than at the tag's home.
    var isUsed: Bool

    /// `0 mod 2`, `all`, `closed` or `unused`.
    var ids: String {
      if self.record.isClosed { return "closed" }
      guard self.isUsed else { return "unused" }
      let residue = self.record.residue
      return residue.delta == 1 ? "all" : "\(residue.remainder) mod \(residue.delta)"
    }
  }

  private let rows: [Row]

  /// Takes the rows; those of one tag in the order of the databases.
  init(_ rows: [Row]) {
    self.rows = rows.enumerated().sorted {
      ($0.element.record.tag.name, $0.offset) < ($1.element.record.tag.name, $1.offset)
    }.map(\.element)
  }

  /// The table, a heading first; numbers stand to the right.
  var lines: [String] {
    var table = TextTable(
      ("NAME", .left), ("DATABASE", .left), ("IDS", .left), ("NEXT", .right), ("MAX_ID", .right), ("STEP", .right))
    for row in self.rows {
      table.add([
        row.record.tag.name, row.database, row.ids, row.record.isClosed ? "-" : TagTable.next(row.record),
        String(row.record.maxID), String(row.record.step),
      ])
    }
    return table.lines
  }

  /// A JSON array with an object a line. Ids are strings, steps are numbers.
  var json: String {
    JSONText.array(
      self.rows.map { row in
        JSONText.object([
          "name": JSONText.string(row.record.tag.name), "database": JSONText.string(row.database),
          "ids": JSONText.string(row.ids), "next": JSONText.string(TagTable.next(row.record)),
          "max_id": JSONText.string(String(row.record.maxID)), "step": String(row.record.step),
        ])
      })
  }
}
