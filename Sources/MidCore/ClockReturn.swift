/// When ids that are kept in the order of time give that order up and follow the clock back.
///
/// While the clock stands behind the last id by at most ``maximumLead``, ids stay where they are and go on from there. Past that
/// the clock was wrong when that id was made, and ids would carry a time to come until the process ends: they take the clock's
/// time instead, with new random bits, which is what tells them from ids that were made at that time before.
enum ClockReturn {
  /// How far ids may lie ahead of the clock and keep their order, in milliseconds: 10 s.
  static let maximumLead: Int64 = 10_000

  /// Whether ids up to `last` lie too far ahead of the clock's `now` to be gone on from; both in milliseconds since 1970,
  /// `last` at least -1.
  static func isDue(from last: Int64, to now: Int64) -> Bool { now < last - Self.maximumLead }

  /// The time to go on with, and by how many milliseconds that is back; 0 where it is not.
  ///
  /// - Parameters:
  ///   - last: the last id's time. It must not change before the time that comes out is used.
  ///   - now: a reading of `clock`, of any age.
  static func settled(from last: Int64, to now: Int64, _ clock: any TimeSource) -> (now: Int64, back: Int64) {
    guard Self.isDue(from: last, to: now) else { return (now, 0) }
    // A thread may have been put aside, or the process stopped, between its look at the clock and this: the last id is later
    // then, and the clock is well. A reading that is taken after the last id was looked at tells.
    let fresh = clock.wallMilliseconds()
    return (fresh, Self.isDue(from: last, to: fresh) ? last - fresh : 0)
  }
}
