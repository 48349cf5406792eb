import Testing

@testable import MidCore

/// The rules of tickets, every race on one thread.
@Suite struct TicketStateMachineTests {
  private typealias Machine = TicketStateMachine<Int>

  private static let millisecond: UInt64 = 1_000_000
  private static let away = IDError(.storeUnavailable, "connection refused")

  private static func machine(_ databases: Int = 1, waiters: Int = 100, batch: Int64 = 100) -> Machine {
    Machine(
      databases: (0..<databases).map { "db\($0)" },
      settings: TicketSettings(maximumWaiters: waiters, maximumBatch: batch))
  }

  private static func ids(_ action: Machine.Action) -> [Int: [Int64]] {
    var answers: [Int: [Int64]] = [:]
    for (reply, result) in action.answers {
      #expect(answers[reply] == nil, "\(reply) is answered twice")
      if case .success(let range) = result {
        answers[reply] = (0..<range.count).map { range.start + $0 * range.stride }
      } else {
        answers[reply] = []
      }
    }
    return answers
  }

  private static func errors(_ action: Machine.Action) -> [Int: IDError.Code] {
    var errors: [Int: IDError.Code] = [:]
    for (reply, result) in action.answers {
      if case .failure(let error) = result { errors[reply] = error.code }
    }
    return errors
  }

  @Test func `those who come while a statement is under way share the next one, in order of arrival`() throws {
    var machine = Self.machine()
    let first = try #require(machine.enqueue(1, reply: 1, now: 0).1.statements.first)
    #expect(first.count == 1)
    for (reply, count) in [(2, Int64(3)), (3, 1), (4, 2)] {
      #expect(machine.enqueue(count, reply: reply, now: 0).1.statements.isEmpty)
    }
    let action = machine.taken(first, IDRange(start: 10, count: 1), now: 0, random: 0)
    // The ones that came later get nothing of a statement that began before them.
    #expect(Self.ids(action) == [1: [10]])
    let second = try #require(action.statements.first)
    #expect(second.count == 6)
    let answers = machine.taken(second, IDRange(start: 21, count: 6, stride: 2), now: 0, random: 0)
    #expect(Self.ids(answers) == [2: [21, 23, 25], 3: [27], 4: [29, 31]])
    #expect(machine.waiters == 0)
  }

  @Test func `a statement takes no more than the most, and the rest waits for the one after`() throws {
    var machine = Self.machine(batch: 5)
    #expect(Self.isRefused(machine.enqueue(6, reply: 0, now: 0).0, .invalidArgument))
    #expect(Self.isRefused(machine.enqueue(0, reply: 0, now: 0).0, .invalidArgument))
    let first = try #require(machine.enqueue(5, reply: 1, now: 0).1.statements.first)
    _ = machine.enqueue(3, reply: 2, now: 0)
    _ = machine.enqueue(3, reply: 3, now: 0)
    _ = machine.enqueue(1, reply: 4, now: 0)
    let second = try #require(
      machine.taken(first, IDRange(start: 1, count: 5), now: 0, random: 0).statements.first)
    // Nobody overtakes: 4 would have fitted.
    #expect(second.count == 3)
    let third = try #require(machine.taken(second, IDRange(start: 6, count: 3), now: 0, random: 0).statements.first)
    #expect(third.count == 4)
  }

  private static func isRefused(_ result: Result<TicketCallID, IDError>, _ code: IDError.Code) -> Bool {
    if case .failure(let error) = result { error.code == code } else { false }
  }

  @Test func `the line is bounded, also where those in it leave and others come`() throws {
    var machine = Self.machine(waiters: 3)
    for reply in 1...3 { _ = machine.enqueue(1, reply: reply, now: 0) }
    #expect(Self.isRefused(machine.enqueue(1, reply: 4, now: 0).0, .overloaded))
    var last = try machine.enqueueAfterExpiry(of: TicketCallID(number: 2))
    for _ in 0..<1000 {
      last = try machine.enqueueAfterExpiry(of: last)
    }
    #expect(machine.waiters == 3)
    #expect(machine.queueLength <= 64 + 2 * 3 + 1)
  }

  @Test func `what comes for a caller who left is skipped, and the others get their own`() throws {
    var machine = Self.machine()
    let first = try #require(machine.enqueue(1, reply: 1, now: 0).1.statements.first)
    let two = try machine.enqueue(2, reply: 2, now: 0).0.get()
    let three = try machine.enqueue(1, reply: 3, now: 0).0.get()
    let second = try #require(
      machine.taken(first, IDRange(start: 1, count: 1), now: 0, random: 0).statements.first)
    #expect(Self.errors(machine.expire(two)) == [2: .deadlineExceeded])
    #expect(machine.expire(two).answers.isEmpty)
    let action = machine.taken(second, IDRange(start: 2, count: 3), now: 0, random: 0)
    #expect(Self.ids(action) == [3: [4]])
    #expect(machine.cancel(three).answers.isEmpty)
  }

  @Test func `databases take turns, and each has one statement under way`() throws {
    var machine = Self.machine(3)
    let statements = (1...4).flatMap { machine.enqueue(1, reply: $0, now: 0).1.statements }
    #expect(statements.map(\.database) == [0, 1, 2])
    let action = machine.taken(statements[1], IDRange(start: 2, count: 1, stride: 3), now: 0, random: 0)
    #expect(action.statements.map(\.database) == [1])
  }

  @Test func `those of a database that fails go to another at once, before those who came later`() throws {
    var machine = Self.machine(2)
    let first = try #require(machine.enqueue(1, reply: 1, now: 0).1.statements.first)
    let second = try #require(machine.enqueue(1, reply: 2, now: 0).1.statements.first)
    _ = machine.enqueue(1, reply: 3, now: 0)
    #expect(machine.failed(first, Self.away, now: 0, random: 0.5).statements.isEmpty)
    let action = machine.taken(second, IDRange(start: 2, count: 1, stride: 2), now: 0, random: 0)
    let third = try #require(action.statements.first)
    #expect(third.database == 1 && third.count == 2)
    let answers = machine.taken(third, IDRange(start: 4, count: 2, stride: 2), now: 0, random: 0)
    #expect(Self.ids(answers) == [1: [4], 3: [6]])
    // Its late answer is of no use to anybody.
    #expect(machine.taken(first, IDRange(start: 1, count: 1, stride: 2), now: 0, random: 0).answers.isEmpty)
  }

  @Test func `a database that failed is left alone, then asked by one call`() throws {
    var machine = Self.machine()
    let first = try #require(machine.enqueue(1, reply: 1, now: 0).1.statements.first)
    for reply in 2...5 { _ = machine.enqueue(1, reply: reply, now: 0) }
    let action = machine.failed(first, Self.away, now: 0, random: 0)
    #expect(action.statements.isEmpty && action.answers.isEmpty)
    #expect(action.wakeAt == 50 * Self.millisecond)
    #expect(!machine.isReady)
    #expect(machine.woke(now: 49 * Self.millisecond).statements.isEmpty)
    let probe = try #require(machine.woke(now: 50 * Self.millisecond).statements.first)
    #expect(probe.count == 1)
    // Twice as long after the second failure.
    #expect(machine.failed(probe, Self.away, now: 0, random: 0).wakeAt == 100 * Self.millisecond)
    let again = try #require(machine.woke(now: 100 * Self.millisecond).statements.first)
    let back = machine.taken(again, IDRange(start: 7, count: 1), now: 0, random: 0)
    #expect(Self.ids(back) == [1: [7]])
    #expect(back.statements.map(\.count) == [4])
    #expect(machine.isReady)
  }

  @Test func `at the deadline the databases that failed are named`() throws {
    var machine = Self.machine(2)
    let (result, action) = machine.enqueue(1, reply: 1, now: 0)
    let id = try result.get()
    let other = machine.failed(action.statements[0], Self.away, now: 0, random: 0)
    _ = machine.failed(other.statements[0], Self.away, now: 0, random: 0)
    guard case .failure(let error)? = machine.expire(id).answers.first?.result else {
      Issue.record("the call is not answered")
      return
    }
    #expect(error.code == .storeUnavailable)
    #expect(error.message.contains("db0: connection refused") && error.message.contains("db1: connection refused"))
  }

  @Test func `what does not pass by itself fails the calls at once where no other database is left`() throws {
    var machine = Self.machine(2)
    let rejected = IDError(.storeRejected, "a right is missing")
    let action = machine.enqueue(1, reply: 1, now: 0).1
    let other = machine.failed(action.statements[0], rejected, now: 0, random: 0)
    #expect(other.answers.isEmpty && other.statements.map(\.database) == [1])
    let none = machine.failed(other.statements[0], rejected, now: 0, random: 0)
    #expect(Self.errors(none) == [1: .storeRejected])
    #expect(Self.errors(machine.enqueue(1, reply: 2, now: 1).1) == [2: .storeRejected])
    #expect(machine.enqueue(1, reply: 3, now: 60_000 * Self.millisecond).1.statements.count == 1)
  }

  @Test func `those of a database that hangs go elsewhere, and it is not asked again before it answers`() throws {
    var machine = Self.machine(2)
    let slow = try #require(machine.enqueue(1, reply: 1, now: 0).1.statements.first)
    let moved = try #require(machine.overdue(slow, now: 0, random: 0).statements.first)
    #expect(moved.database == 1)
    #expect(machine.enqueue(1, reply: 2, now: 60_000 * Self.millisecond).1.statements.isEmpty)
    let late = machine.taken(slow, IDRange(start: 1, count: 1, stride: 2), now: 0, random: 0)
    #expect(late.answers.isEmpty && late.statements.map(\.database) == [0])
    #expect(Self.ids(machine.taken(moved, IDRange(start: 2, count: 1, stride: 2), now: 0, random: 0)) == [1: [2]])
  }

  @Test func `a database that is the only one may take its time`() throws {
    var machine = Self.machine()
    let slow = try #require(machine.enqueue(1, reply: 1, now: 0).1.statements.first)
    #expect(machine.overdue(slow, now: 0, random: 0).answers.isEmpty)
    #expect(Self.ids(machine.taken(slow, IDRange(start: 1, count: 1), now: 0, random: 0)) == [1: [1]])
  }

  @Test func `a counter that went backwards gives nothing out`() throws {
    var machine = Self.machine()
    let first = try #require(machine.enqueue(1, reply: 1, now: 0).1.statements.first)
    _ = machine.taken(first, IDRange(start: 100, count: 1), now: 0, random: 0)
    let second = try #require(machine.enqueue(1, reply: 2, now: 0).1.statements.first)
    let action = machine.taken(second, IDRange(start: 100, count: 1), now: 0, random: 0)
    #expect(Self.errors(action) == [2: .wentBackwards])
  }

  @Test func `a stop answers all who wait, once`() throws {
    var machine = Self.machine()
    let first = try #require(machine.enqueue(1, reply: 1, now: 0).1.statements.first)
    _ = machine.enqueue(1, reply: 2, now: 0)
    let stop = machine.stop(IDError(.notReady, "the service is stopping"))
    #expect(Self.errors(stop) == [1: .notReady, 2: .notReady])
    let late = machine.taken(first, IDRange(start: 1, count: 1), now: 0, random: 0)
    #expect(late.answers.isEmpty && late.statements.isEmpty)
    #expect(Self.isRefused(machine.enqueue(1, reply: 3, now: 0).0, .notReady))
  }
}

extension TicketStateMachine<Int> {
  fileprivate mutating func enqueueAfterExpiry(of id: TicketCallID) throws -> TicketCallID {
    _ = self.expire(id)
    return try self.enqueue(1, reply: 0, now: 0).0.get()
  }
}
