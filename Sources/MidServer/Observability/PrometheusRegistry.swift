import Synchronization

/// All metrics of a process, and the page that shows them to Prometheus.
///
/// Handles are made once and kept; using one takes no lock. Making one and scraping take the registry's.
package final class PrometheusRegistry: Sendable {
  /// How many series one family may have; labels that callers choose must not fill the memory.
  package static let maximumSeriesPerFamily = 10_000

  private enum Series {
    case counter(PrometheusCounter)
    case gauge(PrometheusGauge)
    case histogram(PrometheusHistogram)
  }

  private struct Entry {
    let family: MetricFamily
    var series: [[MetricLabel]: Series] = [:]
  }

  private struct State {
    var families: [String: Entry] = [:]
    var collectors: [@Sendable (inout MetricWriter) -> Void] = []
  }

  private let state = Mutex(State())
  private let dropped = PrometheusCounter()
  private let catalogue: [String: MetricFamily]

  /// Creates a registry that knows the families of `catalogue` by name.
  ///
  /// - Precondition: No name stands in the catalogue twice.
  package init(catalogue: [MetricFamily] = MetricCatalogue.all) {
    self.catalogue = Dictionary(catalogue.map { ($0.name, $0) }) { first, _ in
      preconditionFailure("\(first.name) stands in the catalogue twice")
    }
  }

  /// The counter with these label values, made at the first call. Keep it; asking again takes a lock.
  ///
  /// - Precondition: The family is a counter and has as many labels as values are given.
  package func counter(_ family: MetricFamily, _ labels: String...) -> PrometheusCounter {
    precondition(family.kind == .counter, "\(family.name) is no counter")
    return self.counter(family, MetricWriter.pairs(family, labels))
  }

  /// The gauge with these label values, made at the first call.
  ///
  /// - Precondition: The family is a gauge and has as many labels as values are given.
  package func gauge(_ family: MetricFamily, _ labels: String...) -> PrometheusGauge {
    precondition(family.kind == .gauge, "\(family.name) is no gauge")
    return self.gauge(family, MetricWriter.pairs(family, labels))
  }

  /// The histogram with these label values, made at the first call.
  ///
  /// - Precondition: The family is a histogram and has as many labels as values are given.
  package func histogram(_ family: MetricFamily, _ labels: String...) -> PrometheusHistogram {
    guard case .histogram(let buckets) = family.kind else { preconditionFailure("\(family.name) is no histogram") }
    return self.histogram(family, buckets, MetricWriter.pairs(family, labels))
  }

  /// Adds a reading that is taken at each scrape, for gauges that others keep. It must be quick and must not block.
  package func collect(_ collector: @escaping @Sendable (inout MetricWriter) -> Void) {
    self.state.withLock { $0.collectors.append(collector) }
  }

  /// The page, as ``PrometheusText`` describes it. Families without a series are left out.
  package func scrape() -> String {
    var writer = MetricWriter()
    let (families, collectors) = self.state.withLock { ($0.families, $0.collectors) }
    for entry in families.values {
      for (labels, series) in entry.series {
        writer.add(Self.value(of: series), to: entry.family, labels)
      }
    }
    if self.dropped.value > 0 {
      writer.add(.integer(self.dropped.value), to: MetricCatalogue.droppedSeries, [])
    }
    for collector in collectors {
      collector(&writer)
    }
    var page = PrometheusText()
    for sample in writer.samples.values.sorted(by: { $0.family.name < $1.family.name }) {
      page.write(sample.family, sample.values)
    }
    return page.text
  }

  /// The catalogue's family of that name, or nil.
  func family(named name: String) -> MetricFamily? {
    self.catalogue[name]
  }

  func counter(_ family: MetricFamily, _ labels: [MetricLabel]) -> PrometheusCounter {
    let series = self.series(family, labels) { .counter(PrometheusCounter()) }
    guard case .counter(let counter) = series else { return PrometheusCounter() }
    return counter
  }

  func gauge(_ family: MetricFamily, _ labels: [MetricLabel]) -> PrometheusGauge {
    let series = self.series(family, labels) { .gauge(PrometheusGauge()) }
    guard case .gauge(let gauge) = series else { return PrometheusGauge() }
    return gauge
  }

  func histogram(_ family: MetricFamily, _ buckets: [Double], _ labels: [MetricLabel]) -> PrometheusHistogram {
    let series = self.series(family, labels) { .histogram(PrometheusHistogram(buckets: buckets)) }
    guard case .histogram(let histogram) = series else { return PrometheusHistogram(buckets: buckets) }
    return histogram
  }

  /// The series, made where it is new, or nil where it can't be exported: then it counts as dropped.
  private func series(_ family: MetricFamily, _ labels: [MetricLabel], make: () -> Series) -> Series? {
    let series = self.state.withLock { state -> Series? in
      guard (state.families[family.name]?.family.kind ?? family.kind) == family.kind else { return nil }
      if let known = state.families[family.name]?.series[labels] { return known }
      guard (state.families[family.name]?.series.count ?? 0) < Self.maximumSeriesPerFamily else { return nil }
      let new = make()
      // In place: a copy of the entry would cost a copy of all its series.
      state.families[family.name, default: Entry(family: family)].series[labels] = new
      return new
    }
    if series == nil {
      self.dropped.add(1)
    }
    return series
  }

  private static func value(of series: Series) -> MetricValue {
    switch series {
    case .counter(let counter): return .integer(counter.value)
    case .gauge(let gauge): return .number(gauge.value)
    case .histogram(let histogram):
      let (cumulative, sum) = histogram.reading()
      return .histogram(buckets: histogram.buckets, cumulative: cumulative, sum: sum)
    }
  }
}
