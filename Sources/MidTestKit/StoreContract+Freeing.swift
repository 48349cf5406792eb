import MidCore

extension StoreContract {
  private static let holder = WorkerOwner(token: "token-holder", description: "holder:100")
  private static let heir = WorkerOwner(token: "token-heir", description: "heir:200")
  private static let lease: Int64 = 600_000

  func freeWorker() async throws {
    try await self.withStore { store in
      let held = try await store.claimWorker(3, owner: Self.holder, leaseMilliseconds: Self.lease, bound: 7000)
      let change = try await store.freeWorker(3, ifTerm: 1, force: true)
      try self.expectEqual(change.previous, held.current, "the row before it was freed")
      var freed = held.current
      freed.expiresAt = WorkerRecord.freed
      try self.expectEqual(change.current, freed, "the row after it was freed keeps term, owner and bound")
      try self.expectEqual(try await store.workers().records, [freed], "the freed row as listed")
      try await self.expectError(.leaseLost, "a renewal by the holder whose row was freed") {
        try await store.renewWorker(3, token: Self.holder.token, term: 1, leaseMilliseconds: Self.lease, bound: 9000)
      }
      try await self.expectError(.leaseLost, "a release by the holder whose row was freed, with a lower bound") {
        try await store.releaseWorker(3, token: Self.holder.token, term: 1, bound: 10)
      }
      let again = try await store.freeWorker(3, ifTerm: 1, force: false)
      try self.expectEqual(again.current, freed, "freeing it once more changes nothing")
      let taken = try await store.claimWorker(3, owner: Self.heir, leaseMilliseconds: Self.lease, bound: 50)
      try self.expectEqual(taken.previous, freed, "a freed row is free at once")
      try self.expectEqual(taken.current.term, 2, "the term after a freed row was claimed")
      try self.expectEqual(taken.current.bound, 7000, "the next holder starts at the bound of the one before")

      // One given back says by its bound where its ids end, and goes on to say so.
      try await store.releaseWorker(3, token: Self.heir.token, term: 2, bound: 60)
      let back = try await store.freeWorker(3, ifTerm: 2, force: true)
      try self.expectEqual(back.current.expiresAt, WorkerRecord.givenBack, "a row given back stays given back")
      try self.expectEqual(back.current.bound, 60, "a row given back keeps its bound")
    }
  }

  func freeWorkerRefusals() async throws {
    try await self.withStore { store in
      let held = try await store.claimWorker(3, owner: Self.holder, leaseMilliseconds: Self.lease, bound: 7000)
      let error = try await self.expectError(.leaseLost, "freeing a lease that runs, without force") {
        try await store.freeWorker(3, ifTerm: 1, force: false)
      }
      try self.expect(
        error.message.contains(Self.holder.description) && !error.message.contains(Self.holder.token),
        "the message names the holder and not its token: \(error.message)")
      for term: Int64 in [0, 2] {
        try await self.expectError(.leaseLost, "freeing term \(term) of a row in term 1") {
          try await store.freeWorker(3, ifTerm: term, force: true)
        }
      }
      try await self.expectError(.leaseLost, "freeing a row that never was") {
        try await store.freeWorker(4, ifTerm: 0, force: true)
      }
      try self.expectEqual(try await store.workers().records, [held.current], "what is refused changes nothing")

      _ = try await store.claimWorker(5, owner: Self.holder, leaseMilliseconds: 1, bound: 800)
      let freed = try await self.freeOnceEnded(5, term: 1, of: store)
      try self.expectEqual(freed.bound, 800, "the bound of an ended lease that was freed")
      try self.expectEqual(freed.expiresAt, WorkerRecord.freed, "the end of an ended lease that was freed")
    }
  }

  /// The bound that a renewal was told of is in the row for good, also where the row is freed at the same moment.
  func freeWorkerKeepsTheRacingBound() async throws {
    let (holder, operation) = (try await self.open(), try await self.open())
    for worker: Int64 in 0..<10 {
      _ = try await holder.claimWorker(worker, owner: Self.holder, leaseMilliseconds: Self.lease, bound: 1)
      let promised = try await withThrowingTaskGroup(of: Int64?.self) { group in
        group.addTask {
          var confirmed: Int64 = 1
          for bound: Int64 in 2..<100_000 {
            do throws(IDError) {
              let claim = try await holder.renewWorker(
                worker, token: Self.holder.token, term: 1, leaseMilliseconds: Self.lease, bound: bound)
              confirmed = claim.current.bound
              // A store in memory suspends nobody, and the other task needs a turn.
              await Task.yield()
            } catch {
              guard error.code == .leaseLost else { throw error }
              return confirmed
            }
          }
          throw Violation(description: "renewals of a freed row go on")
        }
        group.addTask {
          for _ in 0..<worker { await Task.yield() }
          _ = try await operation.freeWorker(worker, ifTerm: 1, force: true)
          return nil
        }
        return try await group.reduce(0) { max($0, $1 ?? 0) }
      }
      let row = try await operation.workers().records.first { $0.worker == worker }
      try self.expectEqual(row?.bound, promised, "the bound of worker \(worker), freed while it was renewed")
    }
    for store in [holder, operation] { await store.close() }
  }

  func inspectPrepared() async throws {
    try await self.withStore { store in
      _ = try await store.claimWorker(1, owner: Self.holder, leaseMilliseconds: Self.lease, bound: 1)
      try self.expectEqual(try await store.inspect(), [], "what a prepared store lacks")
      try self.expectEqual(try await store.tags().map(\.tag), [.default], "the tags after a look")
      try self.expectEqual(try await store.workers().records.map(\.worker), [1], "the workers after a look")
    }
  }

  /// Frees a row, without force, once the store's clock has passed its lease's end.
  private func freeOnceEnded(_ worker: Int64, term: Int64, of store: any IDStore) async throws -> WorkerRecord {
    for _ in 0..<1_000_000 {
      do {
        return try await store.freeWorker(worker, ifTerm: term, force: false).current
      } catch {
        guard error.code == .leaseLost else { throw error }
        await Task.yield()
      }
    }
    throw Violation(description: "a lease of 1 ms never ended")
  }
}
