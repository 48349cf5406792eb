import MidCore
import MidTestKit
import Synchronization
import Testing

@Suite("A node's Snowflake ids") struct SnowflakeNodeTests {
  private static let start: Int64 = 1_700_000_000_000
  private static let end: Int64 = Self.start + 3_600_000

  private let clock = ManualClock(wallMilliseconds: Self.start)
  private let node: SnowflakeNode

  init() throws {
    self.node = try SnowflakeNode(
      layout: .original, clock: self.clock, maxAhead: .seconds(1), sequenceJitter: 0, salt: 0)
  }

  private func grant(_ worker: Int64, floor: Int64 = 0, leaseEnd: UInt64 = .max) throws {
    try self.node.grant(
      worker: worker, floorWallMilliseconds: floor, boundWallMilliseconds: Self.end, leaseEnd: leaseEnd)
  }

  private func worker(of id: Int64?) throws -> Int64 { try SnowflakeLayout.original.decompose(try #require(id)).worker }

  @Test func `nothing comes out before it has a worker id`() throws {
    #expect(self.node.next().error?.message.contains("no worker id yet") == true)
    #expect(self.node.take(upTo: 3).error?.code == .leaseLost)
    #expect(!self.node.canIssue && self.node.front == 0)
    #expect(self.node.revoke(IDError(.leaseLost, "store away")) == 0)
    #expect(self.node.next().error?.message == "store away")
    #expect(throws: IDError.self) { try self.grant(1024) }
  }

  @Test func `ids are those of the worker id granted last`() throws {
    try self.grant(7)
    #expect(try self.worker(of: self.node.next().id) == 7)
    #expect(self.node.current.worker.number == 7 && self.node.canIssue && self.node.front == Self.start + 1)
    try self.grant(9)
    #expect(try self.worker(of: self.node.next().id) == 9)
    #expect(try self.worker(of: self.node.take(upTo: 3).ranges.first?.start) == 9)
    #expect(self.node.maxAhead == .seconds(1))
    if case .ids = self.node.reach() {} else { Issue.record("\(self.node.reach())") }
  }

  @Test func `a worker id that comes back goes on where its own ids ended`() throws {
    try self.grant(7)
    let first = try #require(self.node.next().id)
    try self.grant(9)
    self.clock.stepWall(by: -500)
    try self.grant(7)
    #expect(try #require(self.node.next().id) > first)
  }

  @Test func `the end of the lease ends it by the monotonic clock, whatever the wall clock says`() throws {
    let leaseEnd = self.clock.monotonicNanoseconds() + 5_000_000
    try self.grant(7, leaseEnd: leaseEnd)
    self.clock.advance(by: 4)
    #expect(self.node.next().id != nil)
    self.clock.advance(by: 1)
    self.clock.setWall(to: Self.start + 1)
    #expect(self.node.next().error?.message.contains("worker id 7 has ended by this machine's monotonic clock") == true)
    #expect(self.node.take(upTo: 2).error?.code == .leaseLost)
    #expect(!self.node.canIssue)
    #expect(self.node.extend(boundWallMilliseconds: Self.end, leaseEnd: leaseEnd + 1_000_000))
    #expect(self.node.next().id != nil)
    // An older answer takes nothing back.
    #expect(self.node.extend(boundWallMilliseconds: Self.end, leaseEnd: 1))
    #expect(self.node.next().id != nil)
  }

  @Test func `a lease after a time without one has an end`() throws {
    try self.grant(7)
    try self.grant(7, leaseEnd: self.clock.monotonicNanoseconds() + 1_000_000)
    #expect(self.node.next().id != nil)
    self.clock.advance(by: 1)
    #expect(self.node.next().error?.code == .leaseLost)
  }

  @Test func `once closed it stays so, and tells exactly how far its ids came`() throws {
    try self.grant(7)
    _ = self.node.next()
    #expect(self.node.close() == Self.start + 1)
    try self.grant(9)
    #expect(self.node.next().error?.code == .notReady)
    #expect(!self.node.extend(boundWallMilliseconds: Self.end, leaseEnd: .max))
  }

  @Test func `once closed without a worker id it has come nowhere`() { #expect(self.node.close() == 0) }

  @Test func `no id of a worker id comes out after it was revoked, whatever other threads do`() throws {
    let layout = SnowflakeLayout.original
    // What was revoked, and up to where its ids had come: each call that begins later gets later ones.
    let revoked = Mutex<[Int64: Int64]>([:])
    let isDone = Atomic<Bool>(false)
    let recorders = Collected<UniquenessChecker.Recorder>()
    let broken = Collected<String>()
    try self.grant(0)
    onThreads(4) { index in
      var recorder = UniquenessChecker.Recorder(caller: "thread \(index)", mustIncrease: false)
      defer { recorders.append(recorder) }
      guard index > 0 else {
        for round in 1...3000 {
          let worker = Int64(round % 5)
          do throws(IDError) {
            let before = self.node.current.worker.number
            let bound = self.node.revoke(IDError(.leaseLost, "changing"))
            revoked.withLock { $0[before] = bound }
            self.clock.advance(by: 1)
            try self.node.grant(
              worker: worker, floorWallMilliseconds: 0, boundWallMilliseconds: Self.end, leaseEnd: .max)
          } catch { broken.append("\(error)") }
        }
        return isDone.store(true, ordering: .releasing)
      }
      while !isDone.load(ordering: .acquiring) {
        let bounds = revoked.withLock { $0 }
        guard let id = self.node.next().id else { continue }
        recorder.record(id)
        do throws(IDError) {
          let parts = try layout.decompose(id)
          // The bound is the end of the tick that was begun, and ids go on within it after the next grant.
          let time = layout.wallMilliseconds(ofTick: parts.tick)
          if let bound = bounds[parts.worker], time < bound - 1 {
            broken.append("id of \(time) after worker \(parts.worker) was revoked at \(bound)")
          }
        } catch { broken.append("\(error)") }
      }
    }
    #expect(broken.all.isEmpty, "\(broken.all.prefix(3))")
    #expect(violations(of: recorders.all).isEmpty)
  }
}
