import MidCore
import MidTestKit
import Synchronization
import Testing

@testable import MidServer

/// Tags that several databases share: the distance between ids comes from the tag's row.
@Suite("The directory of tags, with a delta") struct SegmentStrideTests {
  private let directory: SegmentDirectory

  init() throws {
    self.directory = try SegmentDirectory(
      settings: SegmentSettings(), maximumWaiting: 3, clock: ManualClock(wallMilliseconds: 1_700_000_000_000),
      onLoadNeeded: { _, _ in }, onRefreshNeeded: {}, onPauseNeeded: { _ in })
  }

  private func generator(of tag: Tag, delta: Int64) throws -> SegmentGenerator {
    let residue = try #require(TableDialect.Residue(delta: delta, remainder: delta - 1))
    self.directory.refreshed([TableDialect(.tinyid).record(tag, maxID: 0, step: 30, residue)])
    guard case .found(let generator) = self.directory.generator(for: tag, completion: { _ in }) else {
      throw IDError(.unknownTag, "\(tag)")
    }
    return generator
  }

  @Test func `ids lie as far apart as the row says`() throws {
    let generator = try self.generator(of: Tag("orders"), delta: 3)
    #expect(generator.snapshot.step == 10)
    #expect(generator.loaded(IDRange(start: 2, count: 10, stride: 3)) == nil)
    #expect((0..<10).compactMap { _ in generator.next() } == Array(stride(from: Int64(2), through: 29, by: 3)))
    #expect(generator.next() == nil)
  }

  @Test func `a default tag with a delta is refused, saying why, and gives out nothing`() throws {
    let generator = try self.generator(of: .default, delta: 3)
    let answer = Mutex<Result<[IDRange], IDError>?>(nil)
    _ = generator.enqueue(count: 1) { result in answer.withLock { $0 = result } }
    _ = generator.loaded(IDRange(start: 2, count: 10, stride: 3))
    let error = #expect(throws: IDError.self) { try answer.withLock { $0 }?.get() }
    #expect(error?.code == .storeRejected)
    #expect(error?.message.contains("expected are ids 1 apart") == true)
    #expect(generator.next() == nil)
  }

  private let clock = ManualClock(wallMilliseconds: 1_700_000_000_000)
  private let log = EventLog()

  private func restriped(_ settings: SegmentSettings = SegmentSettings()) throws -> SegmentDirectory {
    let log = self.log
    return try SegmentDirectory(
      settings: settings, maximumWaiting: 3, marks: [.default: 40], hasFixedStrides: false, clock: self.clock,
      onLoadNeeded: { _, load in log.note("load \(load.count)") }, onRefreshNeeded: {}, onPauseNeeded: { _ in })
  }

  private func found(in directory: SegmentDirectory) throws -> SegmentGenerator {
    guard case .found(let generator) = directory.generator(for: .default, completion: { _ in }) else {
      throw IDError(.unknownTag, "no generator")
    }
    return generator
  }

  private func record(_ delta: Int64, isClosed: Bool = false) throws -> TagRecord {
    var record = TableDialect.stripe.record(
      .default, maxID: 0, step: 30, try #require(TableDialect.Residue(delta: delta, remainder: 0)))
    record.isClosed = isClosed
    return record
  }

  @Test func `where deltas may change the default tag is looked up like any other`() throws {
    let directory = try self.restriped()
    #expect(directory.defaultGenerator == nil)
    directory.refreshed([try self.record(2)])
    guard case .found(let generator) = directory.generator(for: .default, completion: { _ in }) else {
      Issue.record("no generator")
      return
    }
    #expect(generator.loaded(IDRange(start: 40, count: 10, stride: 2)) == nil)
    #expect(directory.cached(.default)?.next() == 40)
    #expect(directory.close().map(\.rests) == [[IDRange(start: 42, count: 9, stride: 2)]])
  }

  @Test func `a load of another delta begins a new generator, and who waited is told to try again`() throws {
    let directory = try self.restriped()
    directory.refreshed([try self.record(2)])
    guard case .found(let old) = directory.generator(for: .default, completion: { _ in }) else {
      Issue.record("no generator")
      return
    }
    #expect(old.loaded(IDRange(start: 40, count: 10, stride: 2)) == nil)
    let answer = Mutex<IDError?>(nil)
    _ = old.enqueue(count: 50) { result in
      if case .failure(let error) = result { answer.withLock { $0 = error } }
    }
    #expect(directory.adopt(IDRange(start: 61, count: 5, stride: 3), of: old) == nil)
    #expect(answer.withLock { $0 }?.code == .notReady)
    let new = try #require(directory.cached(.default))
    #expect(new !== old && new.stride == 3 && old.next() == nil)
    #expect((0..<6).map { _ in new.next() } == [61, 64, 67, 70, 73, nil])
    // The end of what the old one had had binds the new one.
    #expect(new.snapshot.highWater == 76)
    // A load of the old one that comes late is nobody's.
    let late = IDRange(start: 90, count: 5, stride: 3)
    #expect(directory.adopt(late, of: old) == late)
  }

  @Test func `under a list with another delta what is cached is served until a load comes`() throws {
    let directory = try self.restriped()
    directory.refreshed([try self.record(2)])
    let old = try self.found(in: directory)
    #expect(old.loaded(IDRange(start: 40, count: 3, stride: 2)) == nil)
    #expect(old.next() == 40)
    directory.refreshed([try self.record(1, isClosed: true)])
    #expect(directory.cached(.default) === old && old.next() == 42)
    directory.refreshed([try self.record(3)])
    #expect(directory.cached(.default) === old && old.next() == 44)
    // Nothing is left: the call waits for the load that brings the new layout.
    #expect(old.next() == nil)
    #expect(directory.adopt(IDRange(start: 61, count: 5, stride: 3), of: old) == nil)
    let new = try #require(directory.cached(.default))
    #expect(new !== old && new.stride == 3 && new.next() == 61)
    #expect(old.enqueue(count: 1) { _ in } == .answered)
  }

  @Test func `a tag that is gone by the new list gets no generator by a late load`() throws {
    let directory = try self.restriped()
    directory.refreshed([try self.record(2)])
    let old = try self.found(in: directory)
    #expect(old.loaded(IDRange(start: 40, count: 3, stride: 2)) == nil)
    directory.refreshed([])
    let late = IDRange(start: 61, count: 5, stride: 3)
    #expect(directory.adopt(late, of: old) == late)
    #expect(directory.cached(.default) == nil)
  }

  @Test func `nor does it by a load that comes while the list is taken in`() throws {
    let directory = try self.restriped()
    directory.refreshed([try self.record(2)])
    let old = try self.found(in: directory)
    let late = IDRange(start: 61, count: 5, stride: 3)
    let back = Mutex<IDRange?>(nil)
    // Whoever waits hears of the end of the tag in the middle of that.
    _ = old.enqueue(count: 1) { _ in
      let surplus = directory.adopt(late, of: old)
      back.withLock { $0 = surplus }
    }
    directory.refreshed([])
    #expect(back.withLock { $0 } == late)
    #expect(directory.cached(.default) == nil)
  }

  @Test func `a new layout that starts too low is refused, and what is cached of the old one is served`() throws {
    let directory = try self.restriped()
    directory.refreshed([try self.record(2)])
    let old = try self.found(in: directory)
    #expect(old.loaded(IDRange(start: 40, count: 3, stride: 2)) == nil)
    #expect(directory.adopt(IDRange(start: 43, count: 5, stride: 3), of: old) == nil)
    #expect(directory.cached(.default) === old)
    #expect(old.snapshot.lastError?.code == .wentBackwards)
    #expect((0..<4).map { _ in old.next() } == [40, 42, 44, nil])
    // The operator's word, and a row that stands high enough: the layout is taken over then.
    directory.reload()
    var record = try self.record(3)
    record.maxID = 100
    directory.refreshed([record])
    #expect(directory.cached(.default)?.snapshot.lastError == nil)
    #expect(directory.adopt(IDRange(start: 102, count: 5, stride: 3), of: old) == nil)
    #expect(directory.cached(.default)?.next() == 102)
  }

  @Test func `after a change of layout loads are as large as before, and as much is kept at hand`() throws {
    let directory = try self.restriped(SegmentSettings(target: .seconds(20), outage: .seconds(60)))
    directory.refreshed([try self.record(2)])
    let old = try self.found(in: directory)
    var next: Int64 = 40
    old.prefetch()
    // A hundred ids a second for ten minutes.
    for _ in 0..<600 {
      self.clock.advance(by: 1000)
      var used = 0
      while used < 100 {
        if old.next() != nil {
          used += 1
        } else {
          _ = old.enqueue(count: 1) { _ in }
          used += 1
        }
        while old.snapshot.isLoading {
          let count = old.snapshot.size
          #expect(old.loaded(IDRange(start: next, count: count, stride: 2)) == nil)
          next += 2 * count
        }
      }
      old.sample()
      while old.snapshot.isLoading {
        let count = old.snapshot.size
        #expect(old.loaded(IDRange(start: next, count: count, stride: 2)) == nil)
        next += 2 * count
      }
    }
    let before = old.snapshot
    #expect((1900...2100).contains(before.size) && (95...105).contains(before.averageRate))
    let loads = self.log.count(of: "load")
    #expect(directory.adopt(IDRange(start: next, count: before.size, stride: 3), of: old) == nil)
    let new = try #require(directory.cached(.default))
    let after = new.snapshot
    #expect(after.size == before.size && after.averageRate == before.averageRate && after.used == before.used)
    // One range is not enough for the outage: the next is asked for, as large.
    #expect(self.log.count(of: "load") == loads + 1)
    #expect(self.log.events.last == "load \(before.size)")
  }

  @Test func `a tag whose rows are closed is not unknown`() throws {
    let directory = try self.restriped()
    directory.refreshed([try self.record(1, isClosed: true)])
    let code = Mutex<IDError.Code?>(nil)
    let lookup = directory.generator(for: .default) { result in
      if case .failure(let error) = result { code.withLock { $0 = error.code } }
    }
    guard case .waiting = lookup else {
      Issue.record("\(lookup)")
      return
    }
    directory.refreshed([try self.record(1, isClosed: true)])
    #expect(code.withLock { $0 } == .storeUnavailable)
  }

  @Test func `a generator is not given ids that lie otherwise`() throws {
    let generator = try self.generator(of: Tag("orders"), delta: 3)
    _ = generator.loaded(IDRange(start: 1, count: 10, stride: 2))
    #expect(generator.next() == nil)
    #expect(generator.snapshot.lastError?.code == .storeRejected)
  }
}
