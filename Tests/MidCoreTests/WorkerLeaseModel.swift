import MidCore
import MidTestKit

/// Nodes that share worker ids through one store, on one thread, in an order that the seed alone decides: calls, clock
/// steps, frozen and crashed processes, answers that are lost, requests that arrive after their sender is gone, folders
/// that are lost or put back from a backup, clean stops.
///
/// The nodes run the real rules and the real generator; the store and the folders are played.
struct WorkerLeaseModel {
  /// A rule to take out, to see that its absence is noticed.
  enum Sabotage: CaseIterable { case none, noFencing, noBound, noMonotonicCheck, freeLowersBound }

  /// What went wrong.
  enum Violation: Hashable {
    case twice(worker: Int64, position: Int64)
    case notIncreasing(node: Int, position: Int64, after: Int64)
    /// A node issued under a worker id that the store had given to another.
    case issuedWithoutTheId(node: Int, worker: Int64)
  }

  static let start: Int64 = 1_700_000_000_000
  static let settings = WorkerLeaseSettings(lease: 2000, renewal: 500, localBound: 600, ahead: 50, patience: 200)
  let layout: SnowflakeLayout
  /// One id for all, so that they fight for it, and more requests that come late.
  let isFierce: Bool

  var random: SplitMix64
  let sabotage: Sabotage
  var rows: [Int64: WorkerRecord] = [:]
  var storeTime = Self.start
  /// What every clock should read.
  var time = Self.start
  var isStoreAway = false
  /// Whether the store's own clock is stepped: then leases end early, and only uniqueness is promised.
  let stepsStore: Bool
  /// Whether an operator frees rows whose holders live: then two may issue under one id for a moment, one below the bound
  /// and one above it, and only uniqueness is promised.
  let hasOperator: Bool
  var nodes: [Node] = []
  /// Requests whose senders are gone: they may still be carried out.
  var orphans: [Request] = []
  /// What was issued, by worker: ids as positions, which follow each other whatever the order of the layout's fields.
  var issued: [Int64: [ClosedRange<Int64>]] = [:]
  var violations: Set<Violation> = []
  var counts = Counts()

  /// How often what the rules are for has happened.
  struct Counts {
    /// A node gave its id up for another, as its clock had gone back.
    var changes = 0
    /// A node took an id that another had had.
    var takeovers = 0
    /// A process began anew, after a crash or a clean stop.
    var restarts = 0
    /// A lease ended by the monotonic clock.
    var lapses = 0
    /// A node with a fixed id began without the store.
    var alone = 0
    /// An answer of the store was lost.
    var lostAnswers = 0
    /// A request was carried out after its sender was gone.
    var orphans = 0
    /// A folder was put back from a backup.
    var backups = 0
    /// A row was freed while its lease ran.
    var freed = 0

    static func += (one: inout Counts, other: Counts) {
      one.changes += other.changes
      one.takeovers += other.takeovers
      one.restarts += other.restarts
      one.lapses += other.lapses
      one.alone += other.alone
      one.lostAnswers += other.lostAnswers
      one.orphans += other.orphans
      one.backups += other.backups
      one.freed += other.freed
    }
  }

  /// A request on its way to the store.
  enum Request {
    case list
    case claim(Int64, WorkerOwner, bound: Int64)
    case renew(Int64, token: String, term: Int64, bound: Int64)
    case release(Int64, token: String, term: Int64, bound: Int64)
  }

  /// One node: its process, its folder and its clock.
  struct Node {
    var wish: WorkerWish
    var token: String
    let clock: ManualClock
    var folder = WorkerMemory()
    /// The folder as it was some time ago.
    var backup: WorkerMemory?
    var snowflake: SnowflakeNode
    var machine: WorkerLeaseStateMachine
    var request: Request?
    var write: WorkerMemory?
    var isFrozen = false
    /// Whether the store was there once in this life.
    var sawStore = false
    var last: [Int64: Int64] = [:]
    var lives = 0

    var owner: WorkerOwner { WorkerOwner(token: self.token, description: self.token) }
  }

  init(seed: UInt64, sabotage: Sabotage = .none) throws {
    var random = SplitMix64(seed: seed)
    let stepsStore = random.below(4) == 0
    let isFierce = sabotage != .none || random.below(4) == 0
    self.isFierce = isFierce
    let count = isFierce ? 3 : 2 + random.below(4)
    // Fewer ids than nodes, mostly, so that they are fought for.
    let ids = isFierce ? 1 : Int64(1 + random.below(random.below(3) == 0 ? count + 2 : count - 1))
    // Long ticks make it likely that two who issue at about the same time issue the same.
    self.layout = !isFierce && random.below(2) == 0 ? .original : .sonyflake
    let areFixed = (0..<count).map { _ in !isFierce && random.below(4) == 0 }
    self.random = random
    self.sabotage = sabotage
    self.stepsStore = stepsStore && sabotage == .none
    self.hasOperator = sabotage == .none ? seed % 4 == 0 : sabotage == .freeLowersBound
    for index in 0..<count {
      // A fixed id is for one node alone; the others share the rest.
      let wish: WorkerWish = areFixed[index] ? .fixed(100 + Int64(index)) : .any(0...ids - 1)
      let clock = ManualClock(wallMilliseconds: Self.start + 40 * Int64(index) - 100)
      let snowflake = try Self.snowflake(clock, self.layout)
      let owner = WorkerOwner(token: "node \(index)", description: "node \(index)")
      self.nodes.append(
        Node(
          wish: wish, token: owner.token, clock: clock, snowflake: snowflake,
          machine: WorkerLeaseStateMachine(
            wish: wish, owner: owner, settings: Self.settings, memory: WorkerMemory())))
    }
  }

  private static func snowflake(_ clock: ManualClock, _ layout: SnowflakeLayout) throws -> SnowflakeNode {
    try SnowflakeNode(
      layout: layout, clock: clock, maxAhead: .milliseconds(settings.ahead), sequenceJitter: 3, salt: 9)
  }

  /// Carries out `steps` random steps; ``violations`` tells what went wrong.
  mutating func run(steps: Int) throws {
    for _ in 0..<steps { try self.step() }
    for (worker, ranges) in self.issued {
      let sorted = ranges.sorted { $0.lowerBound < $1.lowerBound }
      for (one, next) in zip(sorted, sorted.dropFirst()) where one.upperBound >= next.lowerBound {
        self.violations.insert(.twice(worker: worker, position: next.lowerBound))
      }
    }
  }

  private mutating func step() throws {
    let index = self.random.below(self.nodes.count)
    // In thousandths.
    switch self.random.below(1000) {
    case 0..<300: self.poll(index)
    case 300..<560: self.answer(index)
    case 560..<740: self.issue(index)
    case 740..<900: self.pass(Int64(1 + self.random.below(12)))
    case 900..<925: self.pass(Int64(self.random.below(200)))
    case 925..<927: self.pass(self.leap())
    case 927..<942: self.stepClock(index)
    case 942..<945:
      if self.stepsStore { self.storeTime += self.clockStep() }
      if self.hasOperator { self.free() }
    case 945..<952: self.isStoreAway = self.random.below(3) == 0
    case 952..<956: self.nodes[index].isFrozen = true
    case 956..<975: self.thaw(index)
    case 975..<979: try self.crash(index)
    case 979..<983: try self.stop(index)
    case 983..<993:
      if let orphan = self.takeOrphan() {
        self.counts.orphans += 1
        _ = self.serve(orphan)
      }
    case 993..<997: self.nodes[index].backup = self.nodes[index].folder
    default: self.suspend(index)
    }
  }

  /// Longer than a lease; now and then so long that the ids of clocks that were wrong by days come back.
  private mutating func leap() -> Int64 {
    self.random.below(20) == 0
      ? Int64(self.random.below(172_800_000)) : Self.settings.lease + Int64(self.random.below(1000))
  }

  /// Who wakes up serves before anything else is looked at.
  private mutating func thaw(_ index: Int) {
    guard self.nodes[index].isFrozen else { return }
    self.nodes[index].isFrozen = false
    self.issue(index)
  }

  /// Frozen past its lease; half of them with a wall clock that goes on from where it stood, as after a machine was
  /// suspended.
  private mutating func suspend(_ index: Int) {
    self.nodes[index].isFrozen = true
    let time = Self.settings.lease + Int64(self.random.below(1000))
    self.pass(time)
    if self.random.below(2) == 0 { self.nodes[index].clock.stepWall(by: -time - Int64(self.random.below(100))) }
  }

  /// A quarter of a second to eight seconds, seldom up to a day, either way.
  private mutating func clockStep() -> Int64 {
    let size = Int64(1) << Int64(8 + self.random.below(self.random.below(16) == 0 ? 19 : 5))
    let step = min(86_400_000, size + Int64(self.random.below(Int(size))))
    return self.random.below(2) == 0 ? step : -step
  }

  /// A step of a node's clock, every other one to about the right time.
  private mutating func stepClock(_ index: Int) {
    let clock = self.nodes[index].clock
    if self.random.below(2) == 0 {
      clock.setWall(to: self.time + Int64(self.random.below(200)) - 100)
    } else {
      clock.stepWall(by: self.clockStep())
    }
  }

  private mutating func pass(_ milliseconds: Int64) {
    self.time += milliseconds
    self.storeTime += milliseconds
    for node in self.nodes { node.clock.advance(by: milliseconds) }
  }

  private mutating func now(_ index: Int) -> WorkerLeaseStateMachine.Moment {
    let node = self.nodes[index]
    return WorkerLeaseStateMachine.Moment(
      wall: node.clock.wallMilliseconds(), monotonic: node.clock.monotonicNanoseconds(), front: node.snowflake.front,
      isStoreReady: node.sawStore || !self.isStoreAway, random: self.random.next())
  }

  // MARK: - A node's process

  private mutating func poll(_ index: Int) {
    guard !self.nodes[index].isFrozen else { return }
    if !self.isStoreAway { self.nodes[index].sawStore = true }
    let now = self.now(index)
    self.carryOut(self.nodes[index].machine.poll(now), index)
  }

  private mutating func carryOut(_ actions: [WorkerLeaseStateMachine.Action], _ index: Int) {
    let snowflake = self.nodes[index].snowflake
    let (token, owner) = (self.nodes[index].token, self.nodes[index].owner)
    for action in actions {
      switch action {
      case .write(let memory):
        precondition(self.nodes[index].write == nil, "two writes at a time")
        self.nodes[index].write = memory
      case .list: self.send(.list, index)
      case .claim(let worker, let bound): self.send(.claim(worker, owner, bound: bound), index)
      case .renew(let worker, let term, let bound):
        self.send(.renew(worker, token: token, term: term, bound: bound), index)
      case .release(let worker, let term, let bound):
        self.send(.release(worker, token: token, term: term, bound: bound), index)
      case .grant(let worker, let floor, let bound, let leaseEnd):
        do throws(IDError) {
          try snowflake.grant(
            worker: worker, floorWallMilliseconds: floor, boundWallMilliseconds: bound,
            leaseEnd: self.sabotage == .noMonotonicCheck ? .max : leaseEnd)
        } catch { preconditionFailure("\(error)") }
      case .extend(let bound, let leaseEnd):
        snowflake.extend(boundWallMilliseconds: bound, leaseEnd: self.sabotage == .noMonotonicCheck ? .max : leaseEnd)
      case .revoke(let error): snowflake.revoke(error)
      case .giveUp(let error):
        self.counts.changes += 1
        let bound = snowflake.revoke(error)
        let now = self.now(index)
        self.carryOut(self.nodes[index].machine.gaveUp(exactBound: bound, now), index)
      case .tell(.lapsed): self.counts.lapses += 1
      case .tell(.alone): self.counts.alone += 1
      case .tell: break
      }
    }
  }

  private mutating func send(_ request: Request, _ index: Int) {
    precondition(self.nodes[index].request == nil, "two requests at a time")
    self.nodes[index].request = request
  }

  /// Finishes what the node waits for: a write of the folder or a request to the store. Both may fail, and a request may
  /// have been carried out all the same.
  private mutating func answer(_ index: Int) {
    guard !self.nodes[index].isFrozen else {
      // The store does not wait for a process that stands still. Its answer waits in the socket.
      return
    }
    if let memory = self.nodes[index].write, self.nodes[index].request == nil || self.random.below(2) == 0 {
      self.nodes[index].write = nil
      let isWritten = self.random.below(20) > 0
      if isWritten { self.nodes[index].folder = memory }
      let now = self.now(index)
      let result: Result<Void, IDError> = isWritten ? .success(()) : .failure(IDError(.storeUnavailable, "disk"))
      return self.carryOut(self.nodes[index].machine.wrote(result, now), index)
    }
    guard let request = self.nodes[index].request else { return }
    self.nodes[index].request = nil
    let isCarriedOut = !self.isStoreAway && self.random.below(12) > 0
    let result = isCarriedOut ? self.serve(request) : .failure(Self.away)
    if !isCarriedOut && self.random.below(4) == 0 { self.orphans.append(request) }
    let isHeard = isCarriedOut && self.random.below(12) > 0
    if isCarriedOut && !isHeard { self.counts.lostAnswers += 1 }
    let now = self.now(index)
    let answer = isHeard ? result : .failure(Self.away)
    let actions =
      switch request {
      case .list: self.nodes[index].machine.listed(answer.list, now)
      case .claim: self.nodes[index].machine.claimed(answer.claim, now)
      case .renew: self.nodes[index].machine.renewed(answer.claim, now)
      case .release: self.nodes[index].machine.released(now)
      }
    self.carryOut(actions, index)
  }

  private mutating func issue(_ index: Int) {
    guard !self.nodes[index].isFrozen else { return }
    let snowflake = self.nodes[index].snowflake
    let worker = snowflake.current.worker.number
    var ranges: [ClosedRange<Int64>] = []
    for _ in 0..<1 + self.random.below(3) {
      if self.random.below(3) > 0 {
        if let id = snowflake.next().id { ranges.append(self.positions(of: id, count: 1)) }
      } else {
        let count = self.random.below(10) == 0 ? 5000 : Int64(1 + self.random.below(40))
        ranges += snowflake.take(upTo: count).ranges.map { self.positions(of: $0.start, count: $0.count) }
      }
    }
    guard let first = ranges.first, let last = ranges.last else { return }
    self.issued[worker, default: []] += ranges
    if let before = self.nodes[index].last[worker], first.lowerBound <= before {
      self.violations.insert(.notIncreasing(node: index, position: first.lowerBound, after: before))
    }
    self.nodes[index].last[worker] = last.upperBound
    if case .any = self.nodes[index].wish, !self.stepsStore, !self.hasOperator,
      self.rows[worker]?.owner.token != self.nodes[index].token
    {
      self.violations.insert(.issuedWithoutTheId(node: index, worker: worker))
    }
  }

  private func positions(of id: Int64, count: Int64) -> ClosedRange<Int64> {
    do throws(IDError) {
      let parts = try self.layout.decompose(id)
      let first = parts.tick << Int64(self.layout.sequenceBits) + parts.sequence
      return first...first + count - 1
    } catch { preconditionFailure("\(error)") }
  }

  /// The process is gone. What it was about to write may be written or not, what it asked for may still be carried out.
  private mutating func crash(_ index: Int) throws {
    if let memory = self.nodes[index].write, self.random.below(2) == 0 { self.nodes[index].folder = memory }
    if let request = self.nodes[index].request { self.orphans.append(request) }
    var fate = self.random.below(10)
    // A fixed id that is issued without the store stands on the folder alone.
    if case .fixed = self.nodes[index].wish { fate = 9 }
    switch fate {
    case 0:  // The folder is lost.
      self.nodes[index].lives += 1
      self.nodes[index].token = "node \(index), folder \(self.nodes[index].lives)"
      self.nodes[index].folder = WorkerMemory()
      self.nodes[index].backup = nil
    case 1:  // The folder is put back from a backup.
      if let backup = self.nodes[index].backup, self.isOlderThanTheRow(backup) {
        self.counts.backups += 1
        self.nodes[index].folder = backup
      }
    default: break
    }
    try self.boot(index)
  }

  /// A folder that is younger than the last renewal is not told from the one that was there: nothing is promised then.
  private func isOlderThanTheRow(_ backup: WorkerMemory) -> Bool {
    guard let worker = backup.worker, let row = self.rows[worker] else { return true }
    return row.term > backup.term + 1 || row.bound > max(backup.rowBound, backup.askedBound)
  }

  /// A clean stop, and a start.
  private mutating func stop(_ index: Int) throws {
    guard !self.nodes[index].isFrozen else { return }
    if let memory = self.nodes[index].write { self.nodes[index].folder = memory }
    if let request = self.nodes[index].request { self.orphans.append(request) }
    let bound = self.nodes[index].snowflake.close()
    let (token, actions) = (self.nodes[index].token, self.nodes[index].machine.stop(exactBound: bound))
    for action in actions {
      switch action {
      case .write(let memory): if self.random.below(10) > 0 { self.nodes[index].folder = memory }
      case .release(let worker, let term, let bound):
        let request = Request.release(worker, token: token, term: term, bound: bound)
        let isServed = self.random.below(self.isFierce ? 2 : 10) > 0
        if isServed { _ = self.serve(request) } else { self.orphans.append(request) }
      default: preconditionFailure("a stop does nothing else")
      }
    }
    try self.boot(index)
  }

  private mutating func boot(_ index: Int) throws {
    let node = self.nodes[index]
    var memory = node.folder
    if self.sabotage == .noBound { memory.bound = 0 }
    self.nodes[index].snowflake = try Self.snowflake(node.clock, self.layout)
    self.nodes[index].machine = WorkerLeaseStateMachine(
      wish: node.wish, owner: node.owner, settings: Self.settings, memory: memory)
    self.nodes[index].request = nil
    self.nodes[index].write = nil
    self.nodes[index].isFrozen = false
    self.nodes[index].sawStore = false
    self.counts.restarts += 1
    if self.random.below(3) == 0 { self.stepClock(index) }
  }

  private mutating func takeOrphan() -> Request? {
    guard !self.orphans.isEmpty, !self.isStoreAway else { return nil }
    return self.orphans.remove(at: self.random.below(self.orphans.count))
  }
}
