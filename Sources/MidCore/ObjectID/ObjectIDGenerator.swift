internal import Synchronization

/// The rules of ObjectIds of the new form: a random process value, and a counter from a random start.
///
/// The counter grows by one and wraps, as MongoDB has it. Seconds and counter together only grow: a counter that wraps within a
/// second takes the next one, ahead of the clock, and while the clock stands behind the second stays.
struct ObjectIDStateMachine: Sendable {
  private var last: ObjectID?

  /// The next ObjectId at `now`, milliseconds since 1970. The random bits are used by the first.
  ///
  /// - Throws: ``IDError/Code/exhausted`` where the time is before 1970 or past 32 bits of seconds. The state stays as it was.
  mutating func next(at now: Int64, random: UInt128) throws(IDError) -> ObjectID {
    guard now >= 0, now / 1000 <= Int64(UInt32.max) else {
      throw IDError(.exhausted, "an ObjectId has 32 bits of seconds since 1970, \(now) ms does not fit")
    }
    var seconds = UInt32(now / 1000)
    let next: ObjectID
    if let last = self.last {
      let counter = (last.counter + 1) & 0xFF_FFFF
      if seconds <= last.seconds {
        seconds = last.seconds
        if counter == 0 {
          guard seconds < .max else {
            throw IDError(.exhausted, "the last second of ObjectIds, in 2106, has no more of them")
          }
          seconds += 1
        }
      }
      next = ObjectID(seconds: seconds, process: last.process, counter: counter)
    } else {
      next = ObjectID(
        seconds: seconds, process: UInt64(truncatingIfNeeded: random),
        counter: UInt32(truncatingIfNeeded: random >> 64))
    }
    self.last = next
    return next
  }
}

/// Makes ObjectIds of the new form, each larger than all that this generator made before.
///
/// Safe to use from any thread. Generators of other processes are told apart by 40 random bits and 24 more that the counter
/// begins with; that is what the format has. Nothing is stored.
///
/// Source: MongoDB's specification "BSON ObjectId".
public final class ObjectIDGenerator: Sendable {
  private let clock: any TimeSource
  private let random: RandomPool
  private let state = Mutex((machine: ObjectIDStateMachine(), isStarted: false))

  /// Creates a generator that reads `clock`'s wall time and draws once from `random`, which may be shared.
  public init(clock: any TimeSource, random: RandomPool) {
    self.clock = clock
    self.random = random
  }

  /// The next ObjectId.
  ///
  /// - Throws: ``IDError/Code/exhausted`` past 2106, ``IDError/Code/notReady`` where there are no random bits for the first.
  public func next() throws(IDError) -> ObjectID {
    let random: UInt128 = self.state.withLock { $0.isStarted } ? 0 : try self.random.next()
    let now = self.clock.wallMilliseconds()
    return try self.state.withLock { state throws(IDError) in
      let next = try state.machine.next(at: now, random: random)
      state.isStarted = true
      return next
    }
  }
}
