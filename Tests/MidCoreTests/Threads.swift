import Foundation
import MidCore
import MidTestKit
import Synchronization
import Testing

/// Runs `body` on `count` threads of its own at once and waits for them all.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  let group = DispatchGroup()
  for index in 0..<count {
    group.enter()
    let thread = Thread {
      body(index)
      group.leave()
    }
    thread.start()
  }
  group.wait()
}

/// Collects one value from each thread.
final class Collected<Value: Sendable>: Sendable {
  private let values = Mutex<[Value]>([])

  func append(_ value: Value) { self.values.withLock { $0.append(value) } }
  var all: [Value] { self.values.withLock { $0 } }
}

/// All violations of what was recorded.
func violations(of recorders: [UniquenessChecker.Recorder]) -> [UniquenessChecker.Violation] {
  var checker = UniquenessChecker()
  for recorder in recorders { checker.add(recorder) }
  return checker.violations()
}

extension IDRange {
  var ids: [Int64] { Array(Swift.stride(from: self.start, to: self.end, by: Int64.Stride(self.stride))) }
}

extension SnowflakeOutcome {
  /// The id, or nil.
  var id: Int64? {
    if case .id(let id) = self { id } else { nil }
  }
  var wait: SnowflakeWait? {
    if case .wait(let wait) = self { wait } else { nil }
  }
  var error: IDError? {
    if case .failure(let error) = self { error } else { nil }
  }
}

extension SnowflakeBatchOutcome {
  var ranges: [IDRange] {
    if case .ids(let ranges) = self { ranges } else { [] }
  }
  var wait: SnowflakeWait? {
    if case .wait(let wait) = self { wait } else { nil }
  }
  var error: IDError? {
    if case .failure(let error) = self { error } else { nil }
  }
}
