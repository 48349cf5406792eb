package import MidCore
import Synchronization

/// The tags this node knows, and a generator for each that was asked for.
///
/// The list comes from the store: read again at intervals, and at once for a name that is not in it, but at most once a
/// second, so that a flood of unknown names costs the store next to nothing. It does no I/O itself: `onRefreshNeeded`
/// and `onLoadNeeded` ask for it, ``refreshed(_:)`` and ``refreshFailed(_:)`` bring what came of it.
package final class SegmentDirectory: Sendable {
  /// Gets a tag's generator, exactly once, on any thread. Must not block.
  package typealias Completion = @Sendable (Result<SegmentGenerator, IDError>) -> Void

  /// Names a call that waits for the list.
  package struct LookupID: Sendable, Hashable {
    fileprivate let number: UInt64
  }

  /// How ``generator(for:completion:)`` went.
  package enum Lookup: Sendable {
    /// The generator is there.
    case found(SegmentGenerator)
    /// There is none, and there will be none for this call.
    case failed(IDError)
    /// The completion will be called; call ``expire(_:)`` at the deadline.
    case waiting(LookupID)
  }

  struct State {
    var generators: [Tag: SegmentGenerator] = [:]
    var known: [Tag: TagRecord] = [:]
    /// Tags whose cached ids are going back to the store: nobody gets a generator of theirs meanwhile.
    var retiring: Set<Tag> = []
    /// The ends of what was received before for tags without a generator: a row that stands lower is refused.
    var marks: [Tag: Int64]
    var isRead = false
    var isRefreshing = false
    /// Whether an operator has asked for the read under way, or for one after it.
    var isConfirming = false
    var wantsReload = false
    /// By the monotonic clock; when the list was last asked for.
    var lastRefresh: UInt64?
    var waiting: [LookupID: (tag: Tag, completion: Completion)] = [:]
    var nextLookup: UInt64 = 0
    var lastError: IDError?
    var isClosed = false
  }

  /// How often an unknown name may have the list read again.
  package static let refreshPause: Duration = .seconds(1)

  let settings: SegmentSettings
  private let maximumWaiting: Int
  let clock: any TimeSource
  let onLoadNeeded: @Sendable (SegmentGenerator, SegmentLoad) -> Void
  private let onRefreshNeeded: @Sendable () -> Void
  private let absence: @Sendable (Tag) -> IDError
  private let isAway: @Sendable (Tag) -> Bool
  let state: Mutex<State>

  /// The generator of the tag `default`, which most calls go to: there from the start, so that they need no look-up.
  /// It has ids only once the list was read and holds the tag. Nil where the distance between its ids is not known
  /// beforehand, or may change: then it is looked up like any other.
  package let defaultGenerator: SegmentGenerator?

  /// Creates a directory that knows nothing yet.
  ///
  /// - Parameters:
  ///   - settings: for the generators.
  ///   - maximumWaiting: how many calls may wait for the list, 1 or more.
  ///   - marks: the ends of what earlier runs of this node have received, by tag.
  ///   - hasFixedStrides: whether ids of a tag are neighbours, now and always.
  ///   - clock: for the pause between two reads and the rate of use; only its monotonic side is read.
  ///   - absence: says why a tag is in no list; see ``MidCore/SegmentStore/absence(of:)``.
  ///   - isAway: whether a tag that has run dry is no reason to take calls from this node; see
  ///     ``MidCore/CompositeStore/isAway(_:)``.
  ///   - onLoadNeeded: starts a load of a generator's. Called outside locks; must not block.
  ///   - onRefreshNeeded: starts a read of the list. Called outside locks; must not block.
  /// - Throws: ``IDError/Code/invalidArgument`` for settings out of their bounds.
  package init(
    settings: SegmentSettings, maximumWaiting: Int, marks: [Tag: Int64] = [:], hasFixedStrides: Bool = true,
    clock: any TimeSource, absence: @escaping @Sendable (Tag) -> IDError = SegmentDirectory.unknown,
    isAway: @escaping @Sendable (Tag) -> Bool = { _ in false },
    onLoadNeeded: @escaping @Sendable (SegmentGenerator, SegmentLoad) -> Void,
    onRefreshNeeded: @escaping @Sendable () -> Void
  ) throws(IDError) {
    self.settings = settings
    self.maximumWaiting = maximumWaiting
    self.clock = clock
    self.onLoadNeeded = onLoadNeeded
    self.onRefreshNeeded = onRefreshNeeded
    self.absence = absence
    self.isAway = isAway
    self.state = Mutex(State(marks: marks))
    // Also where it is not kept: wrong settings are found here.
    let generator = try Self.makeGenerator(
      .default, step: 1, settings: settings, highWater: marks[.default], clock: clock, onLoadNeeded: onLoadNeeded)
    self.defaultGenerator = hasFixedStrides ? generator : nil
  }

  /// Whether segments can be served: the list has been read, and no tag in use has run dry while its loads fail.
  package var isReady: Bool {
    guard self.state.withLock({ $0.isRead && !$0.isClosed }) else { return false }
    return !self.snapshots.contains { tag, snapshot in
      snapshot.failures > 0 && snapshot.servingLeft == 0 && snapshot.standbyLeft == 0 && !self.isAway(tag)
    }
  }

  /// Whether the last read of the list succeeded.
  package var isCurrent: Bool { self.state.withLock { $0.isRead && $0.lastError == nil } }

  /// The generator of `tag` if it was asked for before, for the hot path.
  package func cached(_ tag: Tag) -> SegmentGenerator? {
    self.state.withLock { $0.generators[tag] }
  }

  /// The generator of `tag`, made where the list holds the tag, looked up where it does not.
  package func generator(for tag: Tag, completion: @escaping Completion) -> Lookup {
    let now = self.clock.monotonicNanoseconds()
    let (lookup, mustRefresh) = self.state.withLock { state -> (Lookup, Bool) in
      if let generator = self.find(tag, &state) { return (.found(generator), false) }
      if state.isClosed { return (.failed(Self.stopping), false) }
      if state.retiring.contains(tag) { return (self.wait(for: tag, completion, &state), false) }
      let mustRefresh = !state.isRefreshing && self.mayRefresh(state, now: now)
      guard state.isRefreshing || mustRefresh || !state.isRead else {
        return (.failed(self.missing(tag, state)), false)
      }
      let lookup = self.wait(for: tag, completion, &state)
      guard case .waiting = lookup, mustRefresh else { return (lookup, false) }
      state.isRefreshing = true
      state.lastRefresh = now
      return (lookup, true)
    }
    if mustRefresh { self.onRefreshNeeded() }
    return lookup
  }

  /// Ends a call's wait for the list at its deadline, or because its caller is gone.
  package func expire(_ id: LookupID) {
    let (entry, error) = self.state.withLock { ($0.waiting.removeValue(forKey: id), $0.lastError) }
    entry?.completion(
      .failure(
        error.map { IDError(.storeUnavailable, "the tag list could not be read: \($0.message)") }
          ?? IDError(.deadlineExceeded, "the tag list did not come in time")))
  }

  /// Begins a read of the list that nobody asked for: what asks for one meanwhile waits for it.
  ///
  /// - Returns: `false` where one is under way already. There is one at a time, so that an older list never replaces a
  ///   newer one.
  package func beginRefresh() -> Bool {
    let now = self.clock.monotonicNanoseconds()
    return self.state.withLock { state in
      guard !state.isRefreshing else { return false }
      state.isRefreshing = true
      state.lastRefresh = now
      return true
    }
  }

  /// Has the list read again for an operator, who thereby says that the rows are right: tags that were refused because
  /// their table went backwards are served again where the row stands high enough now.
  package func reload() {
    let now = self.clock.monotonicNanoseconds()
    let mustRefresh = self.state.withLock { state in
      guard !state.isClosed else { return false }
      // What is being read now may have been read before the operator's change.
      guard !state.isRefreshing else {
        state.wantsReload = true
        return false
      }
      state.isRefreshing = true
      state.isConfirming = true
      state.lastRefresh = now
      return true
    }
    if mustRefresh { self.onRefreshNeeded() }
  }

  /// The store does not know a tag of the list: the list is read again, unless that was done a moment ago.
  package func listIsStale() {
    let now = self.clock.monotonicNanoseconds()
    let mustRefresh = self.state.withLock { state in
      guard !state.isRefreshing, !state.isClosed, self.mayRefresh(state, now: now) else { return false }
      state.isRefreshing = true
      state.lastRefresh = now
      return true
    }
    if mustRefresh { self.onRefreshNeeded() }
  }

  /// The list was read: new tags can be served, deleted ones end, steps follow the table.
  package func refreshed(_ records: [TagRecord]) {
    var answers: [(Completion, Result<SegmentGenerator, IDError>)] = []
    var removed: [SegmentGenerator] = []
    var superseded: [(old: SegmentGenerator, new: SegmentGenerator?)] = []
    let mustReload = self.state.withLock { state in
      let isConfirmed = state.isConfirming
      state.isConfirming = false
      state.known = Dictionary(records.map { ($0.tag, $0) }) { first, _ in first }
      state.isRead = true
      state.isRefreshing = false
      state.lastError = nil
      for (tag, generator) in state.generators {
        if let record = state.known[tag] {
          if !record.isClosed, record.stride != generator.stride, generator !== self.defaultGenerator {
            state.marks[tag] = generator.snapshot.highWater ?? state.marks[tag]
            state.generators[tag] = nil
            superseded.append((generator, self.find(tag, &state)))
            continue
          }
          generator.update(step: record.step, next: record.next ?? .max, isConfirmed: isConfirmed)
        } else {
          removed.append(generator)
          state.marks[tag] = generator.snapshot.highWater ?? state.marks[tag]
          state.generators[tag] = nil
        }
      }
      for (id, entry) in state.waiting where !state.retiring.contains(entry.tag) {
        state.waiting[id] = nil
        answers.append((entry.completion, self.result(for: entry.tag, &state)))
      }
      defer { state.wantsReload = false }
      state.isRefreshing = state.wantsReload
      state.isConfirming = state.wantsReload
      return state.wantsReload
    }
    if mustReload { self.onRefreshNeeded() }
    // The default tag's generator is there for good: it gives out what it has, and loads no more until the tag is back.
    for (old, _) in superseded { old.supersede() }
    for generator in removed where generator !== self.defaultGenerator { generator.remove() }
    for (completion, result) in answers { completion(result) }
  }

  /// The list could not be read. Calls that wait go on waiting until their deadline where it was never read; otherwise
  /// what is known stands, and an unknown name stays unknown.
  package func refreshFailed(_ error: IDError) {
    var answers: [(Completion, Result<SegmentGenerator, IDError>)] = []
    self.state.withLock { state in
      state.isRefreshing = false
      // An operator's word is about what could not be read now.
      state.isConfirming = false
      state.wantsReload = false
      state.lastError = error
      guard state.isRead else { return }
      for (id, entry) in state.waiting where !state.retiring.contains(entry.tag) {
        state.waiting[id] = nil
        answers.append(
          (entry.completion, .failure(IDError(.storeUnavailable, "the tag list could not be read: \(error.message)"))))
      }
    }
    for (completion, result) in answers { completion(result) }
  }

  /// Stops for good. Calls that wait fail with ``IDError/Code/notReady``.
  ///
  /// - Returns: what nobody will get, by tag: to be given back to the store, the last range first. With it the end of what
  ///   was given out, nil where nothing was.
  package func close() -> [(tag: Tag, rests: [IDRange], usedEnd: Int64?)] {
    let (generators, waiting) = self.state.withLock { state in
      defer {
        state.isClosed = true
        state.waiting = [:]
      }
      return (Array(state.generators.values), Array(state.waiting.values))
    }
    for entry in waiting { entry.completion(.failure(Self.stopping)) }
    var all = generators
    if let fixed = self.defaultGenerator, !all.contains(where: { $0 === fixed }) { all.append(fixed) }
    return all.map { ($0.tag, $0.close(), $0.snapshot.usedEnd) }.filter { !$0.1.isEmpty }
  }

  /// How many calls wait for the list, or for a tag whose cached ids are going back.
  package var waitingCount: Int { self.state.withLock { $0.waiting.count } }

  /// Measures how fast the ids of all tags in use are used, so that enough is at hand. Call it every few seconds.
  package func sample() {
    for generator in self.state.withLock({ Array($0.generators.values) }) { generator.sample() }
  }

  /// The state of every generator in use, for metrics, in order of the tags' names.
  package var snapshots: [(tag: Tag, snapshot: SegmentSnapshot)] {
    let generators = self.state.withLock { Array($0.generators.values) }
    return generators.map { ($0.tag, $0.snapshot) }.sorted { $0.tag.name < $1.tag.name }
  }

  // MARK: - Under the lock

  private func wait(for tag: Tag, _ completion: @escaping Completion, _ state: inout State) -> Lookup {
    guard state.waiting.count < self.maximumWaiting else {
      return .failed(IDError(.overloaded, "\(self.maximumWaiting) calls wait for the tag list already"))
    }
    let id = LookupID(number: state.nextLookup)
    state.nextLookup += 1
    state.waiting[id] = (tag, completion)
    return .waiting(id)
  }

  func result(for tag: Tag, _ state: inout State) -> Result<SegmentGenerator, IDError> {
    self.find(tag, &state).map { .success($0) } ?? .failure(self.missing(tag, state))
  }

  private func find(_ tag: Tag, _ state: inout State) -> SegmentGenerator? {
    if let generator = state.generators[tag] { return generator }
    // Its mark is not known before the ids of the last generator are back.
    guard !state.retiring.contains(tag) else { return nil }
    guard let record = state.known[tag], !state.isClosed, !record.isClosed else { return nil }
    if tag == .default, let fixed = self.defaultGenerator {
      fixed.update(step: record.step, next: record.next ?? .max)
      state.generators[tag] = fixed
      return fixed
    }
    // The settings were checked in the initialiser, so this does not fail; a generator that can't be made is not there.
    guard
      case .success(let generator) = Result(catching: { () throws(IDError) in
        try Self.makeGenerator(
          tag, step: record.step, stride: record.stride, settings: self.settings, highWater: state.marks[tag],
          clock: self.clock,
          onLoadNeeded: self.onLoadNeeded)
      })
    else { return nil }
    state.generators[tag] = generator
    return generator
  }

  private func mayRefresh(_ state: State, now: UInt64) -> Bool {
    guard let last = state.lastRefresh else { return true }
    return .nanoseconds(Int64(clamping: now &- last)) >= Self.refreshPause
  }

  static func makeGenerator(
    _ tag: Tag, step: Int64, stride: Int64 = 1, settings: SegmentSettings, highWater: Int64?, clock: any TimeSource,
    onLoadNeeded: @escaping @Sendable (SegmentGenerator, SegmentLoad) -> Void
  ) throws(IDError) -> SegmentGenerator {
    let box = WeakGenerator()
    let generator = try SegmentGenerator(
      tag: tag, step: step, stride: stride, settings: settings, highWater: highWater, clock: clock
    ) { load in
      if let generator = box.generator.withLock({ $0.value }) { onLoadNeeded(generator, load) }
    }
    box.generator.withLock { $0.value = generator }
    return generator
  }

  /// Why there is no generator of `tag`.
  private func missing(_ tag: Tag, _ state: State) -> IDError {
    if state.isClosed { return Self.stopping }
    if state.known[tag]?.isClosed == true { return .restriped(tag) }
    let error = self.absence(tag)
    return error == .unknown(tag) ? Self.unknown(tag) : error
  }

  /// The error for a tag that there is not, with what to do.
  package static func unknown(_ tag: Tag) -> IDError {
    IDError(.unknownTag, "no tag '\(tag)'; create it with: mid tag create \(tag)")
  }

  private static let stopping = IDError(.notReady, "the service is stopping")

  /// Lets a generator's own hook find it without keeping it alive.
  private final class WeakGenerator: Sendable {
    struct Reference {
      weak var value: SegmentGenerator?
    }

    let generator = Mutex(Reference())
  }
}
