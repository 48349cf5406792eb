import Foundation
import MidCore

/// Tags as text: a table for people, JSON for programs. Ordered by name.
struct TagTable {
  private let records: [TagRecord]

  /// Takes the tags in any order.
  init(_ records: [TagRecord]) {
    self.records = records.sorted { $0.tag.name < $1.tag.name }
  }

  /// The next id of a tag, as a decimal number; the end of the number space has none.
  static func next(_ record: TagRecord) -> String {
    record.maxID < .max ? String(record.maxID + 1) : "none"
  }

  /// The table, a heading first; numbers stand to the right.
  var lines: [String] {
    let heading = ["NAME", "NEXT", "MAX_ID", "STEP"]
    let rows = [heading] + self.records.map { [$0.tag.name, Self.next($0), String($0.maxID), String($0.step)] }
    let widths = heading.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      row.indices.map { column in
        let padding = String(repeating: " ", count: widths[column] - row[column].count)
        return column == 0 ? row[column] + padding : padding + row[column]
      }.joined(separator: "  ")
    }
  }

  /// A JSON array with an object a line. Ids are strings, steps are numbers.
  var json: [String] {
    guard !self.records.isEmpty else { return ["[]"] }
    let objects = self.records.map { record in
      """
        {"name": \(Self.quoted(record.tag.name)), "next": "\(Self.next(record))", "max_id": "\(record.maxID)", \
      "step": \(record.step)}
      """
    }
    return ["[\n" + objects.joined(separator: ",\n") + "\n]"]
  }

  /// A JSON string. A tag holds no control characters, so quotation marks and backslashes are all there is to escape.
  private static func quoted(_ text: String) -> String {
    "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
  }
}
