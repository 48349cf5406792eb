import Foundation
import MidRPC

/// A result as text for people.
enum BenchReport {
  /// What is about to run, in one line.
  static func heading(_ plan: BenchPlan, server: String) -> String {
    var parts = ["\(server) \(plan.path.dropFirst())", plan.mode.rawValue]
    if !plan.tag.isEmpty { parts.append("tag \(plan.tag)") }
    if let batch = plan.batch { parts.append("\(self.grouped(batch)) ids a call") }
    parts.append(
      "\(plan.connections) connection\(plan.connections == 1 ? "" : "s") × \(plan.inFlight) in flight"
        + (plan.rate.map { ", \(self.number($0)) calls/s" } ?? ""))
    return parts.joined(separator: ", ")
  }

  /// The result's lines.
  static func lines(_ result: BenchResult) -> [String] {
    let record = result.record
    var lines = [
      self.line(
        "calls",
        "\(self.grouped(result.calls)) in \(String(format: "%.2f", result.seconds)) s"
          + (result.isInterrupted ? ", interrupted" : "")),
      self.line("calls/s", self.number(result.callsPerSecond)),
      self.line("ids/s", self.number(result.idsPerSecond)),
    ]
    let latency = record.latency
    let cells =
      [("mean", latency.mean)] + [50, 90, 99, 99.9].map { ("p\(self.percent($0))", Double(latency.value(at: $0))) }
      + [("max", Double(latency.maximum))]
    lines.append(self.line("latency", cells.map { "\($0.0) \(self.time($0.1))" }.joined(separator: "  ")))
    lines.append(self.line("errors", result.errors == 0 ? "none" : self.grouped(result.errors)))
    for (code, count) in record.errors.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
      let message = record.messages[code].map { $0.isEmpty ? "" : ", at first: \($0)" } ?? ""
      lines.append(self.line("", "\(code) \(self.grouped(count))\(message)"))
    }
    lines += self.connections(result)
    lines += self.ids(result)
    return lines
  }

  private static func connections(_ result: BenchResult) -> [String] {
    let record = result.record
    var lines: [String] = []
    if record.drained + record.lost > 0 {
      lines.append(
        self.line(
          "connections",
          "\(record.lost) lost, \(record.drained) ended with GOAWAY, \(self.grouped(record.repeated)) calls made again")
      )
    }
    if record.givenUp > 0 {
      lines.append(self.line("", "\(record.givenUp) given up: no server for \(result.plan.timeout.inSeconds) s"))
    }
    if record.unsent > 0 {
      lines.append(
        self.line(
          "rate",
          "not reached: \(self.grouped(record.unsent)) calls were due and had not been sent; "
            + "they count with the time they had waited"))
    }
    return lines
  }

  private static func ids(_ result: BenchResult) -> [String] {
    let broken = result.broken
    var bad: [String] = []
    if broken.notPositive > 0 {
      bad.append("NOT POSITIVE: \(self.grouped(broken.notPositive)), such as \(self.list(broken.notPositiveExamples))")
    }
    if broken.outOfOrder > 0 {
      let examples = broken.outOfOrderExamples.map { "\($0.id) after \($0.floor)" }.joined(separator: ", ")
      bad.append("OUT OF ORDER: \(self.grouped(broken.outOfOrder)), such as \(examples)")
    }
    if broken.malformed > 0 {
      bad.append("WRONG REPLIES: \(self.grouped(broken.malformed)), such as: \(broken.malformedExample ?? "")")
    }
    var good = ["positive"]
    var distinct: String?
    var notes: [String] = []
    switch result.distinctness {
    case .off: notes.append("not checked: distinct, in order (--check off)")
    case .searched(let ids, let missed, let duplicates, let examples):
      if duplicates > 0 {
        bad.append("TWICE: \(self.grouped(duplicates)), such as \(self.list(examples))")
      } else if missed == 0 {
        good.append("distinct")
      } else {
        distinct = "distinct as far as looked at (\(self.grouped(ids)) of \(self.grouped(ids + missed)))"
      }
      if missed > 0 {
        notes.append(
          "distinctness was checked for \(self.grouped(ids)) ids only; "
            + "\(self.grouped(missed)) more found no room in memory (see --check-memory)")
      }
    }
    if result.plan.check == .all { good.append("in order") }
    if result.plan.check == .distinct { notes.append("not checked: order (--check distinct)") }
    if bad.isEmpty {
      let kept = ["all \(good.joined(separator: ", "))"] + (distinct.map { [$0] } ?? [])
      let all = result.record.ids == 0 ? "none" : "\(self.grouped(result.record.ids)), \(kept.joined(separator: "; "))"
      return [self.line("ids", all)] + notes.map { self.line("", $0) }
    }
    return [self.line("ids", self.grouped(result.record.ids))] + (bad + notes).map { self.line("", $0) }
  }

  private static func list(_ ids: [Int64]) -> String { ids.map { "\($0)" }.joined(separator: ", ") }

  private static func line(_ name: String, _ text: String) -> String {
    name.padding(toLength: 13, withPad: " ", startingAt: 0) + text
  }

  /// `1,234,567`.
  static func grouped(_ number: Int) -> String {
    var digits = Array(String(number.magnitude))
    var index = digits.count - 3
    while index > 0 {
      digits.insert(",", at: index)
      index -= 3
    }
    return (number < 0 ? "-" : "") + String(digits)
  }

  /// A number a second: whole where it is large.
  static func number(_ value: Double) -> String {
    value >= 100 ? self.grouped(Int(value.rounded())) : String(format: "%.1f", value)
  }

  /// `99.9` and `50`.
  static func percent(_ value: Double) -> String {
    value == value.rounded() ? String(Int(value)) : String(value)
  }

  /// A time with three digits and its unit.
  static func time(_ nanoseconds: Double) -> String {
    let (value, unit) =
      switch nanoseconds {
      case ..<1e6: (nanoseconds / 1e3, "µs")
      case ..<1e9: (nanoseconds / 1e6, "ms")
      default: (nanoseconds / 1e9, "s")
      }
    let places = value < 10 ? 2 : value < 100 ? 1 : 0
    return String(format: "%.\(places)f \(unit)", value)
  }
}
