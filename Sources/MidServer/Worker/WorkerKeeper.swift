package import Logging
package import MidCore
import NIOPosix
import ServiceLifecycle
import Synchronization

/// Holds the worker id that Snowflake ids carry, and keeps the generator's time bound ahead of the clock.
///
/// Two bounds are kept, and nothing at or past the earlier one is issued: a long one in the store's row, which another
/// node must respect, and a short one in the data folder, which this node respects after a crash. A node whose store was
/// never reached issues on the strength of its fixed id and the short bound alone, until the store answers.
package final class WorkerKeeper: Service {
  /// The keeper's times.
  package struct Times: Sendable, Hashable {
    /// How far ahead the bound in the data folder is kept.
    package var localBound: Duration
    /// How far ahead the bound and the expiry in the store are kept.
    package var lease: Duration
    /// How often the store's are renewed.
    package var renewInterval: Duration

    /// Creates times.
    package init(localBound: Duration, lease: Duration, renewInterval: Duration) {
      self.localBound = localBound
      self.lease = lease
      self.renewInterval = renewInterval
    }
  }

  private struct Lease: Sendable {
    var term: Int64
    var bound: Int64
  }

  /// What gives out the ids.
  package let generator: SnowflakeGenerator

  private let store: any WorkerStore
  private let isStoreReady: @Sendable () -> Bool
  private let storeReady: @Sendable () async throws -> Void
  private let clock: any TimeSource
  private let times: Times
  private let owner: WorkerOwner
  private let logger: Logger
  private let file: Mutex<WorkerStateFile>
  private let lease = Mutex<Lease?>(nil)
  /// The bound in force, 0 while nothing may be issued.
  private let boundReached = Mutex<Int64>(0)
  private let wasGranted = Atomic<Bool>(false)

  /// Creates a keeper for a worker id that the configuration fixed.
  ///
  /// - Parameters:
  ///   - generator: what to keep going.
  ///   - store: where the row is.
  ///   - isStoreReady: whether the store can be used now.
  ///   - storeReady: returns once the store can be used.
  ///   - file: the data folder's state, locked for this process.
  ///   - host: this machine's name; a copy of the folder on another machine counts as another owner.
  ///   - process: this process's id, for people.
  ///   - clock: the wall clock that ids follow.
  package init(
    generator: SnowflakeGenerator, store: any WorkerStore, isStoreReady: @escaping @Sendable () -> Bool,
    storeReady: @escaping @Sendable () async throws -> Void,
    file: sending WorkerStateFile, host: String, process: Int, clock: any TimeSource, times: Times, logger: Logger
  ) {
    self.generator = generator
    self.store = store
    self.isStoreReady = isStoreReady
    self.storeReady = storeReady
    self.clock = clock
    self.times = times
    self.owner = WorkerOwner(
      token: "\(file.state.token).\(file.number)@\(host)", description: "\(host), process \(process)")
    self.logger = logger
    self.file = Mutex(file)
  }

  /// Whether ids can be issued now: granted, the bound ahead of the clock, and the clock not behind the ids.
  package var isReady: Bool { self.generator.canIssue }

  /// The bound in force, in milliseconds since the Unix epoch.
  package var bound: Int64 { self.boundReached.withLock { $0 } }

  /// Keeps the bounds until graceful shutdown, then stores the exact one, so that the next start is instant.
  package func run() async throws {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { await self.keepLocal() }
      group.addTask { await self.keepLease() }
      do {
        try await gracefulShutdown()
      } catch {
        // Cancelled: the same end, sooner.
      }
      group.cancelAll()
      await group.waitForAll()
    }
    await self.release()
  }

  /// Takes the id from the store if the store is there, and issues without it only if it is not. Once, before ``run()``.
  package func start() async {
    if self.isStoreReady() {
      guard let error = await self.claim(), error.code == .storeUnavailable else { return }
    }
    await self.issueAlone()
  }

  // MARK: - The data folder's bound

  /// Starts issuing where the store was not reached yet: its row can't be asked, the folder's bound still holds.
  private func issueAlone() async {
    let remembered = self.file.withLock { $0.state.bound }
    do throws(IDError) {
      try await self.extendLocal()
      self.grant(floor: remembered)
      self.tellOfWait(floor: remembered)
    } catch {
      self.logger.error("time bound not stored", metadata: ["error": "\(error)"])
    }
  }

  private func keepLocal() async {
    do {
      while !Task.isCancelled {
        try await Task.sleep(for: self.times.localBound / 3)
        await self.extendOnce()
      }
    } catch {
      // Cancelled: the service ends.
    }
  }

  private func extendOnce() async {
    guard self.generator.isGranted else { return }
    do throws(IDError) {
      try await self.extendLocal()
      self.extendGenerator()
    } catch {
      self.logger.error("time bound not stored", metadata: ["error": "\(error)"])
    }
  }

  /// The time that a new bound is counted from: the clock, or the ids where they have run ahead of it.
  ///
  /// Never further ahead of the clock than ids may run: a floor that lies further ahead is not issued at yet, and bounds
  /// that counted from it would move on at each restart, faster than the clock can follow.
  private var front: Int64 {
    let now = self.clock.wallMilliseconds()
    let reach = now + Int64(self.generator.maxAhead / .milliseconds(1))
    return max(now, min(self.generator.lastIssuedBound, reach))
  }

  private func extendLocal() async throws(IDError) {
    let bound = self.front + Int64(self.times.localBound / .milliseconds(1))
    try await self.write { $0.bound = max($0.bound, bound) }
  }

  private func write(_ change: @escaping @Sendable (inout WorkerState) -> Void) async throws(IDError) {
    // A disk may take its time: not on the cooperative pool. Carried out also where the task was cancelled: the exact
    // bound of a run that ends in haste is worth as much as any.
    let outcome: Result<Void, IDError> = await withCheckedContinuation { continuation in
      NIOThreadPool.singleton.submit { item in
        guard case .active = item else {
          return continuation.resume(returning: .failure(IDError(.storeUnavailable, "the thread pool has ended")))
        }
        continuation.resume(
          returning: self.file.withLock { file in
            Result { () throws(IDError) in
              var state = file.state
              change(&state)
              if state != file.state { try file.write(state) }
            }
          })
      }
    }
    try outcome.get()
  }

  /// The earlier one of both bounds.
  private var earlierBound: Int64 {
    let local = self.file.withLock { $0.state.bound }
    return self.lease.withLock { $0 }.map { min($0.bound, local) } ?? local
  }

  private func grant(floor: Int64) {
    let bound = self.earlierBound
    if self.generator.grant(floorWallMilliseconds: floor, boundWallMilliseconds: bound) {
      self.wasGranted.store(true, ordering: .relaxed)
      self.boundReached.withLock { $0 = bound }
    }
  }

  private func extendGenerator() {
    let bound = self.earlierBound
    if self.generator.extendBound(toWallMilliseconds: bound) { self.boundReached.withLock { $0 = bound } }
  }

  private func tellOfWait(floor: Int64) {
    let ahead = floor - self.clock.wallMilliseconds()
    guard ahead > 0 else { return }
    self.logger.warning(
      "snowflake waits for the clock",
      metadata: [
        "worker_id": "\(self.generator.worker.number)", "wait_ms": "\(ahead)",
        "reason": "ids of this worker may exist up to that time",
      ])
  }

  // MARK: - The store's row

  private func keepLease() async {
    let pause = min(self.times.renewInterval, self.times.localBound / 3)
    var waited = self.times.renewInterval
    do {
      try await self.storeReady()
      while !Task.isCancelled {
        if let held = self.lease.withLock({ $0 }) {
          // At its time, or at once where the clock was set forward, close to the bound or past it.
          let room = Duration.milliseconds(held.bound - self.clock.wallMilliseconds())
          if waited >= self.times.renewInterval || room < self.times.localBound {
            await self.renew(held)
            waited = .zero
          }
        } else if waited >= self.times.renewInterval {
          await self.claim()
          waited = .zero
        }
        try await Task.sleep(for: pause)
        waited += pause
      }
    } catch {
      // Cancelled: the service ends.
    }
  }

  private var leaseMilliseconds: Int64 { Int64(self.times.lease / .milliseconds(1)) }

  /// Takes the id, and lets the generator issue above whatever was issued under it before.
  ///
  /// - Returns: why that failed, or nil.
  @discardableResult
  private func claim() async -> IDError? {
    let worker = self.generator.worker.number
    var before = self.file.withLock { $0.state }
    // What this run issued itself lies below the generator's word; the file's bound tells of earlier runs only.
    if self.wasGranted.load(ordering: .relaxed) { before.bound = 0 }
    do throws(IDError) {
      let asked = max(self.front + self.leaseMilliseconds, self.bound)
      try await self.write { state in
        state.isClaiming = true
        state.askedBound = asked
      }
      let claim = try await self.store.claimWorker(
        worker, owner: self.owner, leaseMilliseconds: self.leaseMilliseconds, bound: asked)
      let floor = WorkerFloor.floor(file: before, previous: claim.previous, token: self.owner.token)
      let local = self.front + Int64(self.times.localBound / .milliseconds(1))
      try await self.write { state in
        state.term = claim.current.term
        state.isClaiming = false
        state.rowBound = claim.current.bound
        state.bound = max(state.bound, floor, local)
      }
      if self.generator.isGranted, let holder = claim.previous?.owner, holder.token != self.owner.token,
        floor > self.generator.lastIssuedBound
      {
        self.logger.error(
          "another node issued under this worker id while the store was away",
          metadata: ["worker_id": "\(worker)", "holder": "\(holder.description)"])
      }
      self.lease.withLock { $0 = Lease(term: claim.current.term, bound: claim.current.bound) }
      self.grant(floor: floor)
      self.tellOfWait(floor: floor)
      self.logger.info("worker id taken", metadata: ["worker_id": "\(worker)", "term": "\(claim.current.term)"])
      return nil
    } catch {
      if error.code == .leaseLost { self.give(up: error) }
      self.logger.warning("worker id not taken", metadata: ["worker_id": "\(worker)", "error": "\(error)"])
      return error
    }
  }

  private func renew(_ held: Lease) async {
    let worker = self.generator.worker.number
    do throws(IDError) {
      let asked = self.front + self.leaseMilliseconds
      try await self.write { state in
        state.rowBound = held.bound
        state.askedBound = asked
      }
      let claim = try await self.store.renewWorker(
        worker, token: self.owner.token, term: held.term, leaseMilliseconds: self.leaseMilliseconds, bound: asked)
      self.lease.withLock { $0 = Lease(term: held.term, bound: claim.current.bound) }
      self.extendGenerator()
    } catch {
      if error.code == .leaseLost {
        self.lease.withLock { $0 = nil }
        self.give(up: error)
      }
      self.logger.warning("worker id not renewed", metadata: ["worker_id": "\(worker)", "error": "\(error)"])
    }
  }

  /// Somebody else holds the id: nothing is issued until it is ours again.
  private func give(up error: IDError) {
    self.generator.revoke(error)
    self.boundReached.withLock { $0 = 0 }
  }

  private func release() async {
    let bound = self.generator.close()
    let held = self.lease.withLock { $0 }
    do throws(IDError) {
      // Lower than what was stored: nothing above it was issued, and nothing will be. A run that issued nothing knows
      // nothing of what others issued, so it leaves the bound as it is.
      guard self.wasGranted.load(ordering: .relaxed) else { return }
      try await self.write { state in
        state.bound = bound
        if let held { state.rowBound = held.bound }
        state.askedBound = bound
      }
      if let held {
        try await self.store.releaseWorker(
          self.generator.worker.number, token: self.owner.token, term: held.term, bound: bound)
      }
    } catch {
      self.logger.warning("worker id not given back", metadata: ["error": "\(error)"])
    }
  }
}
