import MidTestKit
import Testing

@testable import MidCore

@Suite("The size of a tag's loads")
struct SegmentSizingTests {
  private static let second: UInt64 = 1_000_000_000

  /// The sizes of `loads` loads one after the other, each after `size` ids were used at `rate` ids a second.
  private func sizes(
    _ sizing: inout SegmentSizing, loads: Int, rate: Double, step: Int64 = 100,
    settings: SegmentSettings = SegmentSettings(), total: inout Int64, now: inout UInt64
  ) -> [Int64] {
    (0..<loads).map { _ in
      let used = sizing.size
      total += used
      now += UInt64(Double(used) / rate * 1e9)
      return sizing.next(total: total, now: now, step: step, settings: settings)
    }
  }

  @Test func `doubles at most, up to 15 minutes at the measured rate, and stays there`() {
    var sizing = SegmentSizing(step: 100)
    var (total, now): (Int64, UInt64) = (0, Self.second)
    #expect(sizing.next(total: 0, now: now, step: 100, settings: SegmentSettings()) == 100)
    #expect(sizing.reason == .start)
    let sizes = self.sizes(&sizing, loads: 9, rate: 10, total: &total, now: &now)
    #expect(sizes.prefix(7) == [200, 400, 800, 1600, 3200, 6400, 9000])
    #expect(sizes.suffix(2) == [9000, 9000])
    #expect(sizing.reason == .faster && sizing.changes == 7)
  }

  @Test func `halves at most, down to the table's step`() {
    var sizing = SegmentSizing(step: 100)
    var (total, now): (Int64, UInt64) = (0, Self.second)
    _ = sizing.next(total: 0, now: now, step: 100, settings: SegmentSettings())
    _ = self.sizes(&sizing, loads: 8, rate: 10, total: &total, now: &now)
    #expect(sizing.size == 9000)
    let sizes = self.sizes(&sizing, loads: 8, rate: 0.05, total: &total, now: &now)
    #expect(sizes == [4500, 2250, 1125, 562, 281, 140, 100, 100])
    #expect(sizing.reason == .step)
  }

  @Test func `stays within segment.max_load, and a larger step wins over it`() {
    var sizing = SegmentSizing(step: 100)
    var (total, now): (Int64, UInt64) = (0, Self.second)
    let settings = SegmentSettings(maximumLoad: 1500)
    _ = sizing.next(total: 0, now: now, step: 100, settings: settings)
    let sizes = self.sizes(&sizing, loads: 5, rate: 1000, settings: settings, total: &total, now: &now)
    #expect(sizes == [200, 400, 800, 1500, 1500])
    #expect(sizing.reason == .maximum)
    #expect(
      self.sizes(&sizing, loads: 1, rate: 1000, step: 4000, settings: settings, total: &total, now: &now) == [4000])
    #expect(sizing.reason == .step)
    #expect(self.sizes(&sizing, loads: 1, rate: 1000, step: 10, settings: settings, total: &total, now: &now) == [1500])
  }

  @Test func `loads that follow each other at once say nothing about the rate`() {
    var sizing = SegmentSizing(step: 1000)
    var (total, now): (Int64, UInt64) = (0, Self.second)
    let settings = SegmentSettings(outage: .zero)
    _ = sizing.next(total: 0, now: now, step: 1000, settings: settings)
    _ = self.sizes(&sizing, loads: 10, rate: 100, step: 1000, settings: settings, total: &total, now: &now)
    #expect(sizing.size == 90_000)
    for _ in 0..<10 {
      now += 300_000
      #expect(sizing.next(total: total, now: now, step: 1000, settings: settings) == 90_000)
    }
  }

  @Test func `with no target, loads are of the table's step whatever the rate`() {
    var sizing = SegmentSizing(step: 100)
    var (total, now): (Int64, UInt64) = (0, Self.second)
    let settings = SegmentSettings(target: .zero, outage: .zero)
    #expect(
      self.sizes(&sizing, loads: 4, rate: 1e6, settings: settings, total: &total, now: &now) == [100, 100, 100, 100])
  }

  @Test func `numbers at the end of Int64 do not overflow`() {
    var sizing = SegmentSizing(step: .max)
    let settings = SegmentSettings(maximumLoad: .max)
    #expect(sizing.next(total: 0, now: 1, step: .max, settings: settings) == .max)
    #expect(sizing.next(total: .max - 1, now: 2, step: .max, settings: settings) == .max)
    #expect(sizing.reserve == 0)
    sizing.sample(total: .max - 1, now: 3, settings: settings)
    #expect(sizing.reserve > 0)
  }
}

@Suite("The average rate of a tag")
struct SegmentRateTests {
  private static let second: UInt64 = 1_000_000_000

  @Test func `is what was used within the last hour, whatever came before`() {
    var rate = SegmentRate()
    var total: Int64 = 0
    rate.record(total: 0, now: 5 * Self.second)
    for index in 1...720 {
      total += 1000
      rate.record(total: total, now: UInt64(5 + index * 10) * Self.second)
    }
    #expect(abs(rate.average - 100) < 0.001)
    // Two hours on at a tenth of it: the first hours are forgotten.
    for index in 721...1440 {
      total += 100
      rate.record(total: total, now: UInt64(5 + index * 10) * Self.second)
    }
    #expect(abs(rate.average - 10) < 0.001)
  }

  @Test func `spreads what is recorded late over the time since`() {
    var rate = SegmentRate()
    rate.record(total: 0, now: 0)
    rate.record(total: 3_600_000, now: 3600 * Self.second)
    #expect(abs(rate.average - 1000) < 0.001)
    // Ten hours later: an hour's worth of them is within the hour.
    rate.record(total: 3_600_000 + 36_000, now: 39_600 * Self.second)
    #expect(abs(rate.average - 1) < 0.001)
  }

  @Test func `counts a minute at least, so that one burst at the start is no rate`() {
    var rate = SegmentRate()
    #expect(rate.average == 0)
    rate.record(total: 0, now: 0)
    rate.record(total: 6000, now: Self.second)
    #expect(rate.average == 100)
    rate.record(total: 6000, now: Self.second)
    rate.record(total: 6000, now: 0)
    #expect(rate.average == 100)
  }
}
