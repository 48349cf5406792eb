import Logging
import MidCore
import MidTestKit
import Synchronization
import Testing

@testable import MidServer

@Suite("The clock's monitor")
struct ClockMonitorTests {
  private let clock = ManualClock(wallMilliseconds: 1_700_000_000_000)
  private let registry = PrometheusRegistry()
  private let log = EventLog()

  private func monitor(hasSharedStore: Bool = true, kernel: KernelClock? = nil) -> ClockMonitor {
    .reading(
      self.clock, log: self.log, registry: self.registry, hasSharedStore: hasSharedStore, kernel: kernel)
  }

  private func has(_ line: String) -> Bool { self.registry.scrape().contains("\n\(line)\n") }

  @Test func `counts steps by direction and logs each once`() {
    let monitor = self.monitor()
    monitor.poll()
    #expect(self.has(#"mid_clock_steps_total{direction="forward"} 0"#))
    for step in [2000, 3000, -3_600_000] as [Int64] {
      self.clock.advance(by: 250)
      self.clock.stepWall(by: step)
      monitor.poll()
      self.clock.advance(by: 250)
      monitor.poll()
    }
    #expect(self.has(#"mid_clock_steps_total{direction="forward"} 2"#))
    #expect(self.has(#"mid_clock_steps_total{direction="backward"} 1"#))
    #expect(self.log.count(of: "the clock was stepped") == 3)
  }

  @Test func `an offset by NTP takes the readiness and keeps Snowflake from starting, with a clear reason`() {
    let monitor = self.monitor()
    #expect(monitor.isTrusted && monitor.refusal == nil)
    #expect(self.has("mid_clock_trusted 1"))
    monitor.measured(ntp: NTPReading(offset: .seconds(-90), servers: 1, clockDifference: monitor.now.difference))
    #expect(!monitor.isTrusted)
    #expect(self.has("mid_clock_trusted 0"))
    let refusal = monitor.refusal
    #expect(refusal?.code == .notReady)
    #expect(refusal?.message.contains("90000 ms ahead of the NTP servers'; clock.max_offset allows 1s") == true)
    #expect(self.log.count(of: "the clock is off, not ready for Snowflake") == 1)
    monitor.measured(ntp: NTPReading(offset: .seconds(-91), servers: 1, clockDifference: monitor.now.difference))
    #expect(self.log.count(of: "the clock is off, not ready for Snowflake") == 1)
    monitor.measured(ntp: NTPReading(offset: .zero, servers: 1, clockDifference: monitor.now.difference))
    #expect(monitor.isTrusted && monitor.refusal == nil)
    #expect(self.log.count(of: "the clock is right again") == 1)
  }

  @Test(.timeLimit(.minutes(10))) func `a round that nobody answers takes no step back`() async {
    let monitor = self.monitor()
    let answers = Mutex<[Result<SNTPSample, SNTPFailure>]>([
      .success(
        SNTPSample(offset: .zero, delay: .zero, stratum: 2, clockDifference: monitor.now.difference)),
      .failure(.timeout),
    ])
    let ntp = NTPMonitor(
      servers: [HostPort(host: "a", port: 123)], interval: .seconds(60), registry: self.registry,
      logger: self.log.logger, read: { monitor.now }, observe: { monitor.measured(ntp: $0) },
      ask: { _ in answers.withLock { $0.removeFirst() } }, sleep: { _ in })
    _ = await ntp.check()
    monitor.poll()
    self.clock.stepWall(by: 3_600_000)
    monitor.poll()
    #expect(!monitor.isTrusted)
    _ = await ntp.check()
    #expect(!monitor.isTrusted)
    #expect(self.has("ntp_offset_milliseconds -3600000"), "the gauge goes with the clock")
  }

  @Test(.timeLimit(.minutes(10))) func `a step within a round belongs to the answers that came before it`() async {
    let monitor = self.monitor()
    let servers = ["a", "b", "c"].map { HostPort(host: $0, port: 123) }
    let ntp = NTPMonitor(
      servers: servers, interval: .seconds(60), registry: self.registry, logger: self.log.logger,
      read: { monitor.now }, observe: { monitor.measured(ntp: $0) },
      ask: { [clock, log] server in
        // 90 s ahead as it is asked, and set right before the round is over.
        let sample = SNTPSample(
          offset: .seconds(-90), delay: .zero, stratum: 2, clockDifference: monitor.now.difference)
        guard server.host == "c" else {
          log.note("asked")
          return .success(sample)
        }
        await log.wait(for: "asked", count: 2)
        clock.stepWall(by: -90_000)
        return .failure(.timeout)
      }, sleep: { _ in })
    #expect(await ntp.check()?.servers == 2)
    #expect(monitor.isTrusted && monitor.refusal == nil)
    #expect(self.has("ntp_offset_milliseconds 0"))
  }

  @Test func `an offset by the store takes the readiness alone, and only where the store is another machine's`() {
    let embedded = self.monitor(hasSharedStore: false)
    embedded.measured(storeTime: 1_700_000_030_000, sent: embedded.now)
    embedded.listed(
      WorkerList(records: [], storeTime: 1_700_000_030_000), besides: "", renewal: 1, lease: 1, sent: embedded.now)
    #expect(embedded.isTrusted && embedded.storeOffset == nil && !embedded.wantsPeers)
    let shared = self.monitor()
    shared.measured(storeTime: 1_700_000_030_000, sent: shared.now)
    self.clock.advance(by: 3500)
    #expect(shared.wantsPeers && shared.beginAskingPeers() && !shared.wantsPeers)
    shared.listed(
      WorkerList(records: [], storeTime: 1_700_000_033_500), besides: "", renewal: 1, lease: 1, sent: shared.now)
    #expect(!shared.isTrusted && shared.refusal == nil)
    #expect(self.has("mid_clock_store_offset_seconds 30.0005") && self.has("mid_clock_store_trusted 1"))
  }

  @Test func `asks the kernel every ten seconds`() {
    let asked = Atomic<Int>(0)
    let monitor = ClockMonitor(
      maxOffset: .seconds(1), renewal: .seconds(1), hasSharedStore: true, registry: self.registry,
      logger: self.log.logger,
      read: { [clock] in
        ClockHealth.Moment(wall: clock.wallMilliseconds() * 1_000_000, monotonic: clock.monotonicNanoseconds())
      },
      readKernel: {
        asked.wrappingAdd(1, ordering: .relaxed)
        return KernelClock(isSynchronized: false, leap: 1, estimatedError: .zero, maximumError: .zero)
      })
    for _ in 0..<80 {
      monitor.poll()
      self.clock.advance(by: 250)
    }
    #expect(asked.load(ordering: .relaxed) == 2)
    #expect(self.log.count(of: "the kernel's clock is not synchronised") == 1)
    #expect(self.log.count(of: "a leap second will be inserted") == 1)
  }

  @Test func `reads both clocks as one`() {
    let clock = SystemClock()
    let first = ClockMonitor.moment(of: clock)
    let second = ClockMonitor.moment(of: clock)
    #expect(second.monotonic >= first.monotonic)
    #expect((second.difference - first.difference).magnitude < 50_000_000)
  }
}
