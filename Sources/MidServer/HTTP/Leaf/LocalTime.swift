#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A moment by this machine's own zone (`TZ`, `/etc/localtime`).
enum LocalTime {
  /// `2019-09-06 09:35:00.834`, eight hours east of Greenwich, for 1567733700834. Times out of the C library's range are
  /// written in UTC.
  static func text(milliseconds: Int64) -> String {
    var seconds = time_t(milliseconds >= 0 ? milliseconds / 1_000 : (milliseconds - 999) / 1_000)
    var fields = tm()
    tzset()
    guard localtime_r(&seconds, &fields) != nil else {
      return String(LogTime.text(milliseconds: milliseconds).map { $0 == "T" ? " " : $0 }.dropLast())
    }
    func padded(_ number: Int, _ digits: Int) -> String {
      let text = String(number)
      return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
    let date = [Int(fields.tm_year) + 1900, Int(fields.tm_mon) + 1, Int(fields.tm_mday)]
    let time = [fields.tm_hour, fields.tm_min, fields.tm_sec].map { padded(Int($0), 2) }
    let millisecond = Int(milliseconds - Int64(seconds) * 1_000)
    return padded(date[0], 4) + "-" + padded(date[1], 2) + "-" + padded(date[2], 2) + " "
      + time.joined(separator: ":") + "." + padded(millisecond, 3)
  }
}
