import MidCore
import MidTestKit
import Synchronization
import Testing

@testable import MidServer

@Suite("Calls that can await", .timeLimit(.minutes(5)))
struct AwaitingTests {
  private static let later: Duration = .seconds(60)

  private static func outcome(
    _ body: @Sendable () async throws(IDError) -> [IDRange]
  ) async -> Result<[IDRange], IDError> {
    do throws(IDError) { return .success(try await body()) } catch { return .failure(error) }
  }

  @Test func `a batch that spans two segments waits for the load and is whole`() async throws {
    let door = try HTTPDoor(step: 10)
    #expect(try await door.ids.ids(of: .segment, tag: .default, count: 7).total == 7)
    let ranges = try await door.ids.ids(of: .segment, tag: .default, count: 500)
    #expect(ranges.total == 500 && ranges.first?.start == 8)
  }

  @Test func `calls that wait at once get ids of their own when the load comes`() async throws {
    let door = try HTTPDoor()
    door.server.loads.withLock { $0 = .held }
    let ids = try await withThrowingTaskGroup(of: [IDRange].self) { group in
      for _ in 0..<20 { group.addTask { try await door.ids.ids(of: .segment, tag: .default, count: 3) } }
      while try #require(door.server.directory.defaultGenerator).snapshot.waiters < 20 { await Task.yield() }
      door.server.directory.defaultGenerator?.loaded(IDRange(start: 1, count: 60))
      var all: [Int64] = []
      for try await ranges in group { for range in ranges { all += (0..<range.count).map { range.start + $0 } } }
      return all
    }
    #expect(ids.sorted() == Array(1...60))
    #expect(door.server.registry.scrape().contains("id_generate_total{mode=\"segment\"} 60\n"))
  }

  @Test func `a call that waits goes on where another generator takes its tag over`() async throws {
    let door = try HTTPDoor(maximumWait: Self.later)
    door.server.loads.withLock { $0 = .held }
    let tag = try MidCore.Tag("orders")
    let residue = try #require(TableDialect.Residue(delta: 2, remainder: 0))
    door.server.directory.refreshed([TagRecord(tag: tag, maxID: 0, step: 10, residue: residue)])
    let task = Task {
      await Self.outcome { () async throws(IDError) in try await door.ids.ids(of: .segment, tag: tag, count: 10) }
    }
    await door.server.log.wait(for: "load orders")
    let old = try #require(door.server.directory.cached(tag))
    #expect(door.server.directory.adopt(IDRange(start: 61, count: 10, stride: 3), of: old) == nil)
    #expect(try await task.value.get() == [IDRange(start: 61, count: 10, stride: 3)])
  }

  @Test func `a segment is what the range at hand has left, up to the step`() async throws {
    let door = try HTTPDoor(step: 1000)
    #expect(try await door.ids.ids(of: .segment, tag: .default, count: 9).total == 9)
    #expect(try await door.ids.segment(of: .default) == IDRange(start: 10, count: 991))
    #expect(try await door.ids.segment(of: .default) == IDRange(start: 1001, count: 1000))
    #expect(try await door.ids.ids(of: .segment, tag: .default, count: 1) == [IDRange(start: 2001, count: 1)])
    #expect(door.server.registry.scrape().contains("id_generate_total{mode=\"segment\"} 2001\n"))
  }

  @Test func `segments that wait at once share no id`() async throws {
    let door = try HTTPDoor(maximumWait: Self.later, step: 10)
    door.server.loads.withLock { $0 = .held }
    let ranges = try await withThrowingTaskGroup(of: IDRange.self) { group in
      for _ in 0..<20 { group.addTask { try await door.ids.segment(of: .default) } }
      while try #require(door.server.directory.defaultGenerator).snapshot.waiters < 20 { await Task.yield() }
      door.server.directory.defaultGenerator?.loaded(IDRange(start: 1, count: 200))
      var all: [IDRange] = []
      for try await range in group { all.append(range) }
      return all
    }
    #expect(ranges.allSatisfy { $0.count == 10 })
    #expect(ranges.map(\.start).sorted() == Array(stride(from: 1, to: 200, by: 10)))
  }

  @Test func `a table that went back has no segments`() async throws {
    let door = try HTTPDoor(maximumWait: Self.later)
    door.server.loads.withLock { $0 = .held }
    let first = Task { try await door.ids.segment(of: .default) }
    await door.server.log.wait(for: "load default")
    let generator = try #require(door.server.directory.defaultGenerator)
    generator.loaded(IDRange(start: 5001, count: 1000))
    #expect(try await first.value == IDRange(start: 5001, count: 1000))
    await door.server.log.wait(for: "load default", count: 2)
    let second = Task { await Self.outcome { () async throws(IDError) in [try await door.ids.segment(of: .default)] } }
    while generator.snapshot.waiters == 0 { await Task.yield() }
    // A replica that never saw the first load.
    generator.loaded(IDRange(start: 5001, count: 1000))
    guard case .failure(let error) = await second.value else {
      Issue.record("ids were given out twice")
      return
    }
    #expect(error.code == .wentBackwards)
  }

  @Test func `a call is answered at its deadline, with the store's state as the reason`() async throws {
    let door = try HTTPDoor(maximumWait: .milliseconds(20))
    door.server.loads.withLock { $0 = .held }
    let slow = await Self.outcome { () async throws(IDError) in
      try await door.ids.ids(of: .segment, tag: .default, count: 1)
    }
    #expect(throws: IDError.self) { try slow.get() }
    if case .failure(let error) = slow { #expect(error.code == .deadlineExceeded) }
    #expect(door.server.directory.defaultGenerator?.snapshot.waiters == 0)
    let tag = try Tag("other")
    let unread = await Self.outcome { () async throws(IDError) in
      try await door.ids.ids(of: .segment, tag: tag, count: 1)
    }
    if case .failure(let error) = unread { #expect(error.code == .deadlineExceeded) }
    #expect((try? unread.get()) == nil)
  }

  @Test(arguments: [RequestFields.Mode.segment, .ticket, .snowflake])
  func `a caller that gives up takes nothing and waits no longer`(_ mode: RequestFields.Mode) async throws {
    let door = try HTTPDoor(maximumWait: Self.later)
    door.server.loads.withLock { $0 = .held }
    door.server.statements.set(.held)
    while case .ids = door.server.snowflake.take(upTo: 1_000_000) {}
    let task = Task {
      await Self.outcome { () async throws(IDError) in
        try await door.ids.ids(of: mode, tag: .default, count: 1)
      }
    }
    func waiting() throws -> Int {
      switch mode {
      case .segment: try #require(door.server.directory.defaultGenerator).snapshot.waiters
      case .ticket: try door.server.tickets.generator(for: .default).waiters
      default: door.ids.clockQueue.count
      }
    }
    while try waiting() == 0 { await Task.yield() }
    task.cancel()
    guard case .failure(let error) = await task.value else {
      Issue.record("a call that was given up got ids")
      return
    }
    #expect(error.code == .deadlineExceeded)
    // A statement for tickets that is under way is carried to its end.
    if mode != .ticket { #expect(try waiting() == 0) }
  }

  @Test func `a call cancelled before it begins waits for nothing`() async throws {
    let door = try HTTPDoor(maximumWait: Self.later)
    door.server.loads.withLock { $0 = .held }
    let gate = Gate()
    let task = Task {
      do { try await gate.wait() } catch {}
      return await Self.outcome { () async throws(IDError) in
        try await door.ids.ids(of: .segment, tag: .default, count: 1)
      }
    }
    task.cancel()
    gate.open()
    #expect((try? await task.value.get()) == nil)
    #expect(door.server.directory.defaultGenerator?.snapshot.waiters == 0)
  }

  @Test func `snowflake ids that the clock has not reached yet are waited for`() async throws {
    let door = try HTTPDoor(maximumBatch: 1_000_000)
    while case .ids = door.server.snowflake.take(upTo: 1_000_000) {}
    let task = Task { try await door.ids.ids(of: .snowflake, tag: .default, count: 10_000) }
    while door.ids.clockQueue.count == 0 { await Task.yield() }
    door.server.clock.advance(by: 10)
    let ranges = try await task.value
    #expect(ranges.total == 10_000)
    #expect(door.server.registry.scrape().contains("id_generate_total{mode=\"snowflake\"} 10000\n"))
  }

  @Test func `bounds are those of gRPC`() async throws {
    let door = try HTTPDoor(maximumBatch: 50)
    for count in [Int64(0), -1, 51] {
      await #expect(throws: IDError(.invalidArgument, "count is \(count); a batch has 1 to 50 ids")) {
        try await door.ids.ids(of: .segment, tag: .default, count: count)
      }
    }
    await #expect(throws: IDError(.invalidArgument, "no ids of this mode; allowed: \(IDMethods.modes)")) {
      try await door.ids.ids(of: .other, tag: .default, count: 1)
    }
  }
}
