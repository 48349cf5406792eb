/// How fast a tag's ids are used, on average over the last hour.
///
/// Twelve slots of five minutes and the one under way; 13 numbers a tag. What is recorded late is spread evenly over the
/// time since the last record. Times are nanoseconds of a clock that never steps back.
struct SegmentRate: Sendable {
  /// The length of a slot, in nanoseconds.
  static let slot: UInt64 = 300_000_000_000
  /// How many full slots count.
  static let slots = 12
  /// The shortest time that an average is taken over, in seconds: what came at once is no rate.
  static let shortest = 60.0

  private struct Reading: Sendable {
    var time: UInt64
    var total: Int64
  }

  /// Full slots, the oldest first.
  private var full: [Double] = []
  private var current = 0.0
  private var slotBegin: UInt64 = 0
  private var last: Reading?

  /// Notes that `total` ids have been used up to `now`. Neither ever goes back; one that does is taken for the last.
  mutating func record(total: Int64, now: UInt64) {
    guard let last = self.last else {
      self.slotBegin = now
      self.last = Reading(time: now, total: total)
      return
    }
    guard now > last.time else { return }
    let used = Double(max(0, total - last.total))
    let perNanosecond = used / Double(now - last.time)
    self.last = Reading(time: now, total: max(total, last.total))
    var from = last.time
    if now - self.slotBegin > Self.slot * UInt64(Self.slots + 1) {
      // Nothing recorded before counts any more.
      self.full = []
      self.current = 0
      from = now - Self.slot * UInt64(Self.slots)
      self.slotBegin = from
      from = max(from, last.time)
    }
    while now - self.slotBegin >= Self.slot {
      let end = self.slotBegin + Self.slot
      self.full.append(self.current + perNanosecond * Double(end - max(from, self.slotBegin)))
      if self.full.count > Self.slots { self.full.removeFirst() }
      self.current = 0
      self.slotBegin = end
      from = end
    }
    self.current += perNanosecond * Double(now - from)
  }

  /// Ids a second, over the last 60 to 65 minutes or the time since the first record, at least one minute. 0 before it.
  var average: Double {
    guard let last = self.last else { return 0 }
    let seconds = Double(last.time - self.slotBegin) / 1e9 + Double(self.full.count) * Double(Self.slot) / 1e9
    return (self.full.reduce(0, +) + self.current) / max(seconds, Self.shortest)
  }
}
