import Foundation
import MidRPC
import Testing

@testable import mid

@Suite("What mid bench prints")
struct BenchOutputTests {
  private func result(_ change: (inout BenchResult) -> Void = { _ in }) -> BenchResult {
    var record = BenchRecorder.Record()
    for value in UInt64(1)...1_000 { record.latency.record(value * 1_000_000) }
    record.ids = 1_000
    var result = BenchResult(
      server: "h:1", plan: BenchPlan(), seconds: 2, record: record, broken: BrokenPromises(),
      distinctness: .searched(ids: 1_000, missed: 0, duplicates: 0, examples: []))
    change(&result)
    return result
  }

  @Test func `a good run is seven lines`() {
    let result = self.result()
    #expect(result.isGood)
    let lines = BenchReport.lines(result)
    #expect(
      lines == [
        "calls        1,000 in 2.00 s", "calls/s      500", "ids/s        500",
        "latency      mean 500 ms  p50 500 ms  p90 900 ms  p99 990 ms  p99.9 999 ms  max 1.00 s",
        "errors       none", "ids          1,000, all positive, distinct, in order",
      ])
    #expect(
      BenchReport.heading(result.plan, server: "h:1")
        == "h:1 pb.IDMaker/MakeIDService, snowflake, 8 connections × 32 in flight")
  }

  @Test func `errors are told by code, with the first message`() {
    let result = self.result {
      $0.record.errors = [.unavailable: 3, .notFound: 1]
      $0.record.messages = [.unavailable: "gone", .notFound: ""]
    }
    #expect(!result.isGood)
    let lines = BenchReport.lines(result)
    #expect(lines.contains("errors       4"))
    #expect(lines.contains("             NOT_FOUND 1"))
    #expect(lines.contains("             UNAVAILABLE 3, at first: gone"))
  }

  @Test func `broken promises name the ids`() {
    let result = self.result {
      $0.broken.add(notPositive: 0)
      $0.broken.add(outOfOrder: 4, floor: 5)
      $0.broken.add(malformed: "odd")
      $0.distinctness = .searched(ids: 10, missed: 5, duplicates: 2, examples: [7, 9])
    }
    #expect(!result.isGood)
    let text = BenchReport.lines(result).joined(separator: "\n")
    for part in [
      "NOT POSITIVE: 1, such as 0", "OUT OF ORDER: 1, such as 4 after 5", "WRONG REPLIES: 1, such as: odd",
      "TWICE: 2, such as 7, 9", "distinctness was checked for 10 ids only; 5 more found no room in memory",
    ] {
      #expect(text.contains(part), "\(part) in \(text)")
    }
    #expect(!text.contains("all positive"))
  }

  @Test func `where memory was full no more is claimed than was looked at`() throws {
    let result = self.result { $0.distinctness = .searched(ids: 600, missed: 400, duplicates: 0, examples: []) }
    #expect(result.isGood)
    let text = BenchReport.lines(result).joined(separator: "\n")
    #expect(
      text.contains("ids          1,000, all positive, in order; distinct as far as looked at (600 of 1,000)\n"))
    #expect(!text.contains("positive, distinct"))
    let json = try BenchJSON.text(result)
    #expect(json.contains(#""distinctness_checked":600,"distinctness_missed":400,"#))
  }

  @Test func `a rate that was not reached is told and is not good`() throws {
    let result = self.result { $0.record.add(CallSchedule.Unsent(calls: 1_500, waited: 2_000_000_000)) }
    #expect(!result.isGood)
    #expect(result.areIDsGood)
    let lines = BenchReport.lines(result)
    #expect(lines[0] == "calls        1,000 in 2.00 s")
    #expect(lines[3].hasPrefix("latency "))
    #expect(lines[3].hasSuffix("p90 2.00 s  p99 2.00 s  p99.9 2.00 s  max 2.00 s"))
    let told = "not reached: 1,500 calls were due and had not been sent; they count with the time they had waited"
    #expect(lines.contains("rate         \(told)"))
    let object = try #require(
      try JSONSerialization.jsonObject(with: Data(try BenchJSON.text(result).utf8)) as? [String: Any])
    #expect(object["calls"] as? Int == 1_000)
    #expect(object["calls_unsent"] as? Int == 1_500)
    #expect(object["good"] as? Bool == false)
  }

  @Test func `what was not checked is said`() {
    let off = self.result {
      $0.plan.check = .off
      $0.distinctness = .off
    }
    #expect(BenchReport.lines(off).suffix(2).joined().contains("not checked: distinct, in order"))
    #expect(!BenchReport.lines(off).joined().contains("positive, distinct"))
    let distinct = self.result { $0.plan.check = .distinct }
    #expect(BenchReport.lines(distinct).suffix(2).joined().contains("not checked: order"))
  }

  @Test func `a run without one answer is not good`() {
    #expect(!self.result { $0.record.latency = LatencyRecord() }.isGood)
  }

  @Test func `the table is the original's, column for column`() {
    let plans = BenchTable.plans(BenchPlan())
    #expect(plans.map(\.inFlight) == [10, 50, 100, 200, 10, 50, 100, 200])
    #expect(plans.allSatisfy { $0.connections == 1 })
    let results = [plans[0], plans[7]].map { plan in self.result { $0.plan = plan } }
    #expect(
      BenchTable.lines(results) == [
        "| Mode      | Concurrency | QPS (requests/s) | Average latency (ms) | P99 latency (ms) | Errors |",
        "| --------- | ----------- | ---------------- | -------------------- | ---------------- | ------ |",
        "| Snowflake | 10          | 500.00           | 500.50               | 990.38           | 0      |",
        "| Segment   | 200         | 500.00           | 500.50               | 990.38           | 0      |",
      ])
  }

  @Test func `the JSON is one object on one line, with everything`() throws {
    let text = try BenchJSON.text(
      self.result {
        $0.record.errors = [.unavailable: 3]
        $0.broken.add(outOfOrder: 4, floor: 5)
        $0.distinctness = .searched(ids: 1_000, missed: 0, duplicates: 1, examples: [7])
      })
    #expect(!text.contains("\n"))
    let object = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    #expect(
      Set(object.keys) == [
        "server", "method", "mode", "connections", "in_flight", "seconds", "interrupted", "calls", "calls_per_second",
        "ids", "ids_per_second", "latency_nanoseconds", "errors", "errors_by_code", "error_messages", "calls_repeated",
        "calls_unsent", "connections_lost", "connections_drained", "connections_given_up", "id_checks", "good",
      ])
    #expect(object["calls_per_second"] as? Double == 500)
    #expect(object["good"] as? Bool == false)
    #expect(object["errors_by_code"] as? [String: Int] == ["UNAVAILABLE": 3])
    let latency = try #require(object["latency_nanoseconds"] as? [String: Any])
    #expect(Set(latency.keys) == ["mean", "p50", "p90", "p99", "p99.9", "max", "percentiles"])
    #expect((latency["percentiles"] as? [[String: Double]])?.count == LatencyRecord.percentiles.count)
    let checks = try #require(object["id_checks"] as? [String: Any])
    #expect(checks["duplicates"] as? Int == 1)
    #expect(checks["duplicate_examples"] as? [Int] == [7])
    #expect(checks["out_of_order_examples"] as? [[Int]] == [[4, 5]])
    let table = try #require(
      try JSONSerialization.jsonObject(with: Data(try BenchJSON.text(table: [self.result()]).utf8)) as? [String: Any])
    #expect((table["table"] as? [Any])?.count == 1)
  }

  @Test func `numbers and times are easy to read`() {
    #expect([0, 999, 1_000, -1_234_567].map(BenchReport.grouped) == ["0", "999", "1,000", "-1,234,567"])
    #expect([1_500.0, 98_760, 1.234e6, 2.5e9].map(BenchReport.time) == ["1.50 µs", "98.8 µs", "1.23 ms", "2.50 s"])
    let progress = BenchProgress.text(
      .init(calls: 3_000, ids: 3_000, errors: 1), since: .init(calls: 1_000, ids: 1_000), seconds: 2,
      elapsed: .seconds(4))
    #expect(progress == "4 s  1,000 calls/s  1,000 ids/s  1 errors")
  }
}
