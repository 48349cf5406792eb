internal import Synchronization

/// The rules of ObjectIds of the new form: a random process value, and a counter from a random start, both drawn anew for
/// each second.
///
/// The counter grows by one. Seconds and counter together only grow: a counter that is at its end takes the next second, ahead of
/// the clock, and while the clock stands behind by at most ``ClockReturn/maximumLead`` the second stays. Where it is further
/// behind, the next ObjectId takes its second, with values drawn anew.
///
/// MongoDB's drivers draw the process value once. Here it changes with the second, which no order sees, so that two copies of
/// one process part within a second.
struct ObjectIDStateMachine: Sendable {
  private var last: ObjectID?

  /// The last ObjectId's second, in milliseconds since 1970; -1 before the first.
  var milliseconds: Int64 { self.last.map { Int64($0.seconds) * 1000 } ?? -1 }

  /// The next ObjectId at `now`, milliseconds since 1970, or nil where it begins a second and there are no random bits to
  /// do so: the caller draws some and asks again.
  ///
  /// - Parameter fresh: random bits that were used for nothing else. Given in vain, they are to be forgotten.
  /// - Throws: ``IDError/Code/exhausted`` where the time is before 1970 or past 32 bits of seconds. The state stays as it was.
  mutating func next(at now: Int64, fresh: UInt128?) throws(IDError) -> ObjectID? {
    guard now >= 0, now / 1000 <= Int64(UInt32.max) else {
      throw IDError(.exhausted, "an ObjectId has 32 bits of seconds since 1970, \(now) ms does not fit")
    }
    var seconds = UInt32(now / 1000)
    if let last = self.last, seconds <= last.seconds, !ClockReturn.isDue(from: self.milliseconds, to: now) {
      guard last.counter == 0xFF_FFFF else {
        let next = ObjectID(seconds: last.seconds, process: last.process, counter: last.counter + 1)
        self.last = next
        return next
      }
      guard last.seconds < .max else {
        throw IDError(.exhausted, "the last second of ObjectIds, in 2106, has no more of them")
      }
      seconds = last.seconds + 1
    }
    guard let fresh else { return nil }
    let next = ObjectID(
      seconds: seconds, process: UInt64(truncatingIfNeeded: fresh), counter: UInt32(truncatingIfNeeded: fresh >> 64))
    self.last = next
    return next
  }
}

/// Makes ObjectIds of the new form, each larger than all that this generator made before, also where the clock steps back by up
/// to 10 s. Where it steps back further, those that follow are below those before, and have random bits of their own.
///
/// Safe to use from any thread. Generators of other processes are told apart, each second anew, by 40 random bits and 24 more that
/// the counter begins with; that is what the format has. Nothing is stored.
///
/// Source: MongoDB's specification "BSON ObjectId".
public final class ObjectIDGenerator: Sendable {
  private let clock: any TimeSource
  private let random: RandomPool
  private let state = Mutex(ObjectIDStateMachine())
  private let onClockReturn: @Sendable (Duration) -> Void

  /// Creates a generator.
  ///
  /// - Parameters:
  ///   - clock: whose wall clock is read.
  ///   - random: whose source is drawn from once a second; may be shared.
  ///   - onClockReturn: is told where ObjectIds follow the clock back, and by how much, more than 10 s. It is called by the
  ///     thread that makes the ObjectId, and should be quick.
  public init(
    clock: any TimeSource, random: RandomPool,
    onClockReturn: @escaping @Sendable (_ by: Duration) -> Void = { _ in }
  ) {
    self.clock = clock
    self.random = random
    self.onClockReturn = onClockReturn
  }

  /// The next ObjectId.
  ///
  /// - Throws: ``IDError/Code/exhausted`` past 2106, ``IDError/Code/notReady`` where there are no random bits for a new second.
  public func next() throws(IDError) -> ObjectID {
    var fresh: UInt128?
    while true {
      let now = self.clock.wallMilliseconds()
      let made = try self.state.withLock { state throws(IDError) in
        let time = ClockReturn.settled(from: state.milliseconds, to: now, self.clock)
        return (value: try state.next(at: time.now, fresh: fresh), back: time.back)
      }
      if let value = made.value {
        if made.back > 0 { self.onClockReturn(.milliseconds(made.back)) }
        return value
      }
      // A system call, which no lock is held for.
      fresh = try self.random.fresh()
    }
  }
}
