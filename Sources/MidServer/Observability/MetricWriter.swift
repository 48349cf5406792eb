/// Takes the values that collectors read at scrape time.
package struct MetricWriter {
  /// Values by family name and labels.
  private(set) var samples: [String: (family: MetricFamily, values: [[MetricLabel]: MetricValue])] = [:]

  /// Creates an empty writer.
  init() {}

  /// Writes one value of a gauge or counter.
  ///
  /// A second value for the same labels is dropped: Prometheus refuses a page that holds one series twice.
  ///
  /// - Parameter labels: The values of the family's labels, in its order.
  /// - Precondition: `labels` has as many values as the family has labels, and the family is no histogram.
  package mutating func write(_ family: MetricFamily, _ labels: String..., value: Double) {
    self.add(.number(value), to: family, Self.pairs(family, labels))
  }

  mutating func add(_ value: MetricValue, to family: MetricFamily, _ labels: [MetricLabel]) {
    guard (self.samples[family.name]?.family.kind ?? family.kind) == family.kind,
      self.samples[family.name]?.values[labels] == nil
    else { return }
    // In place: a copy of the entry would cost a copy of all its values.
    self.samples[family.name, default: (family, [:])].values[labels] = value
  }

  static func pairs(_ family: MetricFamily, _ values: [String]) -> [MetricLabel] {
    precondition(values.count == family.labels.count, "\(family.name) has the labels \(family.labels)")
    return zip(family.labels, values).map { MetricLabel(name: $0, value: $1) }
  }
}

/// A value at scrape time.
enum MetricValue: Sendable {
  case number(Double)
  /// A counter's own integer, exact past 2^53.
  case integer(Int64)
  case histogram(buckets: [Double], cumulative: [Int64], sum: Double)
}
