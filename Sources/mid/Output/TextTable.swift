/// Rows of cells as lines of text, each column as wide as its widest cell.
struct TextTable {
  /// On which side of its column a cell stands.
  enum Side { case left, right }

  private let columns: [(heading: String, side: Side)]
  private var rows: [[String]] = []

  /// Creates a table without rows.
  init(_ columns: (heading: String, side: Side)...) {
    self.columns = columns
  }

  /// Adds a row with a cell for each column. Control characters are shown as `?`, so that a row stays a line.
  mutating func add(_ cells: [String]) {
    precondition(cells.count == self.columns.count, "a cell for each column")
    self.rows.append(cells.map(TerminalText.plain))
  }

  /// The table, a heading first, without blanks at the ends of lines.
  var lines: [String] {
    let rows = [self.columns.map(\.heading)] + self.rows
    let widths = self.columns.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      let cells = row.indices.map { column in
        let padding = String(repeating: " ", count: widths[column] - row[column].count)
        return self.columns[column].side == .left ? row[column] + padding : padding + row[column]
      }
      let line = cells.joined(separator: "  ")
      return String(line.prefix(line.count - line.reversed().prefix { $0 == " " }.count))
    }
  }
}

/// Text that comes from elsewhere, for a terminal.
enum TerminalText {
  /// `text` with `?` for everything that could steer a terminal or end the line.
  static func plain(_ text: String) -> String {
    String(
      String.UnicodeScalarView(
        text.unicodeScalars.map { scalar -> Unicode.Scalar in
          switch scalar {
          case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}", "\u{2028}", "\u{2029}": "?"
          default: scalar
          }
        }))
  }
}
