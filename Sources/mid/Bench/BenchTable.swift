import Foundation

/// The Go original's benchmark: one connection, four levels of callers, both modes; and its table, column for column.
enum BenchTable {
  /// Callers at once.
  static let levels = [10, 50, 100, 200]

  /// The runs, in the table's order. Each is `plan` with one connection.
  static func plans(_ plan: BenchPlan) -> [BenchPlan] {
    [ModeArgument.snowflake, .segment].flatMap { mode in
      self.levels.map { level in
        var row = plan
        row.mode = mode
        row.connections = 1
        row.inFlight = level
        return row
      }
    }
  }

  /// The table in Markdown.
  static func lines(_ results: [BenchResult]) -> [String] {
    let heads = ["Mode", "Concurrency", "QPS (requests/s)", "Average latency (ms)", "P99 latency (ms)", "Errors"]
    let rows = results.map { result in
      [
        result.plan.mode.rawValue.capitalized, "\(result.plan.inFlight)",
        String(format: "%.2f", result.callsPerSecond), String(format: "%.2f", result.record.latency.mean / 1e6),
        String(format: "%.2f", Double(result.record.latency.value(at: 99)) / 1e6), "\(result.errors)",
      ]
    }
    let widths = heads.indices.map { column in ([heads] + rows).map { $0[column].count }.max() ?? 0 }
    func line(_ cells: [String]) -> String {
      let padded = zip(cells, widths).map { $0.padding(toLength: $1, withPad: " ", startingAt: 0) }
      return "| \(padded.joined(separator: " | ")) |"
    }
    return [line(heads), line(widths.map { String(repeating: "-", count: $0) })] + rows.map(line)
  }
}
