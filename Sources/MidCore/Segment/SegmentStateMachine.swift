/// The rules of one tag's two buffers, as a value: events go in, what is to be done comes out as data.
///
/// It knows the standby ranges, the waiters and the load under way. The *serving* range it has handed to
/// ``SegmentGenerator``'s atomics (``Action/publish``); where an event needs what is left of it, the caller drains it
/// first and passes it in as `rest`.
///
/// Invariant: **every waiter wants more ids than serving and standby hold together.** A call that could be served is
/// served and never queued; what is buffered only shrinks between loads; and a load that arrives serves all waiters that
/// it can, in order. So a waiter that is served by a load takes all of the serving range first, which is why a drained
/// rest is never put back and ids go out in ascending order.
///
/// No batch starves behind small calls: while anyone waits a load is under way, it covers all waiters without counting on
/// what is buffered, and its ids go to the waiters, the longest waiting first, before anyone else sees them.
struct SegmentStateMachine<Reply: Sendable>: Sendable {
  /// A range for the atomics, and the first id from which on the next load is due.
  struct Publication: Sendable, Equatable {
    var range: IDRange
    var mark: Int64
  }

  /// What the caller has to do, after it has left the lock unless said otherwise.
  struct Action: Sendable {
    /// Calls to complete.
    var answers: [(reply: Reply, result: Result<[IDRange], IDError>)] = []
    /// The range to serve from, while still under the lock.
    var publish: Publication?
    /// The load to start.
    var load: SegmentLoad?
    /// Ids to give back to the store.
    var surplus: IDRange?
  }

  enum Phase: Sendable {
    case active
    /// Serves what is buffered and loads nothing more: the store's ranges can't be trusted.
    case refusing(IDError)
    /// Serves nothing more: closed or removed.
    case stopped(IDError)
  }

  enum LoadState: Sendable {
    case idle, underWay, waitsForRetry
  }

  struct Buffer: Sendable {
    /// As it was loaded: what the mark is measured by.
    let whole: IDRange
    var rest: IDRange
  }

  let tag: Tag
  let stride: Int64
  let settings: SegmentSettings
  private(set) var step: Int64
  var standbyCount: Int64 = 0
  private(set) var waiters = WaiterQueue<Reply>()
  var phase = Phase.active
  var loadState = LoadState.idle
  var standby: [Buffer] = []
  private var publishedMark: Int64?
  /// Whether the serving range is used far enough, or there is none.
  private var isLoadDue = true
  private var highWater: Int64?
  var failures = 0
  private var lastError: IDError?
  /// Why the store is not asked for a moment: its last answer was one that does not change by asking again.
  private var finalAnswer: IDError?
  private var loads: UInt64 = 0
  var sizing: SegmentSizing
  /// How many ids have arrived and were not given back.
  var received: Int64 = 0
  /// The range published last, until it is used up.
  var serving: IDRange?
  /// The end of what was given out before that range.
  var usedEnd: Int64?
  /// How many ids had been used at the last look at which there were more than before, and when that was.
  var lastUse: (total: Int64, time: UInt64)?

  init(tag: Tag, step: Int64, stride: Int64, settings: SegmentSettings, highWater: Int64? = nil) {
    self.highWater = highWater
    self.tag = tag
    self.step = max(1, step)
    self.stride = stride
    self.settings = settings
    self.sizing = SegmentSizing(step: max(1, step))
  }

  // MARK: Calls

  /// Takes `count` ids out of the drained rest of the serving range, then out of standby, and publishes what is next.
  ///
  /// - Precondition: The rest holds fewer than `count` ids, and with standby at least as many.
  mutating func take(_ count: Int64, rest: IDRange?) -> (ranges: [IDRange], publication: Publication?) {
    var ranges: [IDRange] = rest.map { [$0] } ?? []
    ranges += self.takeStandby(count - (rest?.count ?? 0))
    return (ranges, self.publication())
  }

  /// Takes up to `count` ids out of the first standby range.
  ///
  /// - Precondition: The serving range is used up.
  mutating func takeSome(upTo count: Int64) -> (range: IDRange, publication: Publication?)? {
    guard let first = self.standby.first else { return nil }
    let taken = self.takeStandby(min(count, first.rest.count))
    return taken.first.map { ($0, self.publication()) }
  }

  /// Queues a call for more ids than there are.
  mutating func wait(for count: Int64, reply: Reply) -> Result<WaiterID, IDError> {
    switch self.phase {
    case .refusing(let error), .stopped(let error): return .failure(error)
    case .active: break
    }
    if let finalAnswer = self.finalAnswer { return .failure(finalAnswer) }
    guard self.waiters.count < self.settings.maximumWaiters else {
      let text = "\(self.waiters.count) callers wait for ids of tag '\(self.tag)' already, the most allowed"
      return .failure(IDError(.overloaded, text))
    }
    return .success(self.waiters.append(.init(count: count, reply: reply)))
  }

  /// The call's deadline has come. Answers nothing where it was answered already.
  mutating func expire(_ id: WaiterID) -> Action {
    guard let waiter = self.waiters.remove(id) else { return Action() }
    let error =
      if let lastError = self.lastError {
        IDError(.storeUnavailable, "no ids of tag '\(self.tag)' are left and the store fails: \(lastError)")
      } else {
        IDError(.deadlineExceeded, "no ids of tag '\(self.tag)' arrived before the deadline")
      }
    return Action(answers: [(waiter.reply, .failure(error))])
  }

  /// The caller is gone. Answers nothing where it was answered already.
  mutating func cancel(_ id: WaiterID) -> Action {
    guard let waiter = self.waiters.remove(id) else { return Action() }
    return Action(answers: [(waiter.reply, .failure(IDError(.deadlineExceeded, "the call was cancelled")))])
  }

  // MARK: Loads

  /// An id at or past `mark` was taken. A mark of an earlier range is ignored.
  mutating func passed(mark: Int64) {
    if mark == self.publishedMark { self.isLoadDue = true }
  }

  /// The load to start now, or nil where none is due or one is under way. Has to follow whatever takes ids, lets calls
  /// wait or brings a range.
  ///
  /// - Parameters:
  ///   - servingLeft: How many ids are left in the serving range.
  ///   - now: Reads a clock in nanoseconds; only where a load is due.
  mutating func loadIfDue(servingLeft: Int64, now: () -> UInt64) -> SegmentLoad? {
    guard case .active = self.phase, self.loadState == .idle else { return nil }
    guard !self.waiters.isEmpty || self.isShort(servingLeft) else { return nil }
    return self.startLoad(servingLeft: servingLeft, now: now())
  }

  /// Whether more should be at hand, whether or not anybody waits.
  private func isShort(_ servingLeft: Int64) -> Bool {
    if self.isLoadDue && self.standby.isEmpty { return true }
    return servingLeft + self.standbyCount < self.sizing.reserve && self.standby.count < SegmentSettings.maximumStandby
  }

  /// Measures how fast ids are used. Call it every few seconds, followed by ``loadIfDue(servingLeft:now:)``.
  mutating func sample(servingLeft: Int64, now: UInt64) {
    let used = self.used(servingLeft)
    if used != self.lastUse?.total { self.lastUse = (used, now) }
    self.sizing.sample(total: used, now: now, settings: self.settings)
  }

  func used(_ servingLeft: Int64) -> Int64 { self.received - servingLeft - self.standbyCount }

  /// Why ``admit(_:)`` would refuse `range`, or nil where it would not, or nothing is taken in any more.
  func refusal(of range: IDRange, inAnyLayout: Bool) -> IDError? {
    switch self.phase {
    case .active: self.reasonToRefuse(range, inAnyLayout: inAnyLayout)
    case .refusing(let error): error
    case .stopped: nil
    }
  }

  /// Looks at a range that arrived and keeps it; ``distribute(rest:isServingEmpty:)`` has to follow where it answers nil.
  mutating func admit(_ range: IDRange) -> Action? {
    self.loadState = .idle
    if case .stopped = self.phase { return Action(surplus: range) }
    if case .refusing = self.phase { return Action() }
    if let reason = self.reasonToRefuse(range, inAnyLayout: false) {
      self.phase = .refusing(reason)
      self.lastError = reason
      return Action(answers: self.failAll(with: reason))
    }
    self.loads += 1
    self.failures = 0
    self.lastError = nil
    self.highWater = range.end
    // 0 is what a client reads where a field is missing, so ids start at 1 whatever the row says.
    let skipped = range.start >= 1 ? 0 : (0 - range.start) / self.stride + 1
    let usable = IDRange(
      start: range.start + skipped * self.stride, count: range.count - skipped, stride: self.stride)
    self.standby.append(Buffer(whole: usable, rest: usable))
    self.standbyCount += usable.count
    self.received += usable.count
    return nil
  }

  /// Whether a waiter can be served from standby and `servingLeft` ids that are left in the serving range.
  func canServe(servingLeft: Int64) -> Bool {
    self.waiters.hasWaiter(forAtMost: servingLeft + self.standbyCount)
  }

  /// Serves waiters in order from the drained rest and standby; those that want more than there is stay.
  mutating func distribute(rest: IDRange?, isServingEmpty: Bool) -> Action {
    var action = Action()
    var drained = rest
    var available = (rest?.count ?? 0) + self.standbyCount
    var served: [WaiterQueue<Reply>.Waiter] = []
    self.waiters.removeAll { waiter in
      guard waiter.count <= available else { return false }
      available -= waiter.count
      served.append(waiter)
      return true
    }
    for waiter in served {
      var ranges: [IDRange] = drained.map { [$0] } ?? []
      ranges += self.takeStandby(waiter.count - (drained?.count ?? 0))
      drained = nil
      action.answers.append((waiter.reply, .success(ranges)))
    }
    if isServingEmpty { action.publish = self.publication() }
    return action
  }

  /// The load failed.
  ///
  /// An unknown tag or a used-up number space fails everyone at once, those as well who come before ``retry()``: so that
  /// their calls do not cost the store a query each.
  ///
  /// - Parameter random: 0 up to, not including, 1: the share of the longest pause to take (full jitter).
  /// - Returns: When to call ``retry()``, or nil where it makes no sense.
  mutating func loadFailed(_ error: IDError, random: Double) -> (delay: Duration?, action: Action) {
    guard case .active = self.phase else {
      self.loadState = .idle
      return (nil, Action())
    }
    self.failures += 1
    self.lastError = error
    if error.code == .wentBackwards {
      self.loadState = .idle
      self.phase = .refusing(error)
      return (nil, Action(answers: self.failAll(with: error)))
    }
    if error.code == .unknownTag || error.code == .exhausted {
      self.finalAnswer = error
      self.loadState = .waitsForRetry
      return (SegmentSettings.finalAnswerPause, Action(answers: self.failAll(with: error)))
    }
    self.loadState = .waitsForRetry
    let doublings = Double(1 << min(self.failures - 1, 20))
    let longest = min(self.settings.maximumRetryDelay, self.settings.firstRetryDelay * doublings)
    return (longest * min(max(random, 0), 1), Action())
  }

  /// The pause is over: the load to do now, sized for those who wait by now.
  mutating func retry(servingLeft: Int64, now: UInt64) -> Action {
    guard self.loadState == .waitsForRetry else { return Action() }
    self.loadState = .idle
    guard case .active = self.phase else { return Action() }
    if self.finalAnswer != nil {
      // The next call that needs ids asks, if one comes.
      self.finalAnswer = nil
      return Action()
    }
    return Action(load: self.startLoad(servingLeft: servingLeft, now: now))
  }

  /// The tag's row was read: its step counts from the next load on. Ranges that were refused are asked for again where an
  /// operator says so and the row stands high enough.
  mutating func update(step: Int64, next: Int64, isConfirmed: Bool) {
    self.step = max(1, step)
    // The row is there, and may have been mended: the next call asks.
    if self.finalAnswer != nil {
      self.finalAnswer = nil
      self.loadState = .idle
    }
    // Not by itself: other nodes, and the refused load, move the row as well, and know nothing of what was lost.
    if isConfirmed, case .refusing = self.phase, next >= max(1, self.highWater ?? 1) {
      self.phase = .active
      self.lastError = nil
    }
  }

  /// The state as numbers.
  func snapshot(servingLeft: Int64, now: UInt64) -> SegmentSnapshot {
    let used = self.used(servingLeft)
    return SegmentSnapshot(
      servingLeft: servingLeft, standbyLeft: self.standbyCount, waiters: self.waiters.count,
      waitingIDs: self.waiters.idCount, isLoading: self.loadState != .idle, loads: self.loads,
      failures: self.failures, lastError: self.lastError, highWater: self.highWater, step: self.step,
      size: max(self.sizing.size, self.step), sizeReason: self.sizing.reason, sizeChanges: self.sizing.changes,
      rate: self.sizing.rate(total: used, now: now), averageRate: self.sizing.average, used: used,
      usedEnd: self.usedEnd(servingLeft: servingLeft))
  }
}

extension SegmentStateMachine {
  mutating func failAll(with error: IDError) -> [(reply: Reply, result: Result<[IDRange], IDError>)] {
    var answers: [(reply: Reply, result: Result<[IDRange], IDError>)] = []
    self.waiters.removeAll { waiter in
      answers.append((waiter.reply, .failure(error)))
      return true
    }
    return answers
  }

  /// Why a range can't be used, or nil.
  private func reasonToRefuse(_ range: IDRange, inAnyLayout: Bool) -> IDError? {
    if let highWater = self.highWater, range.start < highWater {
      let text =
        "the store answered ids from \(range.start) on for tag '\(self.tag)', but ids below \(highWater) were received "
        + "before: the table went backwards. Move it on: mid tag advance \(self.tag) --past \(highWater - 1), then send this node SIGHUP"
      return IDError(.wentBackwards, text)
    }
    if range.isEmpty || (range.stride != self.stride && !inAnyLayout) {
      let text =
        "the store answered \(range.count) ids \(range.stride) apart for tag '\(self.tag)', "
        + "expected are ids \(self.stride) apart: mend the row, then restart this node"
      return IDError(.storeRejected, text)
    }
    if range.end - range.stride < 1 {
      let text =
        "the store answered ids from \(range.start) on for tag '\(self.tag)'. Ids start at 1: "
        + "move it on: mid tag advance \(self.tag) --past 0, then send this node SIGHUP"
      return IDError(.storeRejected, text)
    }
    return nil
  }

  /// Takes exactly `count` ids off the front of standby.
  private mutating func takeStandby(_ count: Int64) -> [IDRange] {
    var ranges: [IDRange] = []
    var missing = count
    var used = 0
    while missing > 0 {
      let rest = self.standby[used].rest
      let part = min(missing, rest.count)
      ranges.append(IDRange(start: rest.start, count: part, stride: self.stride))
      missing -= part
      self.standby[used].rest = IDRange(
        start: rest.start + part * self.stride, count: rest.count - part, stride: self.stride)
      if part == rest.count { used += 1 }
    }
    self.standby.removeFirst(used)
    self.standbyCount -= count
    // The serving range was used up before.
    self.serving = nil
    self.usedEnd = ranges.last?.end ?? self.usedEnd
    return ranges
  }

  /// Moves the first standby range to serving, or says that there is nothing to serve.
  private mutating func publication() -> Publication? {
    self.usedEnd = self.usedEnd(servingLeft: 0)
    self.serving = self.standby.first?.rest
    guard let buffer = self.standby.first else {
      self.publishedMark = nil
      self.isLoadDue = true
      return nil
    }
    self.standby.removeFirst()
    self.standbyCount -= buffer.rest.count
    // Multiplied in parts, so that a huge range does not overflow.
    let (hundreds, rest) = buffer.whole.count.quotientAndRemainder(dividingBy: 100)
    let used = hundreds * self.settings.loadAfterPercent + (rest * self.settings.loadAfterPercent + 99) / 100
    let mark = buffer.whole.start + used * self.stride
    self.isLoadDue = buffer.rest.start >= mark
    self.publishedMark = self.isLoadDue ? Int64.max : mark
    return Publication(range: buffer.rest, mark: self.publishedMark ?? Int64.max)
  }

  /// What the rate asks for, or more where that many are waited for. A single batch is covered whatever the limit.
  private mutating func startLoad(servingLeft: Int64, now: UInt64) -> SegmentLoad {
    self.loadState = .underWay
    let size = self.sizing.next(
      total: self.used(servingLeft), now: now, step: self.step, settings: self.settings)
    let most = max(self.settings.maximumLoad, self.waiters.first?.count ?? 0)
    return SegmentLoad(tag: self.tag, count: max(size, min(self.waiters.idCount, most)))
  }
}
