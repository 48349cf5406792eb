import MidTestKit
import Synchronization
import Testing

@testable import MidCore

/// Databases in memory that share the tag `orders`, each with faults on demand.
struct StripedDatabases {
  let stores: [FaultyStore]
  let memories: [MemoryStore]
  let databases: SegmentDatabases
  let orders: MidCore.Tag
  private let events = Log()

  private final class Log: Sendable {
    let lines = Mutex<[String]>([])
  }

  init(_ count: Int, patience: Duration = .seconds(30)) throws {
    let clock = ManualClock(wallMilliseconds: 1_700_000_000_000)
    self.memories = (0..<count).map { _ in MemoryStore(clock: clock, hasDefault: false) }
    self.stores = self.memories.map { FaultyStore($0) }
    self.orders = try MidCore.Tag("orders")
    let log = self.events
    self.databases = SegmentDatabases(
      self.stores.enumerated().map { SegmentDatabases.Database(name: "db\($0)", store: $1) }, patience: patience
    ) { status in log.lines.withLock { $0.append("\(status.name) \(status.isUp ? "up" : "down")") } }
  }

  /// What went down and came up, in order.
  var changes: [String] { self.events.lines.withLock { $0 } }

  /// A store whose tags begin at the first database, opened, with the tag `orders`.
  func striped(marks: StripedStore.Marks = .init(), creating: Bool = true) async throws -> StripedStore {
    let store = StripedStore(self.databases, marks: marks, random: { 0 })
    try await store.prepare()
    if creating { _ = try await store.createTag(self.orders, step: 10, first: 1) }
    return store
  }
}

@Suite("Tags striped over databases") struct StripedStoreTests {
  private func ids(_ range: IDRange) -> [Int64] { (0..<range.count).map { range.start + $0 * range.stride } }

  @Test func `ids of a database have its remainder, and one database serves a tag`() async throws {
    let three = try StripedDatabases(3)
    let store = try await three.striped()
    let first = try await store.allocate(4, for: three.orders)
    #expect(self.ids(first) == [3, 6, 9, 12])
    #expect(self.ids(try await store.allocate(2, for: three.orders)) == [15, 18])
    #expect(try await store.tags().first { $0.tag == three.orders }?.stride == 3)
  }

  @Test func `a failed database is left for the next within the call, ids go on growing, none twice`() async throws {
    let three = try StripedDatabases(3)
    let store = try await three.striped()
    var all = self.ids(try await store.allocate(4, for: three.orders))
    three.stores[0].failNext(1)
    all += self.ids(try await store.allocate(4, for: three.orders))
    #expect(all == [3, 6, 9, 12, 16, 19, 22, 25])
    #expect(three.changes.last == "db0 down")
    // It stays with the one that served, and comes back above all where that fails as well.
    all += self.ids(try await store.allocate(1, for: three.orders))
    await three.databases.probe(0)
    #expect(three.changes.last == "db0 up")
    three.stores[1].failNext(1)
    three.stores[2].failNext(1)
    all += self.ids(try await store.allocate(2, for: three.orders))
    #expect(all.suffix(3) == [28, 33, 36])
    #expect(zip(all, all.dropFirst()).allSatisfy(<) && Set(all).count == all.count)
  }

  @Test func `one that is down is a last resort, and an answer of it brings it up`() async throws {
    let two = try StripedDatabases(2)
    let store = try await two.striped()
    _ = try await store.allocate(1, for: two.orders)
    two.stores[0].failNext(1)
    _ = try await store.allocate(1, for: two.orders)
    two.stores[1].failNext(1)
    let range = try await store.allocate(1, for: two.orders)
    #expect(range.start % 2 == 0)
    #expect(two.databases.statuses.map(\.isUp) == [true, false])
  }

  @Test func `where all fail the call says what each said`() async throws {
    let two = try StripedDatabases(2)
    let store = try await two.striped()
    for each in two.stores { each.failNext(1) }
    let error = await #expect(throws: IDError.self) { try await store.allocate(1, for: two.orders) }
    #expect(error?.code == .storeUnavailable)
    #expect(error?.message == "db0: the store was made to fail; db1: the store was made to fail")
    let unknown = await #expect(throws: IDError.self) { try await store.allocate(1, for: try MidCore.Tag("nobody")) }
    #expect(unknown?.code == .unknownTag)
  }

  @Test(.timeLimit(.minutes(10))) func `one that hangs costs the patience once, and its late ids go back`() async throws
  {
    let two = try StripedDatabases(2, patience: .milliseconds(20))
    let store = try await two.striped()
    two.stores[0].hold()
    let range = try await store.allocate(3, for: two.orders)
    #expect(self.ids(range) == [1, 3, 5])
    #expect(two.databases.statuses.map(\.isUp) == [false, true])
    #expect(try await store.allocate(1, for: two.orders).start == 7)
    #expect(two.stores[0].heldCalls == 1)
    two.stores[0].release()
    await two.databases.tasks.finish()
    #expect(two.changes.last == "db0 up")
    // Nobody wanted them any more: the row stands just below them.
    #expect(try await two.memories[0].stripe(of: two.orders)?.lastID == 1)
    #expect(try await store.allocate(1, for: two.orders).start == 9)
    await store.close()
  }

  @Test func `late ids are given back to the row they came from`() async throws {
    let two = try StripedDatabases(2)
    let store = try await two.striped()
    let range = try await store.allocate(5, for: two.orders)
    #expect(try await store.giveBack(IDRange(start: 6, count: 3, stride: 2), of: two.orders))
    #expect(try await two.memories[0].stripe(of: two.orders)?.lastID == 5)
    // Not a second time, and not what no row here can have brought.
    #expect(try await !store.giveBack(IDRange(start: 6, count: 3, stride: 2), of: two.orders))
    #expect(try await !store.giveBack(IDRange(start: 5, count: 1, stride: 2), of: two.orders))
    #expect(try await !store.giveBack(IDRange(start: 6, count: 1, stride: 3), of: two.orders))
    // The node goes on above the end of what it had, also of what it gave back.
    #expect(try await store.allocate(1, for: two.orders).start == range.end)
  }

  @Test func `nothing goes back to a database that is down, and one that fails to take it back is`() async throws {
    let two = try StripedDatabases(2)
    let store = try await two.striped()
    let range = try await store.allocate(5, for: two.orders)
    two.stores[0].failNext(1)
    var error = await #expect(throws: IDError.self) { try await store.giveBack(range, of: two.orders) }
    #expect(error == FaultyStore.unavailable && two.changes.last == "db0 down")
    let calls = two.stores[0].calls
    error = await #expect(throws: IDError.self) { try await store.giveBack(range, of: two.orders) }
    #expect(error?.code == .storeUnavailable && error?.message.hasPrefix("db0, ") == true)
    #expect(two.stores[0].calls == calls)
    await two.databases.probe(0)
    #expect(try await store.giveBack(range, of: two.orders))
    let residue = try #require(range.residue)
    #expect(store.database(of: two.orders, residue) == 0)
  }

  @Test func `ids go back to the database that has their remainder now, not to one that had it before`() async throws {
    let two = try StripedDatabases(2)
    let store = try await two.striped()
    // Even numbers come from the first database, then, the other way round, from the second.
    #expect(try await store.allocate(5, for: two.orders) == IDRange(start: 2, count: 5, stride: 2))
    let run = try Restripe(
      tag: two.orders, databases: zip(["db0", "db1"], two.memories).map { ($0, $1) }, old: [0, 1], new: [1, 0], run: 1)
    try await run.run()
    two.stores[0].failNext(1)
    let range = try await store.allocate(5, for: two.orders)
    #expect(range.start % 2 == 0)
    let before = try await two.memories[0].stripe(of: two.orders)
    #expect(try await store.giveBack(range, of: two.orders))
    #expect(try await two.memories[1].stripe(of: two.orders)?.lastID == range.start - 1)
    #expect(try await two.memories[0].stripe(of: two.orders) == before)
  }

  @Test func `a database that lost commits is left out until an operator says that it is right`() async throws {
    let two = try StripedDatabases(2)
    let refusals = Mutex<[String]>([])
    let store = StripedStore(
      two.databases, random: { 0 },
      onRefusal: { tag, database, error in refusals.withLock { $0.append("\(tag) \(database) \(error.code)") } })
    try await store.prepare()
    _ = try await store.createTag(two.orders, step: 10, first: 1)
    let had = try await store.allocate(50, for: two.orders)
    #expect(had.last == 100)
    // The database comes back with what it held before.
    let residue = try #require(TableDialect.Residue(delta: 2, remainder: 0))
    try await two.memories[0].restore(two.orders, residue, at: 10)
    #expect(try await store.allocate(1, for: two.orders).start == 103)
    #expect(two.databases.statuses.map(\.isUp) == [true, true])
    #expect(refusals.withLock { $0 } == ["orders db0 \(IDError.Code.wentBackwards)"] && store.leftOut == [1, 0])
    // Other nodes move the row on; that is no sign that it is right.
    _ = try await two.memories[0].allocate(200, for: two.orders)
    two.stores[1].failNext(1)
    let error = await #expect(throws: IDError.self) { try await store.allocate(1, for: two.orders) }
    #expect(error?.code == .storeUnavailable && error?.message.contains("below 100") == true)
    // Said once.
    #expect(refusals.withLock { $0 }.count == 1)
    store.confirm()
    #expect(store.leftOut == [0, 0])
    two.stores[1].failNext(1)
    #expect(try await store.allocate(1, for: two.orders).start == 412)
  }

  @Test func `what an earlier run had of a row is known to the next one`() async throws {
    let two = try StripedDatabases(2)
    let kept = Mutex(StripedStore.Marks())
    let first = StripedStore(
      two.databases, random: { 0 },
      remember: { last, tag, database in kept.withLock { $0.rows[tag, default: [:]][database] = last } })
    try await first.prepare()
    _ = try await first.createTag(two.orders, step: 10, first: 1)
    let had = try await first.allocate(50, for: two.orders)
    #expect(kept.withLock { $0.rows } == [two.orders: ["db0": 100]])
    let residue = try #require(TableDialect.Residue(delta: 2, remainder: 0))
    try await two.memories[0].restore(two.orders, residue, at: 10)
    var marks = kept.withLock { $0 }
    marks.ends = [two.orders: had.end]
    let second = StripedStore(two.databases, marks: marks, random: { 0 })
    #expect(try await second.allocate(1, for: two.orders).start == 103)
  }

  @Test(.timeLimit(.minutes(10))) func `a load that comes while a mark goes down is what is kept`() async throws {
    let two = try StripedDatabases(2)
    let kept = Mutex<[Int64]>([])
    let (slow, go) = AsyncStream<Void>.makeStream()
    let (isLow, low) = AsyncStream<Void>.makeStream()
    let store = StripedStore(
      two.databases, random: { 0 },
      remember: { last, _, _ in
        // The disk is slow with the lower mark alone.
        if last == .min {
          low.yield()
          for await _ in slow { break }
        }
        kept.withLock { $0.append(last) }
      })
    try await store.prepare()
    _ = try await store.createTag(two.orders, step: 10, first: 1)
    let rest = try await store.allocate(5, for: two.orders)
    async let isBack = store.giveBack(rest, of: two.orders)
    for await _ in isLow { break }
    #expect(try await store.allocate(5, for: two.orders).last == 20)
    go.yield()
    #expect(try await !isBack)
    #expect(kept.withLock { $0 }.last == 20, "\(kept.withLock { $0 })")
  }

  @Test func `a mark goes down to what is kept, since others may give back what they had below`() {
    var mark = StripeRowMark(before: 8)
    mark.received(IDRange(start: 10, count: 5, stride: 2))
    mark.received(IDRange(start: 30, count: 5, stride: 2))
    #expect(mark.last == 38)
    // A whole range: down to the end of the one before. Part of one: to just below.
    let taken = mark.returning(IDRange(start: 30, count: 5, stride: 2))
    #expect(mark.last == 18)
    mark.keep(taken)
    #expect(mark.last == 38)
    _ = mark.returning(IDRange(start: 30, count: 5, stride: 2))
    let part = mark.returning(IDRange(start: 14, count: 3, stride: 2))
    #expect(mark.last == 13)
    mark.keep(part)
    #expect(mark.last == 18)
    _ = mark.returning(IDRange(start: 10, count: 5, stride: 2))
    #expect(mark.last == 8)
    // What came while it was not known whether a rest goes back is had all the same.
    mark.received(IDRange(start: 10, count: 5, stride: 2))
    let late = mark.returning(IDRange(start: 14, count: 3, stride: 2))
    mark.received(IDRange(start: 40, count: 5, stride: 2))
    mark.keep(late)
    #expect(mark.last == 48)
    for index in 0..<Int64(2 * StripeRowMark.most) { mark.received(IDRange(start: 100 + index, count: 1)) }
    let newest = 99 + Int64(2 * StripeRowMark.most)
    #expect(mark.last == newest)
    // What is older than the ranges that are told apart: nothing is kept, unless it does not go back.
    let deep = mark.returning(IDRange(start: 101, count: newest - 100))
    #expect(mark.last == nil)
    mark.keep(deep)
    #expect(mark.last == newest)
    let shallow = mark.returning(IDRange(start: newest - 1, count: 2))
    #expect(mark.last == newest - 2)
    mark.keep(shallow)
    #expect(mark.last == newest)
  }

  @Test func `what other nodes give back below is no database that lost commits`() async throws {
    let two = try StripedDatabases(2)
    let store = try await two.striped()
    let kept = try await store.allocate(5, for: two.orders)
    let others = try await two.memories[0].allocate(5, for: two.orders)
    let range = try await store.allocate(5, for: two.orders)
    #expect(try await store.giveBack(range, of: two.orders))
    #expect(try await two.memories[0].giveBack(others, of: two.orders))
    #expect(try await two.memories[0].stripe(of: two.orders)?.lastID == kept.end - 1)
    // The database is the one that it was.
    #expect(try await store.allocate(1, for: two.orders).start % 2 == 0)
  }

  @Test func `rows that share ids are refused, once two readings say so`() async throws {
    let two = try StripedDatabases(2)
    let store = try await two.striped()
    let residue = try #require(TableDialect.Residue(delta: 4, remainder: 1))
    try await two.memories[0].restore(two.orders, residue, at: 10)
    _ = try await store.tags()
    let error = await #expect(throws: IDError.self) { try await store.allocate(1, for: two.orders) }
    #expect(error?.code == .storeRejected && error?.message.contains("db0 and db1") == true)
    let other = try #require(TableDialect.Residue(delta: 4, remainder: 2))
    try await two.memories[0].restore(two.orders, other, at: 10)
    _ = try await store.tags()
    #expect(try await store.allocate(1, for: two.orders).stride == 4)
  }

  @Test func `what a database said before it went down is no conflict with what the others say now`() async throws {
    let three = try StripedDatabases(3)
    let store = try await three.striped()
    #expect(try await store.tags().map(\.stride) == [3])
    let run = try Restripe(
      tag: three.orders, databases: zip(["db0", "db1", "db2"], three.memories).map { ($0, $1) }, old: [0, 1, 2],
      new: [0, 1], run: 1)
    try await run.run()
    // The one that has left is switched off before its list is read again.
    three.stores[2].failNext(.max)
    #expect(try await store.tags().map(\.stride) == [2])
    #expect(try await store.allocate(1, for: three.orders).stride == 2)
  }

  @Test func `opening needs one of the databases, and a tag that is created all of them`() async throws {
    let two = try StripedDatabases(2)
    two.stores[1].failNext(1)
    let store = try await two.striped(creating: false)
    #expect(two.databases.statuses.map(\.isUp) == [true, false])
    two.stores[1].failNext(1)
    await #expect(throws: IDError.self) { try await store.createTag(two.orders, step: 10, first: 1) }
    #expect(try await two.memories[0].stripe(of: two.orders) == nil)
    _ = try await store.createTag(two.orders, step: 10, first: 1)
    let again = await #expect(throws: IDError.self) { try await store.createTag(two.orders, step: 10, first: 1) }
    #expect(again?.code == .tagExists)
    let none = try StripedDatabases(2)
    for each in none.stores { each.failNext(1, with: IDError(.storeRejected, "wrong password")) }
    let error = await #expect(throws: IDError.self) { try await none.striped() }
    #expect(error?.code == .storeRejected && error?.message == "db0: wrong password")
  }

  @Test func `rows are created in the order of the databases' names, whatever the list's`() async throws {
    let two = try StripedDatabases(2)
    let other = StripedStore(SegmentDatabases(two.databases.all.reversed(), patience: .seconds(30)))
    try await other.prepare()
    two.stores[0].failAfterCommit(1, passing: 1)
    await #expect(throws: IDError.self) { try await other.createTag(two.orders, step: 10, first: 1) }
    let rows = [try await two.memories[0].stripe(of: two.orders), try await two.memories[1].stripe(of: two.orders)]
    #expect(rows[0] != nil && rows[1] == nil)
    // So one that has the other list meets a row at the first database, and makes none.
    let store = try await two.striped(creating: false)
    let error = await #expect(throws: IDError.self) { try await store.createTag(two.orders, step: 10, first: 1) }
    #expect(error?.code == .storeRejected)
  }

  @Test func `a tag that was created half way is completed above what was given out`() async throws {
    let two = try StripedDatabases(2)
    let store = try await two.striped(creating: false)
    let residue = try #require(TableDialect.Residue(delta: 2, remainder: 0))
    _ = try await two.memories[0].createStripe(two.orders, residue: residue, step: 10, first: 1)
    _ = try await two.memories[0].allocate(10, for: two.orders)
    // Nobody knows whether the other row was never there, or is lost.
    for first: Int64 in [1, 20] {
      let error = await #expect(throws: IDError.self) { try await store.createTag(two.orders, step: 10, first: first) }
      #expect(
        error?.code == .storeRejected && error?.message.contains("up to 20") == true, "\(String(describing: error))")
      #expect(try await two.memories[1].stripe(of: two.orders) == nil)
    }
    #expect(try await store.createTag(two.orders, step: 10, first: 21).next == 21)
  }

  @Test func `the next id and the step are those of all rows`() async throws {
    let two = try StripedDatabases(2)
    let store = try await two.striped()
    _ = try await store.allocate(10, for: two.orders)
    let low = await #expect(throws: IDError.self) { try await store.updateTag(two.orders, step: nil, next: 20) }
    #expect(low?.code == .wentBackwards)
    _ = try await store.updateTag(two.orders, step: 7, next: 100)
    for memory in two.memories {
      let row = try await memory.stripe(of: two.orders)
      #expect(row?.lastID == 99 && row?.step == 7)
    }
    // One that is away keeps the other's row from nothing.
    two.stores[0].failNext(1)
    let half = try await store.advanceTag(two.orders, past: 110)
    #expect(half.isMoved && half.failures.map(\.message) == ["db0: the store was made to fail"])
    let moved = [try await two.memories[0].stripe(of: two.orders), try await two.memories[1].stripe(of: two.orders)]
    #expect(moved.map { $0?.lastID } == [99, 110])
    for each in two.stores { each.failNext(1) }
    let none = await #expect(throws: IDError.self) { try await store.advanceTag(two.orders, past: 110) }
    #expect(none?.code == .storeUnavailable)
    #expect(try await !store.advanceTag(two.orders, past: 50).isMoved)
    #expect(try await store.advanceTag(two.orders, past: 120).isMoved)
    #expect(try await two.memories[1].stripe(of: two.orders)?.lastID == 120)
  }
}

extension MemoryStore {
  /// Puts a row back to what a backup says.
  fileprivate func restore(_ tag: MidCore.Tag, _ residue: TableDialect.Residue, at last: Int64) async throws {
    let row = TagRecord(tag: tag, maxID: last, step: 10, residue: residue)
    try self.transaction { state throws(IDError) in state.tags[tag] = row }
  }
}
