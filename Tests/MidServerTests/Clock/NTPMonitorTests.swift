import Logging
import MidTestKit
import ServiceLifecycle
import Synchronization
import Testing

@testable import MidServer

private let still = ClockHealth.Moment(wall: 0, monotonic: 0)

private func sample(_ milliseconds: Int64) -> Result<SNTPSample, SNTPFailure> {
  .success(SNTPSample(offset: .milliseconds(milliseconds), delay: .milliseconds(1), stratum: 2))
}

@Suite struct NTPMonitorStateMachineTests {
  private let a = HostPort(host: "a", port: 123)
  private let b = HostPort(host: "b", port: 123)
  private let c = HostPort(host: "c", port: 123)

  /// In which of the next rounds the first server is asked, when each of its answers is `answer`.
  private func asked(
    _ machine: inout NTPMonitorStateMachine, rounds: Int, answer: Result<SNTPSample, SNTPFailure>
  ) -> [Int] {
    var asked: [Int] = []
    for round in 0..<rounds {
      let servers = machine.beginRound()
      if servers.contains(self.a) { asked.append(round) }
      _ = machine.endRound(Dictionary(uniqueKeysWithValues: servers.map { ($0, answer) }), clockDifference: 0)
    }
    return asked
  }

  @Test func oneLiarAmongThreeIsLeftOut() {
    var machine = NTPMonitorStateMachine(servers: [self.a, self.b, self.c])
    #expect(machine.beginRound() == [self.a, self.b, self.c])
    let reading = machine.endRound([self.a: sample(2), self.b: sample(90_000), self.c: sample(1)], clockDifference: 0)
    #expect(reading == NTPReading(offset: .microseconds(1500), uncertainty: .milliseconds(2), servers: 2))
    #expect(machine.reading == reading)
    #expect(machine.falsetickers == [self.b] && !machine.isSplit)
  }

  /// That of a sample whose round trip takes a millisecond.
  private static let uncertainty = Duration.microseconds(1500)

  @Test func oneOfThreeThatAnswersIsNoMajorityOfThem() {
    var machine = NTPMonitorStateMachine(servers: [self.a, self.b, self.c])
    _ = machine.beginRound()
    let alone = machine.endRound(
      [self.a: .failure(.timeout), self.b: sample(90_000), self.c: .failure(.timeout)], clockDifference: 0)
    #expect(alone?.isQuorate == false && alone?.offset == .seconds(90))
    _ = machine.beginRound()
    #expect(machine.endRound([self.b: sample(90_000)], clockDifference: 0)?.isQuorate == false)
    // Also where another asks not to be asked ever again.
    var other = NTPMonitorStateMachine(servers: [self.a, self.b])
    _ = other.beginRound()
    #expect(
      other.endRound([self.a: .failure(.kissOfDeath("DENY")), self.b: sample(1)], clockDifference: 0)?.isQuorate
        == false)
  }

  @Test func serversThatAreAskedAtDifferentTimesJudgeEachOther() {
    var machine = NTPMonitorStateMachine(servers: [self.a, self.b, self.c])
    // Two with a rate limit, and one that lies and is asked in each round.
    _ = machine.beginRound()
    let rate = SNTPFailure.kissOfDeath("RATE")
    _ = machine.endRound([self.a: .failure(rate), self.b: .failure(rate), self.c: sample(90_000)], clockDifference: 0)
    #expect(machine.reading?.isQuorate == false)
    for round in 0..<40 {
      let asked = machine.beginRound()
      let answers = asked.map { ($0, $0 == self.c ? sample(90_000) : sample(1)) }
      _ = machine.endRound(Dictionary(uniqueKeysWithValues: answers), clockDifference: 0)
      guard round > 1 else { continue }
      #expect(machine.reading?.isQuorate == true && machine.reading?.offset == .milliseconds(1))
      #expect(machine.falsetickers == [self.c], "told once, not whenever it is asked")
    }
  }

  @Test func aMajorityThatIsGoneIsForgottenAlthoughOneStillAnswers() {
    var machine = NTPMonitorStateMachine(servers: [self.a, self.b, self.c])
    _ = machine.beginRound()
    _ = machine.endRound([self.a: sample(0), self.b: sample(0), self.c: sample(0)], clockDifference: 0)
    var quorate = 0
    for _ in 0..<20 {
      let asked = machine.beginRound()
      let answers = asked.map { ($0, $0 == self.a ? sample(30_000) : .failure(.timeout)) }
      _ = machine.endRound(Dictionary(uniqueKeysWithValues: answers), clockDifference: 0)
      quorate += machine.reading?.isQuorate == true ? 1 : 0
    }
    #expect(quorate == NTPMonitorStateMachine.staleAfterRounds - 1)
    #expect(machine.reading?.isQuorate == false && machine.reading?.offset == .seconds(30))
  }

  @Test func serversThatContradictEachOtherCountForNothing() {
    var machine = NTPMonitorStateMachine(servers: [self.a, self.b])
    _ = machine.beginRound()
    #expect(machine.endRound([self.a: sample(2), self.b: sample(90_000)], clockDifference: 0) == nil)
    #expect(machine.reading == nil && machine.isSplit && machine.falsetickers.isEmpty)
    _ = machine.beginRound()
    #expect(machine.endRound([self.a: sample(2), self.b: sample(2)], clockDifference: 0)?.servers == 2)
    #expect(!machine.isSplit)
  }

  @Test func theMedianOfTwoIsTheirMean() {
    #expect(NTPSelection<Int>.median([.seconds(4), .seconds(2)]) == .seconds(3))
    #expect(NTPSelection<Int>.median([.seconds(-4)]) == .seconds(-4))
    #expect(NTPSelection<Int>.median([]) == nil)
  }

  @Test func aServerNamedTwiceHasOneVote() {
    var machine = NTPMonitorStateMachine(servers: [self.a, self.a, self.b])
    #expect(machine.beginRound() == [self.a, self.b])
  }

  @Test func aFailingServerIsAskedEverLessOftenUpToEveryEighthRound() {
    var machine = NTPMonitorStateMachine(servers: [self.a])
    #expect(self.asked(&machine, rounds: 32, answer: .failure(.timeout)) == [0, 1, 3, 7, 15, 23, 31])
    _ = self.asked(&machine, rounds: 8, answer: sample(1))
    #expect(self.asked(&machine, rounds: 3, answer: sample(1)) == [0, 1, 2])
  }

  @Test func rateHalvesTheQuestionsForGood() {
    var machine = NTPMonitorStateMachine(servers: [self.a])
    #expect(self.asked(&machine, rounds: 1, answer: .failure(.kissOfDeath("RATE"))) == [0])
    #expect(self.asked(&machine, rounds: 6, answer: sample(1)) == [1, 3, 5])
  }

  @Test(arguments: ["DENY", "RSTR", "XXXX"]) func anyOtherKissEndsTheAsking(code: String) {
    var machine = NTPMonitorStateMachine(servers: [self.a, self.b])
    _ = machine.beginRound()
    _ = machine.endRound([self.a: .failure(.kissOfDeath(code)), self.b: sample(1)], clockDifference: 0)
    #expect(self.asked(&machine, rounds: 200, answer: sample(1)).isEmpty)
    #expect(machine.reading != nil)
  }

  @Test func aReadingGoesStaleWhenNobodyAnswers() {
    var machine = NTPMonitorStateMachine(servers: [self.a])
    _ = machine.beginRound()
    _ = machine.endRound([self.a: sample(5)], clockDifference: 0)
    _ = self.asked(&machine, rounds: NTPMonitorStateMachine.staleAfterRounds - 1, answer: .failure(.timeout))
    #expect(machine.reading == NTPReading(offset: .milliseconds(5), uncertainty: Self.uncertainty, servers: 1))
    _ = self.asked(&machine, rounds: 1, answer: .failure(.timeout))
    #expect(machine.reading == nil)
  }
}

@Suite struct NTPMonitorTests {
  private let quiet = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

  @Test(.timeLimit(.minutes(10))) func itAsksEachIntervalAndPublishesTheOffset() async throws {
    let registry = PrometheusRegistry()
    let intervals = Mutex<[Duration]>([])
    let monitor = NTPMonitor(
      servers: [HostPort(host: "a", port: 123), HostPort(host: "b", port: 124)], interval: .seconds(60),
      registry: registry, logger: self.quiet, read: { still },
      ask: { $0.host == "a" ? sample(-3_000) : .failure(.timeout) },
      sleep: { interval in
        let count = intervals.withLock { seen in
          seen.append(interval)
          return seen.count
        }
        if count == 12 { throw CancellationError() }
      })
    #expect(!registry.scrape().contains("ntp_offset_milliseconds"))
    try await monitor.run()
    // Three minutes, in parts after which it is looked whether the clock is off.
    #expect(intervals.withLock { $0 } == Array(repeating: .seconds(15), count: 12))
    #expect(
      monitor.reading
        == NTPReading(offset: .seconds(-3), uncertainty: .microseconds(1500), servers: 1, isQuorate: false))
    let page = registry.scrape()
    #expect(page.contains("\nntp_offset_milliseconds -3000\n"))
    #expect(page.contains("\nmid_ntp_offset_seconds -3\n"))
    #expect(page.contains("\nmid_ntp_queries_total{server=\"a:123\",result=\"ok\"} 3\n"))
    #expect(page.contains("\nmid_ntp_queries_total{server=\"b:124\",result=\"timeout\"} 2\n"))
  }

  @Test(.timeLimit(.minutes(10))) func aRoundBeforeTheRunIsNotRepeatedAndAClockThatIsOffIsLookedAtSooner() async throws
  {
    let events = EventLog()
    let monitor = NTPMonitor(
      servers: [HostPort(host: "a", port: 123), HostPort(host: "b", port: 123), HostPort(host: "c", port: 123)],
      interval: .seconds(60), registry: PrometheusRegistry(), logger: events.logger, read: { still },
      isUrgent: { true },
      observe: { events.note("reading \($0?.servers ?? 0)") },
      ask: { sample($0.host == "c" ? 90_000 : 0) },
      sleep: { interval in
        events.note("sleep \(interval)")
        if events.count(of: "sleep") == 2 { throw CancellationError() }
      })
    #expect(await monitor.check()?.servers == 2)
    try await monitor.run()
    let seen = events.events.filter { $0.hasPrefix("sleep") || $0.hasPrefix("reading") || $0.contains("contradicts") }
    #expect(seen.count == 5, "\(seen)")
    #expect(seen.filter { $0.contains("contradicts") && $0.contains("c:123") }.count == 1, "told once: \(seen)")
    #expect(
      seen.filter { !$0.contains("contradicts") } == [
        "reading 2", "sleep 15.0 seconds", "reading 2", "sleep 15.0 seconds",
      ])
  }

  @Test(.timeLimit(.minutes(10)), arguments: [true, false])
  func gracefulShutdownEndsItWithAndWithoutServers(hasServers: Bool) async throws {
    let (started, continuation) = AsyncStream.makeStream(of: Void.self)
    let monitor = NTPMonitor(
      servers: hasServers ? [HostPort(host: "a", port: 123)] : [], interval: .seconds(60),
      registry: PrometheusRegistry(), logger: self.quiet, read: { still },
      ask: { _ in sample(0) },
      sleep: { _ in
        continuation.yield()
        // Ended by the shutdown.
        try await untilCancelled()
      })
    let group = ServiceGroup(services: [monitor], logger: self.quiet)
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await group.run() }
      if hasServers {
        var iterator = started.makeAsyncIterator()
        await iterator.next()
      }
      await group.triggerGracefulShutdown()
      try await tasks.waitForAll()
    }
  }
}
