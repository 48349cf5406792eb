import MidServer
import Testing

@testable import mid

@Suite("The check of ids")
struct BenchCheckTests {
  private func take(
    _ ids: [(id: Int64, floor: Int64)], check: BenchPlan.Check = .all
  ) -> (checker: IDChecker, search: DuplicateSearch) {
    var plan = BenchPlan()
    plan.check = check
    var checker = IDChecker(plan, shared: HighestID())
    var log = IDLog(limit: 1 << 20)
    for (id, floor) in ids {
      let message = IDResponse(id: id).encoded()
      let count = message.withUnsafeBytes { checker.take($0, floor: floor, log: &log) }
      #expect(count == 1)
    }
    log.finish()
    return (checker, DuplicateSearch([log]))
  }

  private func takeBatch(_ ranges: [IDRangeMessage], batch: Int, floor: Int64 = 0) -> (BrokenPromises, DuplicateSearch)
  {
    var plan = BenchPlan()
    plan.batch = batch
    var checker = IDChecker(plan, shared: HighestID())
    var log = IDLog(limit: 1 << 20)
    let message = GenerateBatchResponse(ranges: ranges).encoded()
    _ = message.withUnsafeBytes { checker.take($0, floor: floor, log: &log) }
    log.finish()
    return (checker.broken, DuplicateSearch([log]))
  }

  @Test func `good ids are good, also those that overtake each other`() {
    let (checker, search) = self.take([(5, 0), (7, 0), (6, 0), (8, 7)])
    #expect(checker.broken == BrokenPromises())
    #expect(checker.highest == 8)
    #expect(search.duplicates == 0)
  }

  @Test func `an id at or below one that had been answered before is out of order, unless nobody asks`() {
    let (checker, _) = self.take([(5, 0), (4, 5), (9, 9)])
    #expect(checker.broken.outOfOrder == 2)
    #expect(checker.broken.outOfOrderExamples == [.init(id: 4, floor: 5), .init(id: 9, floor: 9)])
    #expect(self.take([(5, 0), (4, 5)], check: .distinct).checker.broken.outOfOrder == 0)
  }

  @Test func `ids of 0 and less are found`() {
    let (checker, search) = self.take([(0, 0), (-3, 0), (1, 0)])
    #expect(checker.broken.notPositive == 2)
    #expect(checker.broken.notPositiveExamples == [0, -3])
    #expect(search.duplicates == 0)
  }

  @Test func `an id given out twice is found, on one connection and on two`() {
    let (_, search) = self.take([(5, 0), (6, 0), (5, 0), (5, 0)])
    #expect(search.duplicates == 2)
    #expect(search.found == [5])
    var logs = [IDLog(limit: 1 << 20), IDLog(limit: 1 << 20)]
    for id in Int64(1)...5_000 {
      logs[0].append(id * 2, id * 2)
      logs[1].append(id * 2 + 1, id * 2 + 1)
    }
    logs[1].append(4_000, 4_000)
    for index in logs.indices { logs[index].finish() }
    #expect(DuplicateSearch(logs).duplicates == 1)
    #expect(DuplicateSearch(logs).found == [4_000])
  }

  @Test func `batches must not overlap, must grow, and must hold what was asked for`() {
    func range(_ start: Int64, _ count: UInt32, _ stride: Int64 = 1) -> IDRangeMessage {
      IDRangeMessage(start: start, stride: stride, count: count)
    }
    let (good, none) = self.takeBatch([range(10, 5), range(20, 5)], batch: 10, floor: 9)
    #expect(good == BrokenPromises())
    #expect(none.duplicates == 0)

    let (overlap, twice) = self.takeBatch([range(10, 5), range(12, 5)], batch: 10)
    #expect(overlap.outOfOrder == 1)
    #expect(twice.duplicates == 3)
    #expect(twice.found == [12, 13, 14])

    let (strided, woven) = self.takeBatch([range(10, 3, 10), range(31, 1)], batch: 4, floor: 10)
    #expect(strided.outOfOrder == 1)
    #expect(woven.duplicates == 0)
    #expect(self.takeBatch([range(10, 3, 10), range(20, 1)], batch: 4).1.found == [20])

    #expect(self.takeBatch([range(10, 3)], batch: 4).0.malformedExample == "a reply held 3 ids instead of 4")
    #expect(self.takeBatch([range(.max, 2)], batch: 2).0.malformed == 1)
    #expect(self.takeBatch([range(5, 2, 0)], batch: 2).0.malformed == 1)
    #expect(self.takeBatch([range(-5, 2)], batch: 2).0.notPositiveExamples == [-5])
  }

  @Test(arguments: [[Int64.max, .max], [5, .max, .max], [.max, 5, .max, 6]])
  func `the largest id there is, given out twice, is found twice`(ids: [Int64]) {
    let (checker, search) = self.take(ids.map { ($0, 0) }, check: .distinct)
    #expect(checker.broken == BrokenPromises())
    #expect(search.duplicates == 1)
    #expect(search.found == [.max])
  }

  @Test func `of a batch with too many ids only as many are looked at as were asked for`() {
    let ranges = [IDRangeMessage(start: 3, stride: 2, count: 4), IDRangeMessage(start: 100, stride: 2, count: .max)]
    var plan = BenchPlan()
    plan.batch = 10
    var checker = IDChecker(plan, shared: HighestID())
    var log = IDLog(limit: 1 << 20)
    for _ in 0..<2 {
      let message = GenerateBatchResponse(ranges: ranges).encoded()
      #expect(message.withUnsafeBytes { checker.take($0, floor: 0, log: &log) } == 10)
    }
    log.finish()
    #expect(checker.broken.malformed == 2)
    #expect(checker.broken.malformedExample == "a reply held 4294967299 ids instead of 10")
    #expect(checker.highest == 110)
    #expect(log.logged == 20)
    #expect(DuplicateSearch([log]).duplicates == 10)
  }

  @Test func `no reply, however odd its numbers, is more than a broken promise`() {
    let seed = UInt64.random(in: .min ... .max)
    print("seed \(seed)")
    var random = SplitMix(seed: seed)
    let numbers: [Int64] = [
      .min, .min + 1, -1 << 32, -2, -1, 0, 1, 2, 3, 1 << 31, 1 << 32, 1 << 61, 1 << 62, .max - 2, .max - 1, .max,
    ]
    let counts: [UInt32] = [0, 1, 2, 3, 10, 1 << 31, .max - 1, .max]
    for round in 0..<3_000 {
      var plan = BenchPlan()
      plan.batch = round % 3 == 0 ? nil : [1, 2, 10][round % 3]
      var checker = IDChecker(plan, shared: HighestID())
      var logs = (0..<2).map { _ in IDLog(limit: 1 << 20) }
      var given = 0
      for _ in 0..<Int.random(in: 1...10, using: &random) {
        func number() -> Int64 { numbers.randomElement(using: &random) ?? 0 }
        let message: [UInt8]
        if plan.batch == nil {
          message = IDResponse(id: number()).encoded()
        } else {
          message =
            GenerateBatchResponse(
              ranges: (0..<Int.random(in: 0...3, using: &random)).map { _ in
                IDRangeMessage(
                  start: number(), stride: number(), count: counts.randomElement(using: &random) ?? 0)
              }
            ).encoded()
        }
        let side = Int.random(in: 0...1, using: &random)
        given += message.withUnsafeBytes { checker.take($0, floor: checker.highest, log: &logs[side]) }
        checker.meetOthers()
      }
      for side in logs.indices { logs[side].finish() }
      let logged = logs.reduce(0) { $0 + $1.logged }
      #expect(logged <= given, "seed \(seed), round \(round)")
      #expect(given <= 10 * (plan.batch ?? 1), "seed \(seed), round \(round)")
      let whole = DuplicateSearch(logs).duplicates
      let parts = DuplicateSearch([logs[0]]).duplicates + DuplicateSearch([logs[1]], earlier: [logs[0]]).duplicates
      #expect(whole == parts, "seed \(seed), round \(round)")
    }
  }

  @Test func `what a later run is given is compared with the runs before, by a history as by a set`() {
    let seed = UInt64.random(in: .min ... .max)
    print("seed \(seed)")
    var random = SplitMix(seed: seed)
    for round in 0..<20 {
      var history = IDHistory()
      var seen: Set<Int64> = []
      for run in 0..<4 {
        var logs = (0..<2).map { _ in IDLog(limit: 1 << 24) }
        var again: Set<Int64> = []
        var duplicates = 0
        for _ in 0..<100 {
          let first = Int64.random(in: 1...[300, 2_000, 100_000][round % 3], using: &random)
          let last = first + Int64.random(in: 0...3, using: &random)
          for id in first...last where !seen.insert(id).inserted {
            duplicates += 1
            again.insert(id)
          }
          logs[Int.random(in: 0..<2, using: &random)].append(first, last)
        }
        for index in logs.indices { logs[index].finish() }
        let search = history.add(logs)
        #expect(search.duplicates == duplicates, "seed \(seed), round \(round), run \(run)")
        #expect(search.found.count == min(again.count, DuplicateSearch.examples))
        #expect(again.isSuperset(of: search.found) && Set(search.found).count == search.found.count)
      }
    }
  }

  @Test func `a reply that can't be read is told`() {
    var checker = IDChecker(BenchPlan(), shared: HighestID())
    var log = IDLog(limit: 1 << 20)
    let bytes: [UInt8] = [8, 0x80]
    #expect(bytes.withUnsafeBytes { checker.take($0, floor: 0, log: &log) } == 0)
    #expect(checker.broken.malformed == 1)
  }

  @Test func `event loops tell each other the largest id`() {
    let shared = HighestID()
    var first = IDChecker(BenchPlan(), shared: shared)
    var second = IDChecker(BenchPlan(), shared: shared)
    var log = IDLog(limit: 1 << 20)
    _ = IDResponse(id: 77).encoded().withUnsafeBytes { first.take($0, floor: 0, log: &log) }
    second.meetOthers()
    #expect(second.highest == 0)
    first.meetOthers()
    second.meetOthers()
    #expect(second.highest == 77)
  }

  @Test func `the log finds what a set finds, whatever the order`() {
    let seed = UInt64.random(in: .min ... .max)
    print("seed \(seed)")
    var random = SplitMix(seed: seed)
    for round in 0..<20 {
      let spread = [3, 40, 2_000, 1_000_000][round % 4]
      var logs = (0..<3).map { _ in IDLog(limit: 1 << 24) }
      var seen: Set<Int64> = []
      var duplicates = 0
      var base: Int64 = 1
      for _ in 0..<3_000 {
        base += Int64.random(in: 0...40, using: &random)
        let first = max(1, base + Int64.random(in: -Int64(spread)...Int64(spread), using: &random))
        let last = first + (Bool.random(using: &random) ? 0 : Int64.random(in: 0...3, using: &random))
        for id in first...last where !seen.insert(id).inserted { duplicates += 1 }
        logs[Int.random(in: 0..<3, using: &random)].append(first, last)
      }
      for index in logs.indices { logs[index].finish() }
      #expect(DuplicateSearch(logs).duplicates == duplicates, "seed \(seed), round \(round)")
    }
  }

  @Test func `a hundred million ids fit into the memory they may take`() {
    // Snowflake's way at half a million a second: 500 a millisecond in 8 connections, so no two neighbours in one log.
    var log = IDLog(limit: 1 << 30)
    let count = 200_000
    for index in 0..<count {
      let id = Int64(1) << 60 + Int64(index / 63) << 22 + Int64(index % 63 * 8)
      log.append(id, id)
    }
    log.finish()
    let bytes = log.chunks.reduce(0) { $0 + $1.capacity } + log.runs.count * 128
    #expect(bytes * 500 < 1_500_000_000)
    #expect(log.logged == count)
    #expect(DuplicateSearch([log]).duplicates == 0)
  }

  @Test func `the log's chunks grow to a megabyte and no further`() {
    #expect([0, 1, 8, 9, 60, 1_000].map(IDLog.chunkSize) == [4_096, 8_192, 1 << 20, 1 << 20, 1 << 20, 1 << 20])
  }

  @Test func `a log that is full says how many it missed`() {
    var log = IDLog(limit: 4_096)
    for id in Int64(0)..<100_000 { log.append(id * 1_000_000 + 1, id * 1_000_000 + 2) }
    log.finish()
    #expect(log.missed > 0)
    #expect(log.logged + log.missed == 200_000)
    #expect(DuplicateSearch([log]).duplicates == 0)
  }
}
