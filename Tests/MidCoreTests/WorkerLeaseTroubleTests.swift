import Testing

@testable import MidCore

@Suite("The lease of a worker id in trouble, and its end") struct WorkerLeaseTroubleTests {
  typealias Harness = WorkerLeaseHarness
  static let start = Harness.start

  // MARK: - A folder that is not written

  @Test func `without the folder nothing is claimed, and it is said once`() {
    var node = Harness(.any(0...9))
    let full = IDError(.storeUnavailable, "no space left")
    _ = node.poll()
    _ = node.listed()
    let first = node.wrote(.failure(full))
    #expect(first.facts == [.notStored(full)] && first.revokes == [full])
    #expect(node.poll() == [], "not at once again")
    node.pass(250)
    #expect(node.poll().writes.count == 1)
    #expect(node.wrote(.failure(full)).facts == [])
    node.pass(250)
    let after = node.turn()
    #expect(after.facts.first == .storedAgain && after.grants == [[0, 0]])
  }

  @Test func `a folder that fails while ids are issued leaves the bound where it is`() {
    var node = Harness(.fixed(7))
    node.take()
    node.pass(1000)
    _ = node.poll()
    #expect(node.wrote(.failure(IDError(.storeUnavailable, "disk"))).revokes.isEmpty)
    #expect(node.machine.memory.bound <= Self.start + 3001)
  }

  // MARK: - Without the store

  @Test func `a fixed id is issued without a store that was never reached`() {
    var node = Harness(.fixed(7), WorkerMemory(worker: 7, term: 4, bound: Self.start - 5))
    node.isStoreReady = false
    let alone = node.turn()
    #expect(alone.grants == [[7, Self.start - 5]])
    #expect(alone.facts == [.alone(worker: 7, floor: Self.start - 5)])
    #expect(node.machine.isIssuing && node.machine.held == nil)
    node.front = Self.start + 50
    node.pass(1000)
    #expect(node.turn() == [.extend(bound: Self.start + 4000, leaseEnd: .max)])
    node.isStoreReady = true
    node.pass(10)
    // The folder says term 4; the store knows nothing of it.
    #expect(node.turn().grants == [[7, Self.start + 50]])
  }

  @Test func `a fixed id is issued also where the store is there and does not answer`() {
    var node = Harness(.fixed(7))
    _ = node.poll()
    _ = node.wrote()
    let failed = node.machine.claimed(.failure(Harness.away), node.now)
    #expect(failed.facts == [.notTaken(worker: 7, Harness.away)])
    #expect(node.settle(failed).grants == [[7, 0]])
    // The claim may have been carried out: the row is looked at before the next.
    node.pass(1000)
    #expect(node.poll().contains(.list))
  }

  @Test func `a store that refused once is not done without`() {
    var node = Harness(.fixed(7))
    _ = node.claim(7, by: Harness.other, bound: 0)
    node.turn()
    node.isStoreReady = false
    node.pass(60_000)
    #expect(node.turn() == [])
  }

  @Test func `an id that is leased is never issued without the store`() {
    var node = Harness(.any(0...9), WorkerMemory(worker: 3, term: 4, bound: Self.start - 5))
    node.isStoreReady = false
    #expect(node.turn() == [] && !node.machine.isIssuing)
  }

  @Test func `another holder of an id that was issued without the store is told, and ends it while it lasts`() {
    var node = Harness(.fixed(7))
    node.isStoreReady = false
    node.turn()
    node.front = Self.start + 50
    _ = node.claim(7, by: Harness.other, bound: Self.start + 600_000)
    node.isStoreReady = true
    #expect(node.turn().revokes.first?.code == .leaseLost)
    #expect(!node.machine.isIssuing)

    var later = Harness(.fixed(7))
    later.isStoreReady = false
    later.turn()
    _ = later.claim(7, by: Harness.other, bound: Self.start + 600_000)
    later.storeTime += 600_000
    later.isStoreReady = true
    let joined = later.turn()
    #expect(joined.facts.first == .sharedWhileAway(worker: 7, holder: Harness.other.description))
    #expect(joined.grants == [[7, Self.start + 600_000]])
  }

  // MARK: - The change to another id

  @Test func `a clock set back too far to wait for changes the id`() {
    var node = Harness(.any(0...9))
    node.take()
    node.front = Self.start + 100
    node.wall -= 3899
    #expect(node.turn().grants.isEmpty, "4 s can be waited for")
    node.wall -= 3_600_000
    let change = node.turn()
    #expect(change.grants == [[1, 0]])
    if case .changing(0, let error) = change.facts.first {
      #expect(error.code == .clockBehind && error.message.contains("taking another worker id"))
    } else {
      Issue.record("\(change.facts)")
    }
    #expect(node.rows[0]?.expiresAt == 0 && node.rows[0]?.bound == Self.start + 100, "given back, exactly")
  }

  @Test func `an id is not given up where none is better, and not asked for all the time`() {
    var node = Harness(.any(0...0))
    node.take()
    node.front = Self.start + 100
    node.wall -= 3_600_000
    var lists = 0
    for _ in 0..<80 {
      node.pass(250)
      let actions = node.poll()
      lists += actions.contains(.list) ? 1 : 0
      let effects = node.settle(actions)
      #expect(effects.grants.isEmpty && effects.revokes.isEmpty)
    }
    #expect((1...3).contains(lists))
  }

  @Test func `a fixed id waits for the clock`() {
    var node = Harness(.fixed(7))
    node.take()
    node.front = Self.start + 100
    node.wall -= 3_600_000
    let actions = node.turn()
    #expect(actions.facts.isEmpty && actions.revokes.isEmpty && node.machine.held != nil)
  }

  @Test func `a store that does not answer leaves the id as it is`() {
    var node = Harness(.any(0...9))
    node.take()
    node.front = Self.start + 100
    node.wall -= 3_600_000
    #expect(node.poll().contains(.list))
    #expect(node.machine.listed(.failure(Harness.away), node.now).facts.isEmpty)
    #expect(node.machine.held?.worker == 0)
  }

  @Test func `a lease that ends while the id is given up is not given back`() {
    var node = Harness(.any(0...9))
    node.take()
    node.front = Self.start + 100
    node.wall -= 3_600_000
    _ = node.poll()
    #expect(node.listed().contains { if case .giveUp = $0 { true } else { false } })
    node.pass(600_000)
    #expect(node.poll().revokes.count == 1)
    let after = node.machine.gaveUp(exactBound: node.front, node.now)
    #expect(!after.contains { if case .release = $0 { true } else { false } })
  }

  // MARK: - The end

  @Test func `a clean stop stores the exact bound and gives the row back`() {
    var node = Harness(.fixed(7))
    node.take()
    let exact = Self.start + 2
    let actions = node.machine.stop(exactBound: exact)
    #expect(actions.count == 2)
    #expect(actions.writes.first?.bound == exact && actions.writes.first?.rowBound == exact)
    #expect(actions.last == .release(worker: 7, term: 1, bound: exact))
    #expect(node.poll() == [] && node.machine.stop(exactBound: exact) == [])
    // Whether the row was given back or not, the next start goes on at once.
    for isReleased in [false, true] {
      var next = Harness(.fixed(7), actions.writes.first ?? WorkerMemory())
      next.rows = node.rows
      if isReleased { _ = next.settle([actions[1]]) }
      #expect(next.turn().grants == [[7, exact]])
    }
  }

  @Test func `a stop without the store stores the exact bound, and one that issued nothing changes nothing`() {
    var node = Harness(.fixed(7))
    node.isStoreReady = false
    node.turn()
    #expect(node.machine.stop(exactBound: Self.start + 9).writes.first?.bound == Self.start + 9)
    var idle = Harness(.any(0...9))
    #expect(idle.machine.stop(exactBound: 0) == [])
  }

  @Test func `answers that come after the end change nothing`() {
    var node = Harness(.fixed(7))
    _ = node.poll()
    _ = node.wrote()
    _ = node.machine.stop(exactBound: 0)
    let claim = node.claim(7, bound: Self.start + 3000)
    #expect(node.machine.claimed(claim, node.now) == [])
    #expect(node.wrote() == [] && node.machine.released(node.now) == [])
    #expect(node.machine.renewed(claim, node.now) == [] && node.machine.gaveUp(exactBound: 0, node.now) == [])
    #expect(node.listed() == [])
  }
}
