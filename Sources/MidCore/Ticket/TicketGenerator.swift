internal import Synchronization

/// Tickets of one table, from one database or several: a number from a statement that began after the call did.
///
/// With one database the tickets of all callers of all processes grow: a call that ended before another began has the
/// smaller ones. With several, which count in steps of their number from offsets of their own, all are distinct and the
/// order is a trend. Nothing is cached: what a call costs is a statement, which those who wait at once share.
///
/// Safe to use from any thread. It carries out nothing itself: `onStatementNeeded` is told what to ask which database,
/// and the answers come back by ``taken(_:_:random:)`` and ``failed(_:_:random:)``.
public final class TicketGenerator: Sendable {
  /// Is called exactly once with a call's tickets, or with why there are none.
  public typealias Completion = @Sendable (Result<IDRange, IDError>) -> Void

  private typealias Machine = TicketStateMachine<Completion>

  /// The table.
  public let table: TicketTable

  private let clock: any TimeSource
  private let machine: Mutex<Machine>
  private let onStatementNeeded: @Sendable (TicketGenerator, TicketStatement) -> Void
  private let onWaitNeeded: @Sendable (TicketGenerator, Duration) -> Void

  /// Creates a generator.
  ///
  /// - Parameters:
  ///   - table: The table, the same in all databases.
  ///   - databases: The names of the databases for messages, at least one. Statements count them by their index here.
  ///   - settings: The bounds.
  ///   - clock: For the pauses after failures.
  ///   - onStatementNeeded: Is told of each statement to begin. Must not block.
  ///   - onWaitNeeded: Is told after what time to call ``wake()``. Must not block.
  /// - Throws: ``IDError/Code/invalidArgument`` for settings out of their bounds.
  public init(
    table: TicketTable, databases: [String], settings: TicketSettings, clock: any TimeSource,
    onStatementNeeded: @escaping @Sendable (TicketGenerator, TicketStatement) -> Void,
    onWaitNeeded: @escaping @Sendable (TicketGenerator, Duration) -> Void
  ) throws(IDError) {
    try settings.validate()
    guard !databases.isEmpty else { throw IDError(.invalidArgument, "tickets come from at least one database") }
    self.table = table
    self.clock = clock
    self.machine = Mutex(Machine(databases: databases, settings: settings))
    self.onStatementNeeded = onStatementNeeded
    self.onWaitNeeded = onWaitNeeded
  }

  /// Asks for `count` tickets, 1 to ``TicketSettings/maximumBatch``. `completion` is called exactly once, always after the
  /// statement that it takes; before this returns only with an error.
  ///
  /// Errors: ``IDError/Code/invalidArgument``, ``IDError/Code/overloaded``, ``IDError/Code/storeRejected``,
  /// ``IDError/Code/exhausted``, ``IDError/Code/wentBackwards``, ``IDError/Code/notReady``, and those of ``expire(_:)``.
  ///
  /// - Returns: The call's name for ``expire(_:)`` and ``cancel(_:)``, or nil where it was refused at once.
  @discardableResult
  public func enqueue(count: Int64, completion: @escaping Completion) -> TicketCallID? {
    let now = self.clock.monotonicNanoseconds()
    let (result, action) = self.machine.withLock { $0.enqueue(count, reply: completion, now: now) }
    self.perform(action, now)
    switch result {
    case .success(let id): return id
    case .failure(let error):
      completion(.failure(error))
      return nil
    }
  }

  /// Ends a call at its deadline with ``IDError/Code/storeUnavailable``, naming the databases that failed, or with
  /// ``IDError/Code/deadlineExceeded`` where none has. Nothing happens where it was answered already.
  public func expire(_ id: TicketCallID) { self.run { machine, _ in machine.expire(id) } }

  /// Ends a call whose caller is gone. Tickets that come for it are skipped.
  public func cancel(_ id: TicketCallID) { self.run { machine, _ in machine.cancel(id) } }

  /// A statement has brought `range`. A range that is not above the database's last one is refused: its counter went
  /// backwards, and nobody gets anything of it.
  ///
  /// - Parameters:
  ///   - statement: Which one.
  ///   - range: What it brought.
  ///   - random: 0 up to, not including, 1: for the pause in that case.
  public func taken(_ statement: TicketStatement, _ range: IDRange, random: Double) {
    self.run { machine, now in machine.taken(statement, range, now: now, random: random) }
  }

  /// A statement has failed. Whether it was carried out does not matter: its tickets are skipped.
  ///
  /// - Parameters:
  ///   - statement: Which one.
  ///   - error: What went wrong.
  ///   - random: 0 up to, not including, 1: from half of the pause to all of it.
  public func failed(_ statement: TicketStatement, _ error: IDError, random: Double) {
    self.run { machine, now in machine.failed(statement, error, now: now, random: random) }
  }

  /// A statement is still under way after the time that its callers shall wait: they are sent to another database.
  ///
  /// - Parameters:
  ///   - statement: Which one.
  ///   - random: As for ``failed(_:_:random:)``.
  public func overdue(_ statement: TicketStatement, random: Double) {
    self.run { machine, now in machine.overdue(statement, now: now, random: random) }
  }

  /// A pause is over: calls that wait go on.
  public func wake() { self.run { machine, now in machine.woke(now: now) } }

  /// Stops for good: calls that wait and later ones fail with ``IDError/Code/notReady``.
  public func close() {
    self.run { machine, _ in machine.stop(IDError(.notReady, "the service is stopping")) }
  }

  /// Whether there is a database that did not fail the last time it was asked.
  public var isReady: Bool { self.machine.withLock { $0.isReady } }

  /// How many calls wait, those of statements under way included.
  public var waiters: Int { self.machine.withLock { $0.waiters } }

  private func run(_ event: (inout sending Machine, UInt64) -> Machine.Action) {
    let now = self.clock.monotonicNanoseconds()
    self.perform(self.machine.withLock { event(&$0, now) }, now)
  }

  /// Does what the rules said, after the lock was left.
  private func perform(_ action: Machine.Action, _ now: UInt64) {
    for statement in action.statements { self.onStatementNeeded(self, statement) }
    for (reply, result) in action.answers { reply(result) }
    if let time = action.wakeAt { self.onWaitNeeded(self, .nanoseconds(Int64(clamping: time - min(time, now)))) }
  }
}
