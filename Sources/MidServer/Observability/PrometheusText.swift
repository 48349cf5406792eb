/// Writes Prometheus' text exposition format 0.0.4, in a stable order: families by name, series by labels.
struct PrometheusText {
  /// The `Content-Type` that goes with it.
  static let contentType = "text/plain; version=0.0.4; charset=utf-8"

  private(set) var text = ""

  /// Writes a family with all its series.
  mutating func write(_ family: MetricFamily, _ values: [[MetricLabel]: MetricValue]) {
    self.text += "# HELP \(family.name) \(Self.escapedHelp(family.help))\n"
    self.text += "# TYPE \(family.name) \(family.kind.text)\n"
    for (labels, value) in values.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
      switch value {
      case .number(let number): self.line(family.name, labels, Self.number(number))
      case .integer(let number): self.line(family.name, labels, String(number))
      case .histogram(let buckets, let cumulative, let sum):
        for (bound, count) in zip(buckets + [.infinity], cumulative) {
          let le = MetricLabel(name: "le", value: Self.number(bound))
          self.line(family.name + "_bucket", labels + [le], String(count))
        }
        self.line(family.name + "_sum", labels, Self.number(sum))
        self.line(family.name + "_count", labels, String(cumulative.last ?? 0))
      }
    }
  }

  private mutating func line(_ name: String, _ labels: [MetricLabel], _ value: String) {
    self.text += name
    if !labels.isEmpty {
      let pairs = labels.map { "\($0.name)=\"\(Self.escapedLabel($0.value))\"" }
      self.text += "{\(pairs.joined(separator: ","))}"
    }
    self.text += " \(value)\n"
  }

  /// A number as the format wants it: `NaN`, `+Inf`, `-Inf`, whole numbers below 2^63 by their digits alone,
  /// anything else as the shortest decimal that reads back as the same number.
  static func number(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    if let whole = Int64(exactly: value) { return String(whole) }
    return value.description
  }

  /// Backslash, quote and line feed are escaped in label values.
  static func escapedLabel(_ text: String) -> String {
    self.escaped(text, quotes: true)
  }

  /// Backslash and line feed are escaped in help texts.
  static func escapedHelp(_ text: String) -> String {
    self.escaped(text, quotes: false)
  }

  private static func escaped(_ text: String, quotes: Bool) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\"" where quotes: result += "\\\""
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}
