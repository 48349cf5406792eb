import MidCore
import MidTestKit
import Testing

@testable import MidServer

@Suite("The look-ups of unknown tags") struct TagLookupsTests {
  private static let second: UInt64 = 1_000_000_000

  private func tags(_ count: Int) throws -> [Tag] { try (0..<count).map { try Tag("t\($0)") } }

  @Test func `a thousand calls at most wait for names that are not there`() throws {
    var lookups = TagLookups<Int>(maximumWaiting: 5000)
    _ = lookups.readEnded(now: 0) { _ in false }
    let tags = try self.tags(1001)
    var ids: [TagLookups<Int>.ID] = []
    for (number, tag) in tags.prefix(1000).enumerated() {
      guard case .waits(let id, let effect) = lookups.ask(tag, now: 0, reply: number) else {
        Issue.record("call \(number) does not wait")
        return
      }
      #expect(effect == (number == 0 ? .read : .nothing))
      ids.append(id)
    }
    let more = [UInt64(0), Self.second - 1, Self.second].map { lookups.ask(tags[1000], now: $0, reply: 1000) }
    // A list that has been read for a second says nothing of now.
    #expect(more == [.absent, .absent, .overloaded])
    let left = lookups.remove(ids[7])
    #expect(left?.reply == 7)
    guard case .waits = lookups.ask(tags[1000], now: 0, reply: 1000) else {
      Issue.record("one has left, so another may wait")
      return
    }
    #expect(lookups.count == 1000)
  }

  @Test func `calls for tags whose ids go back take no place from unknown names, and have their own bound`() throws {
    let tags = try self.tags(3)
    var lookups = TagLookups<Int>(maximumWaiting: 2)
    _ = lookups.readEnded(now: 0) { _ in false }
    let waits = (0..<3).map { lookups.waitForRetirement(of: tags[0], reply: $0) != nil }
    #expect(waits == [true, true, false])
    guard case .waits = lookups.ask(tags[1], now: 0, reply: 3) else {
      Issue.record("an unknown name waits beside them")
      return
    }
    let ended = lookups.readEnded(now: 1) { _ in false }
    let retired = lookups.retired(tags[0])
    #expect(ended.calls.map(\.reply) == [3] && retired.map(\.reply) == [0, 1])
    #expect(lookups.count == 0)
  }

  @Test func `what came while the first list was read waits on, a thousand at most`() throws {
    var lookups = TagLookups<Int>(maximumWaiting: 3000)
    let tags = try self.tags(3001)
    for (number, tag) in tags.prefix(3000).enumerated() { _ = lookups.ask(tag, now: 0, reply: number) }
    let more = lookups.ask(tags[3000], now: 0, reply: 3000)
    #expect(more == .overloaded)
    let first = lookups.readEnded(now: 0) { _ in false }
    // Whoever came first waits on, and is answered first.
    #expect(first.calls.map(\.reply) == [0] + Array(1001..<3000) && lookups.count == 1000)
    #expect(first.effect == .wait(.seconds(1)))
    let due = lookups.due(now: Self.second)
    #expect(due == .read)
    let second = lookups.readEnded(now: Self.second) { _ in false }
    #expect(second.calls.map(\.reply) == Array(1...1000) && lookups.count == 0 && second.effect == .nothing)
  }

  @Test func `while the list can't be read no name is said not to be there`() throws {
    let tag = try Tag("typo")
    var lookups = TagLookups<Int>(maximumWaiting: 10)
    _ = lookups.ask(tag, now: 0, reply: 0)
    _ = lookups.readEnded(now: 0) { _ in false }
    let known = lookups.ask(tag, now: 1, reply: 1)
    #expect(known == .absent)
    _ = lookups.beginIfIdle(now: Self.second)
    let nobody = lookups.readFailed(now: Self.second)
    #expect(nobody.calls.isEmpty)
    guard case .waits(_, .wait(.seconds(1))) = lookups.ask(tag, now: Self.second, reply: 2) else {
      Issue.record("the name has to be looked up again")
      return
    }
    _ = lookups.due(now: 2 * Self.second)
    let failed = lookups.readFailed(now: 2 * Self.second)
    #expect(failed.calls.map(\.reply) == [2] && failed.effect == .nothing)
  }

  @Test func `while the list can't be read whoever comes after a thousand others hears that`() throws {
    var lookups = TagLookups<Int>(maximumWaiting: 5000)
    let tags = try self.tags(1001)
    _ = lookups.readEnded(now: 0) { _ in false }
    _ = lookups.beginIfIdle(now: 0)
    _ = lookups.readFailed(now: 0)
    for (number, tag) in tags.prefix(1000).enumerated() { _ = lookups.ask(tag, now: 0, reply: number) }
    #expect(lookups.count == 1000)
    var more = lookups.ask(tags[1000], now: 0, reply: 1000)
    #expect(more == .unreadable)
    // The next read has begun, and brings nothing so far.
    _ = lookups.due(now: Self.second)
    more = lookups.ask(tags[1000], now: Self.second, reply: 1000)
    #expect(more == .unreadable)
    let ended = lookups.readEnded(now: Self.second) { _ in false }
    #expect(ended.calls.map(\.reply) == Array(0..<1000))
    more = lookups.ask(tags[0], now: Self.second, reply: 1000)
    #expect(more == .absent)
  }

  @Test func `a thread that read the clock before another one's read began asks for no second one`() throws {
    var lookups = TagLookups<Int>(maximumWaiting: 10)
    _ = lookups.beginIfIdle(now: 5)
    _ = lookups.readEnded(now: 6) { _ in false }
    guard case .waits(_, .wait(.seconds(1))) = lookups.ask(try Tag("new"), now: 4, reply: 0) else {
      Issue.record("the last read began this very moment")
      return
    }
    let stale = lookups.beginIfOld(now: 3)
    #expect(stale == .nothing)
  }

  @Test func `a read that took longer than the pause is followed by the next at once`() throws {
    let tags = try self.tags(2)
    var lookups = TagLookups<Int>(maximumWaiting: 10)
    _ = lookups.ask(tags[0], now: 0, reply: 0)
    _ = lookups.ask(tags[1], now: 0, reply: 1)
    let (calls, effect) = lookups.readEnded(now: 2 * Self.second) { _ in false }
    #expect(calls.map(\.reply) == [0] && effect == .read && lookups.isReading)
  }

  @Test func `an operator's read begins after the one under way, and only it confirms`() throws {
    var lookups = TagLookups<Int>(maximumWaiting: 10)
    var effects = [lookups.beginIfIdle(now: 0) ? .read : .nothing, lookups.reload(now: 0)]
    #expect(effects == [.read, .nothing] && !lookups.isConfirming)
    effects = [lookups.readEnded(now: 1) { _ in false }.effect]
    #expect(effects == [.read] && lookups.isConfirming && lookups.isReading)
    effects = [lookups.readFailed(now: 2).effect]
    #expect(effects == [.nothing] && !lookups.isConfirming && !lookups.isReading)
    effects = [lookups.reload(now: 3)]
    #expect(effects == [.read] && lookups.isConfirming)
    _ = lookups.readEnded(now: 4) { _ in false }
    #expect(!lookups.isConfirming)
  }

  @Test func `an operator's word stands where a read fails`() throws {
    var lookups = TagLookups<Int>(maximumWaiting: 10)
    var effects = [lookups.beginIfIdle(now: 0) ? .read : .nothing, lookups.reload(now: 0)]
    // The older read fails: the one that was asked for begins.
    effects.append(lookups.readFailed(now: 1).effect)
    #expect(effects == [.read, .nothing, .read] && lookups.isConfirming)
    // It fails as well: not at once again, but the next one is as good.
    effects = [lookups.readFailed(now: 2).effect]
    #expect(effects == [.nothing] && !lookups.isReading && !lookups.isConfirming)
    let begins = lookups.beginIfIdle(now: Self.second)
    #expect(begins && lookups.isConfirming)
    _ = lookups.readEnded(now: Self.second) { _ in false }
    #expect(!lookups.isConfirming && !lookups.isReading)
    _ = lookups.beginIfIdle(now: 2 * Self.second)
    #expect(!lookups.isConfirming)
  }

  /// Names are made at random moments, and what a read answers is the table as it stood when the read began.
  @Test(arguments: 0..<20) func `a name nobody asked for before it was made is found`(round: UInt64) throws {
    let seed = UInt64.random(in: 0 ... .max)
    var random = SplitMix64(seed: seed)
    let names = try self.tags(400)
    var lookups = TagLookups<Int>(maximumWaiting: 100)
    var (now, lastBegin): (UInt64, UInt64?) = (0, nil)
    var (table, seen): (Set<Tag>, Set<Tag>) = ([], [])
    var (pauseEnd, asked, found): (UInt64?, Set<Tag>, Int) = (nil, [], 0)
    // Per call: its name, and whether it has to be found.
    var calls: [(tag: Tag, mustBeFound: Bool, isOpen: Bool)] = []

    func act(_ effect: TagLookups<Int>.Effect) {
      switch effect {
      case .nothing: break
      case .read:
        if let lastBegin { #expect(now - lastBegin >= Self.second, "seed \(seed)") }
        lastBegin = now
        seen = table
      case .wait(let pause):
        #expect(pauseEnd == nil && pause > .zero && pause <= .seconds(1), "seed \(seed)")
        pauseEnd = now + UInt64(pause / .nanoseconds(1))
      }
    }

    for step in 0..<3000 {
      now += random.next() % (Self.second / 10)
      if let end = pauseEnd, end <= now {
        pauseEnd = nil
        act(lookups.due(now: now))
      }
      // Always some that nobody has asked for or made yet.
      let tag = names[step / 10 + Int(random.next() % 40)]
      switch random.next() % 8 {
      case 0: table.insert(tag)
      case 1 where lookups.isReading:
        let list = seen
        let (ended, effect) = lookups.readEnded(now: now) { list.contains($0) }
        for call in ended {
          #expect(calls[call.reply].isOpen, "answered once; seed \(seed)")
          calls[call.reply].isOpen = false
          if list.contains(call.tag) { found += 1 }
          #expect(list.contains(call.tag) || !calls[call.reply].mustBeFound, "\(call.tag); seed \(seed)")
        }
        act(effect)
      case 2...4:
        let mustBeFound = table.contains(tag) && !asked.contains(tag)
        asked.insert(tag)
        calls.append((tag, mustBeFound, true))
        switch lookups.ask(tag, now: now, reply: calls.count - 1) {
        case .waits(_, let effect): act(effect)
        case .absent, .unreadable, .overloaded:
          calls[calls.count - 1].isOpen = false
          #expect(!mustBeFound, "\(tag); seed \(seed)")
        }
      default: break
      }
      #expect(lookups.count == calls.count { $0.isOpen }, "seed \(seed)")
      // Whoever waits will be answered.
      #expect(lookups.count == 0 || lookups.isReading || pauseEnd != nil, "seed \(seed)")
    }
    #expect(found > 0, "seed \(seed)")
    print("look-ups: round \(round), seed \(seed), \(calls.count) calls, \(found) found")
  }
}
