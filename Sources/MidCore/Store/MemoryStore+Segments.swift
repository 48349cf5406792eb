extension MemoryStore {
  public func allocate(_ claim: SegmentClaim, for tag: Tag) async throws(IDError) -> IDRange {
    try self.transaction { state throws(IDError) in
      try claim.validate()
      guard let row = state.tags[tag] else { throw .unknown(tag) }
      let (maxID, range) = try TableDialect.stripe.taking(claim, from: row)
      state.tags[tag]?.maxID = maxID
      return range
    }
  }

  public func giveBack(_ rest: IDRange, of tag: Tag) async throws(IDError) -> Bool {
    try self.transaction { state throws(IDError) in
      guard let row = state.tags[tag], !row.isClosed else { return false }
      guard let (taken, before, residue) = TableDialect.stripe.marks(of: rest) else { return false }
      guard taken.contains(row.maxID), residue == row.residue else { return false }
      state.tags[tag]?.maxID = before
      return true
    }
  }

  public func tags() async throws(IDError) -> [TagRecord] {
    try self.transaction { state throws(IDError) in Array(state.tags.values) }
  }

  public func createTag(_ tag: Tag, step: Int64, first: Int64) async throws(IDError) -> TagRecord {
    try await self.createStripe(tag, residue: .all, step: step, first: first)
  }

  public func updateTag(_ tag: Tag, step: Int64?, next: Int64?) async throws(IDError) -> TagRecord {
    try self.transaction { state throws(IDError) in
      guard var record = state.tags[tag] else { throw .unknown(tag) }
      guard !record.isClosed else { throw .restriped(tag) }
      if let step {
        try StripeRow.check(step: step)
        record.step = step
      }
      if let next { record.maxID = try TableDialect.stripe.moving(record, to: next) }
      state.tags[tag] = record
      return record
    }
  }
}

extension MemoryStore {
  public func stripe(of tag: Tag) async throws(IDError) -> StripeRow? {
    try self.transaction { state throws(IDError) in
      state.tags[tag].map { record in
        StripeRow(state: state.closed[tag] ?? .open(record.residue), lastID: record.maxID, step: record.step)
      }
    }
  }

  public func closeStripe(
    of tag: Tag, ifStill seen: StripeRow.State?, token: Int64, step: Int64
  ) async throws(IDError) -> Bool {
    try self.transaction { state throws(IDError) in
      try StripeRow.check(token: token)
      try StripeRow.check(step: step)
      let found = state.closed[tag] ?? state.tags[tag].map { .open($0.residue) }
      guard found == seen else { return false }
      var record = state.tags[tag] ?? TagRecord(tag: tag, maxID: 0, step: step)
      (record.isClosed, record.residue) = (true, .all)
      state.tags[tag] = record
      state.closed[tag] = .closed(token: token)
      return true
    }
  }

  public func settleStripe(of tag: Tag, token: Int64) async throws(IDError) -> Bool {
    try self.transaction { state throws(IDError) in
      try StripeRow.check(token: token)
      guard state.closed[tag] == .closed(token: token) else { return false }
      state.closed[tag] = .settled(token: token)
      return true
    }
  }

  public func openStripe(
    of tag: Tag, token: Int64, residue: TableDialect.Residue, lastID: Int64, step: Int64
  ) async throws(IDError) -> Bool {
    try self.transaction { state throws(IDError) in
      try StripeRow.check(token: token)
      try StripeRow.check(step: step)
      guard let closed = state.tags[tag], let said = state.closed[tag],
        [.closed(token: token), .settled(token: token)].contains(said)
      else { return false }
      state.tags[tag] = TagRecord(tag: tag, maxID: max(closed.maxID, lastID), step: step, residue: residue)
      state.closed[tag] = nil
      return true
    }
  }

  public func createStripe(
    _ tag: Tag, residue: TableDialect.Residue, step: Int64, first: Int64
  ) async throws(IDError) -> TagRecord {
    try self.transaction { state throws(IDError) in
      try StripeRow.check(step: step)
      try StripeRow.check(first: first)
      guard state.tags[tag] == nil else { throw IDError(.tagExists, "tag \(tag) is there already") }
      let record = TagRecord(tag: tag, maxID: first - 1, step: step, residue: residue)
      state.tags[tag] = record
      return record
    }
  }
}
