public import MidCore
internal import Synchronization

/// A store that passes calls on to another, and fails in the ways a real one does, when a test says so.
///
/// Safe to use from any thread; a call that is held waits without blocking a thread.
public final class FaultyStore: IDStore {
  private struct Plan: Sendable {
    var failuresBefore = 0
    var failuresAfter = 0
    var passesBeforeFailure = 0
    var error = FaultyStore.unavailable
    var stepsBack: Int64 = 0
    var isHolding = false
    var held: [CheckedContinuation<Void, Never>] = []
    var calls = 0
  }

  /// The error that injected failures have where a test names no other.
  public static let unavailable = IDError(.storeUnavailable, "the store was made to fail")

  private let store: any IDStore
  private let plan = Mutex(Plan())

  /// Wraps `store`, without faults at first.
  public init(_ store: any IDStore) { self.store = store }

  /// The next `count` calls fail before they reach the store.
  public func failNext(_ count: Int, with error: IDError = FaultyStore.unavailable) {
    self.plan.withLock { plan in
      plan.failuresBefore = count
      plan.error = error
    }
  }

  /// The next `count` calls, once `passes` others are through, are carried out and fail all the same: the connection broke
  /// in the commit.
  public func failAfterCommit(_ count: Int, passing passes: Int = 0, with error: IDError = FaultyStore.unavailable) {
    self.plan.withLock { plan in
      plan.failuresAfter = count
      plan.passesBeforeFailure = passes
      plan.error = error
    }
  }

  /// The next range allocated is answered `ids` lower than it is: a replica that lost writes took over. Once.
  public func goBackwards(by ids: Int64) { self.plan.withLock { $0.stepsBack = ids } }

  /// Calls wait from now on, until ``release()``.
  public func hold() { self.plan.withLock { $0.isHolding = true } }

  /// Lets all held calls go on, and later ones pass.
  public func release() {
    let held = self.plan.withLock { plan in
      plan.isHolding = false
      defer { plan.held = [] }
      return plan.held
    }
    for continuation in held { continuation.resume() }
  }

  /// How many calls were made so far, of every kind.
  public var calls: Int { self.plan.withLock { $0.calls } }

  /// How many calls are held at this moment.
  public var heldCalls: Int { self.plan.withLock { $0.held.count } }

  private func passed<Value: Sendable>(
    _ call: () async throws(IDError) -> Value
  ) async throws(IDError) -> Value {
    await self.waitWhileHeld()
    let before = self.plan.withLock { plan -> IDError? in
      plan.calls += 1
      guard plan.failuresBefore > 0 else { return nil }
      plan.failuresBefore -= 1
      return plan.error
    }
    if let before { throw before }
    let value = try await call()
    let after = self.plan.withLock { plan -> IDError? in
      guard plan.failuresAfter > 0 else { return nil }
      guard plan.passesBeforeFailure == 0 else {
        plan.passesBeforeFailure -= 1
        return nil
      }
      plan.failuresAfter -= 1
      return plan.error
    }
    if let after { throw after }
    return value
  }

  private func waitWhileHeld() async {
    guard self.plan.withLock({ $0.isHolding }) else { return }
    await withCheckedContinuation { continuation in
      let isFree = self.plan.withLock { plan in
        guard plan.isHolding else { return true }
        plan.held.append(continuation)
        return false
      }
      if isFree { continuation.resume() }
    }
  }
}

extension FaultyStore {
  /// The wrapped store's kind.
  public var kind: String { self.store.kind }
  /// The wrapped store's location.
  public var location: String { self.store.location }
  /// Whether the wrapped store can be shared.
  public var isShared: Bool { self.store.isShared }

  public func prepare() async throws(IDError) {
    try await self.passed { () async throws(IDError) in try await self.store.prepare() }
  }

  public func inspect() async throws(IDError) -> [String] {
    try await self.passed { () async throws(IDError) in try await self.store.inspect() }
  }

  public func semiSync() async throws(IDError) -> Bool? {
    try await self.passed { () async throws(IDError) in try await self.store.semiSync() }
  }

  /// Closes the wrapped store; never held and never failing.
  public func close() async { await self.store.close() }

  public func allocate(_ claim: SegmentClaim, for tag: Tag) async throws(IDError) -> IDRange {
    let range = try await self.passed { () async throws(IDError) in try await self.store.allocate(claim, for: tag) }
    let back = self.plan.withLock { plan in
      defer { plan.stepsBack = 0 }
      return plan.stepsBack
    }
    return IDRange(start: range.start - back, count: range.count, stride: range.stride)
  }

  public func giveBack(_ rest: IDRange, of tag: Tag) async throws(IDError) -> Bool {
    try await self.passed { () async throws(IDError) in try await self.store.giveBack(rest, of: tag) }
  }

  public func tags() async throws(IDError) -> [TagRecord] {
    try await self.passed { () async throws(IDError) in try await self.store.tags() }
  }

  public func createTag(_ tag: Tag, step: Int64, first: Int64) async throws(IDError) -> TagRecord {
    try await self.passed { () async throws(IDError) in
      try await self.store.createTag(tag, step: step, first: first)
    }
  }

  public func updateTag(_ tag: Tag, step: Int64?, next: Int64?) async throws(IDError) -> TagRecord {
    try await self.passed { () async throws(IDError) in
      try await self.store.updateTag(tag, step: step, next: next)
    }
  }

  /// The wrapped store's; never held and never failing.
  public func absence(of tag: Tag) -> IDError { self.store.absence(of: tag) }

  public func claimWorker(
    _ worker: Int64, owner: WorkerOwner, leaseMilliseconds: Int64, bound: Int64
  ) async throws(IDError) -> WorkerClaim {
    try await self.passed { () async throws(IDError) in
      try await self.store.claimWorker(worker, owner: owner, leaseMilliseconds: leaseMilliseconds, bound: bound)
    }
  }

  public func renewWorker(
    _ worker: Int64, token: String, term: Int64, leaseMilliseconds: Int64, bound: Int64
  ) async throws(IDError) -> WorkerClaim {
    try await self.passed { () async throws(IDError) in
      try await self.store.renewWorker(
        worker, token: token, term: term, leaseMilliseconds: leaseMilliseconds, bound: bound)
    }
  }

  public func releaseWorker(_ worker: Int64, token: String, term: Int64, bound: Int64) async throws(IDError) {
    try await self.passed { () async throws(IDError) in
      try await self.store.releaseWorker(worker, token: token, term: term, bound: bound)
    }
  }

  public func freeWorker(_ worker: Int64, ifTerm term: Int64, force: Bool) async throws(IDError) -> WorkerClaim {
    try await self.passed { () async throws(IDError) in
      try await self.store.freeWorker(worker, ifTerm: term, force: force)
    }
  }

  public func workers() async throws(IDError) -> WorkerList {
    try await self.passed { () async throws(IDError) in try await self.store.workers() }
  }
}

/// Of a wrapped store that can't be a stripe, the calls fail with ``IDError/Code/storeRejected``.
extension FaultyStore: StripeStore {
  public func stripe(of tag: Tag) async throws(IDError) -> StripeRow? {
    try await self.passed { () async throws(IDError) in try await self.stripes().stripe(of: tag) }
  }

  public func closeStripe(
    of tag: Tag, ifStill seen: StripeRow.State?, token: Int64, step: Int64
  ) async throws(IDError) -> Bool {
    try await self.passed { () async throws(IDError) in
      try await self.stripes().closeStripe(of: tag, ifStill: seen, token: token, step: step)
    }
  }

  public func settleStripe(of tag: Tag, token: Int64) async throws(IDError) -> Bool {
    try await self.passed { () async throws(IDError) in
      try await self.stripes().settleStripe(of: tag, token: token)
    }
  }

  public func openStripe(
    of tag: Tag, token: Int64, residue: TableDialect.Residue, lastID: Int64, step: Int64
  ) async throws(IDError) -> Bool {
    try await self.passed { () async throws(IDError) in
      try await self.stripes().openStripe(of: tag, token: token, residue: residue, lastID: lastID, step: step)
    }
  }

  public func createStripe(
    _ tag: Tag, residue: TableDialect.Residue, step: Int64, first: Int64
  ) async throws(IDError) -> TagRecord {
    try await self.passed { () async throws(IDError) in
      try await self.stripes().createStripe(tag, residue: residue, step: step, first: first)
    }
  }

  private func stripes() throws(IDError) -> any StripeStore {
    guard let stripes = self.store as? any StripeStore else {
      throw IDError(.storeRejected, "a store of the kind \(self.store.kind) can't be a stripe")
    }
    return stripes
  }
}

/// Of a wrapped store that has no tokens, the call fails with ``IDError/Code/storeRejected``.
extension FaultyStore: TokenStore {
  public func clientTokens() async throws(IDError) -> [ClientToken] {
    try await self.passed { () async throws(IDError) in
      guard let tokens = self.store as? any TokenStore else {
        throw IDError(.storeRejected, "a store of the kind \(self.store.kind) has no tokens")
      }
      return try await tokens.clientTokens()
    }
  }
}

/// Of a wrapped store that keeps no facts, the calls fail with ``IDError/Code/storeRejected``.
extension FaultyStore: FactStore {
  public func facts() async throws(IDError) -> [String: String] {
    try await self.passed { () async throws(IDError) in try await self.factStore().facts() }
  }

  public func agree(on facts: [String: String]) async throws(IDError) -> [String: String] {
    try await self.passed { () async throws(IDError) in try await self.factStore().agree(on: facts) }
  }

  private func factStore() throws(IDError) -> any FactStore {
    guard let facts = self.store as? any FactStore else {
      throw IDError(.storeRejected, "a store of the kind \(self.store.kind) keeps no facts")
    }
    return facts
  }
}
