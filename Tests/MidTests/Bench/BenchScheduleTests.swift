import Testing

@testable import mid

@Suite("When calls are due")
struct BenchScheduleTests {
  private func plan(_ length: BenchPlan.Length, connections: Int = 1, rate: Double? = nil) -> BenchPlan {
    var plan = BenchPlan()
    plan.length = length
    plan.connections = connections
    plan.rate = rate
    return plan
  }

  @Test func `with a rate the calls of all connections are due one after the other, whatever the answers`() {
    let plan = self.plan(.duration(.seconds(1)), connections: 3, rate: 1_000)
    var due: [UInt64] = []
    for index in 0..<3 {
      var schedule = CallSchedule(plan, index: index, start: 500)
      #expect(schedule.next(now: 499) == nil)
      while let time = schedule.next(now: 900_000_000) { due.append(time) }
      let missing = schedule.unsent(at: 2_000_000_000).reduce(0) { $0 + $1.calls }
      while let next = schedule.nextDue, let time = schedule.next(now: next) { due.append(time) }
      #expect(
        schedule.issued - due.filter { ($0 - 500) / 1_000_000 % 3 == index && $0 <= 900_000_000 }.count == missing)
      #expect(schedule.unsent(at: 2_000_000_000) == [])
    }
    #expect(due.sorted() == (0..<1_000).map { 500 + $0 * 1_000_000 })
  }

  @Test func `calls are spread evenly, and no more than asked for are made`() {
    let plan = self.plan(.calls(10), connections: 4)
    let counts = (0..<4).map { index in
      var schedule = CallSchedule(plan, index: index, start: 0)
      while schedule.next(now: 5) != nil {}
      #expect(schedule.nextDue == nil)
      return schedule.issued
    }
    #expect(counts == [3, 3, 2, 2])
  }

  @Test func `in a closed loop a call is due when it is asked for, until the end`() {
    var schedule = CallSchedule(self.plan(.duration(.milliseconds(1))), index: 0, start: 100)
    #expect(schedule.next(now: 700) == 700)
    #expect(schedule.next(now: 1_000_099) == 1_000_099)
    #expect(schedule.next(now: 1_000_100) == nil)
    #expect(schedule.unsent(at: 5_000_000) == [])
  }

  @Test func `with a rate a call that was due before the end may be made after it, and none that was not`() {
    var schedule = CallSchedule(self.plan(.duration(.milliseconds(3)), rate: 1_000), index: 0, start: 0)
    #expect(schedule.next(now: 0) == 0)
    #expect(schedule.next(now: 3_000_001) == 1_000_000)
    #expect(schedule.next(now: 3_000_001) == 2_000_000)
    #expect(schedule.next(now: 9_000_000) == nil)
    #expect(schedule.unsent(at: 9_000_000) == [])
  }

  @Test func `calls that were never made are told one by one, with what each had waited`() {
    var schedule = CallSchedule(self.plan(.duration(.seconds(1)), connections: 2, rate: 10), index: 1, start: 0)
    #expect(schedule.next(now: 100_000_000) == 100_000_000)
    let waited: [UInt64] = [750_000_000, 550_000_000]
    #expect(schedule.unsent(at: 1_050_000_000).prefix(2) == waited.map { .init(calls: 1, waited: $0) }.prefix(2))
    #expect(schedule.unsent(at: 1_050_000_000).count == 4)
    #expect(schedule.unsent(at: 300_000_001) == [.init(calls: 1, waited: 1)])
    #expect(schedule.unsent(at: 300_000_000) == [])
  }

  @Test func `billions of calls that were never made are a thousand parts, none with more than one had waited`() {
    let schedule = CallSchedule(self.plan(.duration(.seconds(86_400)), rate: 100_000_000), index: 0, start: 0)
    let end: UInt64 = 86_400_000_000_000
    let parts = schedule.unsent(at: end)
    #expect(parts.count <= CallSchedule.unsentParts)
    #expect(parts.first == .init(calls: 1, waited: end))
    #expect(parts.reduce(0) { $0 + $1.calls } == 8_640_000_000_000)
    var call = 0
    for part in parts {
      call += part.calls
      #expect(part.waited == end - UInt64(call - 1) * 10)
    }
    var record = LatencyRecord()
    for part in parts { record.record(part.waited, calls: part.calls) }
    #expect(abs(record.mean - Double(end) / 2) < Double(end) / 1_000)
    #expect(record.maximum == end)
  }

  @Test func `a schedule that was stopped gives nothing out`() {
    var schedule = CallSchedule(self.plan(.calls(5), rate: 10), index: 0, start: 0)
    #expect(schedule.next(now: 1) == 0)
    schedule.stop()
    #expect(schedule.next(now: 10_000_000_000) == nil)
    #expect(schedule.nextDue == nil)
  }
}

@Suite("The record of latencies")
struct BenchLatencyTests {
  @Test func `percentiles have three digits, mean and maximum are exact, and records add up`() {
    var first = LatencyRecord()
    var second = LatencyRecord()
    for value in UInt64(1)...10_000 {
      if value % 2 == 0 { first.record(value * 1_000) } else { second.record(value * 1_000) }
    }
    first.add(second)
    #expect(first.count == 10_000)
    #expect(first.mean == 5_000_500)
    #expect(first.maximum == 10_000_000)
    for percent in [50.0, 90, 99, 99.9] {
      let exact = percent * 100_000
      let found = Double(first.value(at: percent))
      #expect(abs(found - exact) <= exact / 1_000 + 1_000, "p\(percent)")
    }
    #expect(LatencyRecord().mean == 0)
    #expect(LatencyRecord().value(at: 99) == 0)
  }

  @Test func `times over a minute count as a minute, and keep their place in the maximum`() {
    var record = LatencyRecord()
    record.record(90_000_000_000)
    #expect(record.maximum == 90_000_000_000)
    #expect(record.value(at: 50) >= 59_900_000_000)
  }
}
