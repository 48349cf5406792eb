import MidTestKit
import Testing

@testable import MidCore

@Suite("An ObjectId")
struct ObjectIDTests {
  @Test("is read as MongoDB's manual reads its examples")
  func vectors() throws {
    // The manual's ObjectId("507f191e810c19729de860ea"): 2012-10-17T20:46:22Z, from before 2018.
    let old = try ObjectID(parsing: "507f191e810c19729de860ea")
    #expect(WallTime(milliseconds: Int64(old.seconds) * 1000).description == "2012-10-17T20:46:22.000Z")
    #expect(old.machineOfOldForm == 0x81_0c19)
    #expect(old.processOfOldForm == 0x729d)
    #expect(old.process == 0x81_0c19_729d)
    #expect(old.counter == 0xe8_60ea)
    #expect(old.description == "507f191e810c19729de860ea")
    #expect(try ObjectID(parsing: "507F191E810C19729DE860EA") == old)
    // The specification's test of times that are unsigned: 0xFFFFFFFF is 2106-02-07T06:28:15Z.
    let last = ObjectID(seconds: .max, process: 0, counter: 0)
    #expect(WallTime(milliseconds: Int64(last.seconds) * 1000).description == "2106-02-07T06:28:15.000Z")
    #expect(old < last)
    #expect(ObjectID(seconds: 1, process: .max, counter: .max).description == "00000001ffffffffffffffff")
  }

  @Test("that can't be read says what is wrong")
  func refusals() {
    for (text, reason) in [
      ("507f191e810c19729de860e", "an ObjectId has 24 hexadecimal digits, this one has 23 characters"),
      ("507f191e810c19729de860ex", "an ObjectId has 24 hexadecimal digits: character 24 is 'x', no hex digit"),
    ] {
      #expect(throws: IDError(.invalidArgument, reason)) { try ObjectID(parsing: text) }
      #expect(ObjectID(text) == nil)
    }
  }

  @Test("is larger than the one before when the counter ends and when the clock steps back")
  func rules() throws {
    var machine = ObjectIDStateMachine()
    #expect(try machine.next(at: 5_999, fresh: nil) == nil)
    let first = try machine.next(at: 5_999, fresh: UInt128(0xFF_FFFE) << 64 | 0x12_3456_789A)
    #expect(first == ObjectID(seconds: 5, process: 0x12_3456_789A, counter: 0xFF_FFFE))
    #expect(try machine.next(at: 5_000, fresh: 7)?.description == "00000005123456789affffff")
    // The second has no more: the next one is taken, which has a process and a counter of its own.
    #expect(try machine.next(at: 5_000, fresh: nil) == nil)
    #expect(try machine.next(at: 5_000, fresh: 7 << 64 | 8)?.description == "000000060000000008000007")
    #expect(try machine.next(at: 1_000, fresh: nil)?.description == "000000060000000008000008")
    #expect(try machine.next(at: 6_999, fresh: nil)?.description == "000000060000000008000009")
    // Each second has.
    #expect(try machine.next(at: 7_000, fresh: nil) == nil)
    #expect(try machine.next(at: 7_000, fresh: 9)?.description == "000000070000000009000000")
    for now in [-1, (1 << 32) * 1000] as [Int64] {
      let error = #expect(throws: IDError.self) { try machine.next(at: now, fresh: 0) }
      #expect(error?.code == .exhausted)
    }
    var last = ObjectIDStateMachine()
    #expect(try last.next(at: (1 << 32) * 1000 - 1, fresh: UInt128(0xFF_FFFF) << 64)?.seconds == .max)
    let error = #expect(throws: IDError.self) { try last.next(at: (1 << 32) * 1000 - 1, fresh: 0) }
    #expect(error?.code == .exhausted)
  }

  @Test("made by a generator counts on from a random start, from several threads")
  func generator() throws {
    let clock = ManualClock(wallMilliseconds: 1_645_557_742_000)
    let source = SeededRandom(seed: SplitMix64.freshSeed(for: "ObjectIds"))
    let generator = ObjectIDGenerator(clock: clock, random: RandomPool(source))
    let collected = Collected<[ObjectID]>()
    onThreads(4) { _ in
      do {
        collected.append(try (0..<5000).map { _ in try generator.next() })
      } catch {
        Issue.record(error)
      }
    }
    for list in collected.all { #expect(zip(list, list.dropFirst()).allSatisfy { $0 < $1 }) }
    let all = collected.all.joined().sorted()
    #expect(zip(all, all.dropFirst()).allSatisfy { $0 < $1 })
    #expect(Set(all.map(\.process)).count == 1)
    // Only the first one of a second needs random bits; threads that begin together may each draw.
    #expect((1...4).contains(source.draws))
    #expect(throws: IDError(.notReady, "none")) {
      try ObjectIDGenerator(clock: clock, random: RandomPool(BrokenRandom(words: nil))).next()
    }
  }

  @Test("read from any text prints back to the same text")
  func fuzzed() {
    var texts = FuzzedTexts("ObjectId texts")
    var read = 0
    for _ in 0..<FuzzedTexts.count {
      let bits = texts.number(bits: 96)
      let value = ObjectID(
        seconds: UInt32(bits >> 64), process: UInt64(truncatingIfNeeded: bits >> 24),
        counter: UInt32(truncatingIfNeeded: bits))
      let text = texts.text(from: value.description)
      guard let back = ObjectID(text) else { continue }
      read += 1
      if back.description != text.lowercased() { Issue.record("\(text) became \(back)") }
    }
    texts.report(read)
    #expect(read > FuzzedTexts.count / 10)
  }
}
