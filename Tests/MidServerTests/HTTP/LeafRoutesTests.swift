import Foundation
import HTTPTypes
import MidCore
import Synchronization
import Testing

@testable import MidServer

@Suite("Leaf's paths")
struct LeafRoutesTests {
  @Test(arguments: [
    (IDError.Code.notReady, -1), (.unknownTag, -2), (.invalidArgument, -2), (.overloaded, -3), (.storeUnavailable, -3),
    (.storeRejected, -3), (.deadlineExceeded, -3), (.wentBackwards, -3), (.exhausted, -3),
  ])
  func segmentFailuresHaveLeafsNumbers(_ code: IDError.Code, _ number: Int) {
    #expect(LeafRoutes.segmentCode(code) == number)
  }

  @Test(arguments: [
    (IDError.Code.clockBehind, -3), (.deadlineExceeded, -1), (.leaseLost, -1), (.notReady, -1), (.exhausted, -1),
  ])
  func snowflakeFailuresHaveLeafsNumbers(_ code: IDError.Code, _ number: Int) {
    #expect(LeafRoutes.snowflakeCode(code) == number)
  }

  @Test func idsAreBareText() async throws {
    let door = try HTTPDoor()
    for (number, method) in HTTPRouter.everyMethod.filter({ $0 != .head }).enumerated() {
      let answer = try await door.ask("/api/segment/get/default", method: method)
      #expect(answer == .init(status: 200, type: "text/plain;charset=UTF-8", text: "\(number + 1)"))
    }
    let flake = try await door.ask("/api/snowflake/get/anything")
    #expect(flake.status == 200 && Int64(flake.text) ?? 0 > 0)
  }

  @Test func aFailureIsWrittenAsLeafsFrameworkDoes() async throws {
    let door = try HTTPDoor(maximumWait: .milliseconds(10))
    door.server.loads.withLock { $0 = .held }
    let answer = try await door.ask("/api/segment/get/default?x=1")
    #expect(
      answer
        == .init(
          status: 500, type: "application/json;charset=UTF-8",
          text: #"{"timestamp":1700000000000,"status":500,"error":"Internal Server Error","#
            + #""message":"Result{id=-3, status=EXCEPTION}","path":"/api/segment/get/default"}"#))
    let bad = try await door.ask("/api/segment/get/a%00b")
    #expect(bad.status == 500 && bad.text.contains("Result{id=-2, status=EXCEPTION}"))
  }

  @Test(arguments: [
    // The last millisecond before 1970, a leap day, and the example of Leaf's own text.
    (Int64(-1), "1969-12-31 23:59:59.999"), (951_782_400_007, "2000-02-29 00:00:00.007"),
    (1_567_733_700_834, "2019-09-06 01:35:00.834"),
  ])
  func localTimeIsThatOfTheZone(_ milliseconds: Int64, _ utc: String) throws {
    // The zone of the machine that runs the tests is not known: what differs from UTC is whole quarters of an hour.
    let format = "yyyy-MM-dd HH:mm:ss.SSS"
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.dateFormat = format
    formatter.timeZone = .current
    let text = LocalTime.text(milliseconds: milliseconds)
    #expect(text == formatter.string(from: Date(timeIntervalSince1970: Double(milliseconds) / 1000)))
    if TimeZone.current.secondsFromGMT(for: Date(timeIntervalSince1970: Double(milliseconds) / 1000)) == 0 {
      #expect(text == utc)
    }
  }

  @Test(arguments: [
    ("0", 0), ("-0", 0), ("+5", 5), ("-1", -1), ("007", 7), ("9223372036854775807", Int64.max),
    ("-9223372036854775808", .min), ("\u{663}\u{967}\u{FF10}", 310),
  ])
  func aNumberIsWhatJavaTakesForOne(_ text: String, _ number: Int64) {
    #expect(LeafRoutes.number(text) == number)
  }

  @Test(arguments: [
    "", "+", "-", "x", " 5", "5 ", "1.5", "0x10", "--5", "5-", "1,2", "1_000", "9223372036854775808",
    "-9223372036854775809", "\u{2460}", "\u{BD}", "\u{1D7CF}",
  ])
  func whatJavaTakesForNoNumberIsNone(_ text: String) { #expect(LeafRoutes.number(text) == nil) }

  @Test(arguments: [
    // Any 64 bits are taken apart by shifts; this layout's epoch is 2021.
    ("-1", 1_609_459_199_999, 4095, 1023), ("0", 1_609_459_200_000, 0, 0), ("%2B4097", 1_609_459_200_000, 1, 1),
    ("-4096", 1_609_459_199_999, 0, 1023), ("-9223372036854775808", -589_564_055_552, 0, 0),
  ])
  func anyNumberIsTakenApart(_ text: String, _ time: Int64, _ sequence: Int, _ worker: Int) async throws {
    let answer = try await HTTPDoor().ask("/decodeSnowflakeId?snowflakeId=\(text)")
    #expect(
      answer.text
        == #"{"timestamp":"\#(time)(\#(time) here)","sequenceId":"\#(sequence)","workerId":"\#(worker)"}"#)
  }

  @Test(arguments: ["snowflakeId=", "snowflakeId", "snowflakeId=+5", "snowflakeId=1&snowflakeId=2", "snowflakeId=x"])
  func whatIsNoNumberIsToldInLeafsWords(_ query: String) async throws {
    let answer = try await HTTPDoor().ask("/decodeSnowflakeId?\(query)")
    #expect(answer.status == 200 && answer.text == "{\"errorMsg\":\"snowflake Id反解析发生异常!\"}")
  }

  @Test func pagesShowAThousandTagsAndSayHowManyThereAre() async throws {
    let door = try HTTPDoor()
    var records: [TagRecord] = []
    for number in 0..<1_000 { records.append(TagRecord(tag: try Tag("t\(1_000 + number)"), maxID: 0, step: 10)) }
    door.server.directory.refreshed(records)
    let all = try await door.ask("/db").text
    #expect(all.components(separatedBy: "<tr>").count == 1 + 1 + 1_000 && !all.contains("<p>"))
    records.append(TagRecord(tag: try Tag("t0"), maxID: 0, step: 10))
    door.server.directory.refreshed(records)
    let page = try await door.ask("/db").text
    #expect(page.components(separatedBy: "<tr>").count == 1 + 1 + 1_000)
    #expect(page.contains("<td>t0</td>") && page.contains("<td>t1998</td>") && !page.contains("<td>t1999</td>"))
    #expect(page.contains("<p>The first 1000 of 1001 tags, by name.</p>"))
    for record in records { #expect(try await door.ask("/api/segment/get/\(record.tag.name)").status == 200) }
    let cache = try await door.ask("/cache").text
    #expect(cache.components(separatedBy: "<tr>").count == 1 + 1 + 1_000)
    #expect(cache.contains("<p>The first 1000 of 1001 tags, by name.</p>"))
  }

  @Test func pagesEscapeWhatTheyShow() async throws {
    let door = try HTTPDoor()
    door.server.directory.refreshed([
      TagRecord(tag: .default, maxID: 0, step: 1000), TagRecord(tag: try Tag("<script>\"&'"), maxID: 7, step: 9),
      // One character to Swift, two to a browser.
      TagRecord(tag: try Tag("\u{600}<img>"), maxID: 7, step: 9),
    ])
    let page = try await door.ask("/db")
    #expect(page.type == "text/html;charset=UTF-8" && !page.text.contains("<script>"))
    #expect(Array(page.text.utf8).firstRange(of: Array("<img".utf8)) == nil)
    #expect(page.text.contains("<td>&lt;script&gt;&quot;&amp;&#39;</td><td>7</td><td>9</td>"))
    _ = try await door.ask("/api/segment/get/default")
    #expect(
      try await door.ask("/cache").text.contains(
        "<td>default</td><td>true</td><td>false</td><td>0</td><td>2</td><td>1001</td><td>1000</td><td>0</td><td>0</td>")
    )
  }
}
