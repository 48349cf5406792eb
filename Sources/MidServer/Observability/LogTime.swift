/// Writes a moment as RFC 3339 in UTC with milliseconds, by arithmetic alone: a log line must not wait for a formatter.
enum LogTime {
  /// `2021-01-01T00:00:00.000Z` for 1609459200000. For years 0 to 9999.
  static func text(milliseconds: Int64) -> String {
    let (seconds, millisecond) = self.floorDivide(milliseconds, by: 1_000)
    let (days, second) = self.floorDivide(seconds, by: 86_400)
    let (year, month, day) = self.date(daysSince1970: days)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(24)
    self.append(year, digits: 4, then: "-", to: &bytes)
    self.append(month, digits: 2, then: "-", to: &bytes)
    self.append(day, digits: 2, then: "T", to: &bytes)
    self.append(second / 3_600, digits: 2, then: ":", to: &bytes)
    self.append(second / 60 % 60, digits: 2, then: ":", to: &bytes)
    self.append(second % 60, digits: 2, then: ".", to: &bytes)
    self.append(millisecond, digits: 3, then: "Z", to: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The Gregorian date, by the days-to-civil algorithm of Howard Hinnant ("chrono-Compatible Low-Level Date
  /// Algorithms"): years are counted from March, so that the leap day is the last of its year.
  static func date(daysSince1970 days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let (era, dayOfEra) = self.floorDivide(days + 719_468, by: 146_097)
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let marchMonth = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * marchMonth + 2) / 5 + 1
    let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
  }

  private static func floorDivide(_ value: Int64, by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
    let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
  }

  private static func append(
    _ number: Int64, digits: Int, then separator: Unicode.Scalar, to bytes: inout [UInt8]
  ) {
    var divisor: Int64 = 1
    for _ in 1..<digits { divisor *= 10 }
    while divisor > 0 {
      bytes.append(UInt8(truncatingIfNeeded: 0x30 + number / divisor % 10))
      divisor /= 10
    }
    bytes.append(UInt8(ascii: separator))
  }
}
