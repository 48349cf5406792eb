/// What one metric name stands for: its type, unit, meaning and labels.
package struct MetricFamily: Sendable, Hashable {
  /// The kinds of metrics that Prometheus' text format and this exporter share.
  package enum Kind: Sendable, Hashable {
    /// Only grows, except at a restart.
    case counter
    /// Goes up and down.
    case gauge
    /// Counts observations by upper bounds, ascending, without the infinite one.
    case histogram(buckets: [Double])

    /// The word after `# TYPE`.
    var text: String {
      switch self {
      case .counter: "counter"
      case .gauge: "gauge"
      case .histogram: "histogram"
      }
    }
  }

  /// The unit a value is in.
  package enum Unit: String, Sendable, Hashable {
    case seconds, milliseconds, bytes, ids, calls, connections, operations, none
  }

  /// The name, `[a-zA-Z_][a-zA-Z0-9_]*`.
  package let name: String
  /// The type.
  package let kind: Kind
  /// The unit.
  package let unit: Unit
  /// One sentence for `# HELP`.
  package let help: String
  /// The names of the labels, in the order in which values are given.
  package let labels: [String]

  /// Creates a family.
  ///
  /// - Precondition: `name` and `labels` are valid names, no label is `le` or starts with `__`, and buckets ascend.
  package init(_ name: String, _ kind: Kind, unit: Unit, labels: [String] = [], _ help: String) {
    precondition(Self.isValidName(name), "a metric's name is [a-zA-Z_][a-zA-Z0-9_]*")
    precondition(
      labels.allSatisfy { Self.isValidName($0) && $0 != "le" && !$0.hasPrefix("__") }
        && Set(labels).count == labels.count,
      "labels have valid, distinct names, and le and __ are Prometheus' own")
    if case .histogram(let buckets) = kind {
      precondition(
        !buckets.isEmpty && buckets.allSatisfy(\.isFinite) && zip(buckets, buckets.dropFirst()).allSatisfy { $0 < $1 },
        "buckets are finite and ascend")
    }
    self.name = name
    self.kind = kind
    self.unit = unit
    self.help = help
    self.labels = labels
  }

  /// Whether `name` may name a metric or label here. Colons are left to recording rules.
  static func isValidName(_ name: String) -> Bool {
    guard let first = name.utf8.first, !(0x30...0x39).contains(first) else { return false }
    return name.utf8.allSatisfy { byte in
      switch byte {
      case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F: true
      default: false
      }
    }
  }
}

/// One label of one series.
struct MetricLabel: Sendable, Hashable, Comparable {
  var name: String
  var value: String

  static func < (left: MetricLabel, right: MetricLabel) -> Bool {
    (left.name, left.value) < (right.name, right.value)
  }
}
