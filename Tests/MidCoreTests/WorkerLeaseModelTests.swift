import Foundation
import MidCore
import MidTestKit
import Testing

@Suite("Worker ids, over many schedules", .timeLimit(.minutes(60)))
struct WorkerLeaseModelTests {
  /// How many steps: a million, or what `MID_TEST_MODEL_STEPS` says.
  private static var steps: Int {
    ProcessInfo.processInfo.environment["MID_TEST_MODEL_STEPS"].flatMap { Int($0) } ?? 1_000_000
  }

  private static let stepsPerSchedule = 2000
  private static let sabotagedSchedules = 600

  @Test func `no id comes twice, ids increase, and nobody issues under an id that another has`() throws {
    let seed = SplitMix64.freshSeed(for: "worker leases")
    var (ranges, ids) = (0, Int64(0))
    var counts = WorkerLeaseModel.Counts()
    for schedule in 0..<max(1, Self.steps / Self.stepsPerSchedule) {
      var model = try WorkerLeaseModel(seed: seed &+ UInt64(schedule))
      try model.run(steps: Self.stepsPerSchedule)
      #expect(model.violations.isEmpty, "MID_TEST_SEED=\(seed), schedule \(schedule): \(model.violations)")
      if !model.violations.isEmpty { return }
      for issued in model.issued.values {
        ranges += issued.count
        ids += issued.reduce(0) { $0 + $1.upperBound - $1.lowerBound + 1 }
      }
      counts += model.counts
    }
    print("worker leases: \(Self.steps) steps, \(ranges) grants of \(ids) ids, \(counts)")
    // A model that hands out nothing, or in which nothing goes wrong, would pass too.
    let least = Self.steps / 40_000
    #expect(ranges > 1000 * least)
    #expect(min(counts.changes, counts.takeovers, counts.lapses, counts.restarts) > least)
    #expect(min(counts.alone, counts.backups, counts.lostAnswers, counts.orphans, counts.freed) > least)
  }

  @Test(
    "notice that fencing, the bound or the monotonic clock is not looked at, or that a freed row's bound is lowered",
    arguments: [WorkerLeaseModel.Sabotage.noFencing, .noBound, .noMonotonicCheck, .freeLowersBound])
  func sabotage(_ sabotage: WorkerLeaseModel.Sabotage) throws {
    var found: [String: Int] = [:]
    for seed in 0..<Self.sabotagedSchedules {
      var model = try WorkerLeaseModel(seed: UInt64(seed), sabotage: sabotage)
      try model.run(steps: Self.stepsPerSchedule)
      let kinds = model.violations.map { violation in
        switch violation {
        case .twice: "twice"
        case .notIncreasing: "not increasing"
        case .issuedWithoutTheId: "without the id"
        }
      }
      for kind in Set(kinds) { found[kind, default: 0] += 1 }
    }
    print("worker leases, \(sabotage): \(found) of \(Self.sabotagedSchedules) schedules")
    switch sabotage {
    case .none: #expect(found == [:])
    case .noFencing, .noBound, .freeLowersBound: #expect(found["twice", default: 0] > 0)
    // Uniqueness stands on the bound alone; this is the rule that a new holder is the only one.
    case .noMonotonicCheck: #expect(found["without the id", default: 0] > 0)
    }
  }
}
