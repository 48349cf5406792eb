import MidCore
import MidServer

/// Judges this machine's clock by the kernel's own view, by NTP servers, and by the store's clock.
struct ClockCheck {
  private static let advice = "set the clock right: run chronyd or systemd-timesyncd"

  /// `clock.max_offset`.
  var maximumOffset: Duration

  /// What the kernel knows of its clock; nil where it can't be asked.
  func kernel(_ clock: KernelClock?) -> Finding {
    let name = "clock.kernel"
    guard let clock else { return .ok(name, "the kernel can't be asked here") }
    guard clock.isSynchronized else {
      return .warn(name, "the kernel's clock is not synchronised", "run chronyd or systemd-timesyncd")
    }
    return .ok(name, "synchronised, error about \(Self.text(clock.estimatedError))")
  }

  /// What NTP servers say.
  ///
  /// - Parameters:
  ///   - servers: How many are set.
  ///   - reading: What those that answered say together.
  ///   - failures: What is wrong with each of those that did not.
  ///   - falsetickers: Those that contradict most others.
  ///   - isSplit: Whether those that answered contradict each other so that no majority is left.
  func ntp(
    servers: Int, reading: NTPReading?, failures: [String], falsetickers: [String] = [], isSplit: Bool = false
  ) -> Finding {
    let name = "clock.ntp"
    guard servers > 0 else { return .ok(name, "clock.ntp.servers is not set, so the clock was not compared with any") }
    let reasons = failures + falsetickers.map { "\($0) contradicts most others" }
    let trouble = reasons.isEmpty ? "" : ": " + reasons.joined(separator: ", ")
    if isSplit {
      return .warn(
        name, "the NTP servers contradict each other, so none of them counts\(trouble)",
        "name three or more, so that one that is wrong is found out")
    }
    guard let reading else {
      return .warn(
        name, "no NTP server gives a time\(trouble)", "set clock.ntp.servers to servers that this machine can reach")
    }
    let found =
      "\(Self.offset(reading.offset, "the NTP servers")), \(reading.servers) of \(servers) agree\(trouble)"
    guard reading.isQuorate else {
      return .warn(name, "\(found); that is no majority, so it does not count", "mend clock.ntp.servers")
    }
    guard abs(reading.offset) - reading.uncertainty <= self.maximumOffset else {
      return .fail(name, found + self.limit, Self.advice)
    }
    return reasons.isEmpty
      ? .ok(name, found) : .warn(name, found, "mend clock.ntp.servers, or take those out")
  }

  /// What the clock of a store on another machine says.
  ///
  /// - Parameters:
  ///   - time: The store's, in milliseconds since the Unix epoch.
  ///   - sent: Ours before the question was sent, and `received`, after the answer came: both agree where the store's lies
  ///     between them.
  func store(_ time: Int64, sent: Int64, received: Int64) -> Finding {
    let name = "clock.store"
    // The store's time is in whole milliseconds, rounded down, and so are ours.
    let least = Duration.milliseconds(SpanText.distance(from: received, to: time))
    let most = Duration.milliseconds(SpanText.distance(from: sent, to: time)) + .milliseconds(1)
    let offset = (least + most) / 2
    let error = (most - least) / 2
    let found = "\(Self.offset(offset, "the store's clock")), give or take \(Self.text(error))"
    guard abs(offset) - error <= self.maximumOffset else { return .fail(name, found + self.limit, Self.advice) }
    return .ok(name, found)
  }

  private var limit: String { ", more than clock.max_offset, \(self.maximumOffset.configurationText)" }

  private static func offset(_ offset: Duration, _ other: String) -> String {
    "\(self.text(offset)) \(offset < .zero ? "ahead of" : "behind") \(other)"
  }

  private static func text(_ duration: Duration) -> String {
    let microseconds = Int64(clamping: Int128(abs(duration) / .microseconds(1)))
    guard microseconds >= 10_000 else { return "\(microseconds / 1000).\(microseconds / 100 % 10) ms" }
    return SpanText.short(microseconds / 1000)
  }
}

private func abs(_ duration: Duration) -> Duration { duration < .zero ? .zero - duration : duration }

/// Judges the clock against the layout's first and last millisecond.
struct LayoutCheck {
  static let name = "layout"
  private static let year: Int64 = 31_556_952_000

  var layout: SnowflakeLayout
  /// This machine's clock, in milliseconds since the Unix epoch.
  var now: Int64

  /// One finding.
  var findings: [Finding] {
    let end = self.layout.endOfTimeMilliseconds
    let left = SpanText.distance(from: self.now, to: end)
    let clock = "the clock reads \(WallTime(milliseconds: self.now))"
    let another = "set the clock right, or take another snowflake.layout"
    if self.now < self.layout.epochMilliseconds {
      let epoch = WallTime(milliseconds: self.layout.epochMilliseconds)
      return [.fail(Self.name, "\(clock), before the layout's epoch \(epoch)", another)]
    }
    guard left > 0 else {
      return [
        .fail(Self.name, "\(clock), past the end of the layout's time \(self.layout.endOfTimeDescription)", another)
      ]
    }
    let found = "Snowflake ids have room until \(self.layout.endOfTimeDescription), \(left / Self.year) years from now"
    guard left >= 5 * Self.year else {
      return [
        .warn(Self.name, found, "plan the move to another snowflake.layout, with ids that don't meet the old ones")
      ]
    }
    return [.ok(Self.name, found)]
  }
}
