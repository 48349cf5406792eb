import Foundation
import Synchronization

/// One line on standard error that changes, where that is a terminal.
final class BenchProgress: Sendable {
  private struct State {
    var last = BenchRecorder.Progress()
    var lastTime = ContinuousClock.now
    var width = 0
  }

  /// Whether anybody looks on.
  let isOn: Bool
  private let label: String
  private let start = ContinuousClock.now
  private let state = Mutex(State())

  /// Creates the line of one run; `label` stands at its beginning.
  init(isOn: Bool, label: String = "") {
    self.isOn = isOn
    self.label = label
  }

  /// Says where the run stands; rates are those since the last time.
  func tell(_ progress: BenchRecorder.Progress) {
    let now = ContinuousClock.now
    let elapsed = self.start.duration(to: now)
    self.state.withLock { state in
      let seconds = state.lastTime.duration(to: now).inSeconds
      let text = Self.text(progress, since: state.last, seconds: seconds, elapsed: elapsed)
      state.last = progress
      state.lastTime = now
      let line = self.label + text
      let blanks = String(repeating: " ", count: max(0, state.width - line.count))
      state.width = line.count
      Self.write("\r\(line)\(blanks)")
    }
  }

  /// Takes the line away.
  func end() {
    let width = self.state.withLock { $0.width }
    if self.isOn && width > 0 { Self.write("\r\(String(repeating: " ", count: width))\r") }
  }

  /// The line's text.
  static func text(
    _ progress: BenchRecorder.Progress, since last: BenchRecorder.Progress, seconds: Double, elapsed: Duration
  ) -> String {
    let rate = seconds > 0 ? Double(progress.calls - last.calls) / seconds : 0
    let ids = seconds > 0 ? Double(progress.ids - last.ids) / seconds : 0
    let errors = progress.errors == 0 ? "" : "  \(BenchReport.grouped(progress.errors)) errors"
    return "\(Int(elapsed.inSeconds.rounded())) s  \(BenchReport.number(rate)) calls/s  "
      + "\(BenchReport.number(ids)) ids/s\(errors)"
  }

  private static func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}
