import Foundation
import MidTestKit
import Synchronization
import Testing

@testable import MidCore

@Suite("UUIDs that are made")
struct UUIDGeneratorTests {
  private let moment: Int64 = 1_645_557_742_000

  @Test(
    "of version 7 increase while the clock runs, stands and steps back by up to 10 s",
    arguments: UUID7Increment.allCases)
  func ordered(increment: UUID7Increment) throws {
    var random = SplitMix64(seed: SplitMix64.freshSeed(for: "version 7"))
    var machine = UUID7StateMachine(increment: increment)
    var now = self.moment
    var last = UUIDValue.zero
    var latest = Int64.min
    for _ in 0..<20_000 {
      now += Int64([0, 0, 0, 1, 2, -1, -3000, 2000][random.below(8)])
      latest = max(latest, now)
      now = max(now, latest - 10_000)
      let value = try machine.next(at: now, random: UInt128(random.next()) << 64 | UInt128(random.next()))
      if value <= last { Issue.record("\(value) after \(last)") }
      #expect(value.version == 7)
      #expect(UUIDFields(value).time == latest * 10_000)
      last = value
    }
  }

  @Test("of version 7 count by one, or by a random distance, within a millisecond")
  func increments() throws {
    var counter = UUID7StateMachine(increment: .counter)
    let first = try counter.next(at: self.moment, random: 5 << 32 | 7)
    let second = try counter.next(at: self.moment, random: 9 << 32 | 8)
    #expect(first == (try .version7(milliseconds: self.moment, tail: 5 << 32 | 7)))
    #expect(second == (try .version7(milliseconds: self.moment, tail: 6 << 32 | 8)))
    var stepped = UUID7StateMachine(increment: .random)
    #expect(try stepped.next(at: self.moment, random: 5 << 32) == .version7(milliseconds: self.moment, tail: 5))
    #expect(try stepped.next(at: self.moment, random: 7) == .version7(milliseconds: self.moment, tail: 13))
    #expect(try stepped.next(at: self.moment, random: 0) == .version7(milliseconds: self.moment, tail: 14))
  }

  @Test("of version 7 take the next millisecond where the tail is used up")
  func overflow() throws {
    // A new tail begins with a 0, so that 2^73 are left to grow into.
    var machine = UUID7StateMachine(increment: .random)
    let start = try machine.next(at: self.moment, random: .max)
    #expect(start == (try .version7(milliseconds: self.moment, tail: 1 << 73 - 1)))
    var late = UUID7StateMachine(increment: .counter, milliseconds: self.moment, tail: 1 << 42 - 2)
    #expect(
      try late.next(at: self.moment, random: 3) == .version7(milliseconds: self.moment, tail: (1 << 42 - 1) << 32 | 3))
    #expect(
      try late.next(at: self.moment, random: 9 << 32 | 4) == .version7(milliseconds: self.moment + 1, tail: 9 << 32 | 4)
    )
    // The clock reaches the millisecond that was borrowed: the counter goes on.
    #expect(try late.next(at: self.moment + 1, random: 0) == .version7(milliseconds: self.moment + 1, tail: 10 << 32))
    var last = UUID7StateMachine(increment: .counter, milliseconds: 1 << 48 - 1, tail: 1 << 42 - 1)
    let error = #expect(throws: IDError.self) { try last.next(at: 1 << 48 - 1, random: 0) }
    #expect(error?.code == .exhausted)
  }

  @Test("of versions 1 and 6 count within a millisecond and change their node where the clock steps back far")
  func timed() throws {
    var machine = UUIDTimeStateMachine()
    #expect(try machine.next(at: self.moment, fresh: nil) == nil)
    let first = try #require(try machine.next(at: self.moment, fresh: .max))
    #expect(first.time == self.moment * 10_000)
    #expect(first.node == 0xFFFF_FFFF_FFFF && first.clockSequence == 0x3FFF)
    #expect(try machine.next(at: self.moment, fresh: nil)?.time == first.time + 1)
    // A little behind: it goes on counting, and leaves bits alone that it has no need of.
    let behind = try #require(try machine.next(at: self.moment - 900, fresh: 0))
    #expect(behind.time == first.time + 2 && behind.node == first.node)
    // Further behind: another node, at the clock's own time.
    #expect(try machine.next(at: self.moment - 1001, fresh: nil) == nil)
    let stepped = try #require(try machine.next(at: self.moment - 1001, fresh: 0))
    #expect(stepped.time == (self.moment - 1001) * 10_000)
    #expect(stepped.node == 1 << 40 && stepped.clockSequence == 0)
    for now in [.max, .min, 103_072_857_660_685, -12_219_292_800_001] as [Int64] {
      let error = #expect(throws: IDError.self) { try machine.next(at: now, fresh: 0) }
      #expect(error?.code == .exhausted)
    }
  }

  @Test("of versions 1 and 6 change their node and clock sequence after a second of their time")
  func nodesAge() throws {
    var machine = UUIDTimeStateMachine()
    let first = try #require(try machine.next(at: self.moment, fresh: 1 << 64 | 1))
    let late = try #require(try machine.next(at: self.moment + 999, fresh: nil))
    #expect(late.node == first.node && late.clockSequence == 1)
    #expect(try machine.next(at: self.moment + 1000, fresh: nil) == nil)
    let next = try #require(try machine.next(at: self.moment + 1000, fresh: 2 << 64 | 2))
    #expect(next.time == (self.moment + 1000) * 10_000)
    #expect(next.node == 1 << 40 | 2 && next.clockSequence == 2)
    // Counted ahead of a clock that stands, the time goes on under the next node as well.
    var last = next.time
    for _ in 0..<UUIDTimeStateMachine.lifetime - 1 {
      guard let parts = try machine.next(at: self.moment + 1000, fresh: nil), parts.node == next.node else {
        Issue.record("another node after \(last)")
        return
      }
      last = parts.time
    }
    #expect(last == next.time + UUIDTimeStateMachine.lifetime - 1)
    #expect(try machine.next(at: self.moment + 1000, fresh: nil) == nil)
    let ahead = try #require(try machine.next(at: self.moment + 1001, fresh: 3))
    #expect(ahead.time == last + 1 && ahead.node == 1 << 40 | 3)
  }

  @Test("have the version asked for, a node that is no network card's, and are distinct")
  func generator() throws {
    let source = SeededRandom(seed: SplitMix64.freshSeed(for: "UUID generator"))
    let clock = ManualClock(wallMilliseconds: self.moment)
    let generator = UUIDGenerator(increment: .counter, clock: clock, random: RandomPool(source))
    var seen: Set<UUIDValue> = []
    for _ in 0..<1000 {
      let (one, four) = (try generator.version1(), try generator.version4())
      let (six, seven) = (try generator.version6(), try generator.version7())
      #expect([one.version, four.version, six.version, seven.version] == [1, 4, 6, 7])
      #expect(UUIDFields(one).nodeIsRandom == true && UUIDFields(six).nodeIsRandom == true)
      seen.formUnion([one, four, six, seven])
    }
    #expect(seen.count == 4000)
    // 64 words are 32 draws of 128 bits: 2000 of them take 63 blocks. And one draw for versions 1 and 6, for all of a second.
    #expect(source.draws == 64)
  }

  @Test("of version 7 in a batch increase, between all before and all after", arguments: UUID7Increment.allCases)
  func batch(increment: UUID7Increment) throws {
    let source = SeededRandom(seed: SplitMix64.freshSeed(for: "batches of version 7"))
    let clock = ManualClock(wallMilliseconds: self.moment)
    let generator = UUIDGenerator(increment: increment, clock: clock, random: RandomPool(source))
    var last = UUIDValue.zero
    var fresh: Set<UInt32> = []
    for count in [1, 2, 1000, 1, 999] {
      for values in [try generator.version7(count: count), [try generator.version7()]] {
        #expect(values.allSatisfy { $0.version == 7 && $0.variant == .rfc9562 && $0 > last })
        #expect(zip(values, values.dropFirst()).allSatisfy { $0 < $1 })
        #expect(values.allSatisfy { UUIDFields($0).time == self.moment * 10_000 })
        if increment == .counter {
          let counters = values.map { UInt32(truncatingIfNeeded: $0.bits >> 32) & 0x3FFF_FFFF }
          #expect(zip(counters, counters.dropFirst()).allSatisfy { $1 == ($0 + 1) & 0x3FFF_FFFF })
        }
        fresh.formUnion(values.map { UInt32(truncatingIfNeeded: $0.bits) })
        last = try #require(values.last)
      }
    }
    // 32 random bits each: of 2008 so few are alike that more than one pair is no accident.
    #expect(fresh.count >= 2007)
    for count in [0, -1, 1_000_001] {
      let error = #expect(throws: IDError.self) { try generator.version7(count: count) }
      #expect(error?.code == .invalidArgument)
    }
  }

  @Test("of version 7 that do not fit into what is left of a tail all take the next millisecond")
  func batchOverflow() throws {
    var machine = UUID7StateMachine(increment: .counter, milliseconds: self.moment, tail: 1 << 42 - 3)
    #expect(UUID7StateMachine(increment: .counter, bits: machine.bits).bits == machine.bits)
    var other = machine
    let whole = try machine.take(at: self.moment, seed: 5, step: 1, further: 1)
    #expect(whole == (self.moment, 1 << 42 - 2))
    // The first would fit, the last would not.
    #expect(try other.take(at: self.moment, seed: 5, step: 1, further: 2) == (self.moment + 1, 5))
    #expect(try other.take(at: self.moment, seed: 9, step: 1, further: 0) == (self.moment + 1, 8))
    var first = UUID7StateMachine(increment: .random, bits: UUID7StateMachine(increment: .random).bits)
    #expect(try first.take(at: 0, seed: .max, step: 1, further: 1 << 40) == (0, 1 << 73 - 1))
    var end = UUID7StateMachine(increment: .random, milliseconds: 1 << 48 - 1, tail: 1 << 74 - 1)
    let before = end.bits
    let error = #expect(throws: IDError.self) { try end.take(at: 1 << 48 - 1, seed: 0, step: 1, further: 0) }
    #expect(error?.code == .exhausted && end.bits == before)
  }

  @Test("of version 7 are distinct over 8 threads and increase in each", arguments: UUID7Increment.allCases)
  func threads(increment: UUID7Increment) {
    let perThread = TestCount.ids / 8
    let source = SeededRandom(seed: SplitMix64.freshSeed(for: "version 7 on threads"))
    let generator = UUIDGenerator(increment: increment, clock: RunningClock(), random: RandomPool(source))
    let collected = Collected<[UUIDValue]>()
    let started = ContinuousClock.now
    onThreads(8) { _ in
      var values: [UUIDValue] = []
      values.reserveCapacity(perThread)
      do {
        // One by one, with a batch now and then.
        while values.count < perThread {
          let count = values.count % 100 == 99 ? min(50, perThread - values.count) : 1
          values += count == 1 ? [try generator.version7()] : try generator.version7(count: count)
        }
      } catch {
        Issue.record(error)
      }
      collected.append(values)
    }
    let lists = collected.all
    #expect(lists.count == 8 && lists.allSatisfy { $0.count == perThread })
    let time = ContinuousClock.now - started
    // The lists increase, so the smallest of their heads is the smallest of all that is left.
    var places = [Int](repeating: 0, count: lists.count)
    var last: UUIDValue?
    for _ in 0..<8 * perThread {
      var smallest: Int?
      for index in lists.indices where places[index] < lists[index].count {
        if let known = smallest, lists[known][places[known]] <= lists[index][places[index]] { continue }
        smallest = index
      }
      guard let list = smallest else { break }
      let value = lists[list][places[list]]
      if let last, value <= last {
        Issue.record("\(value) is not past \(last)")
        return
      }
      last = value
      places[list] += 1
    }
    #expect(places.allSatisfy { $0 == perThread })
    print(
      "\(8 * perThread) UUIDs of version 7 (\(increment)) from 8 threads in \(time): all distinct, increasing in each thread"
    )
  }

  @Test("a pool of random bits hands out no word twice, from many threads, and passes on what goes wrong")
  func pool() throws {
    let pool = RandomPool(SeededRandom(seed: SplitMix64.freshSeed(for: "random pool")))
    let collected = Collected<[UInt128]>()
    onThreads(4) { _ in
      do {
        collected.append(try (0..<5000).map { _ in try pool.next() })
      } catch {
        Issue.record(error)
      }
    }
    // SplitMix64 repeats no word within 2^64, so a repeated one is the pool's fault.
    let words = collected.all.joined().flatMap { [UInt64($0 >> 64), UInt64(truncatingIfNeeded: $0)] }
    #expect(Set(words).count == 40_000)
    #expect(throws: IDError(.notReady, "none")) { try RandomPool(BrokenRandom(words: nil)).next() }
    #expect(throws: IDError(.notReady, "the source of random bits gave 1 words instead of 64")) {
      try RandomPool(BrokenRandom(words: [1])).next()
    }
  }
}

/// A wall clock that moves on by a millisecond with every 1000th reading, and stands 3 behind in every seventh.
private final class RunningClock: TimeSource {
  private let readings = Atomic<Int64>(0)

  func wallMilliseconds() -> Int64 {
    let reading = self.readings.wrappingAdd(1, ordering: .relaxed).newValue
    return 1_645_557_742_000 + reading / 1000 - (reading.isMultiple(of: 7) ? 3 : 0)
  }
  func monotonicNanoseconds() -> UInt64 { 0 }
}

/// A source that has too few words, or none.
struct BrokenRandom: RandomSource {
  let words: [UInt64]?

  func words(_ count: Int) throws(IDError) -> [UInt64] {
    guard let words = self.words else { throw IDError(.notReady, "none") }
    return words
  }
}
