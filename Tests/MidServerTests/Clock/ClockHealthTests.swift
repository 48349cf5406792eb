import MidCore
import Testing

@testable import MidServer

/// A machine's two clocks, moved by hand, and what comes of it.
private struct Bench {
  var now = ClockHealth.Moment(wall: 1_700_000_000_000_000_000, monotonic: 5_000_000_000)
  var health: ClockHealth

  init(maxOffset: Duration = .seconds(1)) { self.health = ClockHealth(maxOffset: maxOffset, renewal: .seconds(10)) }

  mutating func pass(_ milliseconds: Int64) {
    self.now.wall += milliseconds * 1_000_000
    self.now.monotonic += UInt64(milliseconds) * 1_000_000
  }

  mutating func step(_ milliseconds: Int64) { self.now.wall += milliseconds * 1_000_000 }

  mutating func poll() -> [ClockHealth.Event] { self.health.poll(self.now) }

  /// NTP servers whose clock is `offset` milliseconds ahead of ours.
  mutating func ntp(_ offset: Int64?, uncertainty: Int64 = 0) -> [ClockHealth.Event] {
    let reading = offset.map {
      NTPReading(
        offset: .milliseconds($0), uncertainty: .milliseconds(uncertainty), servers: 1,
        clockDifference: self.now.difference)
    }
    return self.health.measured(ntp: reading, at: self.now)
  }

  /// A store whose clock is `offset` milliseconds ahead of ours, asked over `roundTrip` milliseconds.
  mutating func store(_ offset: Int64, roundTrip: Int64 = 0) -> [ClockHealth.Event] {
    let sent = self.now
    self.pass(roundTrip)
    let storeTime = (sent.wall / 1_000_000) + roundTrip / 2 + offset
    return self.health.measured(storeTime: storeTime, sent: sent, received: self.now)
  }

  /// A store that contradicts our clock, by half a minute, for so long that every node has renewed its row since.
  mutating func contradict(by offset: Int64 = 30_000) {
    _ = self.store(offset)
    self.pass(17_000)
    _ = self.poll()
  }

  mutating func peers(_ offsets: [Int64]) -> [ClockHealth.Event] {
    self.health.measured(peers: offsets.map { .milliseconds($0) }, at: self.now)
  }
}

@Suite("The clock's health")
struct ClockHealthTests {
  // MARK: - Steps

  @Test func `tells each step once, with its size and where it led`() {
    var bench = Bench()
    #expect(bench.poll() == [])
    bench.pass(250)
    bench.step(-3_600_000)
    let wall = bench.now.wall / 1_000_000
    #expect(bench.poll() == [.stepped(by: .seconds(-3600), to: wall)])
    bench.pass(250)
    #expect(bench.poll() == [])
    bench.step(100)
    #expect(bench.poll() == [.stepped(by: .milliseconds(100), to: bench.now.wall / 1_000_000)])
  }

  @Test func `takes no slewed clock, no sleep and no standstill of the process for a step`() {
    var bench = Bench()
    _ = bench.poll()
    // A twelfth faster and slower, as chrony slews at most.
    for sign in [1, -1] as [Int64] {
      for _ in 0..<100 {
        bench.pass(252)
        bench.step(sign * 21)
        #expect(bench.poll() == [])
      }
    }
    bench.pass(3_600_000)
    #expect(bench.poll() == [])
  }

  // MARK: - NTP

  @Test func `goes by the NTP servers, to both sides, and back only when well within bounds`() {
    for sign in [1, -1] as [Int64] {
      var bench = Bench()
      #expect(bench.ntp(sign * 1000) == [])
      #expect(bench.health.verdict == .trusted)
      #expect(bench.ntp(sign * 1001) == [.exceeded(.ntp, offset: .milliseconds(sign * 1001))])
      #expect(bench.health.verdict == .wrong(.ntp))
      #expect(bench.ntp(sign * 1500) == [])
      #expect(bench.ntp(sign * 900) == [], "it must not flap")
      #expect(bench.ntp(sign * 800) == [.recovered])
      #expect(bench.health.verdict == .trusted)
    }
  }

  @Test func `allows for what the servers do not know themselves`() {
    var bench = Bench()
    #expect(bench.ntp(1400, uncertainty: 500) == [])
    #expect(bench.ntp(1501, uncertainty: 500) == [.exceeded(.ntp, offset: .milliseconds(1501))])
  }

  @Test func `sees a step in the offset at once, and its end too`() {
    var bench = Bench()
    _ = bench.ntp(0)
    _ = bench.poll()
    bench.pass(250)
    bench.step(5000)
    #expect(bench.poll().contains(.exceeded(.ntp, offset: .seconds(-5))))
    #expect(bench.health.offset(of: .ntp, bench.now) == .seconds(-5))
    bench.pass(250)
    bench.step(-5000)
    #expect(bench.poll().contains(.recovered))
  }

  @Test func `a leap second that was announced steps the others' clocks too`() {
    for leap in [1, -1] {
      var bench = Bench(maxOffset: .milliseconds(500))
      _ = bench.health.asked(
        kernel: KernelClock(isSynchronized: true, leap: leap, estimatedError: .zero, maximumError: .zero))
      _ = bench.ntp(3)
      _ = bench.store(2)
      _ = bench.poll()
      bench.pass(250)
      bench.step(Int64(-leap) * 1000)
      #expect(bench.poll() == [.stepped(by: .seconds(-leap), to: bench.now.wall / 1_000_000)])
      #expect(bench.health.offset(of: .ntp, bench.now) == .milliseconds(3))
      // Any other step is one, also on that day.
      bench.step(Int64(leap) * 1000)
      #expect(bench.poll().contains { if case .exceeded = $0 { true } else { false } })
    }
  }

  @Test func `believes the NTP servers and not the store`() {
    var bench = Bench()
    _ = bench.ntp(0)
    #expect(bench.store(30_000) == [.storeWrong(offset: .microseconds(30_000_500))])
    #expect(bench.health.verdict == .storeWrong)
    #expect(!bench.health.wantsPeers(bench.now))
    #expect(bench.store(10) == [.storeRight])
    // And where the servers say that ours is wrong, a store that agrees with us changes nothing.
    _ = bench.ntp(60_000)
    #expect(bench.store(0) == [])
    #expect(bench.health.verdict == .wrong(.ntp))
  }

  @Test func `silent NTP servers make no clock right, but a step does, and a store that says so`() {
    var bench = Bench()
    _ = bench.ntp(60_000)
    #expect(bench.ntp(nil) == [] && bench.health.verdict == .wrong(.ntp))
    _ = bench.store(60_000)
    #expect(bench.ntp(nil) == [] && bench.health.verdict == .wrong(.ntp))
    _ = bench.store(0)
    #expect(bench.ntp(nil) == [.recovered])
    var stepped = Bench()
    _ = stepped.ntp(60_000)
    _ = stepped.poll()
    stepped.step(60_000)
    #expect(stepped.poll().contains(.recovered))
  }

  // MARK: - The store and the other nodes

  @Test func `asks the other nodes before it goes by the store, and goes by it where there are none`() {
    var bench = Bench()
    #expect(bench.store(30_000) == [])
    bench.pass(16_999)
    #expect(!bench.health.wantsPeers(bench.now), "not every node has renewed its row since")
    #expect(bench.peers([]) == [] && bench.health.verdict == .trusted)
    bench.pass(1)
    #expect(bench.poll() == [] && bench.health.wantsPeers(bench.now))
    #expect(bench.peers([]) == [.exceeded(.store, offset: .microseconds(30_000_500))])
    #expect(!bench.health.wantsPeers(bench.now))
    bench.pass(29_999)
    #expect(!bench.health.wantsPeers(bench.now), "not all the time")
    bench.pass(1)
    #expect(bench.health.wantsPeers(bench.now), "others may have come")
    #expect(bench.store(0) == [.recovered])
    #expect(!bench.health.wantsPeers(bench.now))
    // And from the beginning, the next time.
    #expect(bench.store(30_000) == [] && !bench.health.wantsPeers(bench.now))
  }

  @Test func `goes by no answer that took long where there is a better one`() {
    var bench = Bench()
    bench.contradict()
    _ = bench.peers([])
    _ = bench.store(30_000)
    #expect(bench.store(1000, roundTrip: 10_000) == [])
    #expect(bench.health.verdict == .wrong(.store))
    // Where all of them take long, one that is as good does, and a better one is not waited for.
    var slow = Bench()
    _ = slow.store(0, roundTrip: 2000)
    _ = slow.store(700, roundTrip: 2000)
    #expect(slow.health.offset(of: .store, slow.now) == .microseconds(700_500))
    _ = slow.store(100)
    slow.pass(60_000)
    _ = slow.store(300, roundTrip: 2000)
    #expect(slow.health.offset(of: .store, slow.now) == .microseconds(300_500))
  }

  @Test func `does not judge by rows that were read before`() {
    var bench = Bench()
    _ = bench.store(0)
    _ = bench.peers([])
    bench.contradict()
    #expect(bench.health.verdict == .trusted && bench.health.wantsPeers(bench.now))
    #expect(bench.peers([-30_000]) == [.storeWrong(offset: .microseconds(30_000_500))])
    // Nor is a judgement taken back because the rows can't be read for a while.
    bench.pass(11_000)
    #expect(bench.poll() == [] && bench.health.verdict == .storeWrong)
  }

  @Test func `a node whose clock is wrong is told so by the store and the others`() {
    var bench = Bench()
    // The store is 30 s ahead of us, and the others go with the store.
    bench.contradict()
    #expect(bench.peers([10, -20, 400]) == [.exceeded(.store, offset: .microseconds(30_000_500))])
  }

  @Test func `a store whose clock is wrong takes no node out of service`() {
    var bench = Bench()
    // The store is 30 s ahead of us, and of the others.
    bench.contradict()
    #expect(bench.peers([-30_000, -29_500, 0]) == [.storeWrong(offset: .microseconds(30_000_500))])
    #expect(bench.health.verdict == .storeWrong)
    // That others are gone, or as many on one side as on the other, changes nothing; a majority does.
    #expect(bench.peers([]) == [] && bench.peers([-30_000, 0]) == [])
    #expect(bench.peers([-30_000, 0, 0]) == [.exceeded(.store, offset: .microseconds(30_000_500))])
    // Rows that mean nothing count for neither.
    #expect(bench.peers([-30_000, -597_000, 500_000]) == [.recovered, .storeWrong(offset: .microseconds(30_000_500))])
  }

  @Test func `with as many on one side as on the other the store counts, where nothing was judged before`() {
    var bench = Bench()
    bench.contradict()
    #expect(bench.peers([-30_000, 0]) == [.exceeded(.store, offset: .microseconds(30_000_500))])
  }

  @Test(arguments: [100, 1000] as [Int64], [1.1, 1.5, 2, 2.5, 10])
  func `tells whose clock is wrong by as little as is not allowed`(allowed: Int64, factor: Double) {
    let offset = Int64(Double(allowed) * factor)
    for sign in [1, -1] as [Int64] {
      for ahead in [0, 400, 1000] as [Int64] {
        // Ours is wrong, the others go with the store, and their ids may run ahead of their clocks.
        var ours = Bench(maxOffset: .milliseconds(allowed))
        ours.contradict(by: sign * offset)
        _ = ours.peers([ahead, ahead, ahead])
        // With ids that run ahead by as much as our clock is off, nobody can tell; but the store counts then.
        #expect(ours.health.verdict == .wrong(.store) || (ahead > 0 && offset <= 1000 && sign < 0))
      }
      // The store is wrong, and the others go with us.
      var store = Bench(maxOffset: .milliseconds(allowed))
      store.contradict(by: sign * offset)
      _ = store.peers([-sign * offset, -sign * offset, -sign * offset])
      #expect(store.health.verdict == .storeWrong)
    }
  }

  @Test func `asks for the rows every five seconds at most, whatever comes of it`() {
    var bench = Bench()
    bench.contradict()
    #expect(bench.health.beginAskingPeers(bench.now) == true)
    #expect(!bench.health.wantsPeers(bench.now))
    bench.pass(4999)
    #expect(bench.health.beginAskingPeers(bench.now) == false)
    bench.pass(1)
    #expect(bench.health.beginAskingPeers(bench.now) == true)
  }

  @Test(arguments: [Int64.min, .min / 1_000_000, -1, 0, .max / 1_000_000, .max])
  func `bears any time of a store, and any row`(time: Int64) {
    var bench = Bench()
    _ = bench.health.measured(storeTime: time, sent: bench.now, received: bench.now)
    _ = bench.peers([time])
    bench.step(-bench.now.wall / 1_000_000)
    _ = bench.poll()
    #expect(bench.health.verdict == .trusted)
    let owner = WorkerOwner(token: "other", description: "other")
    for bound in [Int64.min, 0, .max] {
      let row = WorkerRecord(worker: 0, owner: owner, term: 1, expiresAt: time, bound: bound)
      let offsets = WorkerList(records: [row], storeTime: 0).clockOffsets(besides: "", renewal: 1, lease: 1000)
      #expect(offsets.count <= 1)
    }
  }

  @Test func `allows for the round trip`() {
    var bench = Bench()
    _ = bench.store(0, roundTrip: 2000)
    #expect(bench.health.offset(of: .store, bench.now) == .microseconds(500))
    // It may have been read at either end of it.
    for (offset, isOff) in [(1900, false), (2100, true)] as [(Int64, Bool)] {
      var other = Bench()
      _ = other.store(offset, roundTrip: 2000)
      other.pass(17_000)
      #expect(other.health.wantsPeers(other.now) == isOff)
    }
  }

  @Test func `forgets what the store said long ago, where nothing hangs on it`() {
    var bench = Bench()
    bench.contradict()
    _ = bench.peers([])
    bench.pass(900_000)
    #expect(bench.poll() == [] && bench.health.verdict == .wrong(.store), "silence makes no clock right")
    bench.step(30_000)
    #expect(bench.poll().contains(.recovered))
    #expect(bench.health.offset(of: .store, bench.now) != nil)
    _ = bench.poll()
    #expect(bench.health.offset(of: .store, bench.now) == nil)
  }

  // MARK: - The kernel

  @Test func `tells once that nothing keeps the clock, and of leap seconds`() {
    var bench = Bench()
    func kernel(_ isSynchronized: Bool, leap: Int = 0) -> KernelClock {
      KernelClock(isSynchronized: isSynchronized, leap: leap, estimatedError: .zero, maximumError: .zero)
    }
    #expect(bench.health.asked(kernel: nil) == [])
    #expect(bench.health.asked(kernel: kernel(true)) == [])
    #expect(bench.health.asked(kernel: kernel(false)) == [.unsynchronized])
    #expect(bench.health.asked(kernel: kernel(false)) == [])
    #expect(bench.health.asked(kernel: kernel(true, leap: 1)) == [.synchronized, .leapSecond(1)])
    #expect(bench.health.asked(kernel: kernel(true, leap: 1)) == [])
    #expect(bench.health.asked(kernel: kernel(true)) == [])
    #expect(bench.health.asked(kernel: kernel(true, leap: -1)) == [.leapSecond(-1)])
    var other = Bench()
    #expect(other.health.asked(kernel: kernel(false)) == [.unsynchronized])
  }
}

@Suite("What rows tell of other nodes' clocks")
struct WorkerListClockTests {
  private func row(_ token: String, expiresAt: Int64, bound: Int64) -> WorkerRecord {
    WorkerRecord(
      worker: 1, owner: WorkerOwner(token: token, description: token), term: 1, expiresAt: expiresAt, bound: bound)
  }

  @Test func `are the differences of bound and expiry, of others' rows that were renewed lately`() {
    let now: Int64 = 1_700_000_000_000
    let list = WorkerList(
      records: [
        self.row("me", expiresAt: now + 599_000, bound: now + 1),
        self.row("right", expiresAt: now + 599_000, bound: now + 599_003),
        self.row("ahead", expiresAt: now + 584_000, bound: now + 614_000),
        self.row("old", expiresAt: now + 583_999, bound: now + 1),
        self.row("of another clock", expiresAt: now + 601_001, bound: now + 1),
        self.row("ended", expiresAt: now, bound: now),
        self.row("given back", expiresAt: 0, bound: now),
      ], storeTime: now)
    #expect(list.clockOffsets(besides: "me", renewal: 10_000, lease: 600_000) == [3, 30_000])
  }
}
