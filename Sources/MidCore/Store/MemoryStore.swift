internal import Synchronization

/// A store in memory: the reference for what the others do, for tests and for use in one process. Nothing survives it.
///
/// Its rows follow the rule of `mid_stripes`: a row (max_id, step) hands out `(max_id, max_id + count × delta]` next, and
/// the delta is 1 unless somebody asks for another. It starts with the tag `default`, whose step is 10,000 and whose first
/// id is 1. All calls are safe from any thread.
public final class MemoryStore: IDStore, FactStore, StripeStore, TicketStore, TokenStore {
  struct State: Sendable {
    var tags: [Tag: TagRecord] = [:]
    /// By which token a row is closed.
    /// What rows say that are closed, or that their tags have left.
    var closed: [Tag: StripeRow.State] = [:]
    var workers: [Int64: WorkerRecord] = [:]
    var lastTickets: [TicketTable: Int64] = [:]
    /// What the table of tokens holds, or nil where there is none.
    var tokens: [ClientToken]?
    var facts: [String: String] = [:]
    var isClosed = false
  }

  /// The step of the tag that is there from the start.
  public static let defaultStep: Int64 = 10_000

  private let clock: any TimeSource
  private let state: Mutex<State>

  /// Creates a store.
  ///
  /// - Parameters:
  ///   - clock: The store's own clock, by which leases expire.
  ///   - hasDefault: Whether it holds the tag `default` from the start. A table that databases share has none.
  public init(clock: any TimeSource, hasDefault: Bool = true) {
    self.clock = clock
    let record = TagRecord(tag: .default, maxID: 0, step: Self.defaultStep)
    self.state = Mutex(State(tags: hasDefault ? [.default: record] : [:]))
  }

  /// `memory`.
  public var kind: String { "memory" }
  /// `memory`: there is no place to name.
  public var location: String { "memory" }
  /// `false`: other machines can't see it.
  public var isShared: Bool { false }

  /// Checks that the store is open; there is nothing to create.
  public func prepare() async throws(IDError) { try self.transaction { _ throws(IDError) in } }

  /// Checks the same; nothing is ever missing.
  public func inspect() async throws(IDError) -> [String] {
    try await self.prepare()
    return []
  }

  /// Lets all calls fail from now on.
  public func close() async { self.state.withLock { $0.isClosed = true } }

  /// Runs one transaction: the state is changed only where `body` does not throw.
  func transaction<Value: Sendable>(
    _ body: (inout State) throws(IDError) -> Value
  ) throws(IDError) -> Value {
    let result = self.state.withLock { state -> Result<Value, IDError> in
      guard !state.isClosed else { return .failure(IDError(.storeUnavailable, "the memory store is closed")) }
      do throws(IDError) { return .success(try body(&state)) } catch { return .failure(error) }
    }
    return try result.get()
  }
}

extension MemoryStore {
  public func claimWorker(
    _ worker: Int64, owner: WorkerOwner, leaseMilliseconds: Int64, bound: Int64
  ) async throws(IDError) -> WorkerClaim {
    let now = self.clock.wallMilliseconds()
    return try self.transaction { state throws(IDError) in
      let previous = state.workers[worker]
      let current = try WorkerRecord.claiming(
        worker, previous: previous, owner: owner, leaseMilliseconds: leaseMilliseconds, bound: bound, at: now)
      state.workers[worker] = current
      return WorkerClaim(current: current, previous: previous, storeTime: now)
    }
  }

  public func renewWorker(
    _ worker: Int64, token: String, term: Int64, leaseMilliseconds: Int64, bound: Int64
  ) async throws(IDError) -> WorkerClaim {
    let now = self.clock.wallMilliseconds()
    return try self.transaction { state throws(IDError) in
      guard let previous = state.workers[worker] else { throw WorkerRecord.missing(worker) }
      let current = try previous.renewing(
        token: token, term: term, leaseMilliseconds: leaseMilliseconds, bound: bound, at: now)
      state.workers[worker] = current
      return WorkerClaim(current: current, previous: previous, storeTime: now)
    }
  }

  public func releaseWorker(_ worker: Int64, token: String, term: Int64, bound: Int64) async throws(IDError) {
    let now = self.clock.wallMilliseconds()
    try self.transaction { state throws(IDError) in
      guard let row = state.workers[worker] else { throw WorkerRecord.missing(worker) }
      state.workers[worker] = try row.releasing(token: token, term: term, bound: bound, at: now)
    }
  }

  public func freeWorker(_ worker: Int64, ifTerm term: Int64, force: Bool) async throws(IDError) -> WorkerClaim {
    let now = self.clock.wallMilliseconds()
    return try self.transaction { state throws(IDError) in
      guard let previous = state.workers[worker] else { throw WorkerRecord.missing(worker) }
      let current = try previous.freeing(ifTerm: term, force: force, at: now)
      state.workers[worker] = current
      return WorkerClaim(current: current, previous: previous, storeTime: now)
    }
  }

  public func workers() async throws(IDError) -> WorkerList {
    let now = self.clock.wallMilliseconds()
    return try self.transaction { state throws(IDError) in
      WorkerList(records: state.workers.values.sorted { $0.worker < $1.worker }, storeTime: now)
    }
  }
}

extension MemoryStore {
  public func takeTickets(_ count: Int64, of table: TicketTable) async throws(IDError) -> IDRange {
    try self.transaction { state throws(IDError) in
      guard count >= 1 else { throw IDError(.invalidArgument, "a statement takes at least 1 ticket, not \(count)") }
      let last = state.lastTickets[table, default: 0]
      state.lastTickets[table] = last + count
      return IDRange(start: last + 1, count: count)
    }
  }

  public func inspect(_ tables: [TicketTable]) async throws(IDError) -> TicketInspection {
    try self.transaction { state throws(IDError) in
      TicketInspection(missing: tables.filter { state.lastTickets[$0] == nil })
    }
  }
}

extension MemoryStore {
  /// Replaces all tokens; nil takes their table away, as it is at the start.
  public func setClientTokens(_ tokens: [ClientToken]?) {
    self.state.withLock { $0.tokens = tokens }
  }

  public func clientTokens() async throws(IDError) -> [ClientToken] {
    try self.transaction { state throws(IDError) in
      guard let tokens = state.tokens else { throw IDError(.storeRejected, "there are no tokens in memory") }
      return tokens
    }
  }
}
