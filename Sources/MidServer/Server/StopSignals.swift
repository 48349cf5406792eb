import ServiceLifecycle
import Synchronization
import UnixSignals

/// Catches SIGTERM and SIGINT from the first moment of a start on, and stops the group of services at the first one.
///
/// The group itself would catch them only once it runs; one that came sooner, while the store or NTP servers are waited
/// for, would end the process without a word.
final class StopSignals: Service {
  private struct State {
    var isTold = false
    var step: Task<Void, any Error>?
  }

  private let state = Mutex(State())
  private let told = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
  private let signals: UnixSignalsSequence

  /// Traps the signals; nothing is done about one before ``watch()``.
  init() async {
    self.signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
  }

  /// Notices signals until the task is cancelled.
  func watch() async {
    for await _ in self.signals {
      self.told.continuation.yield()
      let step = self.state.withLock { state in
        state.isTold = true
        return state.step
      }
      step?.cancel()
    }
  }

  /// Does a step of the start, which is cancelled by a signal.
  ///
  /// - Throws: what the step throws, unless a signal came meanwhile: then nobody wants to know.
  func during(_ step: @escaping @Sendable () async throws -> Void) async throws {
    let task = Task { try await step() }
    let isTold = self.state.withLock { state in
      state.step = task
      return state.isTold
    }
    if isTold { task.cancel() }
    defer { self.state.withLock { $0.step = nil } }
    do {
      try await task.value
    } catch {
      guard self.state.withLock({ $0.isTold }) else { throw error }
    }
  }

  /// Returns at a signal, also one that came before, or at graceful shutdown.
  func run() async {
    await cancelWhenGracefulShutdown {
      for await _ in self.told.stream { return }
    }
  }
}
