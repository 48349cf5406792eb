internal import Synchronization

/// Gives out Snowflake ids of one worker: strictly increasing, never twice, never 0 or below. Safe to call from any
/// number of threads; no call waits, locks or allocates where it gives an id.
///
/// The state is one word: the *position* of the next id, `tick << sequenceBits | sequence`. A call reads the word and the
/// clock, works out the first position it may use, and moves the word past it by one compare-and-swap. Positions only
/// grow, so the call whose swap succeeds owns what lies between. A batch is the same with a longer step.
///
/// Time rules, for the clock's tick `now`:
/// - The word lies in an earlier tick: go on at `now`, at a start of the sequence that looks random (below `jitter`), so
///   that ids of quiet times do not cluster on even numbers. After an exhausted tick the next one starts at 0, which keeps
///   the full rate.
/// - The word lies in `now`: the next sequence. Used up: ``SnowflakeOutcome/wait(_:)``; nobody holds a lock meanwhile.
/// - The word lies ahead (the clock stepped back, or a batch ran ahead): go on by sequence, into later ticks too, while
///   they are at most `maxAhead` past `now`; then wait.
///
/// Issuing needs a grant (see ``grant(floorWallMilliseconds:boundWallMilliseconds:leaseEnd:)``): nothing below its floor
/// and nothing that reaches its bound is ever given out, whatever the clock says. Whoever keeps the bound in a store
/// therefore knows what a crashed or frozen process can have issued. Nothing is given out either once the lease has ended
/// by the monotonic clock, whatever the wall clock says.
///
/// It does not promise that two generators differ: that is the worker id's part.
///
/// Cost: a reading of each clock and one compare-and-swap.
/// Source: Twitter Snowflake; the layout is ``SnowflakeLayout``.
public final class SnowflakeGenerator: Sendable {
  /// The word of a generator that may not issue. No position reaches it: they have 63 bits.
  static let closed = UInt64.max

  /// What only the keeper of the bound changes.
  struct Control: Sendable {
    /// Where to go on after the next grant; valid while the word is ``closed``.
    var resume: UInt64
    /// Why nothing is issued while the word is ``closed``.
    var reason: IDError
    /// Whether a grant was ever given, so that a late caller may still hold an old word.
    var wasGranted = false
    /// Whether ``SnowflakeGenerator/close()`` was called.
    var isFinal = false
  }

  /// How ids are put together.
  public let layout: SnowflakeLayout
  /// Whose ids they are.
  public let worker: WorkerID
  let clock: any TimeSource
  let ticksAhead: Int64
  let jitter: UInt64
  let salt: UInt64
  let shift: UInt64
  /// The position of the next id, or ``closed``.
  let word: Atomic<UInt64>
  /// The first position that must not be issued. Grows while the word is open.
  let boundPosition = Atomic<UInt64>(0)
  /// When the lease ends, in nanoseconds of the monotonic clock; `UInt64.max` where there is none. Grows while the word is
  /// open.
  let leaseEnd = Atomic<UInt64>(.max)
  let control: Mutex<Control>

  /// Creates a generator that issues nothing until its first grant.
  ///
  /// - Parameters:
  ///   - layout: How ids are put together.
  ///   - worker: Whose ids they are; checked against the layout again.
  ///   - clock: Read once a call.
  ///   - maxAhead: How far ids may run ahead of the clock, 0 to 60 s, rounded down to whole ticks. 1 s is usual.
  ///   - sequenceJitter: A new tick's sequence starts below this number, 0 to 4096; 0 and 1 turn it off, 100 is usual.
  ///     At most a quarter of the layout's sequences is used, so that a narrow layout keeps its rate.
  ///   - salt: A random number of this process, which the starts are drawn from.
  /// - Throws: ``IDError/Code/invalidArgument`` with every reason.
  public init(
    layout: SnowflakeLayout, worker: WorkerID, clock: any TimeSource, maxAhead: Duration, sequenceJitter: Int,
    salt: UInt64
  ) throws(IDError) {
    var reasons: [String] = []
    if !(0...layout.maximumWorker).contains(worker.number) {
      reasons.append("the worker id is 0 to \(layout.maximumWorker), not \(worker.number)")
    }
    if maxAhead < .zero || maxAhead > .seconds(60) {
      reasons.append("ids may run ahead of the clock by 0 to 60 s, not \(maxAhead)")
    }
    if !(0...4096).contains(sequenceJitter) {
      reasons.append("the sequence jitter is 0 to 4096, not \(sequenceJitter)")
    }
    guard reasons.isEmpty else { throw IDError(.invalidArgument, "snowflake: " + reasons.joined(separator: "; ")) }
    self.layout = layout
    self.worker = worker
    self.clock = clock
    self.ticksAhead = Int64(maxAhead / .milliseconds(1)) / layout.tickMilliseconds
    self.jitter = UInt64(min(Int64(sequenceJitter), layout.sequencesPerTick / 4))
    self.salt = salt
    self.shift = UInt64(layout.sequenceBits)
    self.word = Atomic(Self.closed)
    // Tick 0 is left out: with worker 0 its first id would be 0.
    self.control = Mutex(
      Control(resume: 1 << UInt64(layout.sequenceBits), reason: IDError(.leaseLost, Self.noGrant(of: worker))))
  }

  /// How far ids may run ahead of the clock, in whole ticks.
  public var maxAhead: Duration { .milliseconds(self.ticksAhead * self.layout.tickMilliseconds) }

  /// The next id.
  public func next() -> SnowflakeOutcome {
    let now = self.clock.wallMilliseconds()
    var position = self.word.load(ordering: .acquiring)
    while true {
      switch self.room(at: position, now: now, mayStartAhead: false) {
      case .from(let start, _):
        let (exchanged, current) = self.word.compareExchange(
          expected: position, desired: start + 1, ordering: .acquiringAndReleasing)
        if exchanged { return .id(self.id(at: start)) }
        position = current
      case .wait(let wait): return .wait(wait)
      case .failure(let error): return .failure(error)
      }
    }
  }

  /// Up to `count` ids, 1 to 1,000,000, by one compare-and-swap: fewer where the time ahead or the bound ends first.
  ///
  /// A batch may use later ticks up to `maxAhead` at once; ``next()`` goes on behind it.
  public func take(upTo count: Int64) -> SnowflakeBatchOutcome {
    if let error = BatchLimit.error(for: count) { return .failure(error) }
    let now = self.clock.wallMilliseconds()
    var position = self.word.load(ordering: .acquiring)
    while true {
      switch self.room(at: position, now: now, mayStartAhead: true) {
      case .from(let start, let limit):
        let end = min(limit, start + UInt64(count))
        let (exchanged, current) = self.word.compareExchange(
          expected: position, desired: end, ordering: .acquiringAndReleasing)
        if exchanged { return .ids(self.ranges(from: start, to: end)) }
        position = current
      case .wait(let wait): return .wait(wait)
      case .failure(let error): return .failure(error)
      }
    }
  }

  /// What to answer a caller whose deadline came before the end of `wait`: ``IDError/Code/clockBehind`` with the two
  /// times, or ``IDError/Code/deadlineExceeded`` where only the next tick was missing.
  public func deadlineError(for wait: SnowflakeWait) -> IDError {
    let now = WallTime(milliseconds: wait.nowWallMilliseconds)
    switch wait.reason {
    case .nextTick:
      return IDError(.deadlineExceeded, "all \(self.layout.sequencesPerTick) ids of the tick at \(now) are given out")
    case .clock:
      let ahead = self.ticksAhead * self.layout.tickMilliseconds
      let reached = WallTime(milliseconds: wait.untilWallMilliseconds + ahead)
      return IDError(
        .clockBehind,
        "the clock reads \(now), the ids of worker \(self.worker.number) have reached \(reached); "
          + "they may run ahead by \(ahead) ms")
    }
  }
}

extension SnowflakeGenerator {
  /// What a call may use, worked out from the word and the clock.
  enum Room {
    /// Positions from the first up to, not including, the second; at least one.
    case from(UInt64, UInt64)
    case wait(SnowflakeWait)
    case failure(IDError)
  }

  /// The positions that may be issued now.
  ///
  /// - Parameter mayStartAhead: Whether to go on into the tick after an exhausted one that the clock still shows: a batch
  ///   does, a single id waits.
  func room(at position: UInt64, now: Int64, mayStartAhead: Bool) -> Room {
    guard position != Self.closed else { return .failure(self.refusal()) }
    let leaseEnd = self.leaseEnd.load(ordering: .acquiring)
    guard leaseEnd == .max || self.clock.monotonicNanoseconds() < leaseEnd else { return .failure(self.leaseEnded()) }
    let layout = self.layout
    guard now >= layout.epochMilliseconds else { return .failure(self.beforeEpoch(now)) }
    let elapsed = now - layout.epochMilliseconds
    let tick = layout.tickMilliseconds == 1 ? elapsed : elapsed / layout.tickMilliseconds
    guard tick <= layout.maximumTick else { return .failure(self.endOfTime()) }

    let base = UInt64(tick) << self.shift
    let start = position < base ? base + self.firstSequence(ofTick: UInt64(tick)) : position
    if !mayStartAhead, start == base + (1 << self.shift) { return self.wait(for: start, tick: tick, now: now) }
    let lastTick = min(tick + self.ticksAhead, layout.maximumTick)
    let timeLimit = UInt64(lastTick + 1) << self.shift
    guard start < timeLimit else { return self.wait(for: start, tick: tick, now: now) }
    let bound = self.boundPosition.load(ordering: .acquiring)
    guard start < bound else { return .failure(self.pastBound(bound, now: now)) }
    return .from(start, min(timeLimit, bound))
  }

  /// The wait until `start` may be issued, or the end of time where it never may.
  private func wait(for start: UInt64, tick: Int64, now: Int64) -> Room {
    let startTick = Int64(start >> self.shift)
    guard startTick <= self.layout.maximumTick else { return .failure(self.endOfTime()) }
    let isNext = startTick == tick + 1
    let until = self.layout.wallMilliseconds(ofTick: isNext ? startTick : startTick - self.ticksAhead)
    return .wait(
      SnowflakeWait(
        untilWallMilliseconds: until, nowWallMilliseconds: now, reason: isNext ? .nextTick : .clock))
  }

  /// Where the sequence of a fresh tick starts: a hash of tick and salt, so that the hot path needs no generator.
  /// The mixing function is SplitMix64's (Steele, Lea, Flood 2014).
  private func firstSequence(ofTick tick: UInt64) -> UInt64 {
    guard self.jitter > 1 else { return 0 }
    var mixed = tick &* 0x9E37_79B9_7F4A_7C15 &+ self.salt
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return (mixed ^ (mixed >> 31)).multipliedFullWidth(by: self.jitter).high
  }

  private func id(at position: UInt64) -> Int64 {
    self.layout.id(
      tick: Int64(position >> self.shift), worker: self.worker.number,
      sequence: Int64(position & ((1 << self.shift) - 1)))
  }

  private func ranges(from start: UInt64, to end: UInt64) -> [IDRange] {
    var ranges: [IDRange] = []
    ranges.reserveCapacity(Int((end - 1) >> self.shift) - Int(start >> self.shift) + 1)
    var position = start
    while position < end {
      let tickEnd = min(end, ((position >> self.shift) + 1) << self.shift)
      ranges.append(
        IDRange(
          start: self.id(at: position), count: Int64(tickEnd - position), stride: self.layout.idStride))
      position = tickEnd
    }
    return ranges
  }
}
