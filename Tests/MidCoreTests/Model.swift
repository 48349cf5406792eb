import MidCore
import MidTestKit
import Synchronization
import Testing

/// One random run of several nodes on one store: calls, batches, clock steps, crashes, lost leases, failing stores.
///
/// Everything happens on one thread, in an order that the seed alone decides.
struct Model {
  /// A promise to break on purpose, to see that the checker notices.
  enum Sabotage { case none, ignoresBound, forgetsUnknownOutcome, overlappingWorkers }

  static let start: Int64 = 1_700_000_000_000
  static let lease: Int64 = 2000

  var random: SplitMix64
  let sabotage: Sabotage
  let storeClock = ManualClock(wallMilliseconds: Self.start)
  let store: MemoryStore
  var nodes: [ModelNode] = []
  var snowflakes = UniquenessChecker()
  var segments = UniquenessChecker()

  init(seed: UInt64, sabotage: Sabotage = .none) throws {
    self.random = SplitMix64(seed: seed)
    self.sabotage = sabotage
    self.store = MemoryStore(clock: self.storeClock)
    let count = 1 + self.random.below(3)
    for index in 0..<count {
      let clock = ManualClock(wallMilliseconds: Self.start + Int64(self.random.below(200)) - 100)
      // Fewer worker ids than nodes at times, so that they change hands.
      let worker = sabotage == .overlappingWorkers ? 0 : Int64(self.random.below(count))
      self.nodes.append(try ModelNode(index: index, worker: worker, clock: clock, step: 5))
    }
  }

  /// Carries out `steps` random steps and answers what went wrong.
  mutating func run(steps: Int) async throws -> [UniquenessChecker.Violation] {
    for index in self.nodes.indices { try await self.boot(index) }
    for _ in 0..<steps { try await self.step(self.random.below(self.nodes.count)) }
    for index in self.nodes.indices { await self.crash(index) }
    return self.snowflakes.violations() + self.segments.violations()
  }

  private mutating func step(_ index: Int) async throws {
    let node = self.nodes[index]
    switch self.random.below(40) {
    case 0..<10: self.nodes[index].next()
    case 10..<13: self.nodes[index].take(Int64(1 + self.random.below(20)))
    case 13: self.nodes[index].take(5000)
    case 14..<22: self.nodes[index].segmentNext()
    case 22..<24: self.nodes[index].segmentBatch(Int64(1 + self.random.below(25)))
    case 24: self.nodes[index].expireOne(self.random.below(8))
    case 25..<30: try await self.pump(index)
    case 30..<33: for clock in [self.storeClock] + self.nodes.map(\.clock) { clock.advance(by: 1) }
    case 33: for clock in [self.storeClock] + self.nodes.map(\.clock) { clock.advance(by: 700) }
    case 34: node.clock.stepWall(by: Int64(self.random.below(8000)) - 6000)
    case 35..<37: try await self.renew(index)
    case 37:
      await self.crash(index)
      try await self.boot(index)
    case 38:
      try await self.stop(index)
      try await self.boot(index)
    default:
      // A process frozen past its lease wakes up and issues before it can renew.
      self.storeClock.advance(by: Self.lease * 2)
      self.nodes[index].next()
    }
  }

  /// Starts a node: claims its worker id, if nobody else holds it, and issues above the bound it found.
  private mutating func boot(_ index: Int) async throws {
    self.nodes[index] = try ModelNode(
      index: index, worker: self.nodes[index].worker, clock: self.nodes[index].clock, step: 5)
    let node = self.nodes[index]
    let bound = node.clock.wallMilliseconds() + Self.lease
    if self.sabotage == .overlappingWorkers {
      node.snowflake.grant(floorWallMilliseconds: 0, boundWallMilliseconds: bound)
      return
    }
    do throws(IDError) {
      let claim = try await self.store.claimWorker(
        node.worker, owner: node.owner, leaseMilliseconds: Self.lease, bound: bound)
      self.nodes[index].term = claim.current.term
      let floor = self.sabotage == .ignoresBound ? 0 : claim.previous?.bound ?? 0
      node.snowflake.grant(floorWallMilliseconds: floor, boundWallMilliseconds: claim.current.bound)
    } catch {
      #expect(error.code == .leaseLost)
    }
  }

  private mutating func renew(_ index: Int) async throws {
    let node = self.nodes[index]
    guard let term = node.term else { return }
    // Lost before or after the commit: either way the node goes on with the bound it knows.
    if self.random.below(5) == 0 { return }
    let isAnswerLost = self.random.below(5) == 0
    do throws(IDError) {
      let claim = try await self.store.renewWorker(
        node.worker, token: node.owner.token, term: term, leaseMilliseconds: Self.lease,
        bound: node.clock.wallMilliseconds() + Self.lease)
      if !isAnswerLost { node.snowflake.extendBound(toWallMilliseconds: claim.current.bound) }
    } catch {
      #expect(error.code == .leaseLost)
      node.snowflake.revoke(error)
      self.nodes[index].term = nil
    }
  }

  /// Carries out the load a node asked for; it may fail before or after its commit.
  private mutating func pump(_ index: Int) async throws {
    let node = self.nodes[index]
    guard let load = node.loads.takeFirst() else {
      node.segment.retry()
      return
    }
    let fate = self.random.below(6)
    if fate == 0 {
      _ = node.segment.loadFailed(FaultyStore.unavailable, random: 0.5)
      return
    }
    let range = try await self.store.allocate(load.count, for: .default)
    if fate == 1 {
      _ = node.segment.loadFailed(FaultyStore.unavailable, random: 0.5)
      // The sabotaged node believes that a lost answer means that nothing was taken.
      if self.sabotage == .forgetsUnknownOutcome { _ = try await self.store.giveBack(range, of: .default) }
      if self.sabotage == .forgetsUnknownOutcome { node.segment.loaded(range) }
      return
    }
    node.segment.loaded(range)
  }

  /// The process is gone, with all that it held in memory.
  private mutating func crash(_ index: Int) async {
    self.snowflakes.add(self.nodes[index].snowflakeRecord)
    self.segments.add(self.nodes[index].segmentRecord.withLock { $0 })
    self.nodes[index].snowflake.close()
    self.nodes[index].term = nil
  }

  /// A clean stop: the exact bound is stored, the tails go back, the last first.
  private mutating func stop(_ index: Int) async throws {
    let node = self.nodes[index]
    let bound = node.snowflake.close()
    if let term = node.term {
      do throws(IDError) {
        try await self.store.releaseWorker(node.worker, token: node.owner.token, term: term, bound: bound)
      } catch { #expect(error.code == .leaseLost) }
    }
    for tail in node.segment.close().reversed() { _ = try await self.store.giveBack(tail, of: .default) }
    await self.crash(index)
  }
}

/// One life of one node's process.
struct ModelNode {
  let worker: Int64
  let clock: ManualClock
  let owner: WorkerOwner
  let snowflake: SnowflakeGenerator
  let segment: SegmentGenerator
  let loads = LoadQueue()
  var term: Int64?
  var snowflakeRecord: UniquenessChecker.Recorder
  /// Behind a lock, as calls that wait are answered from within the generator.
  let segmentRecord: SharedRecorder
  private var waiting: [WaiterID] = []

  init(index: Int, worker: Int64, clock: ManualClock, step: Int64) throws {
    self.worker = worker
    self.clock = clock
    self.owner = WorkerOwner(token: "node \(index)", description: "node \(index)")
    self.snowflake = try SnowflakeGenerator(
      layout: .original, worker: WorkerID(worker, layout: .original), clock: clock, maxAhead: .milliseconds(50),
      sequenceJitter: 3, salt: 9)
    let loads = self.loads
    self.segment = try SegmentGenerator(tag: .default, step: step, clock: clock) { loads.append($1) }
    self.snowflakeRecord = UniquenessChecker.Recorder(caller: "node \(index)")
    self.segmentRecord = SharedRecorder(caller: "node \(index)")
  }

  mutating func next() {
    if let id = self.snowflake.next().id { self.snowflakeRecord.record(id) }
  }

  mutating func take(_ count: Int64) {
    for range in self.snowflake.take(upTo: count).ranges {
      // Both ends and the middle of a long range say as much as all of it.
      if range.count <= 64 { self.snowflakeRecord.record(range) } else { self.recordSparsely(range) }
    }
  }

  private mutating func recordSparsely(_ range: IDRange) {
    for id in Swift.stride(from: range.start, to: range.end, by: 97) { self.snowflakeRecord.record(id) }
    if let last = range.last, (last - range.start) % 97 != 0 { self.snowflakeRecord.record(last) }
  }

  mutating func segmentNext() {
    if let id = self.segment.next() {
      self.segmentRecord.withLock { $0.record(id) }
    } else {
      self.segmentBatch(1)
    }
  }

  mutating func segmentBatch(_ count: Int64) {
    let record = self.segmentRecord
    let result = self.segment.enqueue(count: count) { answer in
      guard case .success(let ranges) = answer else { return }
      #expect(ranges.reduce(0) { $0 + $1.count } == count)
      record.withLock { recorder in
        for range in ranges { recorder.record(range) }
      }
    }
    if case .waiting(let id) = result { self.waiting.append(id) }
  }

  mutating func expireOne(_ choice: Int) {
    guard choice < self.waiting.count else { return }
    self.segment.expire(self.waiting.remove(at: choice))
  }
}

/// The loads a generator asked for.
final class LoadQueue: Sendable {
  private let loads = Mutex<[SegmentLoad]>([])

  func append(_ load: SegmentLoad) { self.loads.withLock { $0.append(load) } }
  func takeFirst() -> SegmentLoad? { self.loads.withLock { $0.isEmpty ? nil : $0.removeFirst() } }
}

/// A recorder that several closures share.
final class SharedRecorder: Sendable {
  private let recorder: Mutex<UniquenessChecker.Recorder>

  init(caller: String) { self.recorder = Mutex(UniquenessChecker.Recorder(caller: caller)) }

  func withLock<Value: Sendable>(_ body: (inout UniquenessChecker.Recorder) -> Value) -> Value {
    self.recorder.withLock { body(&$0) }
  }
}
