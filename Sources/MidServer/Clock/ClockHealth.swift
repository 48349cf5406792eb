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
    var at: Moment
  }

  private struct Peers {
    /// How far the other nodes' clocks were ahead of the store's, in nanoseconds.
    var offsets: [Int64]
    var at: UInt64
  }

  /// What an offset of the store counts for, at most: without a renewal for so long nobody knows.
  static var storeValidity: UInt64 { 900_000_000_000 }
  /// How often the other nodes' rows are read at most, while the store's clock contradicts ours.
  static var peerInterval: UInt64 { 5_000_000_000 }

  private let maxOffset: Int64
  /// How long a contradiction of the store must last before it is judged: then each node has renewed its row since.
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
    self.settling = UInt64(max(0, Self.nanoseconds(renewal))) + 2_000_000_000
  }

  // MARK: - What comes in

  /// Looks at both clocks. To be called several times a second, so that a step is told from a clock that is slewed.
  package mutating func poll(_ now: Moment) -> [Event] {
    var events: [Event] = []
    if let last = self.last {
      let step = now.difference &- last.difference
      if step.magnitude > Self.leastStep + Self.slew(now.monotonic &- last.monotonic) {
        events.append(.stepped(by: .nanoseconds(step), to: now.wall / 1_000_000))
      }
    }
    self.last = now
    if let store = self.store, now.monotonic > store.at.monotonic + Self.storeValidity { self.store = nil }
    self.judge(now, &events)
    return events
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
  /// A clock that was off does not become right because nobody says so any more: what was said last stays, and moves with
  /// the clock.
  package mutating func measured(ntp reading: NTPReading?, at now: Moment) -> [Event] {
    if reading == nil, self.verdict == .wrong(.ntp) { return [] }
    self.ntp = reading.map {
      Reference(offset: Self.nanoseconds($0.offset), uncertainty: Self.nanoseconds($0.uncertainty), at: now)
    }
    var events: [Event] = []
    self.judge(now, &events)
    return events
  }

  /// The store told its time, which lies between the sending of the question and the answer.
  ///
  /// - Parameter storeTime: milliseconds since the Unix epoch, rounded down.
  package mutating func measured(storeTime: Int64, sent: Moment, received: Moment) -> [Event] {
    let roundTrip = Int64(clamping: received.monotonic &- sent.monotonic)
    // So slow an answer says less than one that is there already.
    guard self.store == nil || roundTrip / 2 <= max(self.maxOffset / 4, 50_000_000) else { return [] }
    let (nanoseconds, overflow) = storeTime.multipliedReportingOverflow(by: 1_000_000)
    guard !overflow else { return [] }
    // In the middle of the round trip, and of the millisecond.
    let offset = nanoseconds &+ 500_000 &+ roundTrip / 2 &- received.wall
    self.store = Reference(offset: offset, uncertainty: roundTrip / 2 + 500_000, at: received)
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
    return known == 0 || now.monotonic >= known + Self.peerInterval || !self.hasSettled(known)
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
    if let store = self.store, self.exceeds(store, now, before == .trusted ? self.maxOffset : self.maxOffset / 5 * 4) {
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
    // Once off, an offset must be well within bounds before it counts as mended, so that readiness does not flap.
    func isOff(_ reference: Reference, wasOff: Bool) -> Bool {
      self.exceeds(reference, now, wasOff ? self.maxOffset / 5 * 4 : self.maxOffset)
    }
    if let ntp = self.ntp {
      if isOff(ntp, wasOff: self.verdict == .wrong(.ntp)) { return .wrong(.ntp) }
      guard let store = self.store, isOff(store, wasOff: self.verdict == .storeWrong) else { return .trusted }
      return .storeWrong
    }
    guard let store = self.store else { return .trusted }
    guard isOff(store, wasOff: self.verdict == .storeWrong || self.verdict == .wrong(.store)) else { return .trusted }
    // Rows that were read before each node had renewed its own tell nothing, nor those of long ago.
    guard let peers = self.peers, self.hasSettled(peers.at), now.monotonic <= peers.at + 2 * Self.peerInterval else {
      return nil
    }
    // Our clock as the store sees it, to compare with the others'.
    let ours = 0 &- Self.offset(store, now)
    // Ids may run a second ahead of a node's clock, and its row with them.
    let tolerance = UInt64(self.maxOffset) + 1_000_000_000
    let withUs = peers.offsets.count { ($0 &- ours).magnitude <= tolerance }
    let withStore = peers.offsets.count { $0.magnitude <= tolerance }
    return withUs > withStore ? .storeWrong : .wrong(.store)
  }

  private func exceeds(_ reference: Reference, _ now: Moment, _ allowed: Int64) -> Bool {
    let offset = Self.offset(reference, now).magnitude
    return offset > UInt64(max(0, reference.uncertainty)) + UInt64(allowed)
  }

  private static func offset(_ reference: Reference, _ now: Moment) -> Int64 {
    reference.offset &- (now.difference &- reference.at.difference)
  }

  private static func nanoseconds(_ duration: Duration) -> Int64 {
    let (seconds, attoseconds) = duration.components
    let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    guard !overflow else { return seconds < 0 ? .min : .max }
    return product.addingReportingOverflow(attoseconds / 1_000_000_000).partialValue
  }
}
