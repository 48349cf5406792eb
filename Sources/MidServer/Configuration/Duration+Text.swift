extension Duration {
  /// The units a duration is written in, the largest first, with their length in milliseconds.
  private static let units: [(suffix: String, milliseconds: Int64)] = [
    ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1),
  ]

  /// Reads a whole number with a unit: `250ms`, `3s`, `10m`, `1h`. Returns nil for anything else, or past 2^63 ms.
  package init?(configurationText text: String) {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let suffix = text[digits.endIndex...]
    guard let unit = Self.units.first(where: { $0.suffix == suffix }), let number = Int64(digits) else { return nil }
    let (milliseconds, overflow) = number.multipliedReportingOverflow(by: unit.milliseconds)
    guard !overflow else { return nil }
    self = .milliseconds(milliseconds)
  }

  /// The shortest text that reads back as this duration; parts of a millisecond are dropped.
  package var configurationText: String {
    let milliseconds = self.wholeMilliseconds
    guard milliseconds != 0 else { return "0s" }
    for unit in Self.units where milliseconds % unit.milliseconds == 0 {
      return "\(milliseconds / unit.milliseconds)\(unit.suffix)"
    }
    return "\(milliseconds)ms"
  }

  /// Milliseconds, rounded towards zero. Durations past 292 million years trap.
  package var wholeMilliseconds: Int64 {
    let (seconds, attoseconds) = self.components
    return seconds * 1_000 + attoseconds / 1_000_000_000_000_000
  }
}
