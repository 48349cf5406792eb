package import Metrics

/// Lets libraries that report through swift-metrics appear in a ``PrometheusRegistry``.
///
/// A label of the catalogue with the catalogue's dimensions becomes that metric. Any other is exported under its name
/// made valid, counters with `_total` and timers with `_seconds` at the end. Series stay until the process ends.
package struct PrometheusMetricsFactory: MetricsFactory {
  private let registry: PrometheusRegistry

  /// Creates a factory for `MetricsSystem.bootstrap`.
  package init(registry: PrometheusRegistry) {
    self.registry = registry
  }

  package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
    let (family, labels) = self.family(label, dimensions, .counter, suffix: "_total")
    return self.registry.counter(family, labels)
  }

  package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
    let (family, labels) = self.family(label, dimensions, .gauge, suffix: "")
    return self.registry.gauge(family, labels)
  }

  package func makeRecorder(
    label: String, dimensions: [(String, String)], aggregate: Bool
  ) -> any RecorderHandler {
    guard aggregate, self.registry.family(named: label)?.kind != .gauge else {
      let (family, labels) = self.family(label, dimensions, .gauge, suffix: "")
      return self.registry.gauge(family, labels)
    }
    return self.makeHistogram(label, dimensions, suffix: "")
  }

  package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
    self.makeHistogram(label, dimensions, suffix: "_seconds")
  }

  package func destroyCounter(_ handler: any CounterHandler) {}
  package func destroyMeter(_ handler: any MeterHandler) {}
  package func destroyRecorder(_ handler: any RecorderHandler) {}
  package func destroyTimer(_ handler: any TimerHandler) {}

  private func makeHistogram(
    _ label: String, _ dimensions: [(String, String)], suffix: String
  ) -> PrometheusHistogram {
    let known = self.registry.family(named: label)?.kind
    let buckets = if case .histogram(let buckets)? = known { buckets } else { MetricCatalogue.callBuckets }
    let (family, labels) = self.family(label, dimensions, .histogram(buckets: buckets), suffix: suffix)
    return self.registry.histogram(family, buckets, labels)
  }

  private func family(
    _ label: String, _ dimensions: [(String, String)], _ kind: MetricFamily.Kind, suffix: String
  ) -> (MetricFamily, [MetricLabel]) {
    if let known = self.registry.family(named: label), known.kind == kind, known.labels.count == dimensions.count {
      let values = known.labels.compactMap { name in dimensions.first { $0.0 == name }?.1 }
      if values.count == known.labels.count { return (known, MetricWriter.pairs(known, values)) }
    }
    var name = Self.validName(label)
    if !name.hasSuffix(suffix) { name += suffix }
    let family = MetricFamily(name, kind, unit: .none, "Reported by a library as \(label).")
    var labels: [MetricLabel] = []
    for (name, value) in dimensions {
      let name = Self.validLabelName(name)
      // One series can't carry a label twice; the first one stays.
      guard !labels.contains(where: { $0.name == name }) else { continue }
      labels.append(MetricLabel(name: name, value: value))
    }
    return (family, labels.sorted())
  }

  /// `text` with everything that a name can't hold replaced by underscores.
  static func validName(_ text: String) -> String {
    let name = String(text.unicodeScalars.map { MetricFamily.isValidName("_\($0)") ? Character($0) : "_" })
    return MetricFamily.isValidName(name) ? name : "_\(name)"
  }

  /// A valid label name that Prometheus and histograms don't use themselves.
  private static func validLabelName(_ text: String) -> String {
    let name = self.validName(text)
    return name == "le" || name.hasPrefix("__") ? "label_\(name)" : name
  }
}
