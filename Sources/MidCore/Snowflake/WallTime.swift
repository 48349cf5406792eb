/// A wall-clock reading in the form people read, for messages: `2021-01-01T00:00:00.000Z`.
///
/// The core has no Foundation; this is the proleptic Gregorian calendar by Howard Hinnant's `civil_from_days`.
package struct WallTime: Sendable, CustomStringConvertible {
  /// Milliseconds since 1970-01-01T00:00:00Z.
  package let milliseconds: Int64

  /// Wraps a reading in milliseconds since the Unix epoch.
  package init(milliseconds: Int64) { self.milliseconds = milliseconds }

  /// The year of the reading in UTC.
  package var year: Int64 { self.date.year }

  /// ISO 8601 in UTC with milliseconds; years past 9999 with a sign before them: `+10889-08-02T05:31:50.655Z`.
  package var description: String {
    let rest = Self.floorDivide(self.milliseconds, by: 86_400_000).remainder
    let date = self.date
    let sign = date.year > 9999 ? "+" : ""
    let day = "\(sign)\(Self.padded(date.year, 4))-\(Self.padded(date.month, 2))-\(Self.padded(date.day, 2))"
    let clock = [rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60].map { Self.padded($0, 2) }
    return "\(day)T\(clock.joined(separator: ":")).\(Self.padded(rest % 1000, 3))Z"
  }

  /// `20260102`, or `202601` without the day; of the years 0 to 9999.
  func digits(ofDay hasDay: Bool) -> String {
    let date = self.date
    let number = date.year * 100 + date.month
    return hasDay ? Self.padded(number * 100 + date.day, 8) : Self.padded(number, 6)
  }

  private var date: (year: Int64, month: Int64, day: Int64) {
    // Days are counted from 0000-03-01, so that a leap day is the last day of its year; eras are 400 years.
    let days = Self.floorDivide(self.milliseconds, by: 86_400_000).quotient + 719_468
    let (era, dayOfEra) = Self.floorDivide(days, by: 146_097)
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
  }

  private static func floorDivide(_ value: Int64, by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
    let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
  }

  private static func padded(_ value: Int64, _ width: Int) -> String {
    let digits = String(value)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
  }
}
