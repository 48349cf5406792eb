import Logging
import MidCore
import Synchronization

/// Swift Testing has a `Tag` too; in these tests it is always a business's.
typealias Tag = MidCore.Tag

/// What happened so far, in order, and a way to wait for more without looking again and again.
final class EventLog: Sendable {
  private struct Waiter {
    var event: String
    var count: Int
    var continuation: CheckedContinuation<Void, Never>
  }

  private struct State {
    var events: [String] = []
    var waiters: [Waiter] = []
  }

  private let state = Mutex(State())

  var events: [String] { self.state.withLock { $0.events } }

  func count(of event: String) -> Int { self.state.withLock { Self.count(of: event, in: $0) } }

  func note(_ event: String) {
    let ready = self.state.withLock { state in
      state.events.append(event)
      let waiters = state.waiters
      state.waiters = waiters.filter { Self.count(of: $0.event, in: state) < $0.count }
      return waiters.filter { Self.count(of: $0.event, in: state) >= $0.count }
    }
    for waiter in ready { waiter.continuation.resume() }
  }

  /// Returns once `event` (or one that begins so) has happened `count` times since the start.
  func wait(for event: String, count: Int = 1) async {
    await withCheckedContinuation { continuation in
      let isThere = self.state.withLock { state in
        guard Self.count(of: event, in: state) < count else { return true }
        state.waiters.append(Waiter(event: event, count: count, continuation: continuation))
        return false
      }
      if isThere { continuation.resume() }
    }
  }

  private static func count(of event: String, in state: State) -> Int {
    state.events.count { $0.hasPrefix(event) }
  }

  /// A logger whose lines become events: the message, then the metadata in order of its keys.
  var logger: Logger {
    var logger = Logger(label: "test") { _ in EventLogHandler(log: self) }
    logger.logLevel = .trace
    return logger
  }
}

private struct EventLogHandler: LogHandler {
  let log: EventLog
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.trace

  init(log: EventLog) { self.log = log }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { self.metadata[key] }
    set { self.metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let fields = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }
    self.log.note("\(event.message)\(fields.joined())")
  }
}

/// Stays shut until it is opened; whoever waits is let go by cancellation too.
final class Gate: Sendable {
  private let stream: AsyncStream<Void>
  private let continuation: AsyncStream<Void>.Continuation

  init() { (self.stream, self.continuation) = AsyncStream.makeStream() }

  func open() { self.continuation.finish() }

  func wait() async throws {
    for await _ in self.stream {}
    try Task.checkCancellation()
  }
}

/// Passes calls on and notes each once it is over, with its outcome where it failed.
final class WatchedStore: IDStore {
  let store: any IDStore
  let log: EventLog

  init(_ store: any IDStore, log: EventLog) {
    self.store = store
    self.log = log
  }

  var kind: String { self.store.kind }
  var location: String { self.store.location }
  var isShared: Bool { self.store.isShared }

  private func noting<Value: Sendable>(
    _ name: String, _ call: () async throws(IDError) -> Value
  ) async throws(IDError) -> Value {
    do throws(IDError) {
      let value = try await call()
      self.log.note("store: \(name)")
      return value
    } catch {
      self.log.note("store: \(name) failed")
      throw error
    }
  }

  func prepare() async throws(IDError) {
    try await self.noting("prepare") { () async throws(IDError) in try await self.store.prepare() }
  }

  func inspect() async throws(IDError) -> [String] {
    try await self.noting("inspect") { () async throws(IDError) in try await self.store.inspect() }
  }

  func close() async {
    await self.store.close()
    self.log.note("store: close")
  }

  func allocate(_ claim: SegmentClaim, for tag: Tag) async throws(IDError) -> IDRange {
    try await self.noting("allocate") { () async throws(IDError) in try await self.store.allocate(claim, for: tag) }
  }

  func giveBack(_ rest: IDRange, of tag: Tag) async throws(IDError) -> Bool {
    try await self.noting("giveBack") { () async throws(IDError) in try await self.store.giveBack(rest, of: tag) }
  }

  func tags() async throws(IDError) -> [TagRecord] {
    try await self.noting("tags") { () async throws(IDError) in try await self.store.tags() }
  }

  func createTag(_ tag: Tag, step: Int64, first: Int64) async throws(IDError) -> TagRecord {
    try await self.store.createTag(tag, step: step, first: first)
  }

  func updateTag(_ tag: Tag, step: Int64?, next: Int64?) async throws(IDError) -> TagRecord {
    try await self.store.updateTag(tag, step: step, next: next)
  }

  func claimWorker(
    _ worker: Int64, owner: WorkerOwner, leaseMilliseconds: Int64, bound: Int64
  ) async throws(IDError) -> WorkerClaim {
    try await self.noting("claim") { () async throws(IDError) in
      try await self.store.claimWorker(worker, owner: owner, leaseMilliseconds: leaseMilliseconds, bound: bound)
    }
  }

  func renewWorker(
    _ worker: Int64, token: String, term: Int64, leaseMilliseconds: Int64, bound: Int64
  ) async throws(IDError) -> WorkerClaim {
    try await self.noting("renew") { () async throws(IDError) in
      try await self.store.renewWorker(
        worker, token: token, term: term, leaseMilliseconds: leaseMilliseconds, bound: bound)
    }
  }

  func releaseWorker(_ worker: Int64, token: String, term: Int64, bound: Int64) async throws(IDError) {
    try await self.noting("release") { () async throws(IDError) in
      try await self.store.releaseWorker(worker, token: token, term: term, bound: bound)
    }
  }

  func freeWorker(_ worker: Int64, ifTerm term: Int64, force: Bool) async throws(IDError) -> WorkerClaim {
    try await self.noting("free") { () async throws(IDError) in
      try await self.store.freeWorker(worker, ifTerm: term, force: force)
    }
  }

  func workers() async throws(IDError) -> WorkerList { try await self.store.workers() }
}
