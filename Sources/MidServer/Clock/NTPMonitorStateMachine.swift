/// What the NTP servers together say of our clock.
package struct NTPReading: Sendable, Equatable {
  /// How far the servers' clock is ahead of ours, the median of those that agree; negative where it is behind.
  package var offset: Duration
  /// How far the true offset may be from that.
  package var uncertainty: Duration
  /// How many servers agree.
  package var servers: Int
  /// Whether those are more than half of all that there are, and not only of those that answered.
  package var isQuorate: Bool

  /// Creates a reading.
  package init(offset: Duration, uncertainty: Duration = .zero, servers: Int, isQuorate: Bool = true) {
    self.offset = offset
    self.uncertainty = uncertainty
    self.servers = servers
    self.isQuorate = isQuorate
  }
}

/// Decides which servers are asked in which round, and what their answers mean together.
///
/// A server that fails is asked ever less often, up to every eighth round, and as before once it answers. One that says
/// RATE is asked half as often as before, for good. Any other kiss-o'-death ends the asking (RFC 5905, section 7.4).
struct NTPMonitorStateMachine: Sendable {
  /// After so many rounds without an answer a reading is too old to show.
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
  }

  private var servers: [Server]
  private var roundsWithoutAnswer = 0
  /// Whether a round was ever ended.
  private(set) var hasEnded = false

  /// The last reading, or nil where there was none or it is too old.
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
  /// - Returns: The new reading, or nil where no server answered, or those that did contradict each other.
  mutating func endRound(_ answers: [HostPort: Result<SNTPSample, SNTPFailure>]) -> NTPReading? {
    self.hasEnded = true
    var samples: [(server: HostPort, sample: SNTPSample)] = []
    for index in self.servers.indices {
      switch answers[self.servers[index].address] {
      case .success(let sample):
        samples.append((self.servers[index].address, sample))
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
    return self.take(samples)
  }

  private mutating func take(_ samples: [(server: HostPort, sample: SNTPSample)]) -> NTPReading? {
    let selection = NTPSelection(samples)
    if !samples.isEmpty {
      self.isSplit = selection.offset == nil
      self.falsetickers = Set(selection.falsetickers)
    }
    guard let offset = selection.offset else {
      self.roundsWithoutAnswer += 1
      // Servers with a rate limit are not asked in each round.
      let spacing = self.servers.filter { !$0.isForbidden }.map(\.spacing).max() ?? 1
      if self.roundsWithoutAnswer >= max(Self.staleAfterRounds, 2 * spacing) { self.reading = nil }
      return nil
    }
    self.roundsWithoutAnswer = 0
    let reading = NTPReading(
      offset: offset, uncertainty: selection.uncertainty, servers: selection.truechimers.count,
      isQuorate: selection.truechimers.count * 2 > self.servers.count { !$0.isForbidden })
    self.reading = reading
    return reading
  }
}
