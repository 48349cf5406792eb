package import Logging
package import MidCore
import NIOPosix
import ServiceLifecycle
import Synchronization

/// Holds the worker id that Snowflake ids carry, and keeps the time bounds ahead of the clock. The rules are those of
/// ``MidCore/WorkerLeaseStateMachine``; this carries out what they say, in order, and tells them what came of it.
package final class WorkerKeeper: Service {
  /// What is known of the worker id at a moment.
  package struct Status: Sendable, Hashable {
    /// The worker number in use, or nil.
    package var worker: Int64?
    /// The term it is held under, or nil where the store was not reached yet.
    package var term: Int64?
    /// How long the lease goes on by the monotonic clock, or nil where none is held.
    package var leaseLeft: Duration?
    /// The bound in force, in milliseconds since the Unix epoch; 0 while nothing may be issued.
    package var bound: Int64
    /// How often the worker id has changed since the start.
    package var changes: Int64
  }

  private enum Request: Sendable {
    case list
    case claim(worker: Int64, bound: Int64)
    case renew(worker: Int64, term: Int64, bound: Int64)
    case release(worker: Int64, term: Int64, bound: Int64)
  }

  private struct State: Sendable {
    var machine: WorkerLeaseStateMachine
    /// What is still to be carried out, in order.
    var actions: [WorkerLeaseStateMachine.Action] = []
    var isCarryingOut = false
    /// What waits for the folder and for the store. The rules want at most one of each at a time.
    var write: WorkerMemory?
    var request: Request?
    /// The worker number of the last grant.
    var worker: Int64?
    var changes: Int64 = 0
  }

  /// What gives out the ids.
  package let snowflake: SnowflakeNode

  private let store: any WorkerStore
  private let isStoreReady: @Sendable () -> Bool
  private let clock: any TimeSource
  private let clockMonitor: ClockMonitor
  private let settings: WorkerLeaseSettings
  private let owner: WorkerOwner
  private let log: WorkerLog
  private let file: Mutex<WorkerStateFile>
  private let token: String
  private let state: Mutex<State>
  private let writes = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
  private let requests = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))

  /// Creates a keeper that holds nothing yet.
  ///
  /// - Parameters:
  ///   - wish: which worker id it shall hold.
  ///   - snowflake: what to keep going.
  ///   - store: where the rows are.
  ///   - isStoreReady: whether the store can be used now.
  ///   - file: the data folder's state, locked for this process.
  ///   - host: this machine's name; a copy of the folder on another machine counts as another owner.
  ///   - process: this process's id, for people.
  ///   - clock: the clocks that ids follow and leases end by.
  ///   - clockMonitor: is told what the store's clock shows, and says whether a node may begin.
  package init(
    _ wish: WorkerWish, snowflake: SnowflakeNode, store: any WorkerStore,
    isStoreReady: @escaping @Sendable () -> Bool, file: sending WorkerStateFile, host: String, process: Int,
    clock: any TimeSource, clockMonitor: ClockMonitor, settings: WorkerLeaseSettings, logger: Logger
  ) {
    self.snowflake = snowflake
    self.store = store
    self.isStoreReady = isStoreReady
    self.clock = clock
    self.clockMonitor = clockMonitor
    self.settings = settings
    self.token = file.state.token
    self.owner = WorkerOwner(
      token: "\(file.state.token).\(file.number)@\(host)", description: "\(host), process \(process)")
    self.log = WorkerLog(logger: logger, clock: clock)
    self.state = Mutex(
      State(
        machine: WorkerLeaseStateMachine(
          wish: wish, owner: self.owner, settings: settings, memory: file.state.memory)))
    self.file = Mutex(file)
  }

  /// Whether ids can be issued now: granted, the bound ahead of the clock, and the clock not behind the ids.
  package var isReady: Bool { self.snowflake.canIssue }

  /// What is known of the worker id now.
  package var status: Status {
    let now = self.clock.monotonicNanoseconds()
    return self.state.withLock { state in
      let held = state.machine.held
      return Status(
        worker: state.machine.isIssuing ? state.worker : nil, term: held?.term,
        leaseLeft: held.map { .nanoseconds(Int64(clamping: $0.leaseEnd) - Int64(clamping: now)) },
        bound: state.machine.boundInForce, changes: state.changes)
    }
  }

  // MARK: - Life

  /// Takes a worker id if the store is there, and issues a fixed one without it only if it is not. Once, before
  /// ``run()``.
  package func start() async {
    self.poll()
    while !self.state.withLock({ $0.machine.isIssuing }) {
      if await self.writeNext() { continue }
      guard await self.askNext() else { return }
    }
  }

  /// Keeps the worker id until graceful shutdown, then stores the exact bound, so that the next start is instant.
  package func run() async throws {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { await self.keepPolling() }
      group.addTask {
        repeat { while await self.writeNext() {} } while await self.isWoken(self.writes.stream)
      }
      group.addTask {
        repeat { while await self.askNext() {} } while await self.isWoken(self.requests.stream)
      }
      do {
        try await gracefulShutdown()
      } catch {
        // Cancelled: the same end, sooner.
      }
      group.cancelAll()
      await group.waitForAll()
    }
    await self.stop()
  }

  private func isWoken(_ stream: AsyncStream<Void>) async -> Bool {
    for await _ in stream { return !Task.isCancelled }
    return false
  }

  /// Several times within the short bound and a renewal's interval, a quarter of a second at most.
  private var pause: Duration {
    .milliseconds(max(1, min(250, self.settings.localBound / 12, self.settings.renewal / 4)))
  }

  private func keepPolling() async {
    do {
      while true {
        self.poll()
        try await Task.sleep(for: self.pause)
      }
    } catch {
      // Cancelled: the service ends.
    }
  }

  private func poll() {
    self.clockMonitor.poll()
    self.tell { machine, now in machine.poll(now) }
    if self.clockMonitor.wantsPeers { self.requests.continuation.yield() }
  }

  private func stop() async {
    let bound = self.snowflake.close()
    for action in self.state.withLock({ $0.machine.stop(exactBound: bound) }) {
      do throws(IDError) {
        switch action {
        case .write(let memory): try await self.write(memory).get()
        case .release(let worker, let term, let bound):
          try await self.store.releaseWorker(worker, token: self.owner.token, term: term, bound: bound)
        case .list, .claim, .renew, .grant, .extend, .revoke, .giveUp, .tell:
          preconditionFailure("\(action) at the end")
        }
      } catch {
        self.log.notGivenBack(error)
      }
    }
  }

  // MARK: - What the rules say

  /// Tells the rules what happened, and carries out what they say, after the lock is left. Where another thread is at it,
  /// that one goes on with it.
  private func tell(
    _ event: (inout WorkerLeaseStateMachine, WorkerLeaseStateMachine.Moment) -> [WorkerLeaseStateMachine.Action]
  ) {
    let isStoreReady = self.isStoreReady()
    let refusal = self.clockMonitor.refusal
    let random = UInt64.random(in: 0 ... .max)
    let isMine = self.state.withLock { state in
      let now = WorkerLeaseStateMachine.Moment(
        wall: self.clock.wallMilliseconds(), monotonic: self.clock.monotonicNanoseconds(),
        front: self.snowflake.front, isStoreReady: isStoreReady, refusal: refusal, random: random)
      state.actions += event(&state.machine, now)
      guard !state.isCarryingOut else { return false }
      state.isCarryingOut = true
      return true
    }
    guard isMine else { return }
    while let action = self.nextAction() { self.carryOut(action) }
  }

  private func nextAction() -> WorkerLeaseStateMachine.Action? {
    self.state.withLock { state in
      state.isCarryingOut = !state.actions.isEmpty
      return state.actions.isEmpty ? nil : state.actions.removeFirst()
    }
  }

  private func carryOut(_ action: WorkerLeaseStateMachine.Action) {
    switch action {
    case .write(let memory):
      self.state.withLock { $0.write = memory }
      self.writes.continuation.yield()
    case .list: self.ask(.list)
    case .claim(let worker, let bound): self.ask(.claim(worker: worker, bound: bound))
    case .renew(let worker, let term, let bound): self.ask(.renew(worker: worker, term: term, bound: bound))
    case .release(let worker, let term, let bound): self.ask(.release(worker: worker, term: term, bound: bound))
    case .grant(let worker, let floor, let bound, let leaseEnd):
      self.grant(worker, floor: floor, bound: bound, leaseEnd: leaseEnd)
    case .extend(let bound, let leaseEnd): self.snowflake.extend(boundWallMilliseconds: bound, leaseEnd: leaseEnd)
    case .revoke(let error): self.snowflake.revoke(error)
    case .giveUp(let error):
      let bound = self.snowflake.revoke(error)
      self.tell { machine, now in machine.gaveUp(exactBound: bound, now) }
    case .tell(let fact): self.log(fact)
    }
  }

  private func grant(_ worker: Int64, floor: Int64, bound: Int64, leaseEnd: UInt64) {
    do throws(IDError) {
      try self.snowflake.grant(
        worker: worker, floorWallMilliseconds: floor, boundWallMilliseconds: bound, leaseEnd: leaseEnd)
    } catch {
      preconditionFailure("a worker id was claimed that the layout has no room for: \(error)")
    }
    let previous = self.state.withLock { state in
      defer { state.worker = worker }
      guard let previous = state.worker, previous != worker else { return nil as Int64? }
      state.changes += 1
      return previous
    }
    if let previous { self.log.changed(from: previous, to: worker) }
  }

  // MARK: - The folder and the store

  /// Stores what the rules want stored, if there is something.
  private func writeNext() async -> Bool {
    let memory = self.state.withLock { state in
      defer { state.write = nil }
      return state.write
    }
    guard let memory else { return false }
    let result = await self.write(memory)
    self.tell { machine, now in machine.wrote(result, now) }
    return true
  }

  private func write(_ memory: WorkerMemory) async -> Result<Void, IDError> {
    // A disk may take its time: not on the cooperative pool. Carried out also where the task was cancelled: the exact
    // bound of a run that ends in haste is worth as much as any.
    await withCheckedContinuation { continuation in
      NIOThreadPool.singleton.submit { item in
        guard case .active = item else {
          return continuation.resume(returning: .failure(IDError(.storeUnavailable, "the thread pool has ended")))
        }
        continuation.resume(
          returning: self.file.withLock { file in
            Result { () throws(IDError) in try file.write(WorkerState(token: self.token, memory: memory)) }
          })
      }
    }
  }

  private func ask(_ request: Request) {
    self.state.withLock { $0.request = request }
    self.requests.continuation.yield()
  }

  /// Asks the store what the rules want asked, if there is something.
  private func askNext() async -> Bool {
    let request = self.state.withLock { state in
      defer { state.request = nil }
      return state.request
    }
    guard let request else { return await self.askForPeers() }
    let sent = self.clockMonitor.now
    switch request {
    case .list:
      let result = await self.list()
      self.tell { machine, now in machine.listed(result, now) }
    case .claim(let worker, let bound):
      let result = await Self.result { () throws(IDError) in
        try await self.store.claimWorker(
          worker, owner: self.owner, leaseMilliseconds: self.settings.lease, bound: bound)
      }
      if case .success(let claim) = result { self.clockMonitor.measured(storeTime: claim.storeTime, sent: sent) }
      self.tell { machine, now in machine.claimed(result, now) }
    case .renew(let worker, let term, let bound):
      let result = await Self.result { () throws(IDError) in
        try await self.store.renewWorker(
          worker, token: self.owner.token, term: term, leaseMilliseconds: self.settings.lease, bound: bound)
      }
      if case .success(let claim) = result { self.clockMonitor.measured(storeTime: claim.storeTime, sent: sent) }
      self.tell { machine, now in machine.renewed(result, now) }
    case .release(let worker, let term, let bound):
      let result = await Self.result { () throws(IDError) in
        try await self.store.releaseWorker(worker, token: self.owner.token, term: term, bound: bound)
      }
      if case .failure(let error) = result { self.log.notGivenBack(error) }
      self.tell { machine, now in machine.released(now) }
    }
    return true
  }

  /// Reads the rows for the clock's sake, where that is wanted. Returns false: nothing else is to be asked.
  private func askForPeers() async -> Bool {
    if self.isStoreReady(), self.clockMonitor.beginAskingPeers() { _ = await self.list() }
    return false
  }

  private func list() async -> Result<WorkerList, IDError> {
    let sent = self.clockMonitor.now
    let result = await Self.result { () throws(IDError) in try await self.store.workers() }
    if case .success(let list) = result {
      self.clockMonitor.listed(
        list, besides: self.owner.token, renewal: self.settings.renewal, lease: self.settings.lease, sent: sent)
    }
    return result
  }

  private static func result<Value: Sendable>(
    _ body: () async throws(IDError) -> Value
  ) async -> Result<Value, IDError> {
    do throws(IDError) { return .success(try await body()) } catch { return .failure(error) }
  }
}
