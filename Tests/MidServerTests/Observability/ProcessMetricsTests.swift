import Testing

@testable import MidServer

@Suite struct ProcessMetricsTests {
  @Test func aProgramNameWithSpacesAndParenthesesIsNoTrouble() throws {
    let line = "42 (a) b (c) S 1 42 42 0 -1 4194560 2000 0 0 0 150 25 0 0 20 0 5 0 123456 1000000 2560 18446744073"
    let statistics = try #require(ProcessStatistics(line))
    #expect(statistics.cpuTicks == 175)
    #expect(statistics.startTicks == 123_456)
    #expect(statistics.residentPages == 2_560)
  }

  @Test(arguments: ["", "42 (a) S 1", "no parenthesis"])
  func anythingElseIsNoStatistics(text: String) {
    #expect(ProcessStatistics(text) == nil)
  }

  @Test func theBootTimeIsFound() {
    #expect(ProcessStatistics.bootTime("cpu 1 2\nbtime 1700000000\nprocesses 5\n") == 1_700_000_000)
    #expect(ProcessStatistics.bootTime("cpu 1 2\n") == nil)
  }

  #if os(Linux)
    @Test func thisProcessIsMeasured() {
      let registry = PrometheusRegistry()
      ProcessMetrics.register(in: registry, version: "1.2.3")
      let page = registry.scrape()
      #expect(page.contains("mid_build_info{version=\"1.2.3\",os=\"linux\",arch=\""))
      for name in [
        "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds",
      ] {
        let value = page.split(separator: "\n").first { $0.hasPrefix("\(name) ") }?.split(separator: " ").last
        #expect(value.flatMap { Double($0) }.map { $0 > 0 } == true, "\(name)")
      }
    }
  #endif
}
