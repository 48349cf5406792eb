/// How UUIDs of version 7 that fall into one millisecond are kept in order (RFC 9562, 6.2).
public enum UUID7Increment: String, Sendable, Hashable, CaseIterable {
  /// A counter of 42 bits after the time, from a random start, and 32 fresh random bits (method 1). A neighbour is
  /// guessed with one try in 2^32.
  case counter
  /// The 74 bits after the time grow by a random 1 to 2^32 (method 2). The same guess, and the distance tells nothing of
  /// how many were made between two.
  case random
}

/// The rules of version 7: the next UUID from the time, random bits and the one before.
///
/// ```
/// counter  Unix milliseconds 48 │0111│ counter, upper 12 │10│ counter, lower 30 │ random 32
/// random   Unix milliseconds 48 │0111│ tail, upper 12    │10│ tail, lower 62
/// ```
/// Each is larger than the one before while the clock runs, stands, or stands behind by at most ``ClockReturn/maximumLead``:
/// the time stays then and the tail grows; a tail that is used up takes the next millisecond, ahead of the clock. Where the
/// clock is further behind, the next UUID takes its time and a new tail. A new tail's highest bit is 0, which leaves at least
/// 2^41 UUIDs to a millisecond's counter.
///
/// Source: RFC 9562, 5.7 and 6.2.
struct UUID7StateMachine: Sendable {
  /// How wide the random part of each UUID is that a counter does not fill.
  private static let freshBits: UInt128 = 32

  private let increment: UUID7Increment
  /// The last UUID's time; -1 before the first.
  private(set) var milliseconds: Int64
  /// The counter's 42 bits, or the tail's 74.
  private var tail: UInt128

  /// Begins after the UUID of a millisecond and tail; before all of them where none are given.
  init(increment: UUID7Increment, milliseconds: Int64 = -1, tail: UInt128 = 0) {
    self.increment = increment
    self.milliseconds = milliseconds
    self.tail = tail
  }

  /// Goes on from ``bits``.
  init(increment: UUID7Increment, bits: UInt128) {
    self.init(
      increment: increment, milliseconds: Int64(truncatingIfNeeded: bits >> 74) - 1, tail: bits & (1 << 74 - 1))
  }

  /// The whole state in 123 bits: the time, a millisecond further so that it is never negative, and the tail.
  var bits: UInt128 { UInt128(truncatingIfNeeded: self.milliseconds + 1) << 74 | self.tail }

  /// The next UUID at `now`, milliseconds since 1970, with 128 random bits.
  ///
  /// - Throws: ``IDError/Code/exhausted`` where the time is before 1970 or past 48 bits. The state stays as it was.
  mutating func next(at now: Int64, random: UInt128) throws(IDError) -> UUIDValue {
    let fresh = UInt32(truncatingIfNeeded: random)
    let start = try self.take(at: now, seed: random >> Self.freshBits, step: self.step(fresh), further: 0)
    return Self.value(start, fresh, self.increment)
  }

  /// Takes the place of several UUIDs at once.
  ///
  /// - Parameters:
  ///   - now: milliseconds since 1970.
  ///   - seed: random bits for a new tail, at least 73.
  ///   - step: how far the first lies from the one before, ``step(_:)`` of its own random bits.
  ///   - further: how far the last lies from the first, below 2^41 in all.
  /// - Returns: the first one's time and tail.
  /// - Throws: ``IDError/Code/exhausted`` where the time is before 1970 or past 48 bits. The state stays as it was.
  mutating func take(
    at now: Int64, seed: UInt128, step: UInt128, further: UInt128
  ) throws(IDError) -> (milliseconds: Int64, tail: UInt128) {
    let width: UInt128 = self.increment == .counter ? 42 : 74
    var time = ClockReturn.isDue(from: self.milliseconds, to: now) ? now : Swift.max(now, self.milliseconds)
    var tail = seed & (1 << (width - 1) - 1)
    if time == self.milliseconds {
      let grown = self.tail + step
      if (grown + further) >> width == 0 { tail = grown } else { time += 1 }
    }
    try UUIDValue.checkVersion7(milliseconds: time)
    self.milliseconds = time
    self.tail = tail + further
    return (time, tail)
  }

  /// How far a UUID lies from the one before, by 32 random bits of its own.
  func step(_ fresh: UInt32) -> UInt128 { self.increment == .counter ? 1 : 1 + UInt128(fresh) }

  /// The UUID of a time and tail, with 32 random bits where its tail is a counter.
  static func value(
    _ place: (milliseconds: Int64, tail: UInt128), _ fresh: UInt32, _ increment: UUID7Increment
  ) -> UUIDValue {
    .version7(
      uncheckedMilliseconds: place.milliseconds,
      tail: increment == .counter ? place.tail << Self.freshBits | UInt128(fresh) : place.tail)
  }
}
