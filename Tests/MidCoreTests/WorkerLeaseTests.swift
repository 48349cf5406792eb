import Testing

@testable import MidCore

/// Each race on one thread; see ``WorkerLeaseModelTests`` for all of them in any order.
@Suite("The lease of a worker id") struct WorkerLeaseTests {
  typealias Harness = WorkerLeaseHarness
  static let start = Harness.start

  // MARK: - Taking

  @Test func `a fixed id is claimed once the folder knows, and granted once the folder has the answer`() {
    var node = Harness(.fixed(7))
    #expect(
      node.poll() == [.write(WorkerMemory(worker: 7, isClaiming: true, askedBound: Self.start + 3000))])
    #expect(node.poll() == [], "one step at a time")
    #expect(node.wrote() == [.claim(worker: 7, bound: Self.start + 3000)])
    let claim = node.claim(7, bound: Self.start + 3000)
    let confirmed = WorkerMemory(
      worker: 7, term: 1, bound: Self.start + 3000, rowBound: Self.start + 3000, askedBound: Self.start + 3000)
    #expect(node.machine.claimed(claim, node.now) == [.write(confirmed)])
    #expect(!node.machine.isIssuing)
    let leaseEnd = node.monotonic + 595_000 * 1_000_000
    #expect(
      node.wrote() == [
        .grant(worker: 7, floor: 0, bound: Self.start + 3000, leaseEnd: leaseEnd),
        .tell(.taken(worker: 7, term: 1, floor: 0)),
      ])
    #expect(node.machine.held?.worker == 7 && node.machine.isIssuing)
    // The long bound follows at once.
    let asked = WorkerMemory(
      worker: 7, term: 1, bound: Self.start + 3000, rowBound: Self.start + 3000, askedBound: Self.start + 600_000)
    #expect(node.poll() == [.write(asked)])
    #expect(node.wrote().contains(.renew(worker: 7, term: 1, bound: Self.start + 600_000)))
  }

  @Test func `any id is looked for among all rows`() {
    var node = Harness(.any(0...3))
    _ = node.claim(0, by: Harness.other, bound: 5)
    #expect(node.poll() == [.list])
    #expect(node.settle([.list]).grants == [[1, 0]])
  }

  @Test func `an id that another had begins above its bound`() {
    var node = Harness(.any(0...0))
    _ = node.claim(0, by: Harness.other, bound: Self.start + 700_000)
    let refused = node.turn()
    #expect(refused.revokes.first?.message.contains("all 1 worker ids from 0 to 0 are held") == true)
    node.pass(600_000)
    #expect(node.turn().grants == [[0, Self.start + 700_000]])
    #expect(node.machine.memory.bound == Self.start + 700_000)
  }

  @Test(arguments: [WorkerWish.any(0...3), .fixed(7)], [true, false])
  func `a node whose clock is known to be wrong does not begin, but goes on`(wish: WorkerWish, isStoreReady: Bool) {
    var node = Harness(wish)
    let refusal = IDError(.notReady, "the clock is wrong")
    node.refusal = refusal
    node.isStoreReady = isStoreReady
    #expect(node.poll() == [.tell(.notTaken(worker: nil, refusal)), .revoke(refusal)])
    node.pass(999)
    #expect(node.poll() == [], "not all the time")
    node.pass(1)
    #expect(node.poll() == [.revoke(refusal)], "told once")
    #expect(node.rows.isEmpty)
    node.refusal = nil
    node.isStoreReady = true
    node.pass(1000)
    #expect(node.turn().grants.count == 1)
    // From here on it is a matter of readiness: also where the lease ends and another id is taken.
    node.refusal = refusal
    node.isStoreReady = false
    node.pass(600_000)
    _ = node.turn()
    #expect(!node.machine.isIssuing)
    node.isStoreReady = true
    node.pass(1000)
    #expect(node.turn().grants.count == 1)
  }

  @Test func `who was quicker is got out of the way of, at once`() {
    var node = Harness(.any(0...9))
    _ = node.poll()
    _ = node.listed()
    let claim = node.wrote()
    #expect(claim == [.claim(worker: 0, bound: Self.start + 3000)])
    _ = node.claim(0, by: Harness.other, bound: Self.start + 600_000)
    let refused = node.claim(0, bound: Self.start + 3000)
    #expect(node.machine.claimed(refused, node.now) == [], "nothing to tell anybody")
    #expect(node.turn().grants == [[1, 0]])
  }

  @Test func `the holder of a fixed id is named, once`() {
    var node = Harness(.fixed(3))
    _ = node.claim(3, by: Harness.other, bound: Self.start + 600_000)
    let first = node.turn()
    let error = first.revokes.first
    #expect(error?.code == .leaseLost)
    #expect(error?.message.contains("worker id 3 is held by elsewhere, process 4, in term 1 until") == true)
    #expect(first.facts.count == 1)
    #expect(node.turn() == [], "not before a renewal's interval")
    node.pass(10_000)
    let second = node.turn()
    #expect(second.facts.isEmpty && second.revokes.count == 1)
    node.pass(590_000)
    #expect(node.turn().grants == [[3, Self.start + 600_000]])
  }

  // MARK: - Lost answers and crashes

  @Test func `a claim whose answer is lost leaves the id and its place to the next one, however often`() {
    var node = Harness(.fixed(7))
    node.take()
    node.front = Self.start + 1
    // A crash, and then a store that never answers.
    node = { old in
      var next = Harness(.fixed(7), old.machine.memory)
      next.rows = old.rows
      return next
    }(node)
    let floor = node.machine.memory.bound
    var actions = node.poll()
    for _ in 0..<5 {
      var claim: (worker: Int64, bound: Int64)?
      var rest = actions[...]
      while claim == nil, let action = rest.popFirst() {
        switch action {
        case .write: rest += node.wrote()
        case .list: rest += node.listed()
        case .claim(let worker, let bound): claim = (worker, bound)
        default: break
        }
      }
      _ = node.claim(7, bound: claim?.bound ?? 0)
      _ = node.settle(node.machine.claimed(.failure(IDError(.storeRejected, "lost")), node.now))
      node.pass(1000)
      actions = node.poll()
    }
    #expect(node.settle(actions).grants == [[7, floor]])
    #expect(node.rows[7]?.term == 7)
  }

  @Test func `another's id is not known by what it was before the claim`() {
    var node = Harness(.any(0...0))
    _ = node.claim(0, by: Harness.other, bound: Self.start + 100)
    node.storeTime += 600_000
    _ = node.poll()
    _ = node.listed()
    #expect(node.wrote() == [.claim(worker: 0, bound: Self.start + 3000)])
    // Its holder comes back late, renews, issues, and leaves; the claim is carried out then, and its answer is lost.
    node.rows[0]?.bound = Self.start + 2000
    node.rows[0]?.expiresAt = 0
    _ = node.claim(0, bound: Self.start + 3000)
    var again = Harness(.any(0...0), node.machine.memory)
    (again.rows, again.storeTime) = (node.rows, node.storeTime)
    #expect(again.turn().grants == [[0, Self.start + 3000]])
  }

  @Test func `a late claim of its own takes an id away and gives it back without a gap`() {
    var node = Harness(.fixed(7))
    node.take()
    node.front = Self.start + 5
    _ = node.claim(7, bound: Self.start + 3000)
    node.pass(10_000)
    let lost = node.turn()
    #expect(lost.revokes.first?.code == .leaseLost)
    node.pass(10)
    // The generator knows how far its ids came: nothing to wait for.
    #expect((lost + node.turn()).grants == [[7, Self.start + 5]])
    #expect(node.rows[7]?.term == 3)
  }

  @Test func `another holder in between is not overlooked by who held the id before`() {
    var node = Harness(.fixed(7))
    node.take()
    node.front = Self.start + 5
    node.pass(600_000)
    _ = node.claim(7, by: Harness.other, bound: Self.start + 900_000)
    node.storeTime += 600_000
    // Its own claim of long ago comes after that.
    _ = node.claim(7, bound: 0)
    #expect(node.turn().grants == [[7, Self.start + 900_000]])
  }

  // MARK: - Keeping

  @Test func `the lease is renewed in time, and the folder's bound more often`() {
    var node = Harness(.fixed(7))
    node.take()
    var renewals = 0
    var writes = 0
    for _ in 0..<120 {
      node.pass(250)
      let actions = node.poll()
      writes += actions.writes.count
      let before = node.rows[7]?.expiresAt
      _ = node.settle(actions)
      if node.rows[7]?.expiresAt != before { renewals += 1 }
      #expect(node.machine.memory.bound >= node.wall + 2000)
      #expect((node.rows[7]?.bound ?? 0) >= node.wall + 585_000)
    }
    #expect((2...3).contains(renewals))
    #expect((28...36).contains(writes))
  }

  @Test func `a clock set forward past the bounds has them moved at once`() {
    var node = Harness(.fixed(7))
    node.take()
    node.wall += 3_600_000
    node.turn()
    node.turn()
    #expect(node.machine.memory.bound == node.wall + 3000)
    #expect(node.rows[7]?.bound == node.wall + 600_000)
  }

  @Test func `a failed renewal is tried again, told once, and told when it is over`() {
    var node = Harness(.fixed(7))
    node.take()
    node.pass(10_000)
    var facts: [WorkerLeaseStateMachine.Fact] = []
    for _ in 0..<50 {
      node.pass(250)
      for action in node.poll() {
        if case .write = action { facts += node.wrote().facts }
      }
      facts += node.machine.renewed(.failure(Harness.away), node.now).facts
    }
    #expect(facts == [.notRenewed(worker: 7, Harness.away)])
    node.pass(1000)
    #expect(node.turn().facts == [.renewedAgain(worker: 7)])
  }

  @Test func `a lease that was not renewed ends before the store lets anybody else have the id`() {
    var node = Harness(.any(0...9))
    node.take()
    node.isStoreReady = false
    node.pass(594_998)
    #expect(node.turn().revokes.isEmpty)
    node.pass(2)
    let end = node.turn()
    #expect(end.revokes.first?.message.contains("the lease of worker id 0 has ended") == true)
    #expect(end.facts.count == 1 && node.machine.held == nil)
    node.isStoreReady = true
    #expect(node.turn().grants.first?.first == 0, "its own, while nobody has it")
  }

  @Test func `a renewal that is answered after the lease has ended gives nothing back`() {
    var node = Harness(.any(0...9))
    node.take()
    node.pass(10_000)
    // The folder's bound and the renewal.
    var actions = node.poll()
    while !actions.contains(where: { if case .renew = $0 { true } else { false } }) { actions = node.wrote() }
    node.pass(600_000)
    #expect(node.poll().revokes.count == 1)
    let late = node.renew(0, term: 1, bound: node.machine.memory.askedBound)
    let after = node.machine.renewed(late, node.now)
    #expect(after.contains(.list) && node.machine.held == nil)
    #expect(node.settle(after).grants.first?.first == 0)
  }

  @Test func `a lease that ends while the folder is written for a renewal is not renewed`() {
    var node = Harness(.any(0...9))
    node.take()
    node.pass(10_000)
    _ = node.poll()
    node.pass(600_000)
    #expect(node.poll().revokes.count == 1)
    #expect(!node.wrote().contains { if case .renew = $0 { true } else { false } })
    #expect(node.turn().grants.first?.first == 0)
  }

  @Test func `who lost the id to another takes the next`() {
    var node = Harness(.any(0...9))
    node.take()
    node.storeTime += 600_000
    _ = node.claim(0, by: Harness.other, bound: Self.start + 1_200_000)
    node.pass(10_000)
    let lost = node.turn()
    #expect(lost.revokes.first?.message.contains("worker id 0 is held by elsewhere, process 4, in term 2") == true)
    #expect((lost + node.turn()).grants.last == [1, 0])
  }
}
