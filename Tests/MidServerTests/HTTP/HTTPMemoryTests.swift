import MidCore
import MidTestKit
import NIOCore
import Testing

@testable import MidServer

/// Stands for a connection.
private final class Name: Sendable {
  var id: ObjectIdentifier { ObjectIdentifier(self) }
}

@Suite("What all HTTP connections hold together")
struct HTTPMemoryTests {
  private let names = (0..<8).map { _ in Name() }

  private func id(_ number: Int) -> ObjectIdentifier { self.names[number].id }

  private func at(_ milliseconds: Int64) -> NIODeadline { .uptimeNanoseconds(3) + .milliseconds(milliseconds) }

  /// Whether an answer has room, and who gives way.
  private func reserve(
    _ book: inout HTTPMemoryBook, _ bytes: Int, for number: Int, at milliseconds: Int64
  ) -> (isGranted: Bool, givingWay: [Int]) {
    let verdict = book.reserve(bytes, for: self.id(number), at: self.at(milliseconds))
    return (verdict.isGranted, verdict.givingWay.map { id in self.names.firstIndex { $0.id == id } ?? -1 })
  }

  @Test func thereIsRoomUpToTheLimitAndAgainOnceItIsGivenBack() {
    var book = HTTPMemoryBook(limit: 100)
    #expect(self.reserve(&book, 60, for: 0, at: 0) == (true, []))
    #expect(self.reserve(&book, 41, for: 1, at: 0) == (false, []))
    #expect(self.reserve(&book, 40, for: 1, at: 0) == (true, []))
    #expect(book.total == 100)
    // The answer was shorter than it might have been.
    book.resize(60, to: 30, for: self.id(0), at: self.at(0))
    #expect(book.total == 70 && self.reserve(&book, 31, for: 2, at: 0) == (false, []))
    book.resize(30, to: 0, for: self.id(0), at: self.at(0))
    #expect(self.reserve(&book, 31, for: 2, at: 0) == (true, []))
    #expect(book.total == 71)
  }

  @Test func whetherThereIsRoomIsAskedWithoutACost() {
    var book = HTTPMemoryBook(limit: 100)
    func hasRoom(_ bytes: Int, for number: Int, at milliseconds: Int64) -> Bool {
      book.hasRoom(bytes, for: self.id(number), at: self.at(milliseconds))
    }
    _ = book.hold(90, by: self.id(0), at: self.at(0))
    #expect(hasRoom(10, for: 1, at: 999) && !hasRoom(11, for: 1, at: 999))
    #expect(hasRoom(11, for: 1, at: 1_000) && hasRoom(500, for: 1, at: 1_000))
    // It would have to give way for itself.
    #expect(hasRoom(10, for: 0, at: 1_000) && !hasRoom(11, for: 0, at: 1_000))
    // Nobody was named for these, and nothing was kept.
    #expect(book.total == 90 && self.reserve(&book, 50, for: 1, at: 1_000) == (true, [0]))
    #expect(hasRoom(50, for: 2, at: 1_000) && !hasRoom(51, for: 2, at: 1_000))
    #expect(!hasRoom(1, for: 0, at: 1_000), "who gives way gets nothing more")
  }

  @Test func anAnswerLongerThanTheLimitIsMadeAlone() {
    var book = HTTPMemoryBook(limit: 100)
    #expect(self.reserve(&book, 500, for: 0, at: 0) == (true, []))
    #expect(self.reserve(&book, 1, for: 1, at: 0) == (false, []))
    book.resize(500, to: 0, for: self.id(0), at: self.at(0))
    #expect(self.reserve(&book, 1, for: 1, at: 0) == (true, []))
    #expect(self.reserve(&book, 500, for: 0, at: 0) == (false, []))
  }

  @Test func whoHasCostMostGivesWay() {
    var book = HTTPMemoryBook(limit: 100)
    // At 10 s: 30 bytes for 10 s, 40 for 6 s, 20 for 2 s.
    for (number, bytes, since) in [(0, 30, 0), (1, 40, 4_000), (2, 20, 8_000)] as [(Int, Int, Int64)] {
      #expect(book.hold(bytes, by: self.id(number), at: self.at(since)).isEmpty)
    }
    #expect(self.reserve(&book, 10, for: 5, at: 10_000) == (true, []))
    #expect(self.reserve(&book, 31, for: 6, at: 10_000) == (true, [0, 1]))
    // They are named once, and still there; what they hold is as good as gone.
    #expect(book.total == 131 && self.reserve(&book, 29, for: 7, at: 10_000) == (true, []))
    #expect(self.reserve(&book, 11, for: 7, at: 10_000) == (true, [2]))
    #expect(self.reserve(&book, 21, for: 7, at: 10_000) == (false, []))
    for number in 0...2 { #expect(book.hold(0, by: self.id(number), at: self.at(10_001)).isEmpty) }
    #expect(book.total == 81 && self.reserve(&book, 19, for: 4, at: 10_001) == (true, []))
  }

  @Test func whoBeganAMomentAgoIsSpared() {
    var book = HTTPMemoryBook(limit: 100)
    _ = book.hold(100, by: self.id(0), at: self.at(0))
    #expect(self.reserve(&book, 1, for: 1, at: 999) == (false, []))
    // What it holds may change: it counts since when it holds something.
    _ = book.hold(90, by: self.id(0), at: self.at(999))
    #expect(self.reserve(&book, 11, for: 1, at: 1_000) == (true, [0]))
    // It has taken all, and begins anew.
    _ = book.hold(0, by: self.id(0), at: self.at(1_001))
    _ = book.hold(89, by: self.id(0), at: self.at(1_002))
    #expect(self.reserve(&book, 1, for: 2, at: 2_001) == (false, []))
    #expect(self.reserve(&book, 1, for: 2, at: 2_002) == (true, [0]))
  }

  @Test func nobodyGivesWayWhereThatWouldNotDo() {
    var book = HTTPMemoryBook(limit: 100)
    _ = book.hold(30, by: self.id(0), at: self.at(0))
    #expect(self.reserve(&book, 70, for: 1, at: 5_000) == (true, []))
    #expect(self.reserve(&book, 31, for: 2, at: 5_000) == (false, []))
    #expect(self.reserve(&book, 30, for: 2, at: 5_000) == (true, [0]))
  }

  @Test func aConnectionGetsNothingMoreByGivingWayItself() {
    var book = HTTPMemoryBook(limit: 100)
    _ = book.hold(80, by: self.id(0), at: self.at(0))
    // What waits behind an answer that is not read counts with it.
    #expect(self.reserve(&book, 20, for: 0, at: 0) == (true, []))
    #expect(self.reserve(&book, 20, for: 0, at: 2_000) == (false, [0]))
    #expect(self.reserve(&book, 20, for: 0, at: 2_000) == (false, []))
    #expect(self.reserve(&book, 100, for: 1, at: 2_000) == (true, []))
  }

  @Test func whatConnectionsHoldWithoutAskingMakesOthersGiveWay() {
    var book = HTTPMemoryBook(limit: 100)
    #expect(book.hold(60, by: self.id(0), at: self.at(0)).isEmpty)
    #expect(book.hold(60, by: self.id(1), at: self.at(500)).isEmpty)
    #expect(book.hold(59, by: self.id(1), at: self.at(1_000)).isEmpty, "less is never a reason")
    #expect(book.hold(61, by: self.id(1), at: self.at(1_000)) == [self.id(0)])
  }

  @Test func theTotalIsTheSumOfAll() {
    let seed = SplitMix64.freshSeed(for: "what all HTTP connections hold")
    var random = SplitMix64(seed: seed)
    var book = HTTPMemoryBook(limit: 1_000)
    var held = [Int](repeating: 0, count: 8)
    var reserved: [(number: Int, bytes: Int)] = []
    var (refused, gaveWay) = (0, 0)
    for step in 0..<20_000 {
      let number = random.below(8)
      let now = Int64(step) * 100
      switch random.below(4) {
      case 0:
        held[number] = random.below(3) == 0 ? 0 : random.below(400)
        gaveWay += book.hold(held[number], by: self.id(number), at: self.at(now)).count
      case 1, 2:
        let bytes = random.below(400) + 1
        let verdict = self.reserve(&book, bytes, for: number, at: now)
        if verdict.isGranted { reserved.append((number, bytes)) } else { refused += 1 }
        gaveWay += verdict.givingWay.count
        for each in verdict.givingWay where random.below(2) == 0 {
          held[each] = 0
          _ = book.hold(0, by: self.id(each), at: self.at(now))
        }
      default:
        guard !reserved.isEmpty else { continue }
        let given = reserved.remove(at: random.below(reserved.count))
        book.resize(given.bytes, to: 0, for: self.id(given.number), at: self.at(now))
      }
      let sum = held.reduce(0, +) + reserved.reduce(0) { $0 + $1.bytes }
      guard book.total == sum else {
        Issue.record("seed \(seed), step \(step): \(book.total) where \(sum) is held")
        return
      }
    }
    #expect(refused > 100 && gaveWay > 100, "seed \(seed)")
  }

  @Test func whatIsShortIsNotCountedAndAReservationEndsWithWhoHasIt() throws {
    let memory = HTTPMemory(limit: 100_000, now: { .now() })
    #expect(try memory.reserve(HTTPMemory.few, for: self.id(0)) == nil)
    var room = try memory.reserve(90_000, for: self.id(0))
    #expect(memory.total == 90_000)
    #expect {
      try memory.reserve(20_000, for: self.id(1))
    } throws: {
      ($0 as? IDError)?.code == .overloaded
    }
    room?.settle(at: 50_000)
    #expect(memory.total == 50_000)
    room = nil
    #expect(memory.total == 0)
    room = try memory.reserve(90_000, for: self.id(0))
    room?.giveBack()
    room?.giveBack()
    #expect(memory.total == 0)
  }
}
