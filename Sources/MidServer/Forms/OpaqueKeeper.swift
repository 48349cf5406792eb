package import Logging
package import MidCore
import ServiceLifecycle
import Synchronization

/// Sees to it that this node makes opaque numbers as all do that share its store: compares at the start, puts there what is
/// new, asks until the store has answered, and again at intervals, as a store that lost commits may have believed another
/// node since.
package final class OpaqueKeeper: Service {
  private let gate: OpaqueGate
  private let store: any FactStore
  private let path: String
  private let interval: Duration
  private let storeReady: @Sendable () async throws -> Void
  private let logger: Logger
  private let sleep: @Sendable (Duration) async throws -> Void
  private let isAgreed = Atomic(false)

  /// Creates a keeper that has asked nothing yet.
  ///
  /// - Parameters:
  ///   - gate: is opened by what the store says, and shut for good where it contradicts.
  ///   - path: the file that remembers what was said.
  ///   - interval: how often the store is asked again once it has agreed.
  ///   - storeReady: returns once the store can be asked.
  ///   - sleep: waits; throws where the task is cancelled.
  package init(
    gate: OpaqueGate, store: any FactStore, path: String, interval: Duration,
    storeReady: @escaping @Sendable () async throws -> Void, logger: Logger,
    sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
  ) {
    self.gate = gate
    self.store = store
    self.path = path
    self.interval = interval
    self.storeReady = storeReady
    self.logger = logger
    self.sleep = sleep
  }

  /// Tells whether all numbers can be made.
  package var readiness: @Sendable () -> Bool { { [gate] in gate.isReady } }

  /// Why not all can be made; nothing where they can.
  package var obstacles: [String] { self.gate.obstacles }

  /// Compares with a store that can be asked, and puts nothing there: before anything else is begun.
  ///
  /// - Throws: ``ConfigurationErrors`` where it has something otherwise, ``MidCore/IDError`` where it refuses. A store that
  ///   does not answer is no error here.
  package func compare() async throws {
    _ = try await self.atStart { () throws(IDError) in try await self.store.facts() }
  }

  /// The same, and puts there what is missing: once nothing else stands in the way of the start.
  package func agree() async throws {
    let isAnswered = try await self.atStart { () throws(IDError) in try await self.store.agree(on: self.gate.facts) }
    self.isAgreed.store(isAnswered, ordering: .relaxed)
  }

  /// Asks until graceful shutdown.
  package func run() async throws {
    do {
      try await cancelWhenGracefulShutdown { try await self.keepAsking() }
      // Contradicted: there is nothing left to ask.
      try await gracefulShutdown()
    } catch is CancellationError {
      // The service ends.
    }
  }

  private func keepAsking() async throws {
    try await self.storeReady()
    if self.isAgreed.load(ordering: .relaxed) { try await self.sleep(self.interval) }
    var pause = Duration.milliseconds(100)
    var last: IDError.Code?
    while !self.gate.isRefused {
      do throws(IDError) {
        let found = try await self.store.agree(on: self.gate.facts)
        let wasReady = self.gate.isReady
        for change in self.take(found) {
          self.logger.critical(
            "opaque numbers are not made any more",
            metadata: ["setting": "\(change.setting.key)", "reason": "\(change.message)"])
        }
        if !wasReady, self.gate.isReady { self.logger.info("opaque numbers are made") }
        (pause, last) = (.milliseconds(100), nil)
      } catch {
        if error.code != last { self.notAnswered(error) }
        last = error.code
      }
      guard last != nil else {
        try await self.sleep(self.interval)
        continue
      }
      try await self.sleep(pause * Double.random(in: 0.5...1))
      pause = min(pause * 2, .seconds(2))
    }
  }

  /// Asks once. Returns whether there was an answer.
  private func atStart(_ ask: () async throws(IDError) -> [String: String]) async throws -> Bool {
    let found: [String: String]
    do throws(IDError) { found = try await ask() } catch {
      guard error.code == .storeUnavailable else { throw error }
      self.notAnswered(error)
      return false
    }
    let changes = self.take(found)
    guard changes.isEmpty else {
      throw ConfigurationErrors(
        changes.map { ConfigurationError(source: "settings", key: $0.setting.key, message: $0.message) })
    }
    return true
  }

  /// Believes what the store said, and remembers it. Returns what it has otherwise.
  private func take(_ found: [String: String]) -> [OpaqueMemory.Change] {
    switch self.gate.answered(found) {
    case .unchanged: return []
    case .confirmed(let memory):
      self.remember(memory)
      return []
    case .contradicted(let changes, let memory):
      self.remember(memory)
      return changes
    }
  }

  private func remember(_ memory: OpaqueMemory) {
    do throws(IDError) { try memory.write(toFile: self.path) } catch {
      self.logger.error(
        "what the store says of opaque ids can't be kept: without the store, no numbers would be made after a restart",
        metadata: ["path": "\(self.path)", "reason": "\(error.message)"])
    }
  }

  private func notAnswered(_ error: IDError) {
    self.logger.warning(
      "the store was not asked whether all nodes make opaque numbers alike", metadata: ["error": "\(error)"])
  }
}
