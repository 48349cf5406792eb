package import Logging
package import MidCore
import ServiceLifecycle
import Synchronization

/// The tokens of Tinyid's clients: read from the store once somebody asks for one, and again at intervals from then on.
/// Safe to use from any thread.
package final class TinyidTokens: Service {
  private struct State {
    /// By tag; nil where the table was never read.
    var tokens: [String: [[UInt8]]]?
    /// Why the last read failed.
    var error: IDError?
    var isClosed = false
    var waiters: [CheckedContinuation<Void, Never>] = []
  }

  private let store: any TokenStore
  private let interval: Duration
  private let logger: Logger
  private let state = Mutex(State())
  private let asked: (stream: AsyncStream<Void>, continuation: AsyncStream<Void>.Continuation)

  /// Creates a book that knows nothing yet.
  ///
  /// - Parameters:
  ///   - interval: How often the table is read again; after a failure, each second where that is less.
  ///   - logger: Is told how many tokens there are, and of failures. Never of a token.
  package init(store: any TokenStore, interval: Duration, logger: Logger) {
    self.store = store
    self.interval = interval
    self.logger = logger
    self.asked = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingOldest(1))
  }

  /// Reads until graceful shutdown.
  package func run() async throws {
    do {
      try await cancelWhenGracefulShutdown {
        for await _ in self.asked.stream { break }
        while true {
          try Task.checkCancellation()
          let isRead = await self.read()
          try await Task.sleep(for: isRead ? self.interval : min(self.interval, .seconds(1)))
        }
      }
    } catch is CancellationError {
      // The service ends.
    }
    self.letGo { $0.isClosed = true }
  }

  /// Whether a client with `token` may have ids of the tag named `name`. The first call waits until the table was read.
  ///
  /// How long it takes to compare depends on the token that was given and on how many the tag has, not on what they are.
  ///
  /// - Throws: ``MidCore/IDError`` of the store where the table was never read, unless there is none:
  ///   then nobody has a token.
  package func allow(_ token: String, for name: String) async throws(IDError) -> Bool {
    self.asked.continuation.yield()
    await withCheckedContinuation { continuation in
      let isKnown = self.state.withLock { state in
        guard state.tokens == nil, state.error == nil, !state.isClosed else { return true }
        state.waiters.append(continuation)
        return false
      }
      if isKnown { continuation.resume() }
    }
    let (tokens, error) = self.state.withLock { ($0.tokens, $0.error) }
    guard let tokens else {
      if let error, error.code == .storeRejected { return false }
      throw error ?? IDError(.notReady, "the service is stopping")
    }
    let given = Array(token.utf8)
    var isAllowed = false
    for known in tokens[name] ?? [] where Self.isSame(given, known) { isAllowed = true }
    return isAllowed
  }

  /// Whether both are the same bytes, looking at every byte of `given` either way.
  static func isSame(_ given: [UInt8], _ known: [UInt8]) -> Bool {
    var difference = given.count ^ known.count
    for index in given.indices {
      difference |= Int(given[index] ^ (known.isEmpty ? 0 : known[index % known.count]))
    }
    return difference == 0
  }

  private func read() async -> Bool {
    do throws(IDError) {
      let list = try await self.store.clientTokens()
      let tokens = Dictionary(grouping: list, by: \.tag).mapValues { $0.map { Array($0.secret.utf8) } }
      let isFirst = self.letGo { state in
        defer { (state.tokens, state.error) = (tokens, nil) }
        return state.tokens == nil
      }
      if isFirst { self.logger.info("tokens read", metadata: ["tokens": "\(list.count)"]) }
      return true
    } catch {
      // What was read before goes on to count while the store is away; where the table or the right to it is gone, nobody has
      // a token.
      let isNew = self.letGo { state in
        defer {
          state.error = error
          if error.code == .storeRejected { state.tokens = nil }
        }
        return state.error?.code != error.code
      }
      if isNew { self.logger.warning("tokens not read", metadata: ["error": "\(error)"]) }
      return false
    }
  }

  /// Changes the state, and lets those go who wait for that.
  @discardableResult
  private func letGo<Result: Sendable>(_ change: (inout State) -> Result) -> Result {
    let (result, waiters) = self.state.withLock { state in
      let result = change(&state)
      defer { state.waiters = [] }
      return (result, state.waiters)
    }
    for waiter in waiters { waiter.resume() }
    return result
  }
}
