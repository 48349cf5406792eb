import MidCore

/// Leaf's monitor pages: what this node has cached of each tag in use, and the rows of the table as they were last read.
struct LeafPages: Sendable {
  static let contentType = "text/html;charset=UTF-8"
  /// The most rows of a page, so that one costs no more memory and time than a list of ids.
  static let maximumRows = 1_000

  let segments: SegmentDirectory

  /// By tag: whether it has had a segment, whether the next is there, which buffer serves (always the first), and of each
  /// buffer the next number, the end (not part of it) and how many ids the tag's loads take.
  var cache: String {
    let snapshots = self.segments.snapshots
    let rows = snapshots.prefix(Self.maximumRows).map { tag, snapshot in
      // Standby ends where the last load ended.
      let standbyEnd = snapshot.standbyLeft > 0 ? snapshot.highWater ?? 0 : 0
      let stride = snapshot.stride
      return [
        tag.name, "\(snapshot.loads > 0)", "\(snapshot.standbyLeft > 0)", "0",
        "\(snapshot.servingEnd - snapshot.servingLeft * stride)", "\(snapshot.servingEnd)", "\(snapshot.size)",
        "\(standbyEnd - snapshot.standbyLeft * stride)", "\(standbyEnd)", "\(snapshot.size)",
      ]
    }
    return Self.page(
      "cache", ["name", "init", "next", "pos", "value0", "max0", "step0", "value1", "max1", "step1"], rows,
      of: snapshots.count)
  }

  /// By row: the tag, `max_id` and the step, both as ids.
  var table: String {
    let records = self.segments.records.sorted { $0.tag.name < $1.tag.name }
    let rows = records.prefix(Self.maximumRows).map { record in
      [record.tag.name, "\(record.maxID)", "\(record.step)"]
    }
    return Self.page("db", ["tag", "max_id", "step"], rows, of: records.count)
  }

  /// - Parameter total: How many rows there are, of which those are shown.
  private static func page(_ title: String, _ head: [String], _ rows: [[String]], of total: Int) -> String {
    let more = rows.count < total ? "<p>The first \(rows.count) of \(total) tags, by name.</p>\n" : ""
    func row(_ cells: [String], _ element: String) -> String {
      "<tr>" + cells.map { "<\(element)>\(Self.escaped($0))</\(element)>" }.joined() + "</tr>\n"
    }
    return
      "<!DOCTYPE html>\n<html>\n<head><meta charset=\"UTF-8\"><title>\(title)</title></head>\n<body>\n<table border=\"1\">\n"
      + row(head, "th") + rows.map { row($0, "td") }.joined() + "</table>\n\(more)</body>\n</html>\n"
  }

  /// Tags may hold anything but control characters.
  ///
  /// By scalars: what a browser takes for `<` may be part of a longer character, after U+0600 for one.
  private static func escaped(_ text: String) -> String {
    text.unicodeScalars.reduce(into: "") { escaped, scalar in
      switch scalar {
      case "&": escaped += "&amp;"
      case "<": escaped += "&lt;"
      case ">": escaped += "&gt;"
      case "\"": escaped += "&quot;"
      case "'": escaped += "&#39;"
      default: escaped.unicodeScalars.append(scalar)
      }
    }
  }
}
