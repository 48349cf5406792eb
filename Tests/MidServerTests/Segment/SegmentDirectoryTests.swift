import MidCore
import MidTestKit
import Synchronization
import Testing

@testable import MidServer

@Suite("The directory of tags") struct SegmentDirectoryTests {
  /// What a call for a generator came to.
  private final class Outcome: Sendable {
    private let result = Mutex<[Result<SegmentGenerator, IDError>]>([])

    func take(_ result: Result<SegmentGenerator, IDError>) { self.result.withLock { $0.append(result) } }

    /// The only result; nil where there is none yet.
    func only(sourceLocation: SourceLocation = #_sourceLocation) -> Result<SegmentGenerator, IDError>? {
      let results = self.result.withLock { $0 }
      #expect(results.count <= 1, "completed more than once", sourceLocation: sourceLocation)
      return results.first
    }

    var generator: SegmentGenerator? {
      if case .success(let generator) = self.only() { generator } else { nil }
    }

    var code: IDError.Code? {
      if case .failure(let error) = self.only() { error.code } else { nil }
    }
  }

  private let clock = ManualClock(wallMilliseconds: 1_700_000_000_000)
  private let log = EventLog()
  private let directory: SegmentDirectory
  private let orders: Tag

  init() throws {
    let log = self.log
    self.orders = try Tag("orders")
    self.directory = try SegmentDirectory(
      settings: SegmentSettings(), maximumWaiting: 3, clock: self.clock,
      onLoadNeeded: { generator, load in log.note("load \(generator.tag) \(load.count)") },
      onRefreshNeeded: { log.note("refresh") }, onPauseNeeded: { log.note("pause \($0)") })
  }

  private func ask(_ tag: Tag) -> (lookup: SegmentDirectory.Lookup, outcome: Outcome) {
    let outcome = Outcome()
    return (self.directory.generator(for: tag) { outcome.take($0) }, outcome)
  }

  private func failure(_ tag: Tag) -> IDError.Code? {
    if case .failed(let error) = self.ask(tag).lookup { error.code } else { nil }
  }

  private func found(_ tag: Tag) throws -> SegmentGenerator {
    guard case .found(let generator) = self.ask(tag).lookup else { throw IDError(.unknownTag, "\(tag)") }
    return generator
  }

  private func waiting(_ tag: Tag) throws -> (id: SegmentDirectory.LookupID, outcome: Outcome) {
    let (lookup, outcome) = self.ask(tag)
    guard case .waiting(let id) = lookup else { throw IDError(.notReady, "\(lookup)") }
    return (id, outcome)
  }

  private func record(_ tag: Tag, step: Int64 = 10) -> TagRecord { TagRecord(tag: tag, maxID: 0, step: step) }

  @Test func `a flood of unknown names costs one read a second, and few of them wait`() throws {
    self.directory.refreshed([])
    let tags = try (0..<10_000).map { try Tag("unknown-\($0)") }
    let first = tags.map { self.ask($0) }
    #expect(self.log.events == ["refresh"])
    #expect(self.directory.waitingCount == 3)
    #expect(
      first.count { if case .failed(let error) = $0.lookup { error.code == .unknownTag } else { false } } == 9_997)
    self.directory.refreshed([])
    #expect(first[0].outcome.code == .unknownTag)
    // Those that came while the list was read were not asked for by that read.
    #expect(first[1].outcome.only() == nil && first[2].outcome.only() == nil)
    #expect(self.log.events == ["refresh", "pause 1.0 seconds"])
    for tag in tags { _ = self.ask(tag) }
    #expect(self.directory.waitingCount == 3)
    self.clock.advance(by: 999)
    for tag in tags { _ = self.ask(tag) }
    #expect(self.log.count(of: "refresh") == 1)
    self.clock.advance(by: 1)
    self.directory.lookUp()
    #expect(self.log.count(of: "refresh") == 2)
    self.directory.refreshed([])
    #expect(first[1].outcome.code == .unknownTag && first[2].outcome.code == .unknownTag)
    // From that list, without a wait.
    #expect(self.failure(tags[1]) == .unknownTag)
    #expect(self.directory.waitingCount == 0)
  }

  @Test func `a tag made just after a read is found by the next one, a second after the last`() throws {
    #expect(self.directory.beginRefresh())
    self.directory.refreshed([])
    self.clock.advance(by: 300)
    let (_, outcome) = try self.waiting(self.orders)
    let (_, second) = try self.waiting(self.orders)
    #expect(self.log.events == ["pause 0.7 seconds"])
    // Too early, as where a clock ticks a little faster than another.
    self.clock.advance(by: 650)
    self.directory.lookUp()
    #expect(self.log.events.last == "pause 0.05 seconds")
    self.clock.advance(by: 50)
    self.directory.lookUp()
    self.directory.lookUp()
    #expect(self.log.count(of: "refresh") == 1)
    #expect(outcome.only() == nil)
    self.directory.refreshed([self.record(self.orders)])
    #expect(outcome.generator?.tag == self.orders && second.generator === outcome.generator)
  }

  @Test func `a read that began before a call says yes to it, and not no`() throws {
    #expect(self.directory.beginRefresh())
    let made = try self.waiting(self.orders)
    let late = try self.waiting(try Tag("late"))
    self.directory.refreshed([self.record(self.orders)])
    #expect(made.outcome.generator?.tag == self.orders)
    #expect(late.outcome.only() == nil)
    self.clock.advance(by: 1000)
    self.directory.lookUp()
    self.directory.refreshed([self.record(self.orders), self.record(try Tag("late"))])
    #expect(late.outcome.generator?.tag.name == "late")
  }

  @Test func `a read that comes by itself is as good as one that a call waits for`() throws {
    #expect(self.directory.beginRefresh())
    self.directory.refreshed([])
    let (_, outcome) = try self.waiting(self.orders)
    self.clock.advance(by: 500)
    #expect(self.directory.beginRefresh())
    self.directory.refreshed([])
    #expect(outcome.code == .unknownTag)
    // Nobody waits any more: the pause ends with nothing.
    self.clock.advance(by: 500)
    self.directory.lookUp()
    #expect(self.log.events == ["pause 1.0 seconds"])
  }

  @Test func `a name that is asked for again and again is not there by each list, at once`() throws {
    let other = try Tag("other")
    self.directory.refreshed([])
    let (_, outcome) = try self.waiting(self.orders)
    self.directory.refreshed([])
    #expect(outcome.code == .unknownTag)
    for round in 1...3 {
      #expect(self.failure(self.orders) == .unknownTag, "round \(round)")
      self.clock.advance(by: 1000)
      _ = try self.waiting(other)
      // Asked for while the list is read: not for longer than that.
      let (_, again) = try self.waiting(self.orders)
      self.directory.refreshed([])
      #expect(again.code == .unknownTag, "round \(round)")
      #expect(self.log.count(of: "refresh") == round + 1)
    }
    // One that nobody asks for any more is forgotten.
    for _ in 0..<2 {
      self.clock.advance(by: 1000)
      #expect(self.directory.beginRefresh())
      self.directory.refreshed([])
    }
    _ = try self.waiting(self.orders)
  }

  @Test func `while the list can't be read, whoever can't wait hears that, and not that the tag is not there`() throws {
    self.directory.refreshed([self.record(self.orders)])
    #expect(self.directory.beginRefresh())
    self.directory.refreshFailed(IDError(.storeUnavailable, "gone away"))
    for number in 0..<3 { _ = try self.waiting(try Tag("new-\(number)")) }
    #expect(self.failure(try Tag("new-3")) == .storeUnavailable)
    _ = try self.found(self.orders)
    self.clock.advance(by: 1000)
    self.directory.lookUp()
    self.directory.refreshed([self.record(self.orders)])
    for number in 4..<7 { _ = try self.waiting(try Tag("new-\(number)")) }
    #expect(self.failure(try Tag("new-7")) == .unknownTag)
    // A read that takes its time makes the list no newer.
    self.clock.advance(by: 1000)
    self.directory.lookUp()
    self.clock.advance(by: 1000)
    #expect(self.failure(try Tag("new-8")) == .overloaded)
  }

  @Test func `why a tag is in no list is asked without the directory's lock`() throws {
    let log = EventLog()
    let box = Mutex<SegmentDirectory?>(nil)
    let directory = try SegmentDirectory(
      settings: SegmentSettings(), maximumWaiting: 1, clock: self.clock,
      absence: { tag in
        // Takes the lock: within it this would never come back.
        log.note("\(tag) while \(box.withLock { $0 }?.waitingCount ?? -1) wait")
        return .unknown(tag)
      }, onLoadNeeded: { _, _ in }, onRefreshNeeded: {}, onPauseNeeded: { _ in })
    box.withLock { $0 = directory }
    defer { box.withLock { $0 = nil } }
    directory.refreshed([])
    let (first, second) = (try Tag("first"), try Tag("second"))
    guard case .waiting = directory.generator(for: first, completion: { _ in log.note("answered") }),
      case .failed = directory.generator(for: second, completion: { _ in })
    else {
      Issue.record("the first one waits, the second one can't")
      return
    }
    directory.refreshed([])
    #expect(log.events == ["second while 1 wait", "first while 0 wait", "answered"])
    self.clock.advance(by: 2000)
    guard case .waiting(let id) = directory.generator(for: second, completion: { _ in }) else {
      Issue.record("it waits for the next read")
      return
    }
    directory.refreshed([])
    directory.expire(id)
    #expect(log.events.count == 4)
  }

  @Test func `a call that can't wait for the next read hears what the last one says`() throws {
    #expect(self.directory.beginRefresh())
    self.directory.refreshed([])
    let (id, outcome) = try self.waiting(self.orders)
    self.directory.expire(id)
    #expect(outcome.code == .unknownTag)
  }

  @Test func `a read that nobody asked for counts as well, and there is one at a time`() throws {
    self.directory.refreshed([])
    #expect(self.directory.beginRefresh())
    #expect(!self.directory.beginRefresh())
    let (_, outcome) = try self.waiting(self.orders)
    self.directory.refreshed([self.record(self.orders)])
    #expect(outcome.generator?.tag == self.orders)
    self.directory.listIsStale()
    #expect(self.log.events.isEmpty)
    self.clock.advance(by: 1000)
    self.directory.listIsStale()
    self.directory.listIsStale()
    #expect(self.log.count(of: "refresh") == 1)
    #expect(!self.directory.beginRefresh())
  }

  @Test func `calls wait for the first list`() throws {
    #expect(!self.directory.isReady)
    let known = try self.waiting(self.orders)
    let unknown = try self.waiting(try Tag("other"))
    #expect(self.log.events == ["refresh"])
    #expect(self.directory.cached(self.orders) == nil)
    self.directory.refreshed([self.record(self.orders)])
    #expect(self.directory.isReady && self.directory.isCurrent)
    #expect(known.outcome.generator === self.directory.cached(self.orders))
    #expect(try self.found(self.orders) === known.outcome.generator)
    // It came after the read had begun, which says nothing about it.
    #expect(unknown.outcome.only() == nil)
    self.clock.advance(by: 1000)
    self.directory.lookUp()
    self.directory.refreshed([self.record(self.orders)])
    #expect(unknown.outcome.code == .unknownTag)
  }

  @Test func `no more calls wait for the list than allowed`() throws {
    let waiting = try (0..<3).map { try self.waiting(try Tag("t\($0)")) }
    #expect(self.failure(self.orders) == .overloaded)
    self.directory.expire(waiting[1].id)
    #expect(waiting[1].outcome.code == .deadlineExceeded)
    _ = try self.waiting(self.orders)
  }

  @Test func `a call that waited too long hears what kept the list`() throws {
    let first = try self.waiting(self.orders)
    let second = try self.waiting(self.orders)
    self.directory.expire(first.id)
    #expect(first.outcome.code == .deadlineExceeded)
    // Never read: it goes on waiting, as the next read may bring the tag.
    self.directory.refreshFailed(FaultyStore.unavailable)
    #expect(second.outcome.only() == nil && !self.directory.isReady && !self.directory.isCurrent)
    self.directory.expire(second.id)
    #expect(second.outcome.code == .storeUnavailable)
    // Nothing happens twice.
    self.directory.expire(second.id)
    self.directory.refreshed([])
    #expect(first.outcome.code == .deadlineExceeded && second.outcome.code == .storeUnavailable)
  }

  @Test func `a list that can't be read again leaves what is known`() throws {
    self.directory.refreshed([self.record(self.orders)])
    self.clock.advance(by: 1000)
    let (_, outcome) = try self.waiting(try Tag("new"))
    self.directory.refreshFailed(FaultyStore.unavailable)
    #expect(outcome.code == .storeUnavailable)
    #expect(self.directory.isReady && !self.directory.isCurrent)
    #expect(try self.found(self.orders).tag == self.orders)
    // Nobody knows of the name: the next read says.
    let again = try self.waiting(try Tag("new"))
    self.directory.expire(again.id)
    #expect(again.outcome.code == .storeUnavailable)
  }

  @Test func `a deleted tag ends, and comes back as a new one`() throws {
    self.directory.refreshed([self.record(self.orders)])
    let generator = try self.found(self.orders)
    let waiter = Mutex<IDError.Code?>(nil)
    _ = generator.enqueue(count: 5) { result in
      if case .failure(let error) = result { waiter.withLock { $0 = error.code } }
    }
    self.directory.refreshed([])
    #expect(waiter.withLock { $0 } == .unknownTag)
    #expect(self.directory.cached(self.orders) == nil)
    #expect(self.failure(self.orders) == .unknownTag || self.log.count(of: "refresh") == 1)
    self.directory.refreshed([self.record(self.orders)])
    #expect(try self.found(self.orders) !== generator)
  }

  @Test func `a row that vanished and comes back lower is refused, for the life of the process`() throws {
    self.directory.refreshed([self.record(self.orders)])
    let first = try self.found(self.orders)
    #expect(first.next() == nil)
    first.prefetch()
    _ = first.loaded(IDRange(start: 1, count: 100))
    #expect(first.next() == 1)
    self.directory.refreshed([])
    self.directory.refreshed([self.record(self.orders)])
    let second = try self.found(self.orders)
    #expect(second !== first)
    second.prefetch()
    _ = second.loaded(IDRange(start: 51, count: 100))
    #expect(second.next() == nil)
    #expect(second.snapshot.lastError?.code == .wentBackwards)
  }

  @Test func `is not ready while a tag has run dry and its loads fail`() throws {
    #expect(!self.directory.isReady)
    self.directory.refreshed([self.record(self.orders)])
    let generator = try self.found(self.orders)
    #expect(self.directory.isReady)
    generator.prefetch()
    _ = generator.loadFailed(IDError(.storeUnavailable, "away"), random: 0)
    #expect(!self.directory.isReady)
    generator.retry()
    _ = generator.loaded(IDRange(start: 1, count: 10))
    #expect(self.directory.isReady)
  }

  @Test func `a changed step counts from the next load on`() throws {
    self.directory.refreshed([self.record(self.orders, step: 10)])
    let generator = try self.found(self.orders)
    generator.prefetch()
    self.directory.refreshed([self.record(self.orders, step: 40)])
    #expect(try self.found(self.orders) === generator)
    generator.loaded(IDRange(start: 1, count: 10))
    for _ in 0..<10 { _ = generator.next() }
    #expect(self.log.events == ["load orders 10", "load orders 40"])
  }

  @Test func `the default tag's generator is the same all along`() throws {
    #expect(self.directory.defaultGenerator?.next() == nil)
    #expect(self.directory.cached(.default) == nil)
    self.directory.refreshed([self.record(.default, step: 25)])
    #expect(try self.found(.default) === self.directory.defaultGenerator)
    self.directory.defaultGenerator?.prefetch()
    #expect(self.log.events == ["load default 25"])
    self.directory.defaultGenerator?.loaded(IDRange(start: 1, count: 25))
    self.directory.refreshed([])
    #expect(self.directory.cached(.default) == nil)
    // What it has it gives out; then there is no such tag.
    #expect(self.directory.defaultGenerator?.next() == 1)
    self.directory.refreshed([self.record(.default)])
    #expect(try self.found(.default) === self.directory.defaultGenerator)
  }

  @Test func `a closed directory gives everything back, and answers those who wait`() throws {
    self.directory.refreshed([self.record(self.orders), self.record(.default)])
    let generator = try self.found(self.orders)
    _ = try self.found(.default)
    generator.prefetch()
    generator.loaded(IDRange(start: 11, count: 10))
    #expect(generator.next() == 11)
    self.clock.advance(by: 1000)
    let (_, outcome) = try self.waiting(try Tag("new"))
    let rests = self.directory.close()
    #expect(rests.map(\.tag) == [self.orders])
    #expect(rests.first?.rests == [IDRange(start: 12, count: 9)])
    #expect(outcome.code == .notReady && !self.directory.isReady)
    #expect(self.failure(try Tag("new")) == .notReady)
    #expect(generator.next() == nil)
    #expect(self.directory.close().isEmpty)
  }

  @Test func `a load finds its generator, and does not keep it alive`() throws {
    self.directory.refreshed([self.record(self.orders)])
    weak let generator = try self.found(self.orders)
    generator?.prefetch()
    #expect(self.log.events == ["load orders 10"])
    self.directory.refreshed([])
    #expect(generator == nil)
  }
}
