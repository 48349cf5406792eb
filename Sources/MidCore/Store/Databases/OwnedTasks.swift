internal import Synchronization

/// Tasks that may outlive the call which began them, because nobody waits for a database that is late. They have an
/// owner all the same: ``finish()`` waits for every one.
final class OwnedTasks: Sendable {
  private struct State {
    var tasks: [UInt64: Task<Void, Never>] = [:]
    var next: UInt64 = 0
  }

  private let state = Mutex(State())

  /// Starts `body` in a task of its own.
  @discardableResult
  func start(_ body: @escaping @Sendable () async -> Void) -> Task<Void, Never> {
    self.state.withLock { state in
      let id = state.next
      state.next += 1
      let task = Task {
        await body()
        self.forget(id)
      }
      state.tasks[id] = task
      return task
    }
  }

  /// Waits until no task is left.
  func finish() async {
    while let task = self.state.withLock({ $0.tasks.values.first }) { await task.value }
  }

  private func forget(_ id: UInt64) { self.state.withLock { $0.tasks[id] = nil } }
}
