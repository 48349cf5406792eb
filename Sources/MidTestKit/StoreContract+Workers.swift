import MidCore

extension StoreContract {
  private static let mine = WorkerOwner(token: "token-mine", description: "mine:100")
  private static let other = WorkerOwner(token: "token-other", description: "other:200")
  private static let lease: Int64 = 600_000

  func claimWorker() async throws {
    try await self.withStore { store in
      let claim = try await store.claimWorker(5, owner: Self.mine, leaseMilliseconds: Self.lease, bound: 1000)
      try self.expectEqual(claim.previous, nil, "the row before the first claim")
      let promised = WorkerRecord(
        worker: 5, owner: Self.mine, term: 1, expiresAt: claim.storeTime + Self.lease, bound: 1000)
      try self.expectEqual(claim.current, promised, "the row after the first claim")
      try self.expect(claim.storeTime > 0, "the store's time is since 1970: \(claim.storeTime)")

      let renamed = WorkerOwner(token: Self.mine.token, description: "mine:101")
      let again = try await store.claimWorker(5, owner: renamed, leaseMilliseconds: Self.lease, bound: 2000)
      try self.expectEqual(again.previous, claim.current, "the row before a second claim by the same token")
      let second = WorkerRecord(
        worker: 5, owner: renamed, term: 2, expiresAt: again.storeTime + Self.lease, bound: 2000)
      try self.expectEqual(again.current, second, "the row after a second claim by the same token")
      try self.expectEqual(try await store.workers().records, [second], "the row as listed")
    }
  }

  func workerHeldByAnother() async throws {
    try await self.withStore { store in
      let held = try await store.claimWorker(0, owner: Self.mine, leaseMilliseconds: Self.lease, bound: 1)
      let error = try await self.expectError(.leaseLost, "a claim of a held row") {
        try await store.claimWorker(0, owner: Self.other, leaseMilliseconds: Self.lease, bound: 9999)
      }
      let end = WallTime(milliseconds: held.current.expiresAt).description
      try self.expect(
        error.message.contains(Self.mine.description) && error.message.contains(end),
        "the message names the holder \(Self.mine.description) and the end \(end): \(error.message)")
      try self.expect(!error.message.contains(Self.mine.token), "the message keeps the token to itself")
      try self.expectEqual(try await store.workers().records, [held.current], "a refused claim changes nothing")
      let next = try await store.claimWorker(1, owner: Self.other, leaseMilliseconds: Self.lease, bound: 1)
      try self.expectEqual(next.current.term, 1, "another row is free")
    }
  }

  func workerExpires() async throws {
    try await self.withStore { store in
      let short = try await store.claimWorker(7, owner: Self.mine, leaseMilliseconds: 1, bound: 5000)
      let claim = try await self.claimOnceExpired(7, of: store, owner: Self.other, bound: 10)
      try self.expectEqual(claim.previous, short.current, "the row before the takeover")
      try self.expect(claim.storeTime >= short.current.expiresAt, "taken over before the end")
      try self.expectEqual(claim.current.term, 2, "the term after a takeover")
      try self.expectEqual(claim.current.owner, Self.other, "the owner after a takeover")
      try self.expectEqual(claim.current.bound, 5000, "a takeover keeps the larger bound")
      try await self.expectError(.leaseLost, "a renewal after a takeover") {
        try await store.renewWorker(7, token: Self.mine.token, term: 1, leaseMilliseconds: 1, bound: 6000)
      }
      try await self.expectError(.leaseLost, "a release after a takeover") {
        try await store.releaseWorker(7, token: Self.mine.token, term: 1, bound: 0)
      }
      try self.expectEqual(
        try await store.workers().records, [claim.current], "late calls of the old holder change nothing")
    }
  }

  func renewWorker() async throws {
    try await self.withStore { store in
      let first = try await store.claimWorker(2, owner: Self.mine, leaseMilliseconds: 1000, bound: 100)
      let renewed = try await store.renewWorker(
        2, token: Self.mine.token, term: 1, leaseMilliseconds: Self.lease, bound: 200)
      try self.expectEqual(renewed.previous, first.current, "the row before a renewal")
      var promised = first.current
      promised.expiresAt = renewed.storeTime + Self.lease
      promised.bound = 200
      try self.expectEqual(renewed.current, promised, "the row after a renewal")
      for (token, term) in [(Self.mine.token, 2), (Self.mine.token, 0), (Self.other.token, 1)] as [(String, Int64)] {
        try await self.expectError(.leaseLost, "a renewal by \(token) in term \(term)") {
          try await store.renewWorker(2, token: token, term: term, leaseMilliseconds: Self.lease, bound: 900)
        }
      }
      try await self.expectError(.leaseLost, "a renewal of a row that never was") {
        try await store.renewWorker(3, token: Self.mine.token, term: 1, leaseMilliseconds: Self.lease, bound: 900)
      }
      try self.expectEqual(try await store.workers().records, [promised], "refused renewals change nothing")
    }
  }

  func releaseWorker() async throws {
    try await self.withStore { store in
      _ = try await store.claimWorker(4, owner: Self.mine, leaseMilliseconds: Self.lease, bound: 100)
      for (token, term) in [(Self.mine.token, 2), (Self.other.token, 1)] as [(String, Int64)] {
        try await self.expectError(.leaseLost, "a release by \(token) in term \(term)") {
          try await store.releaseWorker(4, token: token, term: term, bound: 0)
        }
      }
      try await self.expectError(.leaseLost, "a release of a row that never was") {
        try await store.releaseWorker(5, token: Self.mine.token, term: 1, bound: 0)
      }
      try await store.releaseWorker(4, token: Self.mine.token, term: 1, bound: 60)
      let released = WorkerRecord(worker: 4, owner: Self.mine, term: 1, expiresAt: 0, bound: 60)
      try self.expectEqual(try await store.workers().records, [released], "the row after a release")
      try await self.expectError(.leaseLost, "a renewal after a release") {
        try await store.renewWorker(4, token: Self.mine.token, term: 1, leaseMilliseconds: Self.lease, bound: 900)
      }
      let taken = try await store.claimWorker(4, owner: Self.other, leaseMilliseconds: Self.lease, bound: 50)
      try self.expectEqual(taken.previous, released, "a released row is free at once")
      try self.expectEqual(taken.current.term, 2, "the term after a release and a claim")
    }
  }

  /// Only a release lowers the bound; a claim and a renewal keep the larger one.
  func workerBound() async throws {
    try await self.withStore { store in
      _ = try await store.claimWorker(6, owner: Self.mine, leaseMilliseconds: Self.lease, bound: 1000)
      let claim = try await store.claimWorker(6, owner: Self.mine, leaseMilliseconds: Self.lease, bound: 10)
      try self.expectEqual(claim.current.bound, 1000, "a claim with a lower bound")
      let renewed = try await store.renewWorker(
        6, token: Self.mine.token, term: 2, leaseMilliseconds: Self.lease, bound: 20)
      try self.expectEqual(renewed.current.bound, 1000, "a renewal with a lower bound")
      try await store.releaseWorker(6, token: Self.mine.token, term: 2, bound: 30)
      let lowered = try await store.claimWorker(6, owner: Self.other, leaseMilliseconds: Self.lease, bound: 5)
      try self.expectEqual(lowered.current.bound, 30, "a claim after a release that lowered the bound")
      let far = try await store.renewWorker(
        6, token: Self.other.token, term: 3, leaseMilliseconds: Self.lease, bound: .max)
      try self.expectEqual(far.current.bound, .max, "the largest bound")
    }
  }

  func listsWorkers() async throws {
    try await self.withStore { store in
      try self.expectEqual(try await store.workers().records, [], "the workers of a fresh database")
      var promised: [WorkerRecord] = []
      for worker: Int64 in [1023, 3, 0, 65_535, 10] {
        let claim = try await store.claimWorker(worker, owner: Self.mine, leaseMilliseconds: Self.lease, bound: worker)
        promised.append(claim.current)
      }
      promised.sort { $0.worker < $1.worker }
      let list = try await store.workers()
      try self.expectEqual(list.records, promised, "the workers in order of number")
      let claim = try await store.claimWorker(0, owner: Self.mine, leaseMilliseconds: Self.lease, bound: 0)
      // By the clock that leases end by, between the claims before it and the one after it.
      let earliest = (promised.map(\.expiresAt).max() ?? 0) - Self.lease
      try self.expect(
        (earliest...claim.storeTime).contains(list.storeTime),
        "the list's time \(list.storeTime), claims at \(earliest) and \(claim.storeTime)")
    }
  }

  func workerRefusals() async throws {
    try await self.withStore { store in
      try await self.expectError(.invalidArgument, "a claim of worker -1") {
        try await store.claimWorker(-1, owner: Self.mine, leaseMilliseconds: Self.lease, bound: 0)
      }
      for lease: Int64 in [0, -1, .max] {
        try await self.expectError(.invalidArgument, "a claim for \(lease) ms") {
          try await store.claimWorker(1, owner: Self.mine, leaseMilliseconds: lease, bound: 0)
        }
      }
      try self.expectEqual(try await store.workers().records, [], "refused claims leave nothing behind")
    }
  }

  func concurrentClaimsHaveOneWinner() async throws {
    let stores = [try await self.open(), try await self.open()]
    for worker: Int64 in 0..<10 {
      let winners = try await withThrowingTaskGroup(of: Int.self) { group in
        for caller in 0..<4 {
          group.addTask {
            let owner = WorkerOwner(token: "token-\(caller)", description: "caller \(caller)")
            do {
              _ = try await stores[caller % 2].claimWorker(
                worker, owner: owner, leaseMilliseconds: Self.lease, bound: 0)
              return 1
            } catch let error as IDError where error.code == .leaseLost {
              return 0
            }
          }
        }
        return try await group.reduce(0, +)
      }
      try self.expectEqual(winners, 1, "winners among 4 claims of worker \(worker) at once")
    }
    for store in stores { await store.close() }
  }

  /// Claims again and again until the store's clock has passed the holder's end. Each refusal has to be `leaseLost`.
  private func claimOnceExpired(
    _ worker: Int64, of store: any IDStore, owner: WorkerOwner, bound: Int64
  ) async throws -> WorkerClaim {
    for _ in 0..<1_000_000 {
      do {
        return try await store.claimWorker(worker, owner: owner, leaseMilliseconds: Self.lease, bound: bound)
      } catch {
        guard error.code == .leaseLost else { throw error }
        await Task.yield()
      }
    }
    throw Violation(description: "a lease of 1 ms never ended")
  }
}
