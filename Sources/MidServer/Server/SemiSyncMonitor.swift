package import Logging
package import MidCore
import ServiceLifecycle
import Synchronization

/// What is known of the database's semi-synchronous replication, and what follows from it.
///
/// A server that waits for its replicas stops doing so by itself when they are slow, and commits go on as if nothing had
/// happened: only its status tells. What was committed since is lost in a failover, and its ids come again.
package struct SemiSyncState: Sendable, Equatable {
  /// What a look at the database's status came to.
  package enum Status: Sendable, Equatable {
    /// Nobody has looked yet.
    case unknown
    /// The store has no such thing.
    case absent
    /// Commits wait for a replica.
    case on
    /// They don't.
    case off
  }

  /// Whether segments are ready only with it.
  package let isRequired: Bool
  /// What the last look that got an answer has shown.
  package private(set) var status = Status.unknown

  /// Creates the state before the first look.
  package init(isRequired: Bool) { self.isRequired = isRequired }

  /// Whether nothing stands in the way of segments' readiness.
  package var isSatisfied: Bool { !self.isRequired || self.status == .on }

  /// A look has got an answer.
  ///
  /// - Returns: Whether it is worth a line in the log: a change, or at first what is required and not there.
  package mutating func saw(_ isOn: Bool?) -> Bool {
    let before = self.status
    self.status = isOn.map { $0 ? .on : .off } ?? .absent
    return before == .unknown ? !self.isSatisfied : before != self.status
  }
}

/// Asks the database every few seconds whether its commits wait for a replica.
package final class SemiSyncMonitor: Service {
  /// How often the database is asked.
  package static let interval: Duration = .seconds(5)
  /// How often where it has no such thing, and need not have.
  package static let absentInterval: Duration = .seconds(60)

  /// Asks the store, as ``MidCore/IDStore/semiSync()``.
  package typealias Question = @Sendable () async -> Result<Bool?, IDError>

  private let ask: Question
  private let location: String
  private let storeReady: @Sendable () async throws -> Void
  private let logger: Logger
  private let state: Mutex<SemiSyncState>

  /// Creates a monitor that has not looked yet.
  ///
  /// - Parameters:
  ///   - isRequired: whether segments are ready only while commits wait.
  ///   - location: where the store is, for the log.
  ///   - ask: asks it.
  ///   - storeReady: returns once the store can be used; throws when the service is to end.
  ///   - registry: gets the gauge, which is there while the store knows of semi-synchronous replication.
  package init(
    isRequired: Bool, location: String, ask: @escaping Question,
    storeReady: @escaping @Sendable () async throws -> Void, registry: PrometheusRegistry, logger: Logger
  ) {
    self.location = location
    self.ask = ask
    self.storeReady = storeReady
    self.logger = logger
    self.state = Mutex(SemiSyncState(isRequired: isRequired))
    registry.collect { [weak self] writer in
      switch self?.status {
      case .on: writer.write(MetricCatalogue.storeSemiSync, value: 1)
      case .off: writer.write(MetricCatalogue.storeSemiSync, value: 0)
      case .absent, .unknown, nil: break
      }
    }
  }

  /// What the last look has shown.
  package var status: SemiSyncState.Status { self.state.withLock { $0.status } }

  /// Whether segments may be ready.
  package var isSatisfied: Bool { self.state.withLock { $0.isSatisfied } }

  /// Looks until graceful shutdown.
  package func run() async throws {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { await self.keepLooking() }
      do {
        try await gracefulShutdown()
      } catch {
        // Cancelled: the same end, sooner.
      }
      group.cancelAll()
    }
  }

  private func keepLooking() async {
    do {
      try await self.storeReady()
      while !Task.isCancelled {
        await self.look()
        let state = self.state.withLock { $0 }
        let isIdle = state.status == .absent && !state.isRequired
        try await Task.sleep(for: isIdle ? Self.absentInterval : Self.interval)
      }
    } catch {
      // Cancelled: the service ends.
    }
  }

  /// Looks once. A database that does not answer leaves what is known as it is: it hands out nothing either.
  package func look() async {
    let isOn: Bool?
    switch await self.ask() {
    case .success(let answer): isOn = answer
    case .failure(let error):
      self.logger.debug("semi-synchronous replication not looked at", metadata: ["error": "\(error)"])
      return
    }
    let (isNews, state) = self.state.withLock { state in (state.saw(isOn), state) }
    guard isNews else { return }
    let place: Logger.Metadata = ["store": "\(self.location)", "required": "\(state.isRequired)"]
    switch state.status {
    case .on: self.logger.info("semi-synchronous replication is on", metadata: place)
    case .off:
      self.logger.warning(
        "semi-synchronous replication is off: a failover can take back commits and repeat ids", metadata: place)
    case .absent: self.logger.warning("the store has no semi-synchronous replication", metadata: place)
    case .unknown: break
    }
  }
}
