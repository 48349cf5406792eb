/// Whether this machine's wall clock can be trusted: what NTP servers, the store and its other nodes say of it, and whether
/// it steps. Pure: readings come in, events come out.
///
/// What was measured once stays true while the clock runs: an offset is kept against the monotonic clock, so that a step
/// of the wall clock shows in it at once, and not only at the next measurement.
///
/// Whom it believes, in this order:
/// 1. NTP servers, where a majority of them agrees.
/// 2. The store's clock, unless more of the other nodes that hold leases in it agree with our clock than with the store's:
///    a store whose clock is wrong must not take a whole fleet out of service.
///
/// Without either nothing is held against the clock. See `docs/clock.md`.
package struct ClockHealth: Sendable {
  /// A reading of both clocks at one moment, in nanoseconds.
  package struct Moment: Sendable, Hashable {
    /// Since the Unix epoch, by the wall clock.
    package var wall: Int64
    /// By a clock that never steps and goes on during sleep.
    package var monotonic: UInt64

    /// Creates a moment.
    package init(wall: Int64, monotonic: UInt64) {
      self.wall = wall
      self.monotonic = monotonic
    }

    /// What a step of the wall clock changes, and nothing else does.
    var difference: Int64 { self.wall &- Int64(bitPattern: self.monotonic) }
  }

  /// Whose clock ours is held against.
  package enum Source: String, Sendable, Hashable {
    /// NTP servers.
    case ntp
    /// The store.
    case store
  }

  /// What an operator may want to know. Each is told once.
  package enum Event: Sendable, Hashable {
    /// The wall clock has stepped, forward where positive, to a reading in milliseconds since the Unix epoch.
    case stepped(by: Duration, to: Int64)
    /// Our clock is off by more than is allowed: it lies `offset` behind the source, or ahead where negative.
    case exceeded(Source, offset: Duration)
    /// Our clock is within bounds again.
    case recovered
    /// The store's clock lies `offset` ahead of ours, and it is the store's that is wrong.
    case storeWrong(offset: Duration)
    /// The store's clock and ours are together again.
    case storeRight
    /// The kernel's clock is disciplined by nothing.
    case unsynchronized
    /// The kernel's clock is disciplined, after it was not.
    case synchronized
    /// The kernel will insert a second at the end of the UTC day (1), or leave one out (-1).
    case leapSecond(Int)
  }

  /// The judgement.
  package enum Verdict: Sendable, Hashable {
    /// Nothing speaks against our clock.
    case trusted
    /// Ours is off, says this source.
    case wrong(Source)
    /// The store's is off.
    case storeWrong
  }

  private struct Reference {
    /// How far its clock was ahead of ours, in nanoseconds.
    var offset: Int64
    var uncertainty: Int64
    /// Our wall clock less our monotonic one when it was measured.
    var difference: Int64
    var at: UInt64
  }

  private struct Peers {
    /// How far the other nodes' clocks were ahead of the store's, in nanoseconds.
    var offsets: [Int64]
    var at: UInt64
  }

  /// What an offset of the store counts for, at most: without a renewal for so long nobody knows.
  static var storeValidity: UInt64 { 900_000_000_000 }
  /// How often the other nodes' rows are read at most, while the store's clock contradicts ours: until there is a
  /// judgement, and after that.
  static var peerInterval: UInt64 { 5_000_000_000 }
  static var settledPeerInterval: UInt64 { 30_000_000_000 }
  /// How far ids may run ahead of a node's clock, and its row with them.
  static var ahead: Int64 { 1_000_000_000 }

  private let maxOffset: Int64
  /// How long a contradiction of the store must last before it is judged: then no row counts that was renewed before; see
  /// ``MidCore/WorkerList/clockOffsets(besides:renewal:lease:)``.
  private let settling: UInt64
  private var last: Moment?
  private var ntp: Reference?
  private var store: Reference?
  private var peers: Peers?
  private var askedPeersAt: UInt64 = 0
  /// Since when the store contradicts our clock.
  private var contradictedAt: UInt64?
  private var kernel: KernelClock?
  /// The judgement as it stands.
  package private(set) var verdict = Verdict.trusted

  /// Creates a state that knows nothing.
  ///
  /// - Parameters:
  ///   - maxOffset: how far the clock may be off.
  ///   - renewal: how often nodes renew their rows.
  package init(maxOffset: Duration, renewal: Duration) {
    self.maxOffset = Self.nanoseconds(maxOffset)
    let interval = UInt64(max(0, Self.nanoseconds(renewal)))
    self.settling = interval + interval / 2 + 2_000_000_000
  }

  // MARK: - What comes in

  /// Looks at both clocks. To be called several times a second, so that a step is told from a clock that is slewed.
  package mutating func poll(_ now: Moment) -> [Event] {
    var events: [Event] = []
    if let last = self.last {
      let step = now.difference &- last.difference
      if step.magnitude > Self.leastStep + Self.slew(now.monotonic &- last.monotonic) {
        events.append(.stepped(by: .nanoseconds(step), to: now.wall / 1_000_000))
        self.followLeapSecond(step)
      }
    }
    self.last = now
    // A clock that was off does not become right because the store is silent.
    if let store = self.store, now.monotonic > store.at + Self.storeValidity, self.verdict != .wrong(.store) {
      self.store = nil
    }
    self.judge(now, &events)
    return events
  }

  /// A leap second that was announced steps the other clocks too.
  private mutating func followLeapSecond(_ step: Int64) {
    guard let leap = self.kernel?.leap, leap != 0 else { return }
    let second = Int64(-leap) * 1_000_000_000
    guard (step &- second).magnitude <= Self.leastStep else { return }
    self.ntp?.difference += second
    self.store?.difference += second
  }

  /// Less than this is no step worth a word.
  private static var leastStep: UInt64 { 50_000_000 }

  /// How far a clock that is being corrected, by running faster or slower, may move against the monotonic one.
  private static func slew(_ elapsed: UInt64) -> UInt64 {
    #if os(Linux)
      // Both run faster and slower together.
      return 0
    #else
      // A tenth is more than daemons do (chrony's default is a twelfth).
      return elapsed / 10
    #endif
  }

  /// What the kernel says, or nil where it can't be asked.
  package mutating func asked(kernel: KernelClock?) -> [Event] {
    defer { self.kernel = kernel }
    guard let kernel else { return [] }
    var events: [Event] = []
    let wasSynchronized = self.kernel?.isSynchronized ?? true
    if wasSynchronized != kernel.isSynchronized {
      events.append(kernel.isSynchronized ? .synchronized : .unsynchronized)
    }
    if kernel.leap != 0, kernel.leap != self.kernel?.leap { events.append(.leapSecond(kernel.leap)) }
    return events
  }

  /// What the NTP servers say, or nil where they say nothing that counts any more.
  ///
  /// A clock that was off does not become right because they fall silent: what was said last stays, and moves with the clock,
  /// unless the store says that the clock is right.
  package mutating func measured(ntp reading: NTPReading?, at now: Moment) -> [Event] {
    var events: [Event] = []
    if let reading {
      self.ntp = Reference(
        offset: Self.nanoseconds(reading.offset), uncertainty: Self.nanoseconds(reading.uncertainty),
        difference: reading.clockDifference, at: now.monotonic)
    } else if self.verdict != .wrong(.ntp) || self.store.map({ !self.isOff($0, now, wasOff: true) }) ?? false {
      self.ntp = nil
    }
    self.judge(now, &events)
    return events
  }

  /// The store told its time, which lies between the sending of the question and the answer.
  ///
  /// - Parameter storeTime: milliseconds since the Unix epoch, rounded down.
  package mutating func measured(storeTime: Int64, sent: Moment, received: Moment) -> [Event] {
    let roundTrip = Int64(clamping: received.monotonic &- sent.monotonic)
    let uncertainty = roundTrip / 2 + 500_000
    // An answer that took long says less than one that is there already, for as long as that one is young.
    if let known = self.store, uncertainty > max(self.maxOffset / 4, 2 * known.uncertainty),
      received.monotonic < known.at + 60_000_000_000
    {
      return []
    }
    let (nanoseconds, overflow) = storeTime.multipliedReportingOverflow(by: 1_000_000)
    guard !overflow else { return [] }
    // In the middle of the round trip, and of the millisecond.
    let offset = nanoseconds &+ 500_000 &+ roundTrip / 2 &- received.wall
    self.store = Reference(
      offset: offset, uncertainty: uncertainty, difference: received.difference, at: received.monotonic)
    var events: [Event] = []
    self.judge(received, &events)
    return events
  }

  /// The rows of the other nodes, which hold what their clocks showed when they were renewed.
  ///
  /// - Parameter offsets: how far each node's clock was ahead of the store's.
  package mutating func measured(peers offsets: [Duration], at now: Moment) -> [Event] {
    self.peers = Peers(offsets: offsets.map(Self.nanoseconds), at: now.monotonic)
    var events: [Event] = []
    self.judge(now, &events)
    return events
  }

  // MARK: - What comes out

  /// Whether the rows of the other nodes should be read now: the store's clock contradicts ours, and nobody else can
  /// tell whose is wrong.
  package func wantsPeers(_ now: Moment) -> Bool {
    guard self.ntp == nil, self.store != nil, self.hasSettled(now.monotonic) else { return false }
    let known = max(self.peers?.at ?? 0, self.askedPeersAt)
    let interval = self.verdict == .trusted ? Self.peerInterval : Self.settledPeerInterval
    return known == 0 || now.monotonic >= known + interval || !self.hasSettled(known)
  }

  /// Whether the store had contradicted our clock for long enough by then.
  private func hasSettled(_ moment: UInt64) -> Bool {
    guard let since = self.contradictedAt else { return false }
    return moment >= since + self.settling
  }

  /// As ``wantsPeers(_:)``; where it is so, it is not again for a while, whatever comes of the question.
  package mutating func beginAskingPeers(_ now: Moment) -> Bool {
    guard self.wantsPeers(now) else { return false }
    self.askedPeersAt = now.monotonic
    return true
  }

  /// How far the source's clock is ahead of ours now, or nil where it was not asked.
  package func offset(of source: Source, _ now: Moment) -> Duration? {
    let reference = source == .ntp ? self.ntp : self.store
    return reference.map { .nanoseconds(Self.offset($0, now)) }
  }

  // MARK: - The judgement

  private mutating func judge(_ now: Moment, _ events: inout [Event]) {
    let before = self.verdict
    if let store = self.store, self.isOff(store, now, wasOff: before != .trusted) {
      self.contradictedAt = self.contradictedAt ?? now.monotonic
    } else {
      self.contradictedAt = nil
    }
    guard let verdict = self.newVerdict(now), verdict != before else { return }
    self.verdict = verdict
    switch verdict {
    case .wrong(let source): events.append(.exceeded(source, offset: self.offset(of: source, now) ?? .zero))
    case .storeWrong:
      if case .wrong = before { events.append(.recovered) }
      events.append(.storeWrong(offset: self.offset(of: .store, now) ?? .zero))
    case .trusted: events.append(before == .storeWrong ? .storeRight : .recovered)
    }
  }

  /// The judgement now; nil where it is not known yet and the old one stands.
  private func newVerdict(_ now: Moment) -> Verdict? {
    if let ntp = self.ntp {
      if self.isOff(ntp, now, wasOff: self.verdict == .wrong(.ntp)) { return .wrong(.ntp) }
      guard let store = self.store, self.isOff(store, now, wasOff: self.verdict == .storeWrong) else { return .trusted }
      return .storeWrong
    }
    guard let store = self.store else { return .trusted }
    guard self.isOff(store, now, wasOff: self.verdict == .storeWrong || self.verdict == .wrong(.store)) else {
      return .trusted
    }
    // Rows that were read before each node had renewed its own tell nothing, nor those of long ago.
    guard let peers = self.peers, self.hasSettled(peers.at), now.monotonic <= peers.at + 2 * Self.peerInterval else {
      return nil
    }
    let votes = self.votes(of: peers.offsets, us: 0 &- Self.offset(store, now))
    if votes.us > votes.store { return .storeWrong }
    // What was judged stands until a majority is against it: others that restart are no reason.
    return self.verdict == .storeWrong && votes.us == votes.store ? nil : .wrong(.store)
  }

  /// How many of the other nodes' clocks are nearer to ours, and how many nearer to the store's. Those that are near neither
  /// count for neither.
  ///
  /// - Parameters:
  ///   - offsets: How far each was ahead of the store's at most; it may be less by ``ahead``.
  ///   - us: How far ours is ahead of the store's.
  private func votes(of offsets: [Int64], us: Int64) -> (us: Int, store: Int) {
    func distance(from offset: Int64, to clock: Int64) -> (beyond: UInt64, whole: UInt64) {
      let whole = clock &- offset
      let low = clock &- (offset &- Self.ahead)
      return (whole > 0 ? whole.magnitude : low < 0 ? low.magnitude : 0, whole.magnitude)
    }
    var votes = (us: 0, store: 0)
    for offset in offsets {
      let toUs = distance(from: offset, to: us)
      let toStore = distance(from: offset, to: 0)
      guard min(toUs.beyond, toStore.beyond) <= UInt64(self.maxOffset), toUs != toStore else { continue }
      if toUs < toStore { votes.us += 1 } else { votes.store += 1 }
    }
    return votes
  }

  /// Whether an offset is too large. Once it was, it must be well within bounds before it counts as mended, so that readiness
  /// does not flap; and what is not known for sure does not mend it.
  private func isOff(_ reference: Reference, _ now: Moment, wasOff: Bool) -> Bool {
    let offset = Self.offset(reference, now).magnitude
    if wasOff { return offset > UInt64(self.maxOffset / 5 * 4) }
    return offset > UInt64(max(0, reference.uncertainty)) + UInt64(self.maxOffset)
  }

  private static func offset(_ reference: Reference, _ now: Moment) -> Int64 {
    reference.offset &- (now.difference &- reference.difference)
  }

  private static func nanoseconds(_ duration: Duration) -> Int64 {
    let (seconds, attoseconds) = duration.components
    let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    guard !overflow else { return seconds < 0 ? .min : .max }
    return product.addingReportingOverflow(attoseconds / 1_000_000_000).partialValue
  }
}
