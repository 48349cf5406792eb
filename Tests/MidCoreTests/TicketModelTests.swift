import MidTestKit
import Synchronization
import Testing

@testable import MidCore

/// Random schedules over the generator, with a manual clock and databases that count as real ones do.
@Suite struct TicketModelTests {
  private struct History: Sendable {
    var time = 0
    var open: [Int: Int] = [:]
    /// Began, ended, first and last ticket.
    var calls: [(began: Int, ended: Int, ids: IDRange)] = []
    var failures = 0
  }

  private struct Pending {
    var generator: Int
    var statement: TicketStatement
    /// Its first ticket, once the database has carried it out, which is before the node hears of it.
    var first: Int64?
  }

  /// Two nodes on `databases` databases: statements end late, in any order, fail before or after their commit.
  private static func run(seed: UInt64, databases: Int) throws {
    var random = SplitMix64(seed: seed)
    let clock = ManualClock(wallMilliseconds: 1_700_000_000_000)
    let pending = Mutex<[Pending]>([])
    let history = Mutex(History())
    let generators = try (0..<2).map { node in
      try TicketGenerator(
        table: .default, databases: (0..<databases).map { "db\($0)" },
        settings: TicketSettings(maximumWaiters: 20, maximumBatch: 10), clock: clock,
        onStatementNeeded: { _, statement in
          pending.withLock { $0.append(Pending(generator: node, statement: statement)) }
        }, onWaitNeeded: { _, _ in })
    }
    var counters = [Int64](repeating: 0, count: databases)
    var ids: [TicketCallID] = []
    for step in 0..<400 {
      let node = Int.random(in: 0..<2, using: &random)
      switch Int.random(in: 0..<15, using: &random) {
      case 0..<5:
        let began = history.withLock { history in
          history.time += 1
          return history.time
        }
        let count = Int64.random(in: 1...4, using: &random)
        let id = generators[node].enqueue(count: count) { result in
          history.withLock { history in
            history.time += 1
            switch result {
            case .success(let range): history.calls.append((began, history.time, range))
            case .failure: history.failures += 1
            }
          }
        }
        if let id { ids.append(id) }
      case 5: if let id = ids.randomElement(using: &random) { generators[node].expire(id) }
      case 6:
        clock.advance(by: .random(in: 0...300, using: &random))
        generators[node].wake()
      case 7:
        if let some = pending.withLock({ $0.randomElement(using: &random) }) {
          generators[some.generator].overdue(some.statement, random: 0.5)
        }
      case 8..<11:
        pending.withLock { pending in
          let index = pending.indices.filter { pending[$0].first == nil }.randomElement(using: &random)
          guard let index else { return }
          let statement = pending[index].statement
          pending[index].first = Int64(statement.database + 1) + counters[statement.database] * Int64(databases)
          counters[statement.database] += statement.count
        }
      default:
        let done: Pending? = pending.withLock { pending in
          guard let index = pending.indices.randomElement(using: &random) else { return nil }
          return pending.remove(at: index)
        }
        guard let done else { continue }
        let (database, count) = (done.statement.database, done.statement.count)
        let isLost = Int.random(in: 0..<6, using: &random) == 0
        let first = done.first ?? Int64(database + 1) + counters[database] * Int64(databases)
        if !isLost && done.first == nil { counters[database] += count }
        if isLost {
          generators[done.generator].failed(done.statement, FaultyStore.unavailable, random: 0.5)
        } else {
          generators[done.generator].taken(
            done.statement, IDRange(start: first, count: count, stride: Int64(databases)), random: 0.5)
        }
      }
      #expect(generators[node].waiters <= 20, "seed \(seed), step \(step)")
    }
    for generator in generators { generator.close() }
    let calls = history.withLock { $0.calls }
    #expect(!calls.isEmpty, "seed \(seed)")
    let all = calls.flatMap { call in (0..<call.ids.count).map { call.ids.start + $0 * call.ids.stride } }
    #expect(Set(all).count == all.count, "seed \(seed): a ticket was given twice")
    guard databases == 1 else { return }
    for earlier in calls {
      for later in calls where earlier.ended < later.began {
        #expect((earlier.ids.last ?? 0) < later.ids.start, "seed \(seed): \(earlier), then \(later)")
      }
    }
  }

  @Test(arguments: 1...2)
  func `two nodes' tickets are distinct, and on one database in the order of the calls`(databases: Int) throws {
    let first = UInt64.random(in: 0..<1 << 40)
    print("seeds from \(first)")
    for seed in first..<first + 50 { try Self.run(seed: seed, databases: databases) }
  }
}
