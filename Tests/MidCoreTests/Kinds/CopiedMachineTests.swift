import MidTestKit
import Synchronization
import Testing

@testable import MidCore

/// What two copies of one running machine repeat: all they have in memory is the same, the clock too, and only what the system
/// gives them from then on is not.
@Suite("Two copies of a running machine")
struct CopiedMachineTests {
  // A whole second.
  private let moment: Int64 = 1_645_557_742_000

  /// Random bits that are the same in both copies up to the moment of the copy.
  private final class CopiedRandom: RandomSource {
    private let state: Mutex<SplitMix64>
    init(seed: UInt64) { self.state = Mutex(SplitMix64(seed: seed)) }
    func copied(as copy: UInt64) { self.state.withLock { $0 = SplitMix64(seed: 1_000 + copy) } }
    func words(_ count: Int) -> [UInt64] { self.state.withLock { state in (0..<count).map { _ in state.next() } } }
  }

  /// The ids of two machines that are one until the copy: `seconds` of ids, `perMillisecond` each, after it.
  private func repeated(
    _ kind: (any TimeSource, RandomPool) -> () throws(IDError) -> UInt128, perMillisecond: Int, milliseconds: Int
  ) throws -> (lastAt: Int, count: Int) {
    let lists = try (0..<2).map { (copy: UInt64) in
      let source = CopiedRandom(seed: 5)
      let clock = ManualClock(wallMilliseconds: self.moment)
      let next = kind(clock, RandomPool(source))
      for _ in 0..<10 { _ = try next() }
      source.copied(as: copy)
      var ids: [(id: UInt128, at: Int)] = []
      for millisecond in 0..<milliseconds {
        for _ in 0..<perMillisecond { ids.append((try next(), millisecond)) }
        clock.advance(by: 1)
      }
      return ids
    }
    let other = Set(lists[1].map(\.id))
    let twice = lists[0].filter { other.contains($0.id) }
    return (twice.map(\.at).max() ?? -1, twice.count)
  }

  @Test("repeat versions 1 and 6, and ObjectIds, for a second at most", arguments: [1, 6, 0])
  func identities(version: Int) throws {
    let twice = try self.repeated(
      { clock, random in
        let uuids = UUIDGenerator(increment: .counter, clock: clock, random: random)
        let objects = ObjectIDGenerator(clock: clock, random: random)
        return { () throws(IDError) in
          switch version {
          case 1: try uuids.version1().bits
          case 6: try uuids.version6().bits
          default: try objects.next().bits
          }
        }
      }, perMillisecond: 3, milliseconds: 3000)
    // Everything of that second: that is what there is to bound.
    #expect(twice.lastAt == 999 && twice.count == 3000)
  }

  @Test("repeat as many of version 7, and of version 4, as random bits are left in a block")
  func pools() throws {
    for version in [4, 7] {
      let twice = try self.repeated(
        { clock, random in
          let uuids = UUIDGenerator(increment: .counter, clock: clock, random: random)
          return { () throws(IDError) in try version == 4 ? uuids.version4().bits : uuids.version7().bits }
        }, perMillisecond: 3, milliseconds: 100)
      // 10 of the 32 were drawn before.
      #expect(twice.count == 22, "version \(version)")
    }
  }

  @Test("repeat as many ULIDs, and the rest of the millisecond that they were drawn for")
  func ulids() throws {
    let twice = try self.repeated(
      { clock, random in
        let ulids = ULIDGenerator(clock: clock, random: random)
        return { () throws(IDError) in try ulids.next().bits }
      }, perMillisecond: 10, milliseconds: 100)
    // 22 draws are left, one for each call: the third millisecond begins with one of them and counts on.
    #expect(twice.lastAt == 2 && twice.count == 30)
  }
}
