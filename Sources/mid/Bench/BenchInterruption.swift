import Dispatch
import Foundation
import Synchronization

/// Ctrl-C and SIGTERM: the first ends the run early, so that its result is still told; the second ends the program.
final class BenchInterruption: Sendable {
  private struct State {
    var count = 0
    var action: (@Sendable () -> Void)?
  }

  private let state = Mutex(State())

  /// Whether the run was ended from outside.
  var isInterrupted: Bool { self.state.withLock { $0.count > 0 } }

  /// What ends the run that is under way; called at once where the signal has come before.
  func onInterrupt(_ action: @escaping @Sendable () -> Void) {
    let isLate = self.state.withLock { state in
      state.action = action
      return state.count > 0
    }
    if isLate { action() }
  }

  /// Takes one signal.
  func interrupt() {
    let (count, action) = self.state.withLock { state in
      state.count += 1
      return (state.count, state.action)
    }
    if count > 1 { exit(128 + SIGINT) }
    action?()
  }

  /// Listens for the signals while `body` runs.
  func during<Value>(_ body: () async throws -> Value) async rethrows -> Value {
    let sources = [SIGINT, SIGTERM].map { number in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler { self.interrupt() }
      source.resume()
      return source
    }
    defer {
      for source in sources { source.cancel() }
      for number in [SIGINT, SIGTERM] { signal(number, SIG_DFL) }
    }
    return try await body()
  }
}
