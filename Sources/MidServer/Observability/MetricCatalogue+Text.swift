extension MetricCatalogue {
  /// The catalogue as a Markdown table, for the documentation.
  package static var markdownTable: String {
    let head = "| metric | type | labels | meaning |\n| --- | --- | --- | --- |"
    let rows = self.all.map { family in
      let labels = family.labels.map { "`\($0)`" }.joined(separator: ", ")
      return "| `\(family.name)` | \(family.kind.text) | \(labels) | \(family.help) |"
    }
    return ([head] + rows).joined(separator: "\n")
  }
}
