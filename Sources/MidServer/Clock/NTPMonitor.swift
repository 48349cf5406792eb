package import Logging
import ServiceLifecycle
import Synchronization

/// Compares our clock with NTP servers at an interval. It only looks; it never sets a clock.
///
/// The sign of an offset: positive means that the servers' clock is ahead of ours.
package final class NTPMonitor: Service {
  private let interval: Duration
  private let hasServers: Bool
  private let registry: PrometheusRegistry
  private let logger: Logger
  private let read: @Sendable () -> ClockHealth.Moment
  private let isUrgent: @Sendable () -> Bool
  private let observe: @Sendable (NTPReading?) -> Void
  private let ask: @Sendable (HostPort) async -> Result<SNTPSample, SNTPFailure>
  private let sleep: @Sendable (Duration) async throws -> Void
  private let state: Mutex<NTPMonitorStateMachine>

  /// Creates a monitor, which asks nothing before ``run()`` or ``check()``.
  ///
  /// - Parameters:
  ///   - servers: Whom to ask; with none the monitor does nothing.
  ///   - interval: How long to wait between rounds.
  ///   - registry: Gets `ntp_offset_milliseconds`, `mid_ntp_offset_seconds`, `mid_ntp_falsetickers` and
  ///     `mid_ntp_queries_total`. The offsets are absent while no server answers, or no majority agrees.
  ///   - read: Reads both of our clocks.
  ///   - isUrgent: Whether the clock is off, so that the next round comes sooner: after ``urgentInterval`` at most.
  ///   - observe: Is told after each round what a majority of all servers agrees on, or nil where none does.
  ///   - ask: Asks one server; see ``SNTPClient/ask(_:)``.
  ///   - sleep: Waits; `{ try await Task.sleep(for: $0) }` outside of tests.
  package init(
    servers: [HostPort], interval: Duration, registry: PrometheusRegistry, logger: Logger,
    read: @escaping @Sendable () -> ClockHealth.Moment, isUrgent: @escaping @Sendable () -> Bool = { false },
    observe: @escaping @Sendable (NTPReading?) -> Void = { _ in },
    ask: @escaping @Sendable (HostPort) async -> Result<SNTPSample, SNTPFailure>,
    sleep: @escaping @Sendable (Duration) async throws -> Void
  ) {
    self.interval = interval
    self.hasServers = !servers.isEmpty
    self.registry = registry
    self.logger = logger
    self.read = read
    self.isUrgent = isUrgent
    self.observe = observe
    self.ask = ask
    self.sleep = sleep
    self.state = Mutex(NTPMonitorStateMachine(servers: servers))
    registry.collect { [weak self] writer in
      guard let self, self.hasServers else { return }
      let (reading, falsetickers) = self.state.withLock { ($0.reading, $0.falsetickers.count) }
      writer.write(MetricCatalogue.ntpFalsetickers, value: Double(falsetickers))
      guard let reading else { return }
      // As it is by now: the clock may have stepped since.
      let offset = reading.offset - .nanoseconds(self.read().difference &- reading.clockDifference)
      let seconds = offset / .seconds(1)
      writer.write(MetricCatalogue.ntpOffset, value: seconds)
      writer.write(MetricCatalogue.ntpOffsetMilliseconds, value: offset / .milliseconds(1))
    }
  }

  private var hasChecked: Bool { self.state.withLock { $0.hasEnded } }

  /// What the servers' answers say together, or nil where none has come for ten rounds, or no majority of them agrees.
  package var reading: NTPReading? { self.state.withLock { $0.reading } }

  /// The longest time from one round to the next while the clock is off; SNTP clients must not ask more often than every
  /// 15 s (RFC 4330, section 10).
  package static let urgentInterval: Duration = .seconds(15)

  /// Asks in rounds until graceful shutdown or cancellation, at once where ``check()`` was not called before. Without
  /// servers it waits for that.
  package func run() async throws {
    guard self.hasServers else {
      do {
        try await gracefulShutdown()
      } catch is CancellationError {}
      return
    }
    await cancelWhenGracefulShutdown {
      if !self.hasChecked { _ = await self.check() }
      while !Task.isCancelled {
        do {
          try await self.pause()
        } catch {
          return
        }
        _ = await self.check()
      }
    }
  }

  /// Waits for the next round, which comes sooner where the clock turns out to be off meanwhile.
  private func pause() async throws {
    var left = self.interval
    repeat {
      let part = min(left, Self.urgentInterval)
      try await self.sleep(part)
      left -= part
    } while left > .zero && !self.isUrgent()
  }

  /// One round: asks the servers whose turn it is, side by side.
  ///
  /// - Returns: The reading, or nil where no server answered or no majority agrees. Takes a second or so.
  package func check() async -> NTPReading? {
    let servers = self.state.withLock { $0.beginRound() }
    let answers = await withTaskGroup(of: (HostPort, Result<SNTPSample, SNTPFailure>).self) { group in
      for server in servers {
        group.addTask { (server, await self.ask(server)) }
      }
      return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
    }
    // A round that was cut short says nothing about the servers.
    guard !Task.isCancelled else { return nil }
    for (server, answer) in answers.sorted(by: { $0.key.description < $1.key.description }) {
      self.report(answer, of: server)
    }
    let (answered, known, before, after) = self.state.withLock { state in
      let before = (falsetickers: state.falsetickers, isSplit: state.isSplit)
      let reading = state.endRound(answers, clockDifference: self.read().difference)
      return (reading, state.reading, before, (falsetickers: state.falsetickers, isSplit: state.isSplit))
    }
    for server in after.falsetickers.subtracting(before.falsetickers) {
      self.logger.warning(
        "NTP server contradicts most others and does not count", metadata: ["server": .stringConvertible(server)])
    }
    if after.isSplit && !before.isSplit {
      self.logger.warning("NTP servers contradict each other, and no majority of them agrees; none of them counts")
    }
    self.observe(known.flatMap { $0.isQuorate ? $0 : nil })
    if let reading = answered {
      self.logger.info(
        "NTP sync",
        metadata: [
          "offset_ms": .stringConvertible(reading.offset / .milliseconds(1)),
          "servers": .stringConvertible(reading.servers),
        ])
    }
    return answered
  }

  /// The servers whose last answer contradicts that of most others, and whether no majority agrees at all.
  package var contradictions: (falsetickers: Set<HostPort>, isSplit: Bool) {
    self.state.withLock { ($0.falsetickers, $0.isSplit) }
  }

  private func report(_ answer: Result<SNTPSample, SNTPFailure>, of server: HostPort) {
    let result: String
    switch answer {
    case .success: result = "ok"
    case .failure(let failure):
      result = failure.label
      self.logger.warning(
        "NTP server gives no time", metadata: ["server": .stringConvertible(server), "reason": "\(failure)"])
    }
    self.registry.counter(MetricCatalogue.ntpQueries, server.description, result).add(1)
  }
}
