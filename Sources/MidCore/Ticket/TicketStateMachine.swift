/// The rules of tickets: who waits, which database is asked for how many, and what follows from its answer.
///
/// A call's tickets come from a statement that began after the call did, and no ticket outlives its statement. So on one
/// database the order of calls is that of the database's counter. Each database has at most one statement under way; who
/// comes meanwhile is taken along by the next one, in order of arrival. A database that failed is left alone for a pause
/// that doubles; then one call is sent to find out whether it is back. Those it had failed go first elsewhere.
///
/// Times are monotonic nanoseconds. Nothing here reads a clock, waits or calls out.
struct TicketStateMachine<Reply: Sendable>: Sendable {
  /// What a call comes to.
  typealias Answer = Result<IDRange, IDError>

  /// What is to be done once the lock is left.
  struct Action: Sendable {
    /// Calls that are answered.
    var answers: [(reply: Reply, result: Answer)] = []
    /// Statements to begin.
    var statements: [TicketStatement] = []
    /// When to call ``TicketStateMachine/woke(now:)``: calls wait for the end of a pause.
    var wakeAt: UInt64?
  }

  private struct Call: Sendable {
    let count: Int64
    let reply: Reply
  }

  /// What one call gets of a statement.
  private struct Share: Sendable {
    let call: TicketCallID
    let count: Int64
  }

  private struct Failure: Sendable {
    var error: IDError
    var until: UInt64
    var pause: Duration
  }

  private struct Database: Sendable {
    let name: String
    /// The statement under way and the calls it is for; none where they went elsewhere, as it took too long.
    var statement: TicketStatement?
    var shares: [Share] = []
    var failure: Failure?
    /// The last ticket it has given.
    var last: Int64 = 0

    func isPaused(at now: UInt64) -> Bool { self.failure.map { now < $0.until } ?? false }

    mutating func end() -> [Share] {
      defer { (self.statement, self.shares) = (nil, []) }
      return self.shares
    }
  }

  private let settings: TicketSettings
  private var databases: [Database]
  private var calls: [TicketCallID: Call] = [:]
  /// Calls that wait for a statement, by arrival. Those no longer in `calls` are skipped.
  private var queue: [TicketCallID] = []
  private var lastCall: UInt64 = 0
  private var lastStatement: UInt64 = 0
  private var turn = 0
  /// The earliest time that an action has named and that has not come yet.
  private var wakeAt: UInt64?
  private var end: IDError?

  init(databases: [String], settings: TicketSettings) {
    precondition(!databases.isEmpty, "tickets come from at least one database")
    self.settings = settings
    self.databases = databases.map { Database(name: $0) }
  }

  /// How many calls wait, those of statements under way included.
  var waiters: Int { self.calls.count }

  /// How many entries the queue has, those that are skipped included.
  var queueLength: Int { self.queue.count }

  /// Whether there is a database that did not fail the last time it was asked.
  var isReady: Bool { self.end == nil && self.databases.contains { $0.failure == nil } }

  // MARK: - Calls

  mutating func enqueue(_ count: Int64, reply: Reply, now: UInt64) -> (Result<TicketCallID, IDError>, Action) {
    if let end { return (.failure(end), Action()) }
    guard (1...self.settings.maximumBatch).contains(count) else {
      return (
        .failure(
          IDError(.invalidArgument, "a call takes 1 to \(self.settings.maximumBatch) tickets, not \(count)")),
        Action()
      )
    }
    guard self.calls.count < self.settings.maximumWaiters else {
      return (.failure(IDError(.overloaded, "\(self.calls.count) calls wait for tickets already")), Action())
    }
    self.lastCall += 1
    let id = TicketCallID(number: self.lastCall)
    self.calls[id] = Call(count: count, reply: reply)
    self.queue.append(id)
    var action = Action()
    self.proceed(now: now, &action)
    return (.success(id), action)
  }

  /// Ends a call at its deadline. The tickets that a statement under way brings for it are skipped.
  mutating func expire(_ id: TicketCallID) -> Action { self.leave(id, self.deadlineError) }

  /// Ends a call whose caller is gone. The tickets that a statement under way brings for it are skipped.
  mutating func cancel(_ id: TicketCallID) -> Action {
    self.leave(id, IDError(.deadlineExceeded, "the caller is gone"))
  }

  private mutating func leave(_ id: TicketCallID, _ error: IDError) -> Action {
    guard let call = self.calls.removeValue(forKey: id) else { return Action() }
    // What is skipped must not pile up behind a database that hangs.
    if self.queue.count > 64 + 2 * self.calls.count {
      let calls = self.calls
      self.queue.removeAll { calls[$0] == nil }
    }
    return Action(answers: [(call.reply, .failure(error))])
  }

  private var deadlineError: IDError {
    let failed = self.databases.filter { $0.failure != nil }
    guard !failed.isEmpty else { return IDError(.deadlineExceeded, "no ticket came before the deadline") }
    return self.unavailable
  }

  /// Names the databases that failed, and why.
  private var unavailable: IDError {
    let reasons = self.databases.compactMap { database in
      database.failure.map { "\(database.name): \($0.error.message)" }
    }
    return IDError(.storeUnavailable, "no ticket could be had; \(reasons.joined(separator: "; "))")
  }

  /// Ends for good: calls that wait and later ones fail with `error`.
  mutating func stop(_ error: IDError) -> Action {
    guard self.end == nil else { return Action() }
    self.end = error
    let answers = self.calls.sorted { $0.key < $1.key }.map { ($0.value.reply, Answer.failure(error)) }
    self.calls = [:]
    self.queue = []
    return Action(answers: answers)
  }

  // MARK: - Statements

  /// A statement has brought `range`. Calls that ended or were moved to another database meanwhile don't get theirs.
  mutating func taken(_ statement: TicketStatement, _ range: IDRange, now: UInt64, random: Double) -> Action {
    let index = statement.database
    guard self.databases[index].statement == statement else { return Action() }
    if let error = self.refusal(of: range, for: statement) {
      return self.failed(statement, error, now: now, random: random)
    }
    self.databases[index].last = range.last ?? self.databases[index].last
    self.databases[index].failure = nil
    var action = Action()
    var start = range.start
    for share in self.databases[index].end() {
      if let call = self.calls.removeValue(forKey: share.call) {
        let part = IDRange(start: start, count: share.count, stride: range.stride)
        action.answers.append((call.reply, .success(part)))
      }
      start += share.count * range.stride
    }
    self.proceed(now: now, &action)
    return action
  }

  /// Why a range can't be given out, if it can't.
  private func refusal(of range: IDRange, for statement: TicketStatement) -> IDError? {
    let database = self.databases[statement.database]
    guard range.count == statement.count, range.start >= 1 else {
      return IDError(
        .storeRejected, "\(statement.count) tickets were asked for, \(range.count) from \(range.start) came")
    }
    guard range.start > database.last else {
      return IDError(
        .wentBackwards,
        "the database answered ticket \(range.start) after \(database.last); raise its counter above that")
    }
    return nil
  }

  /// A statement has failed; its tickets, if there are any, are skipped. Those it was for go first elsewhere.
  ///
  /// - Parameter random: 0 up to, not including, 1: from half of the pause to all of it.
  mutating func failed(_ statement: TicketStatement, _ error: IDError, now: UInt64, random: Double) -> Action {
    let index = statement.database
    guard self.databases[index].statement == statement else { return Action() }
    // What was noted when it took too long, stays; the end of the statement tells more.
    self.note(error, of: index, now: now, random: random)
    self.requeue(self.databases[index].end())
    var action = Action()
    self.proceed(now: now, &action)
    return action
  }

  /// A statement takes longer than its callers shall wait for it: they go elsewhere, where there is a database that has
  /// not failed. This one is asked again only once the statement has ended.
  mutating func overdue(_ statement: TicketStatement, now: UInt64, random: Double) -> Action {
    let index = statement.database
    guard self.databases[index].statement == statement,
      self.databases.indices.contains(where: { $0 != index && self.databases[$0].failure == nil })
    else { return Action() }
    self.note(IDError(.storeUnavailable, "no answer in time"), of: index, now: now, random: random)
    self.requeue(self.databases[index].shares)
    self.databases[index].shares = []
    var action = Action()
    self.proceed(now: now, &action)
    return action
  }

  /// The time that an action named has come.
  mutating func woke(now: UInt64) -> Action {
    self.wakeAt = nil
    var action = Action()
    self.proceed(now: now, &action)
    return action
  }

  private mutating func note(_ error: IDError, of index: Int, now: UInt64, random: Double) {
    let last = self.databases[index].failure?.pause
    let pause = min(last.map { $0 * 2 } ?? self.settings.firstPause, self.settings.longestPause)
    let length = UInt64((pause * (0.5 + random / 2)) / .nanoseconds(1))
    self.databases[index].failure = Failure(error: error, until: now + length, pause: pause)
  }

  private mutating func requeue(_ shares: [Share]) {
    let back = shares.map(\.call).filter { self.calls[$0] != nil }
    guard !back.isEmpty else { return }
    self.queue = (back + self.queue).sorted()
  }

  /// Begins as many statements as there are calls and databases for, or tells when it can go on.
  private mutating func proceed(now: UInt64, _ action: inout Action) {
    while let index = self.nextDatabase(now: now), let statement = self.begin(index) {
      action.statements.append(statement)
    }
    while let first = self.queue.first, self.calls[first] == nil { self.queue.removeFirst() }
    guard !self.queue.isEmpty else { return }
    if let error = self.hopeless(now: now) {
      for id in self.queue {
        if let call = self.calls.removeValue(forKey: id) { action.answers.append((call.reply, .failure(error))) }
      }
      self.queue = []
      return
    }
    guard let time = self.databases.compactMap({ $0.statement == nil ? $0.failure?.until : nil }).min(),
      self.wakeAt.map({ time < $0 }) ?? true
    else { return }
    self.wakeAt = time
    action.wakeAt = time
  }

  /// The next one in turn that is free and not left alone.
  private func nextDatabase(now: UInt64) -> Int? {
    let count = self.databases.count
    return (0..<count).lazy.map { (self.turn + $0) % count }.first { index in
      self.databases[index].statement == nil && !self.databases[index].isPaused(at: now)
    }
  }

  /// Takes as many calls from the queue as fit in one statement; one call only where it is not known whether the database
  /// is back.
  private mutating func begin(_ index: Int) -> TicketStatement? {
    var shares: [Share] = []
    var total: Int64 = 0
    var used = 0
    for id in self.queue {
      if let call = self.calls[id] {
        guard total + call.count <= self.settings.maximumBatch else { break }
        shares.append(Share(call: id, count: call.count))
        total += call.count
      }
      used += 1
      if self.databases[index].failure != nil, !shares.isEmpty { break }
    }
    self.queue.removeFirst(used)
    guard !shares.isEmpty else { return nil }
    self.lastStatement += 1
    let statement = TicketStatement(database: index, number: self.lastStatement, count: total)
    self.databases[index].statement = statement
    self.databases[index].shares = shares
    self.turn = (index + 1) % self.databases.count
    return statement
  }

  /// Why waiting is of no use, where every database has refused for a reason that does not go away by itself.
  private func hopeless(now: UInt64) -> IDError? {
    let failures = self.databases.compactMap { $0.isPaused(at: now) && $0.statement == nil ? $0.failure : nil }
    guard failures.count == self.databases.count else { return nil }
    guard let first = failures.first?.error, failures.allSatisfy({ $0.error.code.isLasting }) else { return nil }
    return self.databases.count == 1 ? first : IDError(first.code, self.unavailable.message)
  }
}

extension IDError.Code {
  /// Whether asking again soon gets the same answer.
  fileprivate var isLasting: Bool {
    [.storeRejected, .exhausted, .wentBackwards, .invalidArgument].contains(self)
  }
}
