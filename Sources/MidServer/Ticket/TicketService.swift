package import Logging
package import MidCore
import ServiceLifecycle

/// Carries out the statements that tickets need, and closes their databases at the end.
package final class TicketService: Service {
  private enum Work: Sendable {
    case take(TicketGenerator, TicketStatement)
    case wake(TicketGenerator, Duration)
  }

  /// The tags and their generators.
  package let directory: TicketDirectory

  private let stores: [any TicketStore]
  private let tables: [TicketTable]
  private let timeout: Duration
  private let logger: Logger
  private let work: AsyncStream<Work>
  private let continuation: AsyncStream<Work>.Continuation

  /// Creates the service; no statement is carried out before ``run()``.
  ///
  /// - Parameters:
  ///   - stores: the databases, at least one.
  ///   - tables: each tag's table, the same in every database.
  ///   - settings: for the generators.
  ///   - timeout: how long a database may take before calls are sent to another one.
  ///   - clock: for the pauses after failures.
  ///   - logger: for failures.
  /// - Throws: ``MidCore/IDError/Code/invalidArgument`` for settings out of their bounds.
  package init(
    stores: [any TicketStore], tables: [Tag: TicketTable], settings: TicketSettings, timeout: Duration,
    clock: any TimeSource, logger: Logger
  ) throws(IDError) {
    self.stores = stores
    self.tables = Set(tables.values).sorted { $0.name < $1.name }
    self.timeout = timeout
    self.logger = logger
    let (work, continuation) = AsyncStream<Work>.makeStream()
    self.work = work
    self.continuation = continuation
    var generators: [Tag: TicketGenerator] = [:]
    for (tag, table) in tables {
      generators[tag] = try TicketGenerator(
        table: table, databases: stores.map(\.location), settings: settings, clock: clock,
        onStatementNeeded: { continuation.yield(.take($0, $1)) }, onWaitNeeded: { continuation.yield(.wake($0, $1)) })
    }
    self.directory = TicketDirectory(generators)
  }

  /// Serves statements until graceful shutdown, then closes the databases.
  package func run() async throws {
    await withGracefulShutdownHandler {
      await withDiscardingTaskGroup { group in
        for store in self.stores { group.addTask { await self.look(at: store) } }
        for await work in self.work {
          switch work {
          case .take(let generator, let statement): group.addTask { await self.take(statement, for: generator) }
          case .wake(let generator, let pause): group.addTask { await self.wake(generator, after: pause) }
          }
        }
        group.cancelAll()
      }
    } onGracefulShutdown: {
      self.directory.close()
      self.continuation.finish()
    }
    for store in self.stores { await store.close() }
  }

  /// Says what an operator should know of a database, once: at the start, if it is there.
  private func look(at store: any TicketStore) async {
    do throws(IDError) {
      for warning in try await store.inspect(self.tables).warnings {
        self.logger.warning(
          "ticket database not durable", metadata: ["database": "\(store.location)", "reason": "\(warning)"])
      }
    } catch {
      self.logger.warning(
        "ticket database not reached", metadata: ["database": "\(store.location)", "error": "\(error)"])
    }
  }

  private func take(_ statement: TicketStatement, for generator: TicketGenerator) async {
    let store = self.stores[statement.database]
    let result = await withTaskGroup(of: Void.self, returning: Result<IDRange, IDError>.self) { group in
      // Where there is no other database, nobody can be sent there.
      if self.stores.count > 1 { group.addTask { await self.watch(statement, of: generator) } }
      defer { group.cancelAll() }
      do throws(IDError) {
        return .success(try await store.takeTickets(statement.count, of: generator.table))
      } catch {
        return .failure(error)
      }
    }
    let random = Double.random(in: 0..<1)
    switch result {
    case .success(let range): generator.taken(statement, range, random: random)
    case .failure(let error):
      self.logger.warning(
        "tickets not taken",
        metadata: ["database": "\(store.location)", "table": "\(generator.table)", "error": "\(error)"])
      generator.failed(statement, error, random: random)
    }
  }

  private func watch(_ statement: TicketStatement, of generator: TicketGenerator) async {
    do {
      try await Task.sleep(for: self.timeout)
      generator.overdue(statement, random: Double.random(in: 0..<1))
    } catch {
      // Cancelled: the statement has ended.
    }
  }

  private func wake(_ generator: TicketGenerator, after pause: Duration) async {
    do {
      try await Task.sleep(for: pause)
      generator.wake()
    } catch {
      // Cancelled: the service ends, and with it those who wait.
    }
  }
}
