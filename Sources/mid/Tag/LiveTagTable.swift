import MidServer

/// What a running server has cached of its tags, as its metrics tell. Ordered by name.
struct LiveTagTable {
  private struct Row {
    var serving = 0.0
    var standby = 0.0
    var waiters = 0.0
    var size = 0.0
    var reason = ""
    var now = 0.0
    var hour = 0.0
    var dry: Double?
  }

  private let rows: [(name: String, row: Row)]

  /// Takes what is about tags from a page of metrics.
  init(_ page: MetricsPage) {
    var rows: [String: Row] = [:]
    for series in page.series {
      guard let tag = series.labels["tag"] else { continue }
      let value = series.value
      switch (String(series.name), series.labels["buffer"] ?? series.labels["window"]) {
      case (MetricCatalogue.segmentIDsLeft.name, "serving"): rows[tag, default: Row()].serving = value
      case (MetricCatalogue.segmentIDsLeft.name, _): rows[tag, default: Row()].standby = value
      case (MetricCatalogue.segmentWaiters.name, _): rows[tag, default: Row()].waiters = value
      case (MetricCatalogue.segmentSize.name, _):
        rows[tag, default: Row()].size = value
        rows[tag, default: Row()].reason = series.labels["reason"] ?? ""
      case (MetricCatalogue.segmentRate.name, "now"): rows[tag, default: Row()].now = value
      case (MetricCatalogue.segmentRate.name, _): rows[tag, default: Row()].hour = value
      case (MetricCatalogue.segmentDry.name, "all"): rows[tag, default: Row()].dry = value
      default: break
      }
    }
    self.rows = rows.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  /// The table, a heading first.
  var lines: [String] {
    var table = TextTable(
      ("NAME", .left), ("SERVING", .right), ("STANDBY", .right), ("WAITERS", .right), ("LOAD", .right),
      ("REASON", .left), ("IDS/S", .right), ("IDS/S_1H", .right), ("DRY_IN", .right))
    for (name, row) in self.rows {
      table.add([
        name, Self.whole(row.serving), Self.whole(row.standby), Self.whole(row.waiters), Self.whole(row.size),
        row.reason,
        Self.rate(row.now), Self.rate(row.hour), row.dry.map { "\(Self.whole($0)) s" } ?? "-",
      ])
    }
    return table.lines
  }

  /// A JSON array with an object a line; ids are numbers of ids, no ids, and so are numbers.
  var json: String {
    JSONText.array(
      self.rows.map { name, row in
        JSONText.object([
          "name": JSONText.string(name), "serving": Self.whole(row.serving), "standby": Self.whole(row.standby),
          "waiters": Self.whole(row.waiters), "load": Self.whole(row.size), "reason": JSONText.string(row.reason),
          "ids_per_second": Self.rate(row.now), "ids_per_second_hour": Self.rate(row.hour),
          "dry_in_seconds": row.dry.map(Self.rate) ?? "null",
        ])
      })
  }

  private static func whole(_ value: Double) -> String { String(Int64(exactly: value.rounded(.down)) ?? .max) }

  /// With one digit after the point.
  private static func rate(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }
}
