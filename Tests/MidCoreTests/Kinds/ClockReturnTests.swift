import MidTestKit
import Synchronization
import Testing

@testable import MidCore

/// Ids that are in order, from a generator of any kind, as the numbers that their order is.
enum OrderedKind: String, CaseIterable, Sendable {
  case uuid7Counter, uuid7Random, ulid, objectID

  /// A generator: makes an id, and reads the time of one in milliseconds.
  func generator(
    _ clock: any TimeSource, _ random: RandomPool, _ onClockReturn: @escaping @Sendable (Duration) -> Void
  ) -> @Sendable () throws(IDError) -> UInt128 {
    switch self {
    case .uuid7Counter, .uuid7Random:
      let generator = UUIDGenerator(
        increment: self == .uuid7Counter ? .counter : .random, clock: clock, random: random,
        onClockReturn: onClockReturn)
      return { () throws(IDError) in try generator.version7().bits }
    case .ulid:
      let generator = ULIDGenerator(clock: clock, random: random, onClockReturn: onClockReturn)
      return { () throws(IDError) in try generator.next().bits }
    case .objectID:
      let generator = ObjectIDGenerator(clock: clock, random: random, onClockReturn: onClockReturn)
      return { () throws(IDError) in try generator.next().bits }
    }
  }

  /// The time of an id, in milliseconds; ObjectIds know the second.
  func milliseconds(of bits: UInt128) -> Int64 {
    self == .objectID ? Int64(bits >> 64) * 1000 : Int64(bits >> 80)
  }
}

@Suite("After the clock was far ahead")
struct ClockReturnTests {
  // A whole second.
  private let moment: Int64 = 1_645_557_742_000
  private let hour: Int64 = 3_600_000

  /// Collects what was told of returns.
  private final class Returns: Sendable {
    let steps = Mutex<[Duration]>([])
    var all: [Duration] { self.steps.withLock { $0 } }
  }

  @Test("ids take the clock's time again, and none comes twice", arguments: OrderedKind.allCases)
  func follows(kind: OrderedKind) throws {
    let clock = ManualClock(wallMilliseconds: self.moment)
    let returns = Returns()
    let random = RandomPool(SeededRandom(seed: SplitMix64.freshSeed(for: "clock returns, \(kind)")))
    let next = kind.generator(clock, random) { step in returns.steps.withLock { $0.append(step) } }
    var seen: Set<UInt128> = []
    for round in 0..<20 {
      for _ in 0..<100 { seen.insert(try next()) }
      clock.stepWall(by: self.hour)
      for _ in 0..<100 { seen.insert(try next()) }
      clock.stepWall(by: -self.hour)
      // The same times as in the rounds before: only random bits tell these ids from those.
      let back = try next()
      #expect(kind.milliseconds(of: back) == self.moment)
      seen.insert(back)
      #expect(returns.all.count == round + 1)
    }
    #expect(seen.count == 20 * 201)
    #expect(returns.all.allSatisfy { $0 == .milliseconds(self.hour) })
  }

  @Test("by 10 s and no more, ids stay where they are and in order", arguments: OrderedKind.allCases)
  func bound(kind: OrderedKind) throws {
    let clock = ManualClock(wallMilliseconds: self.moment)
    let returns = Returns()
    let random = RandomPool(SeededRandom(seed: 1))
    let next = kind.generator(clock, random) { step in returns.steps.withLock { $0.append(step) } }
    let first = try next()
    clock.setWall(to: self.moment - 10_000)
    let second = try next()
    #expect(second > first && kind.milliseconds(of: second) == self.moment)
    #expect(returns.all.isEmpty)
    clock.setWall(to: self.moment - 11_000)
    let third = try next()
    #expect(third < first && kind.milliseconds(of: third) == self.moment - 11_000)
    #expect(returns.all == [.seconds(11)])
    clock.setWall(to: self.moment - 10_500)
    #expect(try next() > third)
    #expect(returns.all.count == 1)
  }

  @Test(
    "a reading of the clock that is old, as of a thread that was put aside, is none", arguments: OrderedKind.allCases)
  func oldReading(kind: OrderedKind) throws {
    let clock = ScriptedClock(self.moment)
    let returns = Returns()
    let next = kind.generator(clock, RandomPool(SeededRandom(seed: 1))) { step in
      returns.steps.withLock { $0.append(step) }
    }
    let first = try next()
    // The next look at the clock was taken 20 s ago; the one after it is of now.
    clock.script([self.moment - 20_000])
    let second = try next()
    #expect(second > first && kind.milliseconds(of: second) == self.moment)
    #expect(returns.all.isEmpty)
  }

  @Test("a batch of version 7 takes the clock's time as a whole", arguments: UUID7Increment.allCases)
  func batch(increment: UUID7Increment) throws {
    let clock = ManualClock(wallMilliseconds: self.moment)
    let returns = Returns()
    let generator = UUIDGenerator(increment: increment, clock: clock, random: RandomPool(SeededRandom(seed: 1))) {
      step in
      returns.steps.withLock { $0.append(step) }
    }
    let before = try generator.version7(count: 100)
    clock.stepWall(by: -self.hour)
    let after = try generator.version7(count: 100)
    #expect(after.allSatisfy { UUIDFields($0).time == (self.moment - self.hour) * 10_000 })
    #expect(zip(after, after.dropFirst()).allSatisfy { $0 < $1 })
    #expect(Set(before + after).count == 200)
    #expect(returns.all == [.seconds(3600)])
  }

  @Test("versions 1 and 6 take the clock's time under another node")
  func timed() throws {
    let clock = ManualClock(wallMilliseconds: self.moment + self.hour)
    let generator = UUIDGenerator(increment: .counter, clock: clock, random: RandomPool(SeededRandom(seed: 1)))
    let before = UUIDFields(try generator.version6())
    clock.setWall(to: self.moment)
    let after = UUIDFields(try generator.version6())
    #expect(after.time == self.moment * 10_000)
    #expect(after.node != before.node)
  }
}

/// A clock that stands, but for readings that are given beforehand.
private final class ScriptedClock: TimeSource {
  private let now: Int64
  private let readings = Mutex<[Int64]>([])

  init(_ now: Int64) { self.now = now }

  func script(_ readings: [Int64]) { self.readings.withLock { $0 = readings } }
  func wallMilliseconds() -> Int64 {
    self.readings.withLock { $0.isEmpty ? self.now : $0.removeFirst() }
  }
  func monotonicNanoseconds() -> UInt64 { 0 }
}
