/// Which of several NTP servers to believe: the largest number of them that can all be right at once.
///
/// Each answer says that the true offset lies within an interval around its own: half the round trip and the server's
/// distance from a reference clock to each side. Servers whose intervals share a point can all be right. Where more than
/// half of those that answered do, they are the truechimers, and the others are falsetickers. Where not, nobody can tell.
/// Source: Marzullo and Owicki 1983; RFC 5905, section 11.2.1.
struct NTPSelection<Server: Hashable & Sendable>: Sendable, Equatable {
  /// What is allowed for on top: the reading of two clocks takes a moment.
  static var allowance: Duration { .milliseconds(1) }

  /// Those that agree, in the order they came in; empty where there is no majority.
  private(set) var truechimers: [Server] = []
  /// Those that contradict the majority, in the order they came in; empty where there is none.
  private(set) var falsetickers: [Server] = []
  /// The median of the truechimers' offsets, or nil where there is no majority.
  private(set) var offset: Duration?
  /// How far the true offset may be from ``offset``: it lies in the interval of each truechimer.
  private(set) var uncertainty: Duration = .zero

  /// Selects among what the servers answered.
  init(_ answers: [(server: Server, sample: SNTPSample)]) {
    let intervals = answers.map { answer in
      let half = Self.halfWidth(answer.sample)
      return (low: answer.sample.offset - half, high: answer.sample.offset + half)
    }
    // A point that most intervals share is the low end of one of them.
    var most = 0
    var common: Duration?
    for candidate in intervals.map(\.low).sorted() {
      let count = intervals.count { $0.low <= candidate && candidate <= $0.high }
      if count > most { (most, common) = (count, candidate) }
    }
    guard let common, most * 2 > answers.count else { return }
    for (answer, interval) in zip(answers, intervals) {
      if interval.low <= common && common <= interval.high {
        self.truechimers.append(answer.server)
      } else {
        self.falsetickers.append(answer.server)
      }
    }
    let believed = answers.filter { self.truechimers.contains($0.server) }
    guard let median = Self.median(believed.map(\.sample.offset)) else { return }
    self.offset = median
    self.uncertainty =
      believed.map { Self.halfWidth($0.sample) + max($0.sample.offset - median, median - $0.sample.offset) }.min()
      ?? .zero
  }

  private static func halfWidth(_ sample: SNTPSample) -> Duration {
    sample.delay / 2 + sample.rootDistance + Self.allowance
  }

  /// The middle one, or the mean of the two in the middle.
  static func median(_ values: [Duration]) -> Duration? {
    guard !values.isEmpty else { return nil }
    let sorted = values.sorted()
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }
}
