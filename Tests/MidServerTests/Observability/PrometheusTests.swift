import Metrics
import Testing

@testable import MidServer

@Suite struct PrometheusTests {
  private static let requests = MetricFamily("test_requests_total", .counter, unit: .calls, labels: ["path"], "Calls.")
  private static let level = MetricFamily("test_level", .gauge, unit: .none, "A \"level\"\nwith \\ in it.")
  private static let time = MetricFamily(
    "test_duration_seconds", .histogram(buckets: [0.000001, 0.005, 1]), unit: .seconds, labels: ["op"], "Time.")

  @Test func thePageIsWhatPrometheusReads() {
    let registry = PrometheusRegistry(catalogue: [])
    registry.counter(Self.requests, "/b").add(3)
    registry.counter(Self.requests, "/a\"\\\n").add(9_007_199_254_740_993)
    registry.gauge(Self.level).set(-1.5)
    let histogram = registry.histogram(Self.time, "read")
    histogram.observe(nanoseconds: 1_000)
    histogram.observe(nanoseconds: 1_001, count: 4)
    histogram.observe(nanoseconds: 2_000_000_000)
    registry.collect { writer in
      writer.write(MetricFamily("test_collected", .gauge, unit: .none, labels: ["tag"], "Read late."), "x", value: 7)
    }
    #expect(
      registry.scrape() == #"""
        # HELP test_collected Read late.
        # TYPE test_collected gauge
        test_collected{tag="x"} 7
        # HELP test_duration_seconds Time.
        # TYPE test_duration_seconds histogram
        test_duration_seconds_bucket{op="read",le="1e-06"} 1
        test_duration_seconds_bucket{op="read",le="0.005"} 5
        test_duration_seconds_bucket{op="read",le="1"} 5
        test_duration_seconds_bucket{op="read",le="+Inf"} 6
        test_duration_seconds_sum{op="read"} 2.000005004
        test_duration_seconds_count{op="read"} 6
        # HELP test_level A "level"\nwith \\ in it.
        # TYPE test_level gauge
        test_level -1.5
        # HELP test_requests_total Calls.
        # TYPE test_requests_total counter
        test_requests_total{path="/a\"\\\n"} 9007199254740993
        test_requests_total{path="/b"} 3

        """#)
  }

  @Test(arguments: [
    (0.0, "0"), (-0.0, "0"), (1, "1"), (-3, "-3"), (999_999_999_999_999, "999999999999999"), (1e15, "1000000000000000"),
    (1e19, "1e+19"),
    (0.000001, "1e-06"), (0.1, "0.1"), (.infinity, "+Inf"), (-.infinity, "-Inf"), (.nan, "NaN"),
    (1_609_459_200.123, "1609459200.123"),
  ])
  func numbersAreWrittenAsTheFormatWants(value: Double, text: String) {
    #expect(PrometheusText.number(value) == text)
  }

  @Test func theSameLabelsAreTheSameSeries() {
    let registry = PrometheusRegistry(catalogue: [])
    #expect(registry.counter(Self.requests, "/a") === registry.counter(Self.requests, "/a"))
    #expect(registry.counter(Self.requests, "/a") !== registry.counter(Self.requests, "/b"))
  }

  @Test func aSeriesStandsOnThePageOnce() {
    let registry = PrometheusRegistry(catalogue: [])
    registry.gauge(Self.level).set(1.0)
    registry.collect { $0.write(Self.level, value: 2) }
    registry.collect { $0.write(Self.level, value: 3) }
    let lines = registry.scrape().split(separator: "\n").filter { $0.hasPrefix("test_level") }
    #expect(lines == ["test_level 1"])
  }

  @Test func theCatalogueHasNoNameTwiceAndEveryNameFollowsTheConventions() {
    #expect(Set(MetricCatalogue.all.map(\.name)).count == MetricCatalogue.all.count)
    for family in MetricCatalogue.all {
      #expect(!family.help.isEmpty && family.help.hasSuffix("."), "\(family.name)")
      #expect((family.kind == .counter) == family.name.hasSuffix("_total"), "\(family.name)")
      if family.unit == .seconds {
        #expect(family.name.hasSuffix("_seconds") || family.name.hasSuffix("_seconds_total"), "\(family.name)")
      }
      #expect(!family.name.hasSuffix("_bucket") && !family.name.hasSuffix("_count") && !family.name.hasSuffix("_sum"))
    }
    let names = ["id_generate_total", "buffer_usage", "mysql_query_duration_seconds", "ntp_offset_milliseconds"]
    #expect(Set(names).isSubset(of: MetricCatalogue.all.map(\.name)))
    #expect(MetricCatalogue.idGenerate.labels == ["mode"])
    #expect(MetricCatalogue.bufferUsage.labels == ["mode", "buffer"])
  }

  @Test func invalidAndRepeatedNamesStopTheProgram() async {
    await #expect(processExitsWith: .failure) { _ = MetricFamily("1bad", .gauge, unit: .none, "x") }
    await #expect(processExitsWith: .failure) { _ = MetricFamily("bad-name", .gauge, unit: .none, "x") }
    await #expect(processExitsWith: .failure) { _ = MetricFamily("ok", .gauge, unit: .none, labels: ["le"], "x") }
    await #expect(processExitsWith: .failure) {
      let family = MetricFamily("ok", .gauge, unit: .none, "x")
      _ = PrometheusRegistry(catalogue: [family, family])
    }
  }

  @Test func aCounterNeverFalls() {
    let counter = PrometheusCounter()
    counter.add(5)
    counter.add(-3)
    #expect(counter.value == 5)
  }

  @Test func aGaugeAddsUpFromManyThreads() async {
    let gauge = PrometheusGauge()
    let histogram = PrometheusHistogram(buckets: [1])
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<8 {
        group.addTask {
          for _ in 0..<1_000 {
            gauge.increment(by: 2)
            gauge.decrement(by: 1)
            histogram.observe(nanoseconds: 1_000_000_000)
          }
        }
      }
    }
    #expect(gauge.value == 8_000)
    #expect(histogram.reading().cumulative == [8_000, 8_000])
    #expect(histogram.reading().sum == 8_000)
  }

  @Test func observationsFallIntoTheBucketWhoseBoundTheyDoNotPass() {
    let histogram = PrometheusHistogram(buckets: [0.5, 1])
    for value in [-1, 0.5, 0.6, 1, 1.1, .infinity, .nan] { histogram.observe(value) }
    #expect(histogram.reading().cumulative == [2, 4, 6])
    let negative = PrometheusHistogram(buckets: [0.5])
    negative.observe(nanoseconds: -5)
    #expect(negative.reading().cumulative == [1, 1])
    #expect(negative.reading().sum == 0)
  }

  @Test func seriesPastTheLimitAreCountedAndNotShown() {
    let registry = PrometheusRegistry(catalogue: [])
    for index in 0..<PrometheusRegistry.maximumSeriesPerFamily + 2 {
      registry.counter(Self.requests, "\(index)").add(1)
    }
    let lines = registry.scrape().split(separator: "\n")
    #expect(lines.count { $0.hasPrefix("test_requests_total{") } == PrometheusRegistry.maximumSeriesPerFamily)
    #expect(lines.contains("mid_metrics_dropped_series_total 2"))
  }

  @Test func librariesReportThroughSwiftMetrics() {
    let registry = PrometheusRegistry()
    let factory = PrometheusMetricsFactory(registry: registry)
    Counter(label: "id_generate_total", dimensions: [("mode", "segment")], factory: factory).increment(by: 2)
    Timer(label: "mysql_query_duration_seconds", factory: factory).recordNanoseconds(5_000_000)
    Gauge(label: "buffer_usage", dimensions: [("buffer", "buffer1"), ("mode", "segment")], factory: factory).record(9)
    Counter(label: "lib.hits", dimensions: [("le", "x"), ("a b", "y")], factory: factory).increment()
    Timer(label: "lib.time", factory: factory).recordSeconds(1)
    Meter(label: "9lives", factory: factory).increment(by: 9)
    Recorder(label: "lib.size", factory: factory).record(3)
    FloatingPointCounter(label: "lib.work", factory: factory).increment(by: 2.5)
    let page = registry.scrape()
    for line in [
      #"id_generate_total{mode="segment"} 2"#, #"mysql_query_duration_seconds_bucket{le="0.005"} 1"#,
      #"buffer_usage{mode="segment",buffer="buffer1"} 9"#, #"lib_hits_total{a_b="y",label_le="x"} 1"#,
      "lib_time_seconds_count 1", "_9lives 9", #"lib_size_bucket{le="+Inf"} 1"#, "lib_work_total 2",
      "# HELP lib_hits_total Reported by a library as lib.hits.",
    ] {
      #expect(page.contains("\n\(line)\n") || page.hasPrefix("\(line)\n"), "\(line)")
    }
  }

  @Test func aNameUsedForAnotherTypeIsDroppedAndCounted() {
    let registry = PrometheusRegistry()
    let factory = PrometheusMetricsFactory(registry: registry)
    Counter(label: "thing_total", factory: factory).increment()
    Meter(label: "thing_total", factory: factory).set(5)
    #expect(registry.scrape().contains("\nthing_total 1\n"))
    #expect(registry.scrape().contains("\nmid_metrics_dropped_series_total 1\n"))
  }
}
