import MidCore
import MidTestKit
import Testing

/// A tag's generator on a store that can be away, second by second.
private final class OutageWorld {
  let clock = ManualClock(wallMilliseconds: 0)
  let loads = LoadQueue()
  let generator: SegmentGenerator
  private var position: Int64 = 1
  var isAway = false
  /// Ids used in each second.
  private(set) var history: [Int64] = []

  init(step: Int64, settings: SegmentSettings = SegmentSettings()) throws {
    let loads = self.loads
    self.generator = try SegmentGenerator(tag: .default, step: step, settings: settings, clock: self.clock) {
      loads.append($1)
    }
  }

  /// One second in which `count` ids are asked for.
  ///
  /// - Returns: How many of them there were.
  func second(_ count: Int64) -> Int64 {
    self.clock.advance(by: 1000)
    if self.history.count % 10 == 0 { self.generator.sample() }
    var missing = count
    while missing > 0 {
      if let range = self.generator.take(upTo: min(missing, 1_000_000)) {
        missing -= range.count
      } else if self.isAway {
        break
      } else {
        self.generator.prefetch()
        guard self.serve() else { break }
      }
      self.serve()
    }
    self.serve()
    self.history.append(count - missing)
    return count - missing
  }

  /// Carries out the loads that were asked for, unless the store is away.
  @discardableResult
  private func serve() -> Bool {
    var hasServed = false
    while !self.isAway, let load = self.loads.takeFirst() {
      self.generator.loaded(IDRange(start: self.position, count: load.count))
      self.position += load.count
      hasServed = true
    }
    return hasServed
  }

  var cached: Int64 {
    let snapshot = self.generator.snapshot
    return snapshot.servingLeft + snapshot.standbyLeft
  }

  /// Ids a second over the last hour.
  var average: Double {
    let hour = self.history.suffix(3600)
    return hour.isEmpty ? 0 : Double(hour.reduce(0, +)) / Double(hour.count)
  }
}

@Suite("An outage of the store")
struct SegmentOutageTests {
  @Test(
    "of ten minutes costs nothing at the average rate of the last hour, at whatever moment it begins",
    arguments: [0.2, 30, 1200, 20_000, 200_000])
  func tenMinutes(rate: Double) throws {
    let seed = UInt64.random(in: 0 ... .max)
    var random = SplitMix64(seed: seed)
    for _ in 0..<3 {
      let world = try OutageWorld(step: 100)
      var level = rate
      var due = 0.0
      let warm = 300 + random.below(7000)
      for _ in 0..<warm {
        // A rate that wanders between a third and three times, as a day's does.
        if random.below(60) == 0 { level = rate * (0.33 + Double(random.below(267)) / 100) }
        due += level
        _ = world.second(Int64(due))
        due -= due.rounded(.down)
      }
      let average = world.average
      #expect(Double(world.cached) >= average * 600, "seed \(seed)")
      world.isAway = true
      var wanted: Int64 = 0
      var got: Int64 = 0
      for _ in 0..<600 {
        due += average
        wanted += Int64(due)
        got += world.second(Int64(due))
        due -= due.rounded(.down)
      }
      #expect(got == wanted, "seed \(seed): \(wanted) ids asked for during the outage, \(got) given")
    }
  }

  @Test func `without the reserve a fast tag would run dry`() throws {
    let world = try OutageWorld(step: 100, settings: SegmentSettings(outage: .zero))
    for _ in 0..<4000 { _ = world.second(20_000) }
    world.isAway = true
    let got = (0..<600).reduce(Int64(0)) { sum, _ in sum + world.second(20_000) }
    #expect(got < 600 * 20_000)
  }

  @Test func `keeps no more in standby than a thousand ranges`() throws {
    let world = try OutageWorld(step: 10, settings: SegmentSettings(maximumLoad: 10, outage: .seconds(86_400)))
    for _ in 0..<600 { _ = world.second(1000) }
    #expect(world.cached <= 10 * 1001)
    #expect(world.cached >= 10 * 990)
  }
}

@Suite("A tag whose table went backwards")
struct SegmentBackwardsTests {
  @Test func `is served again once its row stands high enough and an operator says so, and gives nothing back before`()
    throws
  {
    let tag = try SegmentHarness(step: 10)
    tag.call(1)
    tag.load(101, 10)
    _ = tag.generator.batchNow(9)
    tag.call(2)
    tag.load(51, 10)
    let error = try #require(tag.error(2))
    #expect(error.code == .wentBackwards)
    #expect(error.message.contains("mid tag advance default --past 110"))
    tag.generator.update(step: 10, next: 110, isConfirmed: true)
    tag.call(3)
    #expect(tag.error(3)?.code == .wentBackwards)
    // High enough, but moved by nodes that know nothing of it.
    tag.generator.update(step: 10, next: 111)
    tag.call(5)
    #expect(tag.error(5)?.code == .wentBackwards)
    tag.generator.update(step: 10, next: 111, isConfirmed: true)
    tag.call(4)
    tag.load(111, 10)
    #expect(tag.ids(4) == [111])
  }
}

extension SegmentGenerator {
  /// As many of the serving range as there are, up to `count`.
  fileprivate func batchNow(_ count: Int64) -> IDRange? { self.take(upTo: count) }
}
