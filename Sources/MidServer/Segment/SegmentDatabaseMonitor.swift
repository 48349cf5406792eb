package import MidCore
import ServiceLifecycle

/// Looks after databases of segments that are down, until they are back.
package final class SegmentDatabaseMonitor: Service {
  /// How often one that is down is tried.
  package static let interval: Duration = .seconds(5)

  private let databases: SegmentDatabases
  private let isOpen: @Sendable () async throws -> Void
  private let sleep: @Sendable (Duration) async throws -> Void

  /// Creates a monitor.
  ///
  /// - Parameters:
  ///   - databases: what it looks after.
  ///   - isOpen: returns once one of them is open; throws when the service is to end.
  ///   - sleep: waits.
  package init(
    _ databases: SegmentDatabases, isOpen: @escaping @Sendable () async throws -> Void,
    sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
  ) {
    self.databases = databases
    self.isOpen = isOpen
    self.sleep = sleep
  }

  /// Looks until graceful shutdown. Each database has a task of its own, so that one that hangs delays no other.
  package func run() async throws {
    await withTaskGroup(of: Void.self) { group in
      for index in self.databases.all.indices { group.addTask { await self.look(after: index) } }
      do {
        try await gracefulShutdown()
      } catch {
        // Cancelled: the same end, sooner.
      }
      group.cancelAll()
      await group.waitForAll()
    }
  }

  private func look(after index: Int) async {
    do {
      try await self.isOpen()
      while true {
        try await self.sleep(Self.interval)
        if !self.databases.statuses[index].isUp { await self.databases.probe(index) }
      }
    } catch {
      // Cancelled: the service ends.
    }
  }
}
