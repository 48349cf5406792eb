import MidCore
import MidServer

/// Tags as text: a table for people, JSON for programs. Ordered by name.
struct TagTable {
  private let records: [TagRecord]

  /// Takes the tags in any order.
  init(_ records: [TagRecord]) {
    self.records = records.sorted { $0.tag.name < $1.tag.name }
  }

  /// The next id of a tag, as a decimal number; the end of the number space has none.
  static func next(_ record: TagRecord) -> String {
    record.next.map(String.init) ?? "none"
  }

  /// The table, a heading first; numbers stand to the right.
  var lines: [String] {
    var table = TextTable(("NAME", .left), ("NEXT", .right), ("MAX_ID", .right), ("STEP", .right))
    for record in self.records {
      table.add([record.tag.name, Self.next(record), String(record.maxID), String(record.step)])
    }
    return table.lines
  }

  /// A JSON array with an object a line. Ids are strings, steps are numbers.
  var json: String {
    JSONText.array(
      self.records.map { record in
        JSONText.object([
          "name": JSONText.string(record.tag.name), "next": JSONText.string(Self.next(record)),
          "max_id": JSONText.string(String(record.maxID)), "step": String(record.step),
        ])
      })
  }
}
