import MidCore
import NIOCore
import Testing

@testable import MidServer

@Suite("The rules of the queue for the clock") struct ClockQueueStateMachineTests {
  private typealias Machine = ClockQueueStateMachine<String>

  private static func machine(maximumWaiters: Int = 100) -> Machine {
    Machine(
      maximumWaiters: maximumWaiters, rate: Machine.Rate(idsPerTick: 1000, tickNanoseconds: 1_000_000))
  }

  private static func at(_ milliseconds: Int64) -> NIODeadline {
    .uptimeNanoseconds(1_000_000_000) + .milliseconds(milliseconds)
  }

  private static func enqueue(
    _ machine: inout Machine, _ call: String, _ count: Int64?, deadline: Int64 = 1000, now: Int64 = 0
  ) throws -> Machine.WaiterID {
    let admission = machine.enqueue(call, count: count, taken: [], deadline: Self.at(deadline), now: Self.at(now))
    guard case .waiting(let id, _) = admission else { throw IDError(.overloaded, "full") }
    return id
  }

  private static func alarm(_ admission: Machine.Admission) throws -> Machine.Alarm? {
    guard case .waiting(_, let alarm) = admission else { throw IDError(.overloaded, "full") }
    return alarm
  }

  /// `#expect` for expressions that change what they are called on, which it does not take.
  private static func check(_ isAsExpected: Bool, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(isAsExpected, sourceLocation: sourceLocation)
  }

  /// Gives ids 1... to whoever is next and tells in which order calls were completed.
  private static func serve(_ machine: inout Machine, piece: Int64, pieces: Int, now: Int64 = 0) -> [String] {
    var start: Int64 = 1
    var done: [String] = []
    for _ in 0..<pieces {
      let next = machine.nextSingle().map { ($0, Int64(1)) } ?? machine.nextBatch(now: Self.at(now), reach: piece)
      guard let (id, missing) = next else { break }
      let count = min(missing, piece)
      if case .complete(let call, let ranges) = machine.give([IDRange(start: start, count: count)], to: id) {
        done.append("\(call) \(ranges.total)")
      }
      start += count
    }
    return done
  }

  @Test func `single ids come first, then batches one after another`() throws {
    var machine = Self.machine()
    _ = try Self.enqueue(&machine, "a", 2500)
    _ = try Self.enqueue(&machine, "b", 10)
    _ = try Self.enqueue(&machine, "one", nil)
    #expect(Self.serve(&machine, piece: 1000, pieces: 2) == ["one 1"])
    // Between two pieces of a batch too, but another batch does not overtake it.
    _ = try Self.enqueue(&machine, "two", nil)
    #expect(Self.serve(&machine, piece: 1000, pieces: 9) == ["two 1", "a 2500", "b 10"])
    #expect(machine.count == 0)
  }

  @Test func `a batch that can't be finished in time takes nothing and waits for its deadline`() throws {
    var machine = Self.machine()
    let late = try Self.enqueue(&machine, "late", 10_001, deadline: 13)
    _ = try Self.enqueue(&machine, "fits", 10_000, deadline: 13)
    // 4 ms are kept to spare: 9 ms are left, of 1000 ids each, and 1000 are there.
    let batch = machine.nextBatch(now: Self.at(0), reach: 1000)
    let next = try #require(batch)
    #expect(next.id != late && next.missing == 10_000)
    #expect(Self.serve(&machine, piece: 1000, pieces: 100) == ["fits 10000"])
    #expect(machine.count == 1)
    Self.check(machine.removeCalls(dueBy: Self.at(12), limit: 10) == [])
    Self.check(machine.removeCalls(dueBy: Self.at(13), limit: 10) == ["late"])
  }

  @Test func `what is there at once needs no time`() throws {
    var machine = Self.machine()
    _ = try Self.enqueue(&machine, "a", 5000, deadline: 1)
    Self.check(machine.nextBatch(now: Self.at(0), reach: 5000)?.missing == 5000)
  }

  @Test func `a batch that was begun is gone on with to its deadline`() throws {
    var machine = Self.machine()
    let id = try Self.enqueue(&machine, "a", 5000, deadline: 20)
    guard case .incomplete = machine.give([IDRange(start: 1, count: 10)], to: id) else {
      Issue.record("the batch is not complete")
      return
    }
    Self.check(machine.nextBatch(now: Self.at(19), reach: 1)?.missing == 4990)
  }

  @Test func `calls whose time is up leave in the order of their deadlines, no more than asked for`() throws {
    var machine = Self.machine()
    for (index, deadline) in [50, 10, 40, 20, 30].enumerated() {
      _ = try Self.enqueue(&machine, "\(deadline)", index.isMultiple(of: 2) ? nil : 5, deadline: Int64(deadline))
    }
    Self.check(machine.removeCalls(dueBy: Self.at(9), limit: 9) == [])
    Self.check(machine.removeCalls(dueBy: Self.at(40), limit: 3) == ["10", "20", "30"])
    Self.check(machine.removeCalls(dueBy: Self.at(40), limit: 3) == ["40"])
    #expect(Self.serve(&machine, piece: 10, pieces: 10) == ["50 1"])
  }

  @Test func `a cancelled call gets nothing, and its place goes to the next`() throws {
    var machine = Self.machine(maximumWaiters: 2)
    let first = try Self.enqueue(&machine, "a", 10)
    let single = try Self.enqueue(&machine, "one", nil)
    machine.cancel(first)
    machine.cancel(single)
    guard case .gone = machine.give([IDRange(start: 1, count: 10)], to: first) else {
      Issue.record("a cancelled call took ids")
      return
    }
    _ = try Self.enqueue(&machine, "b", 10)
    #expect(Self.serve(&machine, piece: 10, pieces: 10) == ["b 10"])
    Self.check(machine.removeCalls(dueBy: .distantFuture, limit: 10) == [])
  }

  @Test func `no more wait than allowed`() throws {
    var machine = Self.machine(maximumWaiters: 2)
    _ = try Self.enqueue(&machine, "a", 10)
    _ = try Self.enqueue(&machine, "b", nil)
    guard case .full = machine.enqueue("c", count: nil, taken: [], deadline: Self.at(9), now: Self.at(0)) else {
      Issue.record("a third call waits")
      return
    }
    #expect(machine.count == 2)
  }

  @Test func `calls that come and go behind a long one leave nothing behind`() throws {
    var machine = Self.machine()
    let head = try Self.enqueue(&machine, "head", 1_000_000, deadline: 60_000)
    _ = machine.give([IDRange(start: 1, count: 1)], to: head)
    for round in 0..<10_000 {
      let id = try Self.enqueue(&machine, "x", round.isMultiple(of: 2) ? 5 : nil, deadline: 1)
      if round.isMultiple(of: 3) {
        machine.cancel(id)
      } else {
        Self.check(machine.removeCalls(dueBy: Self.at(1), limit: 9) == ["x"])
      }
      #expect(machine.entries <= 4 * machine.count + 128)
    }
    Self.check(machine.nextBatch(now: Self.at(0), reach: 1)?.id == head)
    Self.check(machine.removeCalls(dueBy: Self.at(60_000), limit: 9) == ["head"])
  }

  @Test func `neighbouring pieces become one range`() throws {
    var machine = Self.machine()
    let id = try Self.enqueue(&machine, "a", 10)
    _ = machine.give([IDRange(start: 5, count: 3)], to: id)
    _ = machine.give([IDRange(start: 8, count: 2)], to: id)
    guard case .complete(_, let ranges) = machine.give([IDRange(start: 20, count: 5)], to: id) else {
      Issue.record("the batch is complete")
      return
    }
    #expect(ranges == [IDRange(start: 5, count: 5), IDRange(start: 20, count: 5)])
  }

  // MARK: - Rounds

  @Test func `one alarm runs for all, rounds lie apart, and an obsolete alarm does nothing`() throws {
    var machine = Self.machine()
    let firstCall = machine.enqueue("a", count: 5, taken: [], deadline: Self.at(900), now: Self.at(0))
    let first = try #require(try Self.alarm(firstCall))
    #expect(first.time == Self.at(0))
    let quiet1 = try Self.alarm(machine.enqueue("b", count: 5, taken: [], deadline: Self.at(900), now: Self.at(0)))
    #expect(quiet1 == nil)
    Self.check(machine.beginRound(first))
    Self.check(!machine.beginRound(first))
    let secondAlarm = machine.endRound(now: Self.at(0), pause: .milliseconds(300))
    let second = try #require(secondAlarm)
    #expect(second.time == Self.at(300))
    // A new call has an earlier round, a millisecond after the last one at the earliest.
    let thirdCall = machine.enqueue("c", count: nil, taken: [], deadline: Self.at(900), now: Self.at(0))
    let third = try #require(try Self.alarm(thirdCall))
    #expect(third.time == Self.at(1))
    Self.check(!machine.beginRound(second))
    Self.check(machine.beginRound(third))
    // One that comes during the round is looked at soon after it.
    let quiet2 = try Self.alarm(machine.enqueue("d", count: 1, taken: [], deadline: Self.at(900), now: Self.at(1)))
    #expect(quiet2 == nil)
    let fourthAlarm = machine.endRound(now: Self.at(2), pause: .milliseconds(300))
    let fourth = try #require(fourthAlarm)
    #expect(fourth.time == Self.at(3))
  }

  @Test func `the next round is no later than the earliest deadline, and there is none when nobody waits`() throws {
    var machine = Self.machine()
    let admission = machine.enqueue("a", count: nil, taken: [], deadline: Self.at(20), now: Self.at(0))
    guard case .waiting(let id, let alarm?) = admission else {
      Issue.record("a waits, and has an alarm")
      return
    }
    Self.check(machine.beginRound(alarm))
    let nextAlarm = machine.endRound(now: Self.at(0), pause: .seconds(9))
    let next = try #require(nextAlarm)
    #expect(next.time == Self.at(20))
    machine.cancel(id)
    Self.check(machine.beginRound(next))
    Self.check(machine.endRound(now: Self.at(20), pause: .seconds(9)) == nil)
  }
}
