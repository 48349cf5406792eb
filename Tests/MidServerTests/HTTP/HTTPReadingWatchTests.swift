import MidTestKit
import NIOCore
import Testing

@testable import MidServer

@Suite("How slowly an HTTP client may read")
struct HTTPReadingWatchTests {
  private let start = NIODeadline.uptimeNanoseconds(7)
  private let patience = TimeAmount.seconds(5)

  private func at(_ milliseconds: Int64) -> NIODeadline { self.start + .milliseconds(milliseconds) }

  /// How a client stands at each second, that has left so many bytes unread then.
  private func standings(of rate: Int, unread: (Int64) -> Int, until last: Int64) -> [HTTPReadingWatch.Standing] {
    var watch = HTTPReadingWatch(unread: unread(0), at: self.start, patience: self.patience, rate: rate)
    return (1...last).map { watch.look(unread: unread($0), at: self.at($0 * 1_000)) }
  }

  @Test func whoReadsNothingIsStuckOnceThePatienceIsOver() {
    let standings = self.standings(of: 100, unread: { _ in 400 }, until: 6)
    #expect(standings == [.good, .good, .good, .good, .stuck, .stuck])
  }

  @Test func whoReadsAtTheLeastRateGoesOnForAsLongAsItTakes() {
    let standings = self.standings(of: 100, unread: { 1_000_000 - 100 * Int($0) }, until: 9_000)
    #expect(standings.allSatisfy { $0 == .good })
  }

  @Test func aByteNowAndThenIsTooSlow() {
    // 1 byte a second is 99 too few each second: what five seconds are worth is over a moment after they are.
    let standings = self.standings(of: 100, unread: { 1_000 - Int($0) }, until: 8)
    #expect(standings == [.good, .good, .good, .good, .good, .slow, .slow, .slow])
    // At half of the rate it takes twice as long.
    let half = self.standings(of: 100, unread: { 1_000_000 - 50 * Int($0) }, until: 12)
    #expect(half.prefix(9).allSatisfy { $0 == .good } && half.suffix(3) == [.slow, .slow, .slow])
  }

  @Test func whatWasReadFastDoesNotCountForLater() {
    // A million bytes in the first second; from then on a byte a second.
    let standings = self.standings(
      of: 100, unread: { $0 == 0 ? 2_000_000 : 1_000_000 - Int($0) }, until: 8)
    #expect(standings == [.good, .good, .good, .good, .good, .good, .slow, .slow])
  }

  @Test func bytesThatComeInLumpsAreWaitedForWithinThePatience() {
    // 480 bytes each four seconds and nothing between them is 120 a second.
    let standings = self.standings(of: 100, unread: { 1_000_000 - 480 * Int($0 / 4) }, until: 400)
    #expect(standings.allSatisfy { $0 == .good })
  }

  @Test func whatTheServerWritesIsNothingThatTheClientReads() {
    var watch = HTTPReadingWatch(unread: 100, at: self.start, patience: self.patience, rate: 100)
    for second in Int64(1)...4 {
      #expect(watch.look(unread: 100 * Int(second), at: self.at(second * 1_000)) == .good)
      watch.wrote(unread: 100 * Int(second + 1))
    }
    #expect(watch.look(unread: 500, at: self.at(5_000)) == .stuck)
  }

  /// Against the definition: a client that took `rate × (time - patience)` bytes of any stretch of time is good, one that took
  /// less of some stretch is not.
  @Test func theRuleHoldsOfEveryStretchOfTime() {
    let seed = SplitMix64.freshSeed(for: "how slowly a client may read")
    var random = SplitMix64(seed: seed)
    var isCut = 0
    for _ in 0..<300 {
      var watch = HTTPReadingWatch(unread: 1 << 40, at: self.start, patience: self.patience, rate: 1_000)
      let mean = Int.random(in: 0...4_000, using: &random)
      var taken = [0]
      while taken.count < 60 {
        taken.append(taken[taken.count - 1] + Int.random(in: 0...mean, using: &random))
        let now = taken.count - 1
        let standing = watch.look(unread: 1 << 40 - taken[now], at: self.at(Int64(now) * 1_000))
        let isBehind = (0..<now).contains { taken[now] - taken[$0] <= (now - $0 - 5) * 1_000 }
        #expect((standing != .good) == isBehind, "seed \(seed), second \(now), mean \(mean)")
        guard standing == .good else {
          isCut += 1
          break
        }
      }
    }
    #expect(isCut > 30 && isCut < 270, "seed \(seed): both must come")
  }
}
