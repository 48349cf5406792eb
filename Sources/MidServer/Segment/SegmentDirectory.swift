package import MidCore
import Synchronization

/// The tags this node knows, and a generator for each that was asked for.
///
/// The list comes from the store: read again at intervals, and for a name that is not in it, but at most once a second for all
/// such names together; calls wait for that, by the rules of ``TagLookups``. It does no I/O itself: `onRefreshNeeded`
/// and `onLoadNeeded` ask for it, ``refreshed(_:)`` and ``refreshFailed(_:)`` bring what came of it.
///
/// Locks: a generator's may be taken within the directory's, never the other way round, since a generator calls out only after
/// it has left its own. It is done for one generator at a time; what goes through all of them does so outside.
package final class SegmentDirectory: Sendable {
  /// Gets a tag's generator, exactly once, on any thread. Must not block.
  package typealias Completion = @Sendable (Result<SegmentGenerator, IDError>) -> Void

  /// Names a call that waits for the list.
  package struct LookupID: Sendable, Hashable {
    fileprivate let id: TagLookups<Completion>.ID
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
    var lookups: TagLookups<Completion>
    var lastError: IDError?
    var isClosed = false
  }

  /// Calls to complete, after the lock was left; without a result where the store has to say why the tag is in no list.
  typealias Answers = [(completion: Completion, tag: Tag, result: Result<SegmentGenerator, IDError>?)]

  let settings: SegmentSettings
  private let maximumWaiting: Int
  let clock: any TimeSource
  let onLoadNeeded: @Sendable (SegmentGenerator, SegmentLoad) -> Void
  private let onRefreshNeeded: @Sendable () -> Void
  private let onPauseNeeded: @Sendable (Duration) -> Void
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
  ///   - onPauseNeeded: has ``lookUp()`` called after that time. Called outside locks; must not block.
  /// - Throws: ``IDError/Code/invalidArgument`` for settings out of their bounds.
  package init(
    settings: SegmentSettings, maximumWaiting: Int, marks: [Tag: Int64] = [:], hasFixedStrides: Bool = true,
    clock: any TimeSource, absence: @escaping @Sendable (Tag) -> IDError = SegmentDirectory.unknown,
    isAway: @escaping @Sendable (Tag) -> Bool = { _ in false },
    onLoadNeeded: @escaping @Sendable (SegmentGenerator, SegmentLoad) -> Void,
    onRefreshNeeded: @escaping @Sendable () -> Void, onPauseNeeded: @escaping @Sendable (Duration) -> Void
  ) throws(IDError) {
    self.settings = settings
    self.maximumWaiting = maximumWaiting
    self.clock = clock
    self.onLoadNeeded = onLoadNeeded
    self.onRefreshNeeded = onRefreshNeeded
    self.onPauseNeeded = onPauseNeeded
    self.absence = absence
    self.isAway = isAway
    self.state = Mutex(State(marks: marks, lookups: TagLookups(maximumWaiting: maximumWaiting)))
    // Also where it is not kept: wrong settings are found here.
    let generator = try Self.makeGenerator(
      .default, step: 1, settings: settings, highWater: marks[.default], clock: clock, onLoadNeeded: onLoadNeeded)
    self.defaultGenerator = hasFixedStrides ? generator : nil
  }

  /// Whether segments can be served: the list has been read, and no tag in use has run dry while its loads fail.
  package var isReady: Bool {
    guard self.state.withLock({ $0.lookups.isRead && !$0.isClosed }) else { return false }
    return !self.snapshots.contains { tag, snapshot in
      snapshot.failures > 0 && snapshot.servingLeft == 0 && snapshot.standbyLeft == 0 && !self.isAway(tag)
    }
  }

  /// Whether the last read of the list succeeded.
  package var isCurrent: Bool { self.state.withLock { $0.lookups.isRead && $0.lastError == nil } }

  /// The rows of the list as it was last read, in no particular order.
  package var records: [TagRecord] { self.state.withLock { Array($0.known.values) } }

  /// The generator of `tag` if it was asked for before, for the hot path.
  package func cached(_ tag: Tag) -> SegmentGenerator? {
    self.state.withLock { $0.generators[tag] }
  }

  /// The generator of `tag`, made where the list holds the tag, looked up where it does not.
  package func generator(for tag: Tag, completion: @escaping Completion) -> Lookup {
    let now = self.clock.monotonicNanoseconds()
    let (lookup, effect) = self.state.withLock { state -> (Lookup?, TagLookups<Completion>.Effect) in
      if let generator = self.find(tag, &state) { return (.found(generator), .nothing) }
      if state.isClosed { return (.failed(Self.stopping), .nothing) }
      if state.retiring.contains(tag) {
        let id = state.lookups.waitForRetirement(of: tag, reply: completion)
        return (id.map { .waiting(LookupID(id: $0)) } ?? .failed(self.overloaded), .nothing)
      }
      switch state.lookups.ask(tag, now: now, reply: completion) {
      case .waits(let id, let effect): return (.waiting(LookupID(id: id)), effect)
      case .absent: return (self.missing(tag, state).map { .failed($0) }, .nothing)
      case .unreadable: return (.failed(state.lastError.map(Self.unreadable) ?? self.overloaded), .nothing)
      case .overloaded: return (.failed(self.overloaded), .nothing)
      }
    }
    self.perform(effect)
    return lookup ?? .failed(self.reason(for: tag))
  }

  /// Ends a call's wait for the list at its deadline, or because its caller is gone. Where the list was read a moment ago and the
  /// call waited for the next one, it hears what that list says.
  package func expire(_ id: LookupID) {
    let answers = self.state.withLock { state -> Answers in
      guard let call = state.lookups.remove(id.id) else { return [] }
      return [(call.reply, call.tag, self.lateness(of: call, state).map { .failure($0) })]
    }
    self.complete(answers)
  }

  /// Completes calls. Outside the lock: the store is asked, and callers are called.
  func complete(_ answers: Answers) {
    for (completion, tag, result) in answers { completion(result ?? .failure(self.reason(for: tag))) }
  }

  private func lateness(of call: TagLookups<Completion>.Call, _ state: State) -> IDError? {
    guard call.isForList else {
      return IDError(.deadlineExceeded, "the ids cached for tag '\(call.tag)' did not go back to the store in time")
    }
    if let error = state.lastError { return Self.unreadable(error) }
    return state.lookups.isRead && !state.lookups.isReading
      ? self.missing(call.tag, state) : IDError(.deadlineExceeded, "the tag list did not come in time")
  }

  /// Stops for good. Calls that wait fail with ``IDError/Code/notReady``.
  ///
  /// - Returns: what nobody will get, by tag: to be given back to the store, the last range first. With it the end of what
  ///   is kept of all that was received.
  package func close() -> [(tag: Tag, rests: [IDRange], kept: Int64)] {
    let (generators, marks, waiting) = self.state.withLock { state in
      state.isClosed = true
      return (Array(state.generators.values), state.marks, state.lookups.close())
    }
    for call in waiting { call.reply(.failure(Self.stopping)) }
    var all = generators
    if let fixed = self.defaultGenerator, !all.contains(where: { $0 === fixed }) { all.append(fixed) }
    return all.map { ($0.tag, $0.close(), $0.snapshot.usedEnd ?? marks[$0.tag] ?? 1) }.filter { !$0.1.isEmpty }
  }

  /// What a tag's row must not stand below by what was received before its present generator; nil where nothing was.
  package func mark(of tag: Tag) -> Int64? { self.state.withLock { $0.marks[tag] } }

  /// How many calls wait for the list, or for a tag whose cached ids are going back.
  package var waitingCount: Int { self.state.withLock { $0.lookups.count } }

  /// Measures how fast the ids of all tags in use are used, so that enough is at hand. Call it every few seconds.
  package func sample() {
    for generator in self.state.withLock({ Array($0.generators.values) }) { generator.sample() }
  }

  /// The state of every generator in use, for metrics, in order of the tags' names.
  package var snapshots: [(tag: Tag, snapshot: SegmentSnapshot)] {
    let generators = self.state.withLock { Array($0.generators.values) }
    return generators.map { ($0.tag, $0.snapshot) }.sorted { $0.tag.name < $1.tag.name }
  }

  func perform(_ effect: TagLookups<Completion>.Effect) {
    switch effect {
    case .nothing: break
    case .read: self.onRefreshNeeded()
    case .wait(let pause): self.onPauseNeeded(pause)
    }
  }

  // MARK: - Under the lock

  /// What there is of `tag`; nil where the store has to say why there is nothing.
  func result(for tag: Tag, _ state: inout State) -> Result<SegmentGenerator, IDError>? {
    self.find(tag, &state).map { .success($0) } ?? self.missing(tag, state).map { .failure($0) }
  }

  func find(_ tag: Tag, _ state: inout State) -> SegmentGenerator? {
    if let generator = state.generators[tag] { return generator }
    // Its mark is not known before the ids of the last generator are back.
    guard !state.retiring.contains(tag) else { return nil }
    guard let record = state.known[tag], !state.isClosed, !record.isClosed else { return nil }
    if tag == .default, let fixed = self.defaultGenerator {
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

  static func makeGenerator(
    _ tag: Tag, step: Int64, stride: Int64 = 1, settings: SegmentSettings, highWater: Int64?, clock: any TimeSource,
    onLoadNeeded: @escaping @Sendable (SegmentGenerator, SegmentLoad) -> Void
  ) throws(IDError) -> SegmentGenerator {
    try SegmentGenerator(
      tag: tag, step: step, stride: stride, settings: settings, highWater: highWater, clock: clock,
      onLoadNeeded: onLoadNeeded)
  }

  /// Why there is no generator of `tag`; nil where it is in no list: see ``reason(for:)``.
  private func missing(_ tag: Tag, _ state: State) -> IDError? {
    if state.isClosed { return Self.stopping }
    return state.known[tag]?.isClosed == true ? .restriped(tag) : nil
  }

  // MARK: - Outside the lock

  /// Why `tag` is in no list, as the store says, which may have locks of its own.
  private func reason(for tag: Tag) -> IDError {
    let error = self.absence(tag)
    return error == .unknown(tag) ? Self.unknown(tag) : error
  }

  /// The error for a tag that there is not, with what to do.
  package static func unknown(_ tag: Tag) -> IDError {
    IDError(.unknownTag, "no tag '\(tag)'; create it with: mid tag create \(tag)")
  }

  static func unreadable(_ error: IDError) -> IDError {
    IDError(.storeUnavailable, "the tag list could not be read: \(error.message)")
  }

  private var overloaded: IDError {
    IDError(.overloaded, "\(self.maximumWaiting) calls wait for the tag list already")
  }

  private static let stopping = IDError(.notReady, "the service is stopping")
}
