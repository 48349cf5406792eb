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
/// Each is larger than the one before, whatever the clock does: while it stands, or stands behind, the time stays and the
/// tail grows; a tail that is used up takes the next millisecond, ahead of the clock. A new tail's highest bit is 0, which
/// leaves at least 2^41 UUIDs to a millisecond's counter.
///
/// Source: RFC 9562, 5.7 and 6.2.
struct UUID7StateMachine: Sendable {
  private let increment: UUID7Increment
  private var milliseconds: Int64
  /// The counter's 42 bits, or the tail's 74.
  private var tail: UInt128

  /// Begins after the UUID of a millisecond and tail; before all of them where none are given.
  init(increment: UUID7Increment, milliseconds: Int64 = -1, tail: UInt128 = 0) {
    self.increment = increment
    self.milliseconds = milliseconds
    self.tail = tail
  }

  /// The next UUID at `now`, milliseconds since 1970, with 128 random bits.
  ///
  /// - Throws: ``IDError/Code/exhausted`` where the time is before 1970 or past 48 bits. The state stays as it was.
  mutating func next(at now: Int64, random: UInt128) throws(IDError) -> UUIDValue {
    let width: UInt128 = self.increment == .counter ? 42 : 74
    var time = Swift.max(now, self.milliseconds)
    var tail = (random >> 32) & (1 << (width - 1) - 1)
    if time == self.milliseconds {
      let step: UInt128 = self.increment == .counter ? 1 : 1 + random & 0xFFFF_FFFF
      let grown = self.tail + step
      if grown >> width == 0 { tail = grown } else { time += 1 }
    }
    let value = try UUIDValue.version7(
      milliseconds: time, tail: self.increment == .counter ? tail << 32 | random & 0xFFFF_FFFF : tail)
    self.milliseconds = time
    self.tail = tail
    return value
  }
}
