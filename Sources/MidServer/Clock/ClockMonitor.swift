package import Logging
package import MidCore
import Synchronization

/// Keeps ``ClockHealth`` up to date, and tells of it: log lines, metrics, and whether Snowflake may start and is ready.
package final class ClockMonitor: Sendable {
  private struct State {
    var health: ClockHealth
    var kernelAt: UInt64 = 0
  }

  private let maxOffset: Duration
  private let hasSharedStore: Bool
  private let registry: PrometheusRegistry
  private let logger: Logger
  private let read: @Sendable () -> ClockHealth.Moment
  private let readKernel: @Sendable () -> KernelClock?
  private let state: Mutex<State>

  /// Creates a monitor, and adds its metrics.
  ///
  /// - Parameters:
  ///   - maxOffset: how far the clock may be off.
  ///   - renewal: how often nodes renew their rows.
  ///   - hasSharedStore: whether the store's clock is another than ours; an embedded store's says nothing.
  ///   - registry: gets `mid_clock_steps_total`, `mid_clock_trusted`, `mid_clock_store_trusted` and
  ///     `mid_clock_store_offset_seconds`.
  ///   - read: reads both clocks; ``moment(of:)``.
  ///   - readKernel: asks the kernel.
  package init(
    maxOffset: Duration, renewal: Duration, hasSharedStore: Bool, registry: PrometheusRegistry, logger: Logger,
    read: @escaping @Sendable () -> ClockHealth.Moment,
    readKernel: @escaping @Sendable () -> KernelClock? = KernelClock.read
  ) {
    self.maxOffset = maxOffset
    self.hasSharedStore = hasSharedStore
    self.registry = registry
    self.logger = logger
    self.read = read
    self.readKernel = readKernel
    self.state = Mutex(State(health: ClockHealth(maxOffset: maxOffset, renewal: renewal)))
    for direction in ["forward", "backward"] { registry.counter(MetricCatalogue.clockSteps, direction).add(0) }
    registry.collect { [weak self] writer in
      guard let self else { return }
      let verdict = self.state.withLock { $0.health.verdict }
      writer.write(MetricCatalogue.clockTrusted, value: self.isTrusted ? 1 : 0)
      if self.hasSharedStore {
        writer.write(MetricCatalogue.clockStoreTrusted, value: verdict == .storeWrong ? 0 : 1)
      }
      if let offset = self.storeOffset {
        writer.write(MetricCatalogue.clockStoreOffset, value: offset / .seconds(1))
      }
    }
  }

  /// Reads both of the system's clocks as one: where the thread lost its processor in between, once more.
  package static func moment(of clock: SystemClock) -> ClockHealth.Moment {
    var before = clock.monotonicNanoseconds()
    for _ in 0..<8 {
      let wall = clock.wallNanoseconds()
      let after = clock.monotonicNanoseconds()
      if after - before < 1_000_000 { return ClockHealth.Moment(wall: wall, monotonic: before + (after - before) / 2) }
      before = after
    }
    return ClockHealth.Moment(wall: clock.wallNanoseconds(), monotonic: before)
  }

  /// Both clocks now.
  package var now: ClockHealth.Moment { self.read() }

  /// Whether nothing speaks against our clock.
  package var isTrusted: Bool {
    if case .wrong = self.state.withLock({ $0.health.verdict }) { false } else { true }
  }

  /// Why Snowflake must not begin to issue, or nil: NTP servers say that our clock is off.
  ///
  /// The store's clock alone is no reason: nobody keeps it right as an NTP server is kept. It takes the readiness only.
  package var refusal: IDError? {
    self.state.withLock { state in
      let now = self.read()
      guard state.health.verdict == .wrong(.ntp), let offset = state.health.offset(of: .ntp, now) else { return nil }
      return IDError(
        .notReady,
        "this machine's clock is \(Self.text(offset)) the NTP servers'; clock.max_offset allows \(self.maxOffset.configurationText): "
          + "set the clock right, then Snowflake starts by itself")
    }
  }

  /// How far the store's clock is ahead of ours, or nil where it was not asked.
  package var storeOffset: Duration? {
    self.state.withLock { $0.health.offset(of: .store, self.read()) }
  }

  /// Whether the rows of the other nodes should be read.
  package var wantsPeers: Bool {
    self.state.withLock { $0.health.wantsPeers(self.read()) }
  }

  /// Whether the rows of the other nodes are to be read by the caller, at once, and told to
  /// ``listed(_:besides:renewal:lease:sent:)``. Not again for a while, whatever comes of it.
  package func beginAskingPeers() -> Bool {
    self.state.withLock { $0.health.beginAskingPeers(self.read()) }
  }

  /// Looks at the clocks; several times a second.
  package func poll() {
    let events = self.state.withLock { state in
      // Under the lock, so that readings come in the order of time.
      let now = self.read()
      var events = state.health.poll(now)
      // Each system call costs little, but nothing changes that often.
      if now.monotonic >= state.kernelAt {
        state.kernelAt = now.monotonic + 10_000_000_000
        events += state.health.asked(kernel: self.readKernel())
      }
      return events
    }
    self.report(events)
  }

  /// The NTP servers were asked.
  package func measured(ntp reading: NTPReading?) {
    self.report(self.state.withLock { $0.health.measured(ntp: reading, at: self.read()) })
  }

  /// The store told its time in an answer to what was sent at `sent`, which came just now.
  package func measured(storeTime: Int64, sent: ClockHealth.Moment) {
    guard self.hasSharedStore else { return }
    self.report(self.state.withLock { $0.health.measured(storeTime: storeTime, sent: sent, received: self.read()) })
  }

  /// The rows were read, in an answer that came just now: they tell the store's time, and what other nodes' clocks show.
  ///
  /// - Parameters:
  ///   - token: whose row is ours.
  ///   - renewal, lease: the settings, in milliseconds, which other nodes are taken to have as well.
  package func listed(
    _ list: WorkerList, besides token: String, renewal: Int64, lease: Int64, sent: ClockHealth.Moment
  ) {
    guard self.hasSharedStore else { return }
    let offsets = list.clockOffsets(besides: token, renewal: renewal, lease: lease)
    self.report(
      self.state.withLock { state in
        let now = self.read()
        return state.health.measured(storeTime: list.storeTime, sent: sent, received: now)
          + state.health.measured(peers: offsets.map { .milliseconds($0) }, at: now)
      })
  }

  private func report(_ events: [ClockHealth.Event]) {
    for event in events { self.report(event) }
  }

  private func report(_ event: ClockHealth.Event) {
    switch event {
    case .stepped(let step, let wall):
      self.registry.counter(MetricCatalogue.clockSteps, step < .zero ? "backward" : "forward").add(1)
      self.logger.warning(
        "the clock was stepped",
        metadata: ["by_ms": "\(step.wholeMilliseconds)", "to": "\(WallTime(milliseconds: wall))"])
    case .exceeded(let source, let offset):
      self.logger.error(
        "the clock is off, not ready for Snowflake",
        metadata: [
          "offset_ms": "\(offset.wholeMilliseconds)", "source": "\(source.rawValue)",
          "max_offset_ms": "\(self.maxOffset.wholeMilliseconds)",
          "advice": source == .ntp
            ? "set this machine's clock right"
            : "set this machine's clock or the store's right; clock.ntp.servers tells whose is wrong",
        ])
    case .recovered: self.logger.info("the clock is right again")
    case .storeWrong(let offset):
      self.logger.warning(
        "the store's clock is off, by the NTP servers or most other nodes",
        metadata: ["offset_ms": "\(offset.wholeMilliseconds)"])
    case .storeRight: self.logger.info("the store's clock is right again")
    case .unsynchronized:
      self.logger.warning("the kernel's clock is not synchronised: let chrony or another NTP daemon keep it")
    case .synchronized: self.logger.info("the kernel's clock is synchronised")
    case .leapSecond(let leap):
      self.logger.info(
        leap > 0
          ? "a leap second will be inserted at the end of the UTC day"
          : "a leap second will be left out at the end of the UTC day")
    }
  }

  private static func text(_ offset: Duration) -> String {
    let milliseconds = offset.wholeMilliseconds
    return milliseconds < 0 ? "\(-milliseconds) ms ahead of" : "\(milliseconds) ms behind"
  }
}

extension WorkerList {
  /// How far the clocks of the nodes that renewed a lease lately were ahead of the store's, in milliseconds.
  ///
  /// A renewal writes the store's time plus the lease as the expiry, and the node's time plus the lease as the bound. A
  /// row is left out where it is not held, or was not renewed within the last renewal's interval and a half: its node is
  /// gone, or the store's clock was another one then.
  func clockOffsets(besides token: String, renewal: Int64, lease: Int64) -> [Int64] {
    self.records.compactMap { record in
      // What a row holds may be anything.
      let age = self.storeTime &- (record.expiresAt &- lease)
      guard record.owner.token != token, record.expiresAt > self.storeTime,
        (-1000...renewal + renewal / 2 + 1000).contains(age)
      else { return nil }
      return record.bound &- record.expiresAt
    }
  }
}
