internal import Synchronization

/// The rules of monotonic ULIDs: within a millisecond the random part grows by one.
///
/// Each is larger than the one before, also while the clock stands, or stands behind by at most ``ClockReturn/maximumLead``:
/// the time stays then. Where the clock is further behind, the next ULID takes its time and new random bits. A random part
/// that is used up is an error, never a wrap; the next millisecond is well again.
struct ULIDStateMachine: Sendable {
  private var last: ULID?

  /// The last ULID's time; -1 before the first.
  var milliseconds: Int64 { self.last?.milliseconds ?? -1 }

  /// The next ULID at `now`, milliseconds since 1970, with random bits of which 80 are used in a new millisecond.
  ///
  /// - Throws: ``IDError/Code/overloaded`` where the millisecond has no more, ``IDError/Code/exhausted`` where the time does
  ///   not fit. The state stays as it was.
  mutating func next(at now: Int64, random: UInt128) throws(IDError) -> ULID {
    guard let last = self.last, now <= last.milliseconds, !ClockReturn.isDue(from: last.milliseconds, to: now) else {
      let fresh = try ULID(milliseconds: now, random: random)
      self.last = fresh
      return fresh
    }
    guard last.random < 1 << 80 - 1 else {
      throw IDError(
        .overloaded, "the millisecond \(last.milliseconds) has no more ULIDs; the clock has to pass it first")
    }
    let next = ULID(bits: last.bits + 1)
    self.last = next
    return next
  }
}

/// Makes ULIDs, each larger than all that this generator made before, also where the clock steps back by up to 10 s. Where it
/// steps back further, those that follow are below those before, and have random bits of their own.
///
/// Safe to use from any thread. Generators of other processes are told apart by the 80 random bits that a millisecond begins
/// with. Within a millisecond the next one is this one plus 1: ULIDs are no secrets. Nothing is stored.
///
/// Source: https://github.com/ulid/spec, "Monotonicity".
public final class ULIDGenerator: Sendable {
  private let clock: any TimeSource
  private let random: RandomPool
  private let state = Mutex(ULIDStateMachine())
  private let onClockReturn: @Sendable (Duration) -> Void

  /// Creates a generator.
  ///
  /// - Parameters:
  ///   - clock: whose wall clock is read.
  ///   - random: where random bits come from; may be shared.
  ///   - onClockReturn: is told where ULIDs follow the clock back, and by how much, more than 10 s. It is called by the thread
  ///     that makes the ULID, and should be quick.
  public init(
    clock: any TimeSource, random: RandomPool,
    onClockReturn: @escaping @Sendable (_ by: Duration) -> Void = { _ in }
  ) {
    self.clock = clock
    self.random = random
    self.onClockReturn = onClockReturn
  }

  /// The next ULID.
  ///
  /// - Throws: ``IDError/Code/overloaded`` where this millisecond has no more, ``IDError/Code/exhausted`` past the year 10889,
  ///   ``IDError/Code/notReady`` where there are no random bits.
  public func next() throws(IDError) -> ULID {
    let random = try self.random.next()
    let now = self.clock.wallMilliseconds()
    let made = try self.state.withLock { state throws(IDError) in
      let time = ClockReturn.settled(from: state.milliseconds, to: now, self.clock)
      return (value: try state.next(at: time.now, random: random), back: time.back)
    }
    if made.back > 0 { self.onClockReturn(.milliseconds(made.back)) }
    return made.value
  }
}
