import MidCore

/// When the tag list is read, and which calls wait for it, as a value: events go in, what is to be done comes out.
///
/// A name that is not in the list may have been made a moment ago, so its call waits for a read that begins after it. Reads
/// begin one after another and at most once in ``pause``, however many names are asked for. Two things keep that cheap:
/// - A name that the last read was for and that was not there is answered at once from that list, which is ``pause`` old at most.
///   That it was not there is remembered as long as it is asked for between one read and the next.
/// - At most ``maximumUnknown`` calls wait for names that the list has not; further ones are answered from it at once, unless it
///   could not be read again: then they fail.
struct TagLookups<Reply: Sendable>: Sendable {
  /// Names a call that waits.
  struct ID: Sendable, Hashable {
    fileprivate let number: UInt64
  }

  /// A call that waits.
  struct Call: Sendable {
    let tag: Tag
    let reply: Reply
    fileprivate var wait: Wait
    /// Whether a list brings the answer; else its tag's cached ids do, once they have gone back.
    var isForList: Bool { self.wait != .retirement }
  }

  fileprivate enum Wait: Sendable {
    /// For the next read to begin.
    case read
    /// For the read under way, which began after the call.
    case readUnderWay
    /// For the tag's cached ids to have gone back.
    case retirement
  }

  /// What the caller has to do, after it has left the lock.
  enum Effect: Sendable, Equatable {
    case nothing
    /// Read the list; it counts as under way.
    case read
    /// Call ``due(now:)`` after so long.
    case wait(Duration)
  }

  /// What becomes of a call for a name that is not in the list.
  enum Verdict: Sendable, Equatable {
    case waits(ID, Effect)
    /// It is not there, by a list that is new enough.
    case absent
    /// Too many wait, and the list could not be read the last time.
    case unreadable
    /// Too many wait, and nothing is known that is new enough.
    case overloaded
  }

  /// The least time between the beginnings of two reads that unknown names ask for.
  static var pause: Duration { .seconds(1) }
  /// How many calls at most wait for names that the list has not, and how many names are remembered not to be there.
  static var maximumUnknown: Int { 1000 }

  private let maximumWaiting: Int
  private var calls: [ID: Call] = [:]
  /// How many of them wait for a list, so that a flood of names need not count.
  private var listCount = 0
  private var nextNumber: UInt64 = 0
  /// Names that the last list was read for and does not have, or that were not in an earlier one and are asked for since.
  private var absent: Set<Tag> = []
  /// Those of them that were asked for since.
  private var askedAgain: Set<Tag> = []
  /// By the monotonic clock: when the last read began.
  private var lastBegin: UInt64?
  private var isPlanned = false
  /// Whether an operator has asked for a read that is still to begin.
  private var wantsReload = false
  /// Whether the last read failed.
  private var hasFailed = false
  /// Whether a list was read.
  private(set) var isRead = false
  /// Whether a read is under way.
  private(set) var isReading = false
  /// Whether an operator has asked for the read under way.
  private(set) var isConfirming = false

  init(maximumWaiting: Int) { self.maximumWaiting = maximumWaiting }

  /// How many wait.
  var count: Int { self.calls.count }

  // MARK: Calls

  /// A call for a name that is not in the list.
  mutating func ask(_ tag: Tag, now: UInt64, reply: Reply) -> Verdict {
    guard self.isRead else {
      guard self.count < self.maximumWaiting else { return .overloaded }
      return self.add(tag, now: now, reply)
    }
    if self.absent.contains(tag) {
      self.askedAgain.insert(tag)
      if !self.isReading && !self.mayRead(now: now) { return .absent }
    }
    guard self.listCount < min(Self.maximumUnknown, self.maximumWaiting) else {
      if self.hasFailed { return .unreadable }
      // A read that does not come to an end says nothing, and the list before it is old.
      return self.isReading && self.age(now: now) >= Self.pause ? .overloaded : .absent
    }
    return self.add(tag, now: now, reply)
  }

  private mutating func add(_ tag: Tag, now: UInt64, _ reply: Reply) -> Verdict {
    let id = self.insert(Call(tag: tag, reply: reply, wait: .read))
    return .waits(id, self.isReading ? .nothing : self.readOrPlan(now: now))
  }

  /// A call for a tag whose cached ids are going back; nil where too many wait.
  mutating func waitForRetirement(of tag: Tag, reply: Reply) -> ID? {
    guard self.count < self.maximumWaiting else { return nil }
    return self.insert(Call(tag: tag, reply: reply, wait: .retirement))
  }

  private mutating func insert(_ call: Call) -> ID {
    defer { self.nextNumber += 1 }
    let id = ID(number: self.nextNumber)
    self.calls[id] = call
    if call.isForList { self.listCount += 1 }
    return id
  }

  /// A call's deadline has come, or its caller is gone: nil where it was answered already.
  mutating func remove(_ id: ID) -> Call? {
    guard let call = self.calls.removeValue(forKey: id) else { return nil }
    if call.isForList { self.listCount -= 1 }
    return call
  }

  /// The cached ids of `tag` are back: those who waited for that.
  mutating func retired(_ tag: Tag) -> [Call] { self.take { !$1.isForList && $1.tag == tag } }

  /// Nothing is served any more: everyone.
  mutating func close() -> [Call] { self.take { _, _ in true } }

  /// - Returns: Those that are taken out, in the order in which they came.
  private mutating func take(where isTaken: (ID, Call) -> Bool) -> [Call] {
    let taken = self.inOrder(where: isTaken)
    for (id, _) in taken { _ = self.remove(id) }
    return taken.map(\.value)
  }

  private func inOrder(where isIncluded: (ID, Call) -> Bool) -> [(key: ID, value: Call)] {
    self.calls.filter { isIncluded($0.key, $0.value) }.sorted { $0.key.number < $1.key.number }
  }

  // MARK: Reads

  /// A read that is due by itself: whether it may begin, which it then has.
  mutating func beginIfIdle(now: UInt64) -> Bool {
    guard !self.isReading else { return false }
    self.begin(now: now)
    return true
  }

  /// A read that is worth it if there was none a moment ago.
  mutating func beginIfOld(now: UInt64) -> Effect {
    guard !self.isReading, self.mayRead(now: now) else { return .nothing }
    self.begin(now: now)
    return .read
  }

  /// An operator wants a read that begins now or later: what is being read may be older than the operator's change.
  mutating func reload(now: UInt64) -> Effect {
    self.wantsReload = true
    return self.isReading ? .nothing : self.goOn(now: now)
  }

  /// The time that a ``Effect/wait(_:)`` named has passed.
  mutating func due(now: UInt64) -> Effect {
    self.isPlanned = false
    return self.isReading ? .nothing : self.goOn(now: now)
  }

  /// The list was read, and `isKnown` says which names it has.
  ///
  /// - Returns: The calls to answer: those of names that are there, and those that the read was for.
  mutating func readEnded(now: UInt64, isKnown: (Tag) -> Bool) -> (calls: [Call], effect: Effect) {
    self.isRead = true
    self.hasFailed = false
    self.rememberAbsence(isKnown)
    let absent = self.absent
    let unsettled = self.inOrder { $1.wait == .read && !isKnown($1.tag) && !absent.contains($1.tag) }
    let staying = Set(unsettled.prefix(min(Self.maximumUnknown, self.maximumWaiting)).map(\.key))
    let answered = self.take { $1.isForList && !staying.contains($0) }
    self.endRead()
    return (answered, self.goOn(now: now))
  }

  /// The list could not be read. What an operator has asked for stands: where this read was older than that, the next one begins
  /// at once; where it was the one, the next one is, whoever asks for it.
  ///
  /// - Returns: The calls to fail: all, or none where the list was never read, since the next read may bring it.
  mutating func readFailed(now: UInt64) -> (calls: [Call], effect: Effect) {
    self.hasFailed = true
    // The list that they are not in is no longer new enough.
    self.absent = []
    self.askedAgain = []
    let failed = self.isRead ? self.take { $1.isForList } : []
    self.setWait(of: .readUnderWay, to: .read)
    let wasConfirming = self.isConfirming
    self.endRead()
    guard wasConfirming && !self.wantsReload else { return (failed, self.goOn(now: now)) }
    // Not at once: a store that does not answer would be asked without a pause.
    self.wantsReload = true
    return (failed, self.goOnForCalls(now: now))
  }

  private mutating func rememberAbsence(_ isKnown: (Tag) -> Bool) {
    var absent: Set<Tag> = []
    let readFor = self.calls.values.lazy.filter { $0.wait == .readUnderWay }.map(\.tag)
    for tags in [Set(readFor), self.askedAgain] {
      for tag in tags where !isKnown(tag) && absent.count < Self.maximumUnknown { absent.insert(tag) }
    }
    self.absent = absent
    self.askedAgain = []
  }

  private mutating func endRead() {
    self.isReading = false
    self.isConfirming = false
  }

  /// The next read, where an operator or a call waits for one.
  private mutating func goOn(now: UInt64) -> Effect {
    if self.wantsReload {
      self.begin(now: now)
      return .read
    }
    return self.goOnForCalls(now: now)
  }

  private mutating func goOnForCalls(now: UInt64) -> Effect {
    self.calls.values.contains { $0.wait == .read } ? self.readOrPlan(now: now) : .nothing
  }

  private mutating func readOrPlan(now: UInt64) -> Effect {
    if self.mayRead(now: now) {
      self.begin(now: now)
      return .read
    }
    guard !self.isPlanned else { return .nothing }
    self.isPlanned = true
    return .wait(Self.pause - self.age(now: now))
  }

  private func mayRead(now: UInt64) -> Bool { self.lastBegin == nil || self.age(now: now) >= Self.pause }

  /// How long ago the last read began. Threads read the clock before they take the lock, and so may come with an earlier time
  /// than the one before.
  private func age(now: UInt64) -> Duration {
    guard let lastBegin = self.lastBegin, now > lastBegin else { return .zero }
    return .nanoseconds(Int64(clamping: now - lastBegin))
  }

  private mutating func begin(now: UInt64) {
    self.isReading = true
    self.isConfirming = self.wantsReload
    self.wantsReload = false
    self.lastBegin = now
    self.setWait(of: .read, to: .readUnderWay)
  }

  private mutating func setWait(of old: Wait, to new: Wait) {
    for id in self.calls.keys where self.calls[id]?.wait == old { self.calls[id]?.wait = new }
  }
}
