import MidTestKit
import Testing

@testable import MidCore

@Suite("A ULID")
struct ULIDTests {
  @Test("has the texts that its specification gives")
  func vectors() throws {
    let example = try ULID(parsing: "01ARZ3NDEKTSV4RRFFQ69G5FAV")
    #expect(example.milliseconds == 1_469_922_850_259)
    #expect(example.description == "01ARZ3NDEKTSV4RRFFQ69G5FAV")
    #expect(try ULID(parsing: "01arz3ndektsv4rrffq69g5fav") == example)
    // The specification's encoded time: 1469918176385 is 01ARYZ6S41.
    #expect(try ULID(milliseconds: 1_469_918_176_385, random: 0).description == "01ARYZ6S410000000000000000")
    #expect(try ULID(parsing: "7ZZZZZZZZZZZZZZZZZZZZZZZZZ").bits == .max)
    #expect(ULID(bits: 1).random == 1)
    #expect(ULID(bits: 0) < example)
  }

  @Test(
    "that can't be read says what is wrong",
    arguments: [
      ("8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "a ULID is a number of 128 bits in 26 digits: the number is past 128 bits"),
      ("01ARZ3NDEKTSV4RRFFQ69G5FA", "a ULID has 26 characters, this one has 25"),
      (
        "01ARZ3NDEKTSV4RRFFQ69G5FAU",
        "a ULID is a number of 128 bits in 26 digits: character 26 is 'U', no crockford digit"
      ),
      (
        "I1ARZ3NDEKTSV4RRFFQ69G5FAV",
        "a ULID is a number of 128 bits in 26 digits: character 1 is 'I', no crockford digit"
      ),
    ])
  func refusals(text: String, reason: String) {
    let error = #expect(throws: IDError.self) { try ULID(parsing: text) }
    #expect(error == IDError(.invalidArgument, reason))
    #expect(ULID(text) == nil)
  }

  @Test("grows by one within a millisecond, as the specification's example does, and never wraps")
  func monotonic() throws {
    var machine = ULIDStateMachine()
    let first = try ULID(parsing: "01BX5ZZKBKACTAV9WEVGEMMVRZ")
    #expect(try machine.next(at: first.milliseconds, random: first.random) == first)
    #expect(try machine.next(at: first.milliseconds, random: 0).description == "01BX5ZZKBKACTAV9WEVGEMMVS0")
    // The clock steps back: the time stays.
    #expect(
      try machine.next(at: first.milliseconds - 10_000, random: 0).description == "01BX5ZZKBKACTAV9WEVGEMMVS1")
    let later = first.milliseconds + 1
    #expect(try machine.next(at: later, random: .max - 1).random == 1 << 80 - 2)
    #expect(try machine.next(at: later, random: 0).random == 1 << 80 - 1)
    for _ in 0..<2 {
      let error = #expect(throws: IDError.self) { try machine.next(at: later, random: 0) }
      #expect(error?.code == .overloaded)
    }
    #expect(try machine.next(at: later + 1, random: 7) == ULID(milliseconds: later + 1, random: 7))
    for time in [-1, 1 << 48] as [Int64] {
      var fresh = ULIDStateMachine()
      let error = #expect(throws: IDError.self) { try fresh.next(at: time, random: 0) }
      #expect(error?.code == .exhausted)
    }
  }

  @Test("made by a generator is larger than the one before, from several threads too")
  func generator() throws {
    let clock = ManualClock(wallMilliseconds: 1_469_918_176_385)
    let generator = ULIDGenerator(clock: clock, random: RandomPool(SeededRandom(seed: 1)))
    let collected = Collected<[ULID]>()
    onThreads(4) { _ in
      do {
        collected.append(
          try (0..<5000).map { index in
            if index % 100 == 0 { clock.advance(by: 1) }
            return try generator.next()
          })
      } catch {
        Issue.record(error)
      }
    }
    for list in collected.all { #expect(zip(list, list.dropFirst()).allSatisfy { $0 < $1 }) }
    #expect(Set(collected.all.joined()).count == 20_000)
    #expect(throws: IDError(.notReady, "none")) {
      try ULIDGenerator(clock: clock, random: RandomPool(BrokenRandom(words: nil))).next()
    }
  }

  @Test("read from any text prints back to the same text")
  func fuzzed() {
    var texts = FuzzedTexts("ULID texts")
    var read = 0
    for _ in 0..<FuzzedTexts.count {
      let text = texts.text(from: ULID(bits: texts.number(bits: 128)).description)
      guard let back = ULID(text) else { continue }
      read += 1
      if back.description != text.uppercased() { Issue.record("\(text) became \(back)") }
    }
    texts.report(read)
    #expect(read > FuzzedTexts.count / 10)
  }
}
