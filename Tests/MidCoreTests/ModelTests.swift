import MidCore
import MidTestKit
import Testing

@Suite("The promise itself")
struct ModelTests {
  @Test("holds in 10,000 random schedules of calls, clock steps, crashes, lost leases and failing stores")
  func schedules() async throws {
    let seed = SplitMix64.freshSeed(for: "model")
    var issued = (snowflakes: 0, segments: 0)
    for schedule in 0..<10_000 {
      var model = try Model(seed: seed &+ UInt64(schedule))
      let violations = try await model.run(steps: 60)
      #expect(violations.isEmpty, "MID_TEST_SEED=\(seed), schedule \(schedule): \(violations.first?.description ?? "")")
      if !violations.isEmpty { return }
      issued.snowflakes += model.snowflakes.count
      issued.segments += model.segments.count
    }
    print("model: \(issued.snowflakes) snowflake and \(issued.segments) segment ids recorded")
    // A model that hands out nothing would pass too.
    #expect(issued.snowflakes > 100_000)
    #expect(issued.segments > 100_000)
  }

  @Test(
    "is seen to break when a node ignores the stored bound, the outcome of a lost commit, or whose worker id it has",
    arguments: [Model.Sabotage.ignoresBound, .forgetsUnknownOutcome, .overlappingWorkers])
  func sabotage(_ sabotage: Model.Sabotage) async throws {
    var broken = 0
    for seed in 0..<300 {
      var model = try Model(seed: UInt64(seed), sabotage: sabotage)
      if try await !model.run(steps: 60).isEmpty { broken += 1 }
    }
    #expect(broken > 0)
  }
}
