internal import Synchronization

/// Makes UUIDs of versions 1, 4, 6 and 7. Versions 3 and 5 need no generator: see ``UUIDValue/version5(namespace:name:)``.
///
/// Safe to use from any thread. Version 7 is strictly increasing for all callers of one generator, also while the clock stands
/// or steps back by up to 10 s; where it steps back further, those that follow are below those before. 1, 4 and 6 are not
/// increasing. None of them knows another process: they are distinct by their random bits, 122 in version 4, at least 73 a
/// millisecond in version 7, 61 a second in versions 1 and 6. Nothing is stored.
///
/// Source: RFC 9562.
public final class UUIDGenerator: Sendable {
  private let clock: any TimeSource
  private let random: RandomPool
  private let increment: UUID7Increment
  /// The state of ``UUID7StateMachine``.
  private let ordered: SharedBits
  private let timed = Mutex(UUIDTimeStateMachine())
  private let onClockReturn: @Sendable (Duration) -> Void

  /// Creates a generator.
  ///
  /// - Parameters:
  ///   - increment: how version 7 goes on within a millisecond.
  ///   - clock: whose wall clock is read for versions 1, 6 and 7.
  ///   - random: where random bits come from; may be shared.
  ///   - onClockReturn: is told where version 7 follows the clock back, and by how much, more than 10 s. It is called by the
  ///     thread that makes the UUID, and should be quick.
  public init(
    increment: UUID7Increment, clock: any TimeSource, random: RandomPool,
    onClockReturn: @escaping @Sendable (_ by: Duration) -> Void = { _ in }
  ) {
    self.clock = clock
    self.random = random
    self.increment = increment
    self.onClockReturn = onClockReturn
    self.ordered = SharedBits(UUID7StateMachine(increment: increment).bits)
  }

  /// A UUID of version 1: time, clock sequence and a random node, never a network card's address.
  ///
  /// - Throws: ``IDError/Code/exhausted`` past the year 5236, ``IDError/Code/notReady`` where there are no random bits.
  public func version1() throws(IDError) -> UUIDValue {
    let parts = try self.timedParts()
    return try .version1(time: parts.time, clockSequence: parts.clockSequence, node: parts.node)
  }

  /// A UUID of version 4: 122 random bits.
  ///
  /// - Throws: ``IDError/Code/notReady`` where there are no random bits.
  public func version4() throws(IDError) -> UUIDValue { .version4(try self.random.next()) }

  /// A UUID of version 6: version 1 in an order that sorts by time.
  ///
  /// - Throws: ``IDError/Code/exhausted`` past the year 5236, ``IDError/Code/notReady`` where there are no random bits.
  public func version6() throws(IDError) -> UUIDValue {
    let parts = try self.timedParts()
    return try .version6(time: parts.time, clockSequence: parts.clockSequence, node: parts.node)
  }

  /// A UUID of version 7, larger than all that this generator made before, unless the clock was set back by more than 10 s.
  ///
  /// - Throws: ``IDError/Code/exhausted`` past the year 10889, ``IDError/Code/notReady`` where there are no random bits.
  public func version7() throws(IDError) -> UUIDValue {
    let random = try self.random.next()
    let now = self.clock.wallMilliseconds()
    let made = try self.ordered.update { bits throws(IDError) in
      var machine = UUID7StateMachine(increment: self.increment, bits: bits)
      let time = ClockReturn.settled(from: machine.milliseconds, to: now, self.clock)
      let value = try machine.next(at: time.now, random: random)
      return (machine.bits, (value: value, back: time.back))
    }
    if made.back > 0 { self.onClockReturn(.milliseconds(made.back)) }
    return made.value
  }

  /// UUIDs of version 7 in ascending order, larger than all that this generator made before, unless the clock was set back by
  /// more than 10 s. None of another call lies between them.
  ///
  /// Cost: what they share is taken in one step, whatever their number; other calls wait for none of the rest.
  ///
  /// - Parameter count: 1 to 1,000,000.
  /// - Throws: ``IDError/Code/invalidArgument`` for another count, and what ``version7()`` throws.
  public func version7(count: Int) throws(IDError) -> [UUIDValue] {
    if let error = BatchLimit.error(for: Int64(count)) { throw error }
    let seed = try self.random.next()
    // 32 random bits for each.
    let words = try self.random.words((count + 1) / 2)
    func fresh(_ index: Int) -> UInt32 { UInt32(truncatingIfNeeded: words[index / 2] >> (index % 2 == 0 ? 0 : 32)) }
    let rule = UUID7StateMachine(increment: self.increment)
    var further: UInt128 = 0
    for index in 1..<count { further += rule.step(fresh(index)) }
    let now = self.clock.wallMilliseconds()
    let taken = try self.ordered.update { bits throws(IDError) in
      var machine = UUID7StateMachine(increment: self.increment, bits: bits)
      let time = ClockReturn.settled(from: machine.milliseconds, to: now, self.clock)
      let start = try machine.take(at: time.now, seed: seed, step: rule.step(fresh(0)), further: further)
      return (machine.bits, (start: start, back: time.back))
    }
    if taken.back > 0 { self.onClockReturn(.milliseconds(taken.back)) }
    var place = taken.start
    var values: [UUIDValue] = []
    values.reserveCapacity(count)
    for index in 0..<count {
      if index > 0 { place.tail += rule.step(fresh(index)) }
      values.append(UUID7StateMachine.value(place, fresh(index), self.increment))
    }
    return values
  }

  private func timedParts() throws(IDError) -> (time: Int64, clockSequence: UInt16, node: UInt64) {
    var fresh: UInt128?
    while true {
      let now = self.clock.wallMilliseconds()
      let parts = try self.timed.withLock { state throws(IDError) in try state.next(at: now, fresh: fresh) }
      if let parts { return parts }
      // A system call, which no lock is held for.
      fresh = try self.random.fresh()
    }
  }
}
