internal import Synchronization

/// A store in memory: the reference for what the others do, for tests and for use in one process. Nothing survives it.
///
/// Its rows follow the rule of `id_segments`: a row (max_id, step) hands out `(max_id, max_id + count]` next. It starts
/// with the tag `default`, whose step is 10,000 and whose first id is 1. All calls are safe from any thread.
public final class MemoryStore: IDStore, TicketStore {
  private struct State: Sendable {
    var tags: [Tag: TagRecord] = [:]
    var workers: [Int64: WorkerRecord] = [:]
    var lastTickets: [TicketTable: Int64] = [:]
    var isClosed = false
  }

  /// The step of the tag that is there from the start.
  public static let defaultStep: Int64 = 10_000

  private let clock: any TimeSource
  private let state: Mutex<State>

  /// Creates a store that holds the tag `default`.
  ///
  /// - Parameter clock: The store's own clock, by which leases expire.
  public init(clock: any TimeSource) {
    self.clock = clock
    let record = TagRecord(tag: .default, maxID: 0, step: Self.defaultStep)
    self.state = Mutex(State(tags: [.default: record]))
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
  private func transaction<Value: Sendable>(
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
  public func allocate(_ count: Int64, for tag: Tag) async throws(IDError) -> IDRange {
    try self.transaction { state throws(IDError) in
      guard count >= 1 else { throw IDError(.invalidArgument, "a range has at least 1 id, not \(count)") }
      guard let row = state.tags[tag] else { throw Self.unknown(tag) }
      let (maxID, isPastEnd) = row.maxID.addingReportingOverflow(count)
      // The end of a range, one past its last id, has to fit as well.
      guard !isPastEnd, maxID < Int64.max else {
        throw IDError(.exhausted, "tag '\(tag)' has no \(count) ids left above \(row.maxID)")
      }
      state.tags[tag]?.maxID = maxID
      return IDRange(start: row.maxID + 1, count: count)
    }
  }

  public func giveBack(_ rest: IDRange, of tag: Tag) async throws(IDError) -> Bool {
    try self.transaction { state throws(IDError) in
      guard let row = state.tags[tag] else { return false }
      guard let last = rest.last, rest.stride == 1, last == row.maxID else { return false }
      state.tags[tag]?.maxID = rest.start - 1
      return true
    }
  }

  public func tags() async throws(IDError) -> [TagRecord] {
    try self.transaction { state throws(IDError) in Array(state.tags.values) }
  }

  public func createTag(_ tag: Tag, step: Int64, first: Int64) async throws(IDError) -> TagRecord {
    try self.transaction { state throws(IDError) in
      guard step >= 1, first >= 1 else {
        throw IDError(.invalidArgument, "step and first id are at least 1, not \(step) and \(first)")
      }
      guard state.tags[tag] == nil else { throw IDError(.tagExists, "there is a tag '\(tag)' already") }
      let record = TagRecord(tag: tag, maxID: first - 1, step: step)
      state.tags[tag] = record
      return record
    }
  }

  public func updateTag(_ tag: Tag, step: Int64?, next: Int64?) async throws(IDError) -> TagRecord {
    try self.transaction { state throws(IDError) in
      guard var record = state.tags[tag] else { throw Self.unknown(tag) }
      if let step {
        guard step >= 1 else { throw IDError(.invalidArgument, "the step is at least 1, not \(step)") }
        record.step = step
      }
      if let next {
        guard next > record.maxID else {
          throw IDError(
            .wentBackwards, "ids of tag '\(tag)' up to \(record.maxID) are given out, next can't be \(next)")
        }
        record.maxID = next - 1
      }
      state.tags[tag] = record
      return record
    }
  }

  private static func unknown(_ tag: Tag) -> IDError { IDError(.unknownTag, "there is no tag '\(tag)'") }
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
}
