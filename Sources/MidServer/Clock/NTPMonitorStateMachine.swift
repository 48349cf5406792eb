/// What the NTP servers together say of our clock.
package struct NTPReading: Sendable, Equatable {
  /// How far the servers' clock is ahead of ours, the median of those that agree; negative where it is behind.
  package var offset: Duration
  /// How far the true offset may be from that.
  package var uncertainty: Duration
  /// How many servers agree.
  package var servers: Int
  /// Whether those are more than half of all that are named, and not only of those that answer.
  package var isQuorate: Bool
  /// Our wall clock less our monotonic one that the offset belongs to, in nanoseconds.
  package var clockDifference: Int64

  /// Creates a reading.
  package init(
    offset: Duration, uncertainty: Duration = .zero, servers: Int, isQuorate: Bool = true, clockDifference: Int64 = 0
  ) {
    self.offset = offset
    self.uncertainty = uncertainty
    self.servers = servers
    self.isQuorate = isQuorate
    self.clockDifference = clockDifference
  }
}

/// Decides which servers are asked in which round, and what their answers mean together.
///
/// Each server's last answer counts for ten rounds more than it takes until the server is asked again, so that servers that
/// are asked at different times judge each other all the same; it moves with the clock where that steps.
///
/// A server that fails is asked ever less often, up to every eighth round, and as before once it answers. One that says
/// RATE is asked half as often as before, for good. Any other kiss-o'-death ends the asking (RFC 5905, section 7.4).
struct NTPMonitorStateMachine: Sendable {
  /// After so many rounds without another one an answer is too old, beyond those that its server was not to be asked in.
  static let staleAfterRounds = 10
  /// The most rounds that a failing server sits out.
  private static let maximumPause = 7
  /// The least often that a server with a rate limit is asked: every so many rounds.
  private static let maximumSpacing = 64

  private struct Server {
    var address: HostPort
    var failures = 0
    /// Rounds to sit out before the next question.
    var pause = 0
    /// Asked every so many rounds.
    var spacing = 1
    var isForbidden = false
    /// The last answer, and how many rounds ago it came.
    var sample: SNTPSample?
    var age = 0
  }

  private var servers: [Server]
  /// Whether a round was ever ended.
  private(set) var hasEnded = false

  /// What the answers that are young enough say together, or nil where there are none, or no majority of them agrees.
  private(set) var reading: NTPReading?
  /// The servers whose last answer contradicts that of most others.
  private(set) var falsetickers: Set<HostPort> = []
  /// Whether the last answers contradict each other so that no majority is left.
  private(set) var isSplit = false

  init(servers: [HostPort]) {
    var known: Set<HostPort> = []
    self.servers = servers.filter { known.insert($0).inserted }.map { Server(address: $0) }
  }

  /// Begins a round: the servers to ask in it.
  mutating func beginRound() -> [HostPort] {
    var asked: [HostPort] = []
    for index in self.servers.indices where !self.servers[index].isForbidden {
      if self.servers[index].pause > 0 {
        self.servers[index].pause -= 1
      } else {
        asked.append(self.servers[index].address)
      }
    }
    return asked
  }

  /// Ends a round with what each asked server said.
  ///
  /// - Parameter difference: our wall clock less our monotonic one, now.
  /// - Returns: The new reading, or nil where no server answered in this round, or no majority agrees.
  mutating func endRound(
    _ answers: [HostPort: Result<SNTPSample, SNTPFailure>], clockDifference difference: Int64
  ) -> NTPReading? {
    self.hasEnded = true
    var hasAnswer = false
    for index in self.servers.indices {
      self.servers[index].age += 1
      switch answers[self.servers[index].address] {
      case .success(let sample):
        hasAnswer = true
        self.servers[index].sample = sample
        self.servers[index].age = 0
        self.servers[index].failures = 0
        self.servers[index].pause = self.servers[index].spacing - 1
      case .failure(.kissOfDeath("RATE")):
        self.servers[index].spacing = min(self.servers[index].spacing * 2, Self.maximumSpacing)
        self.servers[index].pause = self.servers[index].spacing - 1
      case .failure(.kissOfDeath):
        self.servers[index].isForbidden = true
      case .failure:
        self.servers[index].failures = min(self.servers[index].failures + 1, 8)
        let pause = min((1 << (self.servers[index].failures - 1)) - 1, Self.maximumPause)
        self.servers[index].pause = max(pause, self.servers[index].spacing - 1)
      case nil: break
      }
    }
    self.judge(difference)
    return hasAnswer ? self.reading : nil
  }

  private mutating func judge(_ difference: Int64) {
    let young = self.servers.filter { $0.age < Self.staleAfterRounds + $0.spacing - 1 }
    let samples = young.compactMap { server in
      server.sample.map { (server: server.address, sample: $0.moved(to: difference)) }
    }
    let selection = NTPSelection(samples)
    self.isSplit = selection.offset == nil && !samples.isEmpty
    self.falsetickers = Set(selection.falsetickers)
    self.reading = selection.offset.map { offset in
      NTPReading(
        offset: offset, uncertainty: selection.uncertainty, servers: selection.truechimers.count,
        isQuorate: selection.truechimers.count * 2 > self.servers.count, clockDifference: difference)
    }
  }
}
