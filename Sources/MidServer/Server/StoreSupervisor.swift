package import Logging
package import MidCore
import ServiceLifecycle
import Synchronization

/// Brings the store up, however long that takes, and closes it last of all.
package final class StoreSupervisor: Service {
  private struct State {
    var isReady = false
    var waiters: [UInt64: CheckedContinuation<Void, any Error>] = [:]
    var nextWaiter: UInt64 = 0
  }

  private let store: any OpenableStore
  private let logger: Logger
  private let state = Mutex(State())

  /// Creates a supervisor of a store that was not prepared yet.
  package init(store: any OpenableStore, logger: Logger) {
    self.store = store
    self.logger = logger
  }

  /// Whether the store has been prepared. It may be away again by now.
  package var isReady: Bool { self.state.withLock { $0.isReady } }

  /// Tries once, before anything is served.
  ///
  /// - Throws: what only an operator can mend: ``IDError/Code/storeRejected`` and the like. A store that does not answer
  ///   is no error here; ``run()`` goes on trying.
  package func tryOnce() async throws(IDError) {
    do throws(IDError) {
      try await self.store.prepare()
      self.becomeReady()
    } catch {
      guard error.code == .storeUnavailable else { throw error }
      self.logger.warning(
        "store not reached, trying on", metadata: ["store": "\(self.store.location)", "error": "\(error)"])
    }
  }

  /// Returns once the store was prepared.
  ///
  /// - Throws: `CancellationError` where the task was cancelled first.
  package func waitUntilReady() async throws {
    let id = self.state.withLock { state in
      state.nextWaiter += 1
      return state.nextWaiter
    }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        // Read once: a cancellation that comes after this reading finds the waiter, one before it is seen here.
        let isDone = self.state.withLock { state in
          guard !state.isReady && !Task.isCancelled else { return true }
          state.waiters[id] = continuation
          return false
        }
        if isDone { continuation.resume() }
      }
      try Task.checkCancellation()
    } onCancel: {
      let waiter = self.state.withLock { $0.waiters.removeValue(forKey: id) }
      waiter?.resume(throwing: CancellationError())
    }
  }

  /// Tries until the store is there, then waits for the end and closes it.
  package func run() async throws {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { await self.keepTrying() }
      do {
        try await gracefulShutdown()
      } catch {
        // Cancelled: the same end, sooner.
      }
      group.cancelAll()
      await group.waitForAll()
    }
    await self.store.close()
  }

  private func keepTrying() async {
    var pause: Duration = .milliseconds(100)
    while !self.isReady {
      do {
        try await Task.sleep(for: pause * Double.random(in: 0.5...1))
      } catch {
        return
      }
      pause = min(pause * 2, .seconds(2))
      do throws(IDError) {
        try await self.store.prepare()
        self.becomeReady()
        self.logger.info("store reached", metadata: ["store": "\(self.store.location)"])
      } catch {
        self.logger.warning(
          "retry: store not ready", metadata: ["store": "\(self.store.location)", "error": "\(error)"])
      }
    }
  }

  private func becomeReady() {
    for warning in self.store.durabilityWarnings {
      self.logger.warning("store not durable", metadata: ["store": "\(self.store.location)", "reason": "\(warning)"])
    }
    let waiters = self.state.withLock { state in
      state.isReady = true
      defer { state.waiters = [:] }
      return Array(state.waiters.values)
    }
    for waiter in waiters { waiter.resume() }
  }
}
