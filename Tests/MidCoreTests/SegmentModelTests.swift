import Foundation
import MidCore
import MidTestKit
import Testing

@Suite("Segments, over many schedules", .timeLimit(.minutes(60)))
struct SegmentModelTests {
  /// How many steps: a million, or what `MID_TEST_MODEL_STEPS` says.
  private static var steps: Int {
    ProcessInfo.processInfo.environment["MID_TEST_MODEL_STEPS"].flatMap { Int($0) } ?? 1_000_000
  }

  private static let stepsPerSchedule = 2000
  private static let sabotagedSchedules = 2000

  @Test func `no id comes twice, ids increase, calls are answered once and in time, and all recovers`() throws {
    let seed = SplitMix64.freshSeed(for: "segments")
    var counts = SegmentModel.Counts()
    for schedule in 0..<max(1, Self.steps / Self.stepsPerSchedule) {
      var model = try SegmentModel(seed: seed &+ UInt64(schedule))
      try model.run(steps: Self.stepsPerSchedule)
      #expect(model.violations.isEmpty, "MID_TEST_SEED=\(seed), schedule \(schedule): \(model.violations)")
      if !model.violations.isEmpty { return }
      counts += model.counts
    }
    print("segments: \(Self.steps) steps, \(counts)")
    // A model that hands out nothing, or in which nothing goes wrong, would pass too.
    let least = Self.steps / 40_000
    #expect(counts.ids > Int64(1000 * least))
    for field in SegmentModel.Counts.fields { #expect(counts[keyPath: field] >= least, "\(field)") }
  }

  @Test(
    "notice that a rule is not kept",
    arguments: SegmentModel.Sabotage.allCases.filter { $0 != .none })
  func sabotage(_ sabotage: SegmentModel.Sabotage) throws {
    var found: Int?
    for seed in 0..<Self.sabotagedSchedules where found == nil {
      var model = try SegmentModel(seed: UInt64(seed), sabotage: sabotage)
      try model.run(steps: Self.stepsPerSchedule)
      let isFound = model.violations.contains { violation in
        switch violation {
        case .twice, .shared: sabotage != .noHighWater
        case .notIncreasing: sabotage == .noHighWater
        default: false
        }
      }
      if isFound { found = seed + 1 }
    }
    print("segments, \(sabotage): found in schedule \(found.map { "\($0)" } ?? "none") of \(Self.sabotagedSchedules)")
    #expect(found != nil)
  }
}
