/// Spans of time as people read them, and their arithmetic without overflow.
enum SpanText {
  private static let units: [(name: String, milliseconds: Int64)] = [
    ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1),
  ]

  /// The two largest units of a span of milliseconds: `9m50s`, `3d4h`, `1s250ms`, `12ms`. Rounded down, without a sign.
  static func short(_ milliseconds: Int64) -> String {
    var rest = milliseconds == .min ? .max : abs(milliseconds)
    guard let first = self.units.firstIndex(where: { rest >= $0.milliseconds }) else { return "0s" }
    var text = ""
    for unit in self.units[first...].prefix(2) where rest >= unit.milliseconds {
      text += "\(rest / unit.milliseconds)\(unit.name)"
      rest %= unit.milliseconds
    }
    return text
  }

  /// How long it is from one time to another, in their unit; the largest or smallest number where that does not fit.
  static func distance(from start: Int64, to end: Int64) -> Int64 {
    let (distance, overflow) = end.subtractingReportingOverflow(start)
    guard overflow else { return distance }
    return end > start ? .max : .min
  }
}
