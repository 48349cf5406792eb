internal import Synchronization

extension SegmentGenerator {
  /// The next id, waiting for a load where nothing is cached: for callers in this process.
  ///
  /// - Throws: As ``enqueue(count:completion:)``; ``IDError/Code/deadlineExceeded`` where the task was cancelled.
  public func nextID() async throws(IDError) -> Int64 {
    if let id = self.next() { return id }
    let ranges = try await self.batch(of: 1)
    guard let id = ranges.first?.start else {
      throw IDError(.notReady, "tag '\(self.tag)' answered no id")
    }
    return id
  }

  /// Exactly `count` ids, 1 to 1,000,000, waiting for a load where too few are cached: for callers in this process.
  ///
  /// - Throws: As ``enqueue(count:completion:)``; ``IDError/Code/deadlineExceeded`` where the task was cancelled.
  public func batch(of count: Int64) async throws(IDError) -> [IDRange] {
    let call = WaitingCall()
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let outcome = self.enqueue(count: count) { continuation.resume(returning: $0) }
        if case .waiting(let id) = outcome, call.isCancelled(afterWaitingAs: id) { self.cancel(id) }
      }
    } onCancel: {
      if let id = call.cancel() { self.cancel(id) }
    }
    return try result.get()
  }
}

/// Brings a call's cancellation and its place in line together, whichever is known first.
private final class WaitingCall: Sendable {
  private let state = Mutex<(id: WaiterID?, isCancelled: Bool)>((nil, false))

  func isCancelled(afterWaitingAs id: WaiterID) -> Bool {
    self.state.withLock { state in
      state.id = id
      return state.isCancelled
    }
  }

  func cancel() -> WaiterID? {
    self.state.withLock { state in
      state.isCancelled = true
      return state.id
    }
  }
}
