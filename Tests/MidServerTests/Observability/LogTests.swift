import Foundation
import Logging
import Synchronization
import Testing

@testable import MidServer

@Suite struct LogTests {
  private final class Lines: Sendable {
    let lines = Mutex<[String]>([])
  }

  private struct Failure: Error, CustomStringConvertible {
    let description = "broken"
  }

  private func logger(_ style: LineLogHandler.Style, _ lines: Lines) -> Logger {
    Logger(label: "mid.test") { label in
      LineLogHandler(
        label: label, level: .info, style: style, now: { 1_609_459_200_007 },
        write: { line in lines.lines.withLock { $0.append(line) } })
    }
  }

  @Test func anEventIsOneJSONObjectOnOneLine() throws {
    let lines = Lines()
    var logger = self.logger(.json, lines)
    logger[metadataKey: "node"] = "n1"
    logger.info(
      "say \"hi\"\n\u{1}\u{2028}ü😀\\",
      metadata: [
        "number": .stringConvertible(7), "part": .stringConvertible(0.5), "flag": .stringConvertible(true),
        "list": ["a", .stringConvertible(2)], "map": ["k": "v"], "time": "mine", "node": "n2",
        "nan": .stringConvertible(Double.nan),
      ])
    let line = try #require(lines.lines.withLock { $0.first })
    #expect(
      line == #"{"time":"2021-01-01T00:00:00.007Z","level":"info","logger":"mid.test","#
        + #""message":"say \"hi\"\n\u0001\u2028ü😀\\","flag":true,"list":["a",2],"map":{"k":"v"},"nan":"nan","#
        + #""node":"n2","number":7,"part":0.5,"metadata_time":"mine"}"# + "\n")
    let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    #expect(object["message"] as? String == "say \"hi\"\n\u{1}\u{2028}ü😀\\")
  }

  @Test func textIsForPeopleAndStaysOneLine() {
    let lines = Lines()
    self.logger(.text, lines).warning(
      "two\nlines\u{1B}[31m", metadata: ["b": "x y", "a": "1", "c": "", "d": "q\"", "e": "l\nf"])
    #expect(
      lines.lines.withLock { $0 } == [
        "2021-01-01T00:00:00.007Z WARNING  mid.test: two\\nlines\\u001b[31m a=1 b=\"x y\" c=\"\" d=\"q\\\"\" e=l\\nf\n"
      ])
  }

  @Test func eventsBelowTheLevelAreNotWritten() {
    let lines = Lines()
    self.logger(.json, lines).debug("quiet")
    #expect(lines.lines.withLock { $0.isEmpty })
  }

  @Test func anErrorBecomesAField() {
    let lines = Lines()
    self.logger(.text, lines).error("failed", error: Failure(), metadata: nil)
    #expect(lines.lines.withLock { $0.first }?.hasSuffix("mid.test: failed error=broken\n") == true)
  }

  @Test func theFormatIsChosenByTheConfigurationOrTheTerminal() {
    #expect(LineLogHandler.style(for: .auto, isTerminal: true) == .text)
    #expect(LineLogHandler.style(for: .auto, isTerminal: false) == .json)
    #expect(LineLogHandler.style(for: .json, isTerminal: true) == .json)
    #expect(LineLogHandler.style(for: .text, isTerminal: false) == .text)
  }

  @Test(arguments: [
    (0, "1970-01-01T00:00:00.000Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
    (1_709_251_199_999, "2024-02-29T23:59:59.999Z"), (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
    (-1, "1969-12-31T23:59:59.999Z"), (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
  ])
  func timesAreRFC3339(milliseconds: Int64, text: String) {
    #expect(LogTime.text(milliseconds: milliseconds) == text)
  }

  @Test func datesAgreeWithFoundationsOverFourCenturies() {
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = .gmt
    for days in stride(from: Int64(-36_525), to: 146_097, by: 13) {
      let parts = calendar.dateComponents(
        [.year, .month, .day], from: Date(timeIntervalSince1970: Double(days) * 86_400))
      let date = LogTime.date(daysSince1970: days)
      #expect(parts.year == Int(date.year) && parts.month == Int(date.month) && parts.day == Int(date.day), "\(days)")
    }
  }
}
