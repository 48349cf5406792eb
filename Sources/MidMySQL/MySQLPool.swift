import Dispatch
import MidCore
import Synchronization

/// A few connections, each with a serial queue of its own, and a bounded line of jobs before them.
///
/// Blocking calls run on these queues only, never on the cooperative pool. A caller that has to wait for a connection,
/// or for one to be opened, hears within `configuration.callTimeout`, also where that hangs (in a name lookup, say).
final class MySQLPool: Sendable {
  /// The longest line of waiting jobs.
  static let maximumWaiting = 10_000

  /// A connection and the queue it is used on.
  ///
  /// SAFETY: `connection` is touched on `queue` only, which runs one job at a time.
  private final class Lane: @unchecked Sendable {
    let queue: DispatchQueue
    let connection: MySQLConnection
    init(_ number: Int, _ configuration: MySQLConfiguration) {
      self.queue = DispatchQueue(label: "mid.mysql.\(number)")
      self.connection = MySQLConnection(configuration)
    }
  }

  /// Work on a connection. It returns what is left to do once the connection is free again: telling the caller, whose
  /// next call then finds this connection and not another.
  private typealias Work = @Sendable (MySQLConnection) -> @Sendable () -> Void

  private struct Job: Sendable {
    var id: UInt64
    var run: Work
    var fail: @Sendable (IDError) -> Void
  }

  private struct State {
    var idle: [Lane]
    var waiting: [Job] = []
    var lastID: UInt64 = 0
    var isClosed = false
  }

  private enum Placement {
    case start(Lane)
    case wait
    case refuse(IDError)
  }

  private let configuration: MySQLConfiguration
  private let lanes: [Lane]
  private let state: Mutex<State>
  private let timers = DispatchQueue(label: "mid.mysql.timers")

  init(_ configuration: MySQLConfiguration) {
    self.configuration = configuration
    self.lanes = (0..<configuration.connections).map { Lane($0, configuration) }
    self.state = Mutex(State(idle: self.lanes.reversed()))
  }

  /// What callers get once the pool is closed.
  static let closedError = IDError(.storeUnavailable, "the store is closed")

  /// Runs `body` on a free connection, opened and checked, or waits in line for one.
  func run<T: Sendable>(_ body: @escaping @Sendable (MySQLConnection) throws -> T) async -> Result<T, any Error> {
    await withCheckedContinuation { continuation in
      let answer = Answer(continuation)
      let run: Work = { connection in
        do {
          try connection.open { self.afterCallTimeout { answer.give(.failure($0)) } }
        } catch {
          self.failWaiting(error)
          return { answer.give(.failure(error)) }
        }
        // A caller that was told "away" while the connection was opened would never see what the statement did.
        guard !answer.isGiven else { return {} }
        let result = Result { try body(connection) }
        return { answer.give(result) }
      }
      self.submit(run) { error in answer.give(.failure(error)) }
    }
  }

  /// Refuses further jobs, fails those in line, and closes each connection after its current job.
  func close() async {
    let waiting = self.state.withLock { state in
      state.isClosed = true
      let waiting = state.waiting
      state.waiting = []
      return waiting
    }
    for job in waiting { job.fail(Self.closedError) }
    for lane in self.lanes {
      await withCheckedContinuation { continuation in
        lane.queue.async {
          lane.connection.close()
          continuation.resume()
        }
      }
    }
  }

  private func submit(_ run: @escaping Work, _ fail: @escaping @Sendable (IDError) -> Void) {
    let (placement, id): (Placement, UInt64) = self.state.withLock { state in
      state.lastID += 1
      if state.isClosed { return (.refuse(Self.closedError), state.lastID) }
      if let lane = state.idle.popLast() { return (.start(lane), state.lastID) }
      guard state.waiting.count < Self.maximumWaiting else {
        let error = IDError(.storeUnavailable, "\(Self.maximumWaiting) calls wait for \(self.configuration.location)")
        return (.refuse(error), state.lastID)
      }
      state.waiting.append(Job(id: state.lastID, run: run, fail: fail))
      return (.wait, state.lastID)
    }
    switch placement {
    case .refuse(let error):
      fail(error)
      return
    case .start(let lane):
      self.start(run, on: lane)
    case .wait:
      self.afterCallTimeout { error in
        self.state.withLock { state in state.waiting.removeAll { $0.id == id } }
        fail(error)
      }
    }
  }

  private func start(_ run: @escaping Work, on lane: Lane) {
    lane.queue.async {
      let finish = run(lane.connection)
      let next: Job? = self.state.withLock { state in
        guard !state.waiting.isEmpty else {
          state.idle.append(lane)
          return nil
        }
        return state.waiting.removeFirst()
      }
      finish()
      if let next { self.start(next.run, on: lane) }
    }
  }

  /// Calls `tell` with the error for a store that is away once a call's time is over.
  ///
  /// Armed only for callers in line and while a connection is opened: on an open one the library's own timeouts bound
  /// every statement.
  private func afterCallTimeout(_ tell: @escaping @Sendable (IDError) -> Void) {
    let timeout = self.configuration.callTimeout
    let location = self.configuration.location
    self.timers.asyncAfter(deadline: .now() + timeout / .seconds(1)) {
      tell(IDError(.storeUnavailable, "MySQL at \(location) gave no answer within \(timeout)"))
    }
  }

  /// A server that can't be reached by one connection can't be reached by the next: those in line hear it now.
  private func failWaiting(_ error: any Error) {
    let waiting = self.state.withLock { state in
      let waiting = state.waiting
      state.waiting = []
      return waiting
    }
    guard !waiting.isEmpty else { return }
    let failure = MySQLStore.translate(error, self.configuration)
    for job in waiting { job.fail(failure) }
  }
}

/// The one answer that a caller waits for: the first given counts.
final class Answer<T: Sendable>: Sendable {
  private let continuation: Mutex<CheckedContinuation<Result<T, any Error>, Never>?>

  init(_ continuation: CheckedContinuation<Result<T, any Error>, Never>) {
    self.continuation = Mutex(continuation)
  }

  /// Whether the caller has its answer.
  var isGiven: Bool { self.continuation.withLock { $0 == nil } }

  /// Answers, unless that was done before.
  func give(_ result: Result<T, any Error>) {
    let continuation = self.continuation.withLock { held in
      let continuation = held
      held = nil
      return continuation
    }
    continuation?.resume(returning: result)
  }
}
