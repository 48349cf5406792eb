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
