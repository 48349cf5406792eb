internal import Synchronization

/// Makes UUIDs of versions 1, 4, 6 and 7. Versions 3 and 5 need no generator: see ``UUIDValue/version5(namespace:name:)``.
///
/// Safe to use from any thread. Version 7 is strictly increasing for all callers of one generator, also while the clock stands
/// or steps back; 1, 4 and 6 are not. None of them knows another process: they are distinct by their random bits, 122 in
/// version 4, at least 73 a millisecond in version 7, 61 a generator in versions 1 and 6. Nothing is stored.
///
/// Source: RFC 9562.
public final class UUIDGenerator: Sendable {
  private let clock: any TimeSource
  private let random: RandomPool
  private let increment: UUID7Increment
  /// The state of ``UUID7StateMachine``.
  private let ordered: SharedBits
  private let timed = Mutex(UUIDTimeStateMachine())

  /// Creates a generator.
  ///
  /// - Parameters:
  ///   - increment: how version 7 goes on within a millisecond.
  ///   - clock: whose wall clock is read for versions 1, 6 and 7.
  ///   - random: where random bits come from; may be shared.
  public init(increment: UUID7Increment, clock: any TimeSource, random: RandomPool) {
    self.clock = clock
    self.random = random
    self.increment = increment
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

  /// A UUID of version 7, larger than all that this generator made before.
  ///
  /// - Throws: ``IDError/Code/exhausted`` past the year 10889, ``IDError/Code/notReady`` where there are no random bits.
  public func version7() throws(IDError) -> UUIDValue {
    let random = try self.random.next()
    let now = self.clock.wallMilliseconds()
    return try self.ordered.update { bits throws(IDError) in
      var machine = UUID7StateMachine(increment: self.increment, bits: bits)
      let value = try machine.next(at: now, random: random)
      return (machine.bits, value)
    }
  }

  /// UUIDs of version 7 in ascending order, larger than all that this generator made before. None of another call lies
  /// between them.
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
    var place = try self.ordered.update { bits throws(IDError) in
      var machine = UUID7StateMachine(increment: self.increment, bits: bits)
      let start = try machine.take(at: now, seed: seed, step: rule.step(fresh(0)), further: further)
      return (machine.bits, start)
    }
    var values: [UUIDValue] = []
    values.reserveCapacity(count)
    for index in 0..<count {
      if index > 0 { place.tail += rule.step(fresh(index)) }
      values.append(UUID7StateMachine.value(place, fresh(index), self.increment))
    }
    return values
  }

  private func timedParts() throws(IDError) -> (time: Int64, clockSequence: UInt16, node: UInt64) {
    let random = try self.random.next()
    let now = self.clock.wallMilliseconds()
    return try self.timed.withLock { state throws(IDError) in try state.next(at: now, random: random) }
  }
}
