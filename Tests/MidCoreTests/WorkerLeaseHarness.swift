import Testing

@testable import MidCore

/// One node's rules, on one thread, with its folder and its store played by the test.
struct WorkerLeaseHarness {
  typealias Machine = WorkerLeaseStateMachine

  static let start: Int64 = 1_700_000_000_000
  static let settings = WorkerLeaseSettings(
    lease: 600_000, renewal: 10_000, localBound: 3000, ahead: 1000, patience: 3000)
  static let away = IDError(.storeUnavailable, "away")
  static let mine = WorkerOwner(token: "me", description: "here, process 1")
  static let other = WorkerOwner(token: "other", description: "elsewhere, process 4")

  var machine: Machine
  var wall = Self.start
  var monotonic: UInt64 = 1_000_000_000
  var front: Int64 = 0
  var isStoreReady = true
  var refusal: IDError?
  var rows: [Int64: WorkerRecord] = [:]
  /// By the store's clock.
  var storeTime = Self.start

  init(_ wish: WorkerWish, _ memory: WorkerMemory = WorkerMemory()) {
    self.machine = Machine(wish: wish, owner: Self.mine, settings: Self.settings, memory: memory)
  }

  var now: Machine.Moment {
    Machine.Moment(
      wall: self.wall, monotonic: self.monotonic, front: self.front, isStoreReady: self.isStoreReady,
      refusal: self.refusal, random: 0)
  }

  mutating func pass(_ milliseconds: Int64) {
    self.wall += milliseconds
    self.storeTime += milliseconds
    self.monotonic += UInt64(milliseconds) * 1_000_000
  }

  mutating func poll() -> [Machine.Action] { self.machine.poll(self.now) }

  mutating func wrote(_ result: Result<Void, IDError> = .success(())) -> [Machine.Action] {
    self.machine.wrote(result, self.now)
  }

  mutating func listed() -> [Machine.Action] {
    let list = WorkerList(records: self.rows.values.sorted { $0.worker < $1.worker }, storeTime: self.storeTime)
    return self.machine.listed(.success(list), self.now)
  }

  /// Carries a claim out in the store, as the store would.
  mutating func claim(_ worker: Int64, by owner: WorkerOwner = Self.mine, bound: Int64) -> Result<WorkerClaim, IDError>
  {
    let previous = self.rows[worker]
    return Result { () throws(IDError) in
      try WorkerRecord.claiming(
        worker, previous: previous, owner: owner, leaseMilliseconds: Self.settings.lease, bound: bound,
        at: self.storeTime)
    }.map { row in
      self.rows[worker] = row
      return WorkerClaim(current: row, previous: previous, storeTime: self.storeTime)
    }
  }

  mutating func renew(_ worker: Int64, term: Int64, bound: Int64) -> Result<WorkerClaim, IDError> {
    guard let previous = self.rows[worker] else { return .failure(WorkerRecord.missing(worker)) }
    return Result { () throws(IDError) in
      try previous.renewing(
        token: Self.mine.token, term: term, leaseMilliseconds: Self.settings.lease, bound: bound, at: self.storeTime)
    }.map { row in
      self.rows[worker] = row
      return WorkerClaim(current: row, previous: previous, storeTime: self.storeTime)
    }
  }

  /// Carries out everything that is asked for, with a store and a folder that always answer, until nothing is left.
  /// Returns what else was to be done.
  mutating func settle(_ actions: [Machine.Action]) -> [Machine.Action] {
    var rest = actions[...]
    var effects: [Machine.Action] = []
    while let action = rest.popFirst() {
      switch action {
      case .write: rest += self.wrote()
      case .list: rest += self.listed()
      case .claim(let worker, let bound):
        let result = self.claim(worker, bound: bound)
        rest += self.machine.claimed(result, self.now)
      case .renew(let worker, let term, let bound):
        let result = self.renew(worker, term: term, bound: bound)
        rest += self.machine.renewed(result, self.now)
      case .release(let worker, let term, let bound):
        effects.append(action)
        do throws(IDError) {
          self.rows[worker] = try self.rows[worker]?.releasing(
            token: Self.mine.token, term: term, bound: bound, at: self.storeTime)
        } catch { Issue.record("\(error)") }
        rest += self.machine.released(self.now)
      case .giveUp:
        effects.append(action)
        rest += self.machine.gaveUp(exactBound: self.front, self.now)
      case .grant(_, let floor, _, _):
        effects.append(action)
        self.front = max(floor, self.front)
      case .extend, .revoke, .tell: effects.append(action)
      }
    }
    return effects
  }

  /// Polls and carries everything out.
  @discardableResult
  mutating func turn() -> [Machine.Action] {
    let actions = self.poll()
    return self.settle(actions)
  }

  /// Takes a worker id, and has the first long renewal behind it.
  mutating func take() {
    self.turn()
    #expect(self.machine.held != nil)
    self.pass(1)
    self.turn()
  }
}

extension [WorkerLeaseStateMachine.Action] {
  /// The grants among them: worker and floor.
  var grants: [[Int64]] {
    self.compactMap { if case .grant(let worker, let floor, _, _) = $0 { [worker, floor] } else { nil } }
  }
  var facts: [WorkerLeaseStateMachine.Fact] { self.compactMap { if case .tell(let fact) = $0 { fact } else { nil } } }
  var revokes: [IDError] { self.compactMap { if case .revoke(let error) = $0 { error } else { nil } } }
  var writes: [WorkerMemory] { self.compactMap { if case .write(let memory) = $0 { memory } else { nil } } }
}
