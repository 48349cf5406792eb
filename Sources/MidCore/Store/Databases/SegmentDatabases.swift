internal import Synchronization

/// Several databases, and what is known of each: whether it could be opened, whether it answers, and which tags it has.
///
/// A database that fails, or takes longer than the patience, counts as down until it answers something: a late answer, a
/// load that was tried as a last resort, or ``probe(_:)``. What is under way in a database that nobody waits for any more
/// is owned here, and the end of the store waits for it.
public final class SegmentDatabases: Sendable {
  /// One of the databases.
  public struct Database: Sendable {
    /// What it is called in logs, metrics and on the data folder's marks. Holds no secret.
    public let name: String
    /// The database itself, not opened yet.
    public let store: any SegmentDatabaseStore

    /// Names a database.
    public init(name: String, store: any SegmentDatabaseStore) {
      self.name = name
      self.store = store
    }
  }

  /// What is known of a database.
  public struct Status: Sendable, Hashable {
    /// What it is called.
    public var name: String
    /// Whether it has answered the last time.
    public var isUp: Bool
    /// Why it is down, where something was heard.
    public var error: IDError?
    /// What an operator should know of its set-up, once it was opened: commits that a power cut could take back.
    public var durabilityWarnings: [String] = []
  }

  /// Is told when a database goes down (with why) or comes up. Must not block.
  public typealias Observer = @Sendable (Status) -> Void

  struct Member: Sendable {
    var isPreparing = false
    var isOpen = false
    var isUp = false
    var error: IDError?
    /// Its tags as they were read last.
    var list: [TagRecord]?
    /// Its clients' tokens as they were read last.
    var tokens: [ClientToken]?
  }

  /// The databases, in the order of the configuration.
  public let all: [Database]
  /// How long a database may take before another one is asked, or the others' answers do.
  public let patience: Duration
  private let observer: Observer
  let members: Mutex<[Member]>
  let tasks = OwnedTasks()

  /// Creates a set of databases that are not open yet.
  ///
  /// - Parameters:
  ///   - all: The databases, at least one, with names of their own.
  ///   - patience: How long one may take before others are asked.
  ///   - observer: Told of what goes down and comes up.
  public init(_ all: [Database], patience: Duration, observer: @escaping Observer = { _ in }) {
    precondition(!all.isEmpty && Set(all.map(\.name)).count == all.count, "databases have names of their own")
    self.all = all
    self.patience = patience
    self.observer = observer
    self.members = Mutex(all.map { _ in Member() })
  }

  /// How many there are.
  public var count: Int { self.all.count }
  /// Their names, in order.
  public var names: [String] { self.all.map(\.name) }
  /// What is known of each, in order.
  public var statuses: [Status] {
    self.state.enumerated().map { self.status($0, $1) }
  }

  private func status(_ index: Int, _ member: Member) -> Status {
    let database = self.all[index]
    return Status(
      name: database.name, isUp: member.isUp, error: member.error,
      durabilityWarnings: member.isOpen ? database.store.durabilityWarnings : [])
  }

  var state: [Member] { self.members.withLock { $0 } }

  /// Whether the database at that place has answered the last time.
  package func isUp(_ index: Int) -> Bool { self.members.withLock { $0[index].isUp } }

  /// A database has answered.
  func answered(_ index: Int) {
    self.change(index) { member in
      guard member.isOpen else { return }
      member.isUp = true
      member.error = nil
    }
  }

  /// A database has failed, or is late.
  func failed(_ index: Int, _ error: IDError) {
    self.change(index) { member in
      member.isUp = false
      member.error = error
    }
  }

  private func change(_ index: Int, _ body: (inout Member) -> Void) {
    let (before, after) = self.members.withLock { members -> (Bool, Member) in
      let before = members[index].isUp
      body(&members[index])
      return (before, members[index])
    }
    guard before != after.isUp else { return }
    self.observer(self.status(index, after))
  }

  // MARK: - Opening, reading, closing

  /// Opens those that are not open yet; see ``CompositeStore/prepare()``.
  func prepare() async throws(IDError) {
    let closed = self.state.indices.filter { !self.state[$0].isOpen }
    guard !closed.isEmpty else { return }
    let results = await self.each(of: closed) { index throws(IDError) in try await self.open(index) }
    guard !self.state.contains(where: \.isOpen) else { return }
    let errors = results.sorted { $0.key < $1.key }.compactMap { index, result -> IDError? in
      guard case .failure(let error) = result else { return nil }
      return IDError(error.code, "\(self.all[index].name): \(error.message)")
    }
    throw errors.first { $0.code != .storeUnavailable } ?? errors.first
      ?? IDError(.storeUnavailable, "none of the databases answers: \(self.names.joined(separator: ", "))")
  }

  private func open(_ index: Int) async throws(IDError) {
    let mayOpen = self.members.withLock { members in
      defer { members[index].isPreparing = true }
      return !members[index].isPreparing
    }
    guard mayOpen else { throw IDError(.storeUnavailable, "it is being opened still") }
    defer { self.members.withLock { $0[index].isPreparing = false } }
    do throws(IDError) {
      try await self.all[index].store.prepare()
    } catch {
      self.failed(index, error)
      throw error
    }
    self.members.withLock { $0[index].isOpen = true }
    self.answered(index)
  }

  /// Sees whether a database that is down is back: opens it where that is still to be done, and reads its tags.
  public func probe(_ index: Int) async {
    do throws(IDError) {
      if !self.state[index].isOpen { try await self.open(index) }
      try await self.read(index)
    } catch {
      // What came of it is known; the next look is the caller's.
    }
  }

  /// Reads the tags of all databases that are up, or of all that are open where none is.
  ///
  /// - Throws: Why not one could be read.
  func readLists() async throws(IDError) {
    let state = self.state
    let open = state.indices.filter { state[$0].isOpen }
    let up = open.filter { state[$0].isUp }
    guard !open.isEmpty else { throw self.unreachable }
    let results = await self.each(of: up.isEmpty ? open : up) { index throws(IDError) in try await self.read(index) }
    guard !results.values.contains(where: { if case .success = $0 { true } else { false } }) else { return }
    throw self.unreachable
  }

  private func read(_ index: Int) async throws(IDError) {
    do throws(IDError) {
      let list = try await self.all[index].store.tags()
      self.members.withLock { $0[index].list = list }
      self.answered(index)
    } catch {
      self.failed(index, error)
      throw error
    }
  }

  /// That no database answers, with what each said.
  var unreachable: IDError {
    let reasons = zip(self.all, self.state).map { "\($0.name): \($1.error?.message ?? "not opened yet")" }
    return IDError(.storeUnavailable, "no database answers (\(reasons.joined(separator: "; ")))")
  }

  func semiSync() async throws(IDError) -> Bool? {
    let open = self.state.indices.filter { self.state[$0].isUp }
    let results = await self.each(of: open) { index throws(IDError) in try await self.all[index].store.semiSync() }
    var answers: [Bool?] = []
    for result in results.values { if case .success(let answer) = result { answers.append(answer) } }
    guard !answers.isEmpty else { throw self.unreachable }
    if answers.contains(false) { return false }
    // One without replicas loses commits as one does that does not wait for them.
    return answers.contains(nil) ? (answers.contains(true) ? false : nil) : true
  }

  func close() async {
    await self.tasks.finish()
    for database in self.all { await database.store.close() }
  }

  // MARK: - All at once

  private enum Event<Value: Sendable>: Sendable {
    case answered(Int, Result<Value, IDError>)
    case overdue
  }

  /// Asks some databases at once. Returns when all have answered; once the patience is over, as soon as one has
  /// succeeded. A database that is late then counts as down, and its answer is still taken in by `body`.
  func each<Value: Sendable>(
    of indices: [Int], _ body: @escaping @Sendable (Int) async throws(IDError) -> Value
  ) async -> [Int: Result<Value, IDError>] {
    let (events, continuation) = AsyncStream<Event<Value>>.makeStream()
    let timer = self.tasks.start {
      do {
        try await Task.sleep(for: self.patience)
        continuation.yield(.overdue)
      } catch {
        // Cancelled: all have answered.
      }
    }
    defer { timer.cancel() }
    for index in indices {
      self.tasks.start {
        do throws(IDError) {
          continuation.yield(.answered(index, .success(try await body(index))))
        } catch {
          continuation.yield(.answered(index, .failure(error)))
        }
      }
    }
    var results: [Int: Result<Value, IDError>] = [:]
    var isOverdue = false
    guard !indices.isEmpty else { return results }
    for await event in events {
      switch event {
      case .answered(let index, let result): results[index] = result
      case .overdue: isOverdue = true
      }
      if results.count == indices.count { break }
      if isOverdue, results.values.contains(where: { if case .success = $0 { true } else { false } }) { break }
    }
    for index in indices where results[index] == nil { self.failed(index, self.late) }
    return results
  }

  /// That a database takes too long.
  var late: IDError { IDError(.storeUnavailable, "no answer within \(self.patience)") }
}
