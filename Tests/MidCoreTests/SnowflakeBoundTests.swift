import MidCore
import MidTestKit
import Synchronization
import Testing

@Suite("The time bound of a Snowflake generator")
struct SnowflakeBoundTests {
  static let start: Int64 = 1_700_000_000_000

  let clock = ManualClock(wallMilliseconds: Self.start)
  let generator: SnowflakeGenerator

  init() throws {
    self.generator = try SnowflakeGenerator(
      layout: .original, worker: WorkerID(1, layout: .original), clock: self.clock, maxAhead: .seconds(1),
      sequenceJitter: 0, salt: 0)
  }

  func time(of id: Int64?) throws -> Int64 {
    let fields = try SnowflakeLayout.original.decompose(try #require(id))
    return SnowflakeLayout.original.wallMilliseconds(ofTick: fields.tick)
  }

  @Test("lets nothing out before the first grant, and says why")
  func noGrant() {
    #expect(!self.generator.isGranted)
    #expect(self.generator.next().error?.code == .leaseLost)
    #expect(self.generator.take(upTo: 5).error?.code == .leaseLost)
    #expect(!self.generator.extendBound(toWallMilliseconds: Self.start + 1000))
    #expect(self.generator.next().error?.code == .leaseLost)
  }

  @Test("tells whether a call would get an id, as the call itself then finds")
  func canIssue() throws {
    #expect(!self.generator.canIssue)
    self.generator.grant(floorWallMilliseconds: Self.start + 5000, boundWallMilliseconds: Self.start + 60_000)
    #expect(!self.generator.canIssue, "the clock is behind the floor")
    self.clock.setWall(to: Self.start + 4000)
    #expect(self.generator.canIssue, "a second ahead is allowed")
    #expect(self.generator.next().id != nil)
    self.clock.setWall(to: Self.start + 3000)
    #expect(!self.generator.canIssue)
    self.clock.setWall(to: Self.start + 60_000)
    #expect(!self.generator.canIssue, "the bound has passed")
    self.generator.extendBound(toWallMilliseconds: Self.start + 90_000)
    #expect(self.generator.canIssue)
    self.generator.revoke(IDError(.leaseLost, "gone"))
    #expect(!self.generator.canIssue)
  }

  @Test("lets nothing out at or past it until it is extended")
  func bound() throws {
    #expect(self.generator.grant(floorWallMilliseconds: 0, boundWallMilliseconds: Self.start + 2))
    #expect(self.generator.isGranted)
    #expect(self.generator.take(upTo: 1_000_000).ranges.map(\.count) == [4096, 4096])
    let error = self.generator.take(upTo: 1).error
    #expect(error?.code == .leaseLost)
    #expect(error?.message.contains("2023-11-14T22:13:20.002Z") == true)
    self.clock.advance(by: 2)
    #expect(self.generator.next().error?.code == .leaseLost)
    #expect(self.generator.extendBound(toWallMilliseconds: Self.start + 3))
    #expect(try self.time(of: self.generator.next().id) == Self.start + 2)
    // A lower one does not take anything back.
    #expect(self.generator.extendBound(toWallMilliseconds: Self.start))
    #expect(self.generator.next().id != nil)
    self.clock.advance(by: 1)
    #expect(self.generator.next().error?.code == .leaseLost)
  }

  @Test("rounds bound and floor inwards to whole ticks")
  func rounding() throws {
    let layout = SnowflakeLayout.sonyflake
    let generator = try SnowflakeGenerator(
      layout: layout, worker: WorkerID(1, layout: layout), clock: self.clock, maxAhead: .seconds(1),
      sequenceJitter: 0, salt: 0)
    generator.grant(floorWallMilliseconds: Self.start + 1, boundWallMilliseconds: Self.start + 29)
    let ids = generator.take(upTo: 10_000).ranges
    #expect(ids.count == 1)
    #expect(
      layout.wallMilliseconds(ofTick: try layout.decompose(try #require(ids.first?.start)).tick) == Self.start + 10)
    #expect(generator.lastIssuedBound == Self.start + 20)
  }

  @Test("makes a later holder begin above it, by waiting")
  func floor() throws {
    self.generator.grant(floorWallMilliseconds: Self.start + 5000, boundWallMilliseconds: .max)
    let wait = try #require(self.generator.next().wait)
    #expect(wait.reason == .clock)
    #expect(wait.untilWallMilliseconds == Self.start + 4000)
    self.clock.advance(by: 4000)
    #expect(try self.time(of: self.generator.next().id) == Self.start + 5000)
    self.generator.raiseFloor(toWallMilliseconds: Self.start)
    self.generator.raiseFloor(toWallMilliseconds: Self.start + 5001)
    self.clock.advance(by: 1)
    #expect(try self.time(of: self.generator.next().id) == Self.start + 5001)
    self.generator.raiseFloor(toWallMilliseconds: .max)
    #expect(self.generator.next().error?.code == .exhausted)
  }

  @Test("is the floor of a closed generator's next grant too")
  func floorWhileClosed() throws {
    self.generator.raiseFloor(toWallMilliseconds: Self.start + 10)
    #expect(self.generator.lastIssuedBound == Self.start + 10)
    self.generator.grant(floorWallMilliseconds: 0, boundWallMilliseconds: .max)
    #expect(try self.time(of: self.generator.next().id) == Self.start + 10)
    // A second grant while the first is in force moves both ends up.
    #expect(self.generator.grant(floorWallMilliseconds: Self.start + 20, boundWallMilliseconds: 5))
    #expect(try self.time(of: self.generator.next().id) == Self.start + 20)
  }

  @Test("ends with a revocation, whose exact end a restart goes on from")
  func revoke() throws {
    self.generator.grant(floorWallMilliseconds: 0, boundWallMilliseconds: .max)
    let last = try #require(self.generator.next().id)
    #expect(self.generator.lastIssuedBound == Self.start + 1)
    #expect(self.generator.revoke(IDError(.leaseLost, "taken by another")) == Self.start + 1)
    #expect(self.generator.next().error == IDError(.leaseLost, "taken by another"))
    #expect(!self.generator.extendBound(toWallMilliseconds: .max))
    #expect(self.generator.revoke(IDError(.leaseLost, "again")) == Self.start + 1)
    #expect(self.generator.next().error?.message == "again")
    self.generator.grant(floorWallMilliseconds: 0, boundWallMilliseconds: .max)
    // One position is left out: a call that slept through both must not find its old word.
    #expect(self.generator.next().id == last + 2)
  }

  @Test("ends for good with close")
  func close() throws {
    self.generator.grant(floorWallMilliseconds: 0, boundWallMilliseconds: .max)
    _ = self.generator.take(upTo: 4096)
    #expect(self.generator.close() == Self.start + 1)
    #expect(self.generator.next().error?.code == .notReady)
    #expect(!self.generator.grant(floorWallMilliseconds: 0, boundWallMilliseconds: .max))
    #expect(self.generator.next().error?.code == .notReady)
    #expect(self.generator.close() == Self.start + 1)
  }

  @Test("lets no id out twice although callers race with revocations and new grants")
  func revocationsAndGrants() {
    let isOver = Atomic(false)
    let recorders = Collected<UniquenessChecker.Recorder>()
    onThreads(4) { index in
      var recorder = UniquenessChecker.Recorder(caller: "thread \(index)")
      if index == 0 {
        for round in 0..<5000 {
          self.generator.revoke(IDError(.leaseLost, "race"))
          self.generator.grant(floorWallMilliseconds: 0, boundWallMilliseconds: .max)
          if round % 8 == 0 { self.clock.advance(by: 1) }
        }
        isOver.store(true, ordering: .releasing)
      } else {
        while !isOver.load(ordering: .acquiring) {
          for range in self.generator.take(upTo: 50).ranges { recorder.record(range) }
        }
      }
      recorders.append(recorder)
    }
    #expect(violations(of: recorders.all).isEmpty)
  }

  @Test("is exact although callers race with the revocation")
  func revocationRace() throws {
    for _ in 0..<50 {
      self.clock.advance(by: 10)
      self.generator.grant(floorWallMilliseconds: 0, boundWallMilliseconds: .max)
      let isOver = Atomic(false)
      let last = Collected<Int64>()
      let bound = Collected<Int64>()
      let tooLate = Atomic(0)
      onThreads(4) { index in
        if index == 0 {
          self.clock.advance(by: 5)
          bound.append(self.generator.revoke(IDError(.leaseLost, "race")))
          isOver.store(true, ordering: .sequentiallyConsistent)
        } else {
          var newest: Int64 = 0
          for _ in 0..<100_000 {
            let wasOver = isOver.load(ordering: .sequentiallyConsistent)
            let outcome = self.generator.take(upTo: 3)
            if wasOver, outcome.error == nil { tooLate.wrappingAdd(1, ordering: .relaxed) }
            if outcome.error != nil { break }
            newest = outcome.ranges.last?.last ?? newest
          }
          last.append(newest)
        }
      }
      #expect(tooLate.load(ordering: .relaxed) == 0)
      let newest = try #require(last.all.max())
      if newest > 0 { #expect(try self.time(of: newest) < bound.all[0]) }
    }
  }
}
