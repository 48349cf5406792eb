public import MidCore

extension StripeStore {
  /// Closes the row whatever it says: looks, and tries again where it has changed meanwhile.
  public func closeStripe(of tag: Tag, token: Int64, step: Int64) async throws(IDError) {
    while true {
      let seen = try await self.stripe(of: tag)?.state
      if try await self.closeStripe(of: tag, ifStill: seen, token: token, step: step) { return }
    }
  }
}

extension StoreContract {
  /// What a store promises where it is one of several databases that share tags. Each is checked on a fresh database,
  /// whose table has columns for delta and remainder.
  public enum StripeCase: String, Sendable, CaseIterable, CustomStringConvertible {
    case createsStripes, refusesBrokenStripes, claimsOfAStripe, closesStripes, closesWhatIsMissing, closesWhatWasSeen
    case settlesStripes, opensStripes
    case othersSeeTheNewStride, closedRowsStandStill, oneRunOpens

    /// The promise's name.
    public var description: String { self.rawValue }
  }

  /// Checks one promise of a stripe.
  ///
  /// - Throws: ``Violation``, or whatever the store threw where it should not have.
  public func check(_ promise: StripeCase) async throws {
    switch promise {
    case .createsStripes: try await self.createsStripes()
    case .refusesBrokenStripes: try await self.refusesBrokenStripes()
    case .claimsOfAStripe: try await self.claimsOfAStripe()
    case .closesStripes: try await self.closesStripes()
    case .closesWhatIsMissing: try await self.closesWhatIsMissing()
    case .closesWhatWasSeen: try await self.closesWhatWasSeen()
    case .settlesStripes: try await self.settlesStripes()
    case .opensStripes: try await self.opensStripes()
    case .othersSeeTheNewStride: try await self.othersSeeTheNewStride()
    case .closedRowsStandStill: try await self.closedRowsStandStill()
    case .oneRunOpens: try await self.oneRunOpens()
    }
  }

  /// What a store promises whose table has no columns for delta and remainder: it is no stripe, and says so.
  public func isNoStripe() async throws {
    let all = TableDialect.Residue.all
    try await self.withStripe { store in
      let before = try await store.tags()
      try await self.expectError(.storeRejected, "a stripe's row") { try await store.stripe(of: .default) }
      try await self.expectError(.storeRejected, "closing") {
        try await store.closeStripe(of: .default, token: 1, step: 1)
      }
      try await self.expectError(.storeRejected, "opening") {
        try await store.openStripe(of: .default, token: 1, residue: all, lastID: 0, step: 1)
      }
      try await self.expectError(.storeRejected, "creating") {
        try await store.createStripe(Tag("new"), residue: all, step: 1, first: 1)
      }
      try self.expectEqual(try await store.tags(), before, "what is refused changes nothing")
    }
  }

  private func withStripe(_ body: (any StripeStore) async throws -> Void) async throws {
    try await self.withStore { store in try await body(try self.stripe(store)) }
  }

  func stripe(_ store: any IDStore) throws -> any StripeStore {
    guard let stripe = store as? any StripeStore else {
      throw Violation(description: "a store of the kind \(store.kind) can be a stripe")
    }
    return stripe
  }

  func residue(_ delta: Int64, _ remainder: Int64) throws -> TableDialect.Residue {
    guard let residue = TableDialect.Residue(delta: delta, remainder: remainder) else {
      throw Violation(description: "\(remainder) is a remainder of \(delta)")
    }
    return residue
  }

  private func createsStripes() async throws {
    try await self.withStripe { store in
      let (tag, residue) = (try Tag("shared"), try self.residue(3, 2))
      try self.expectEqual(try await store.stripe(of: tag), nil, "the row of a tag that is not there")
      let record = try await store.createStripe(tag, residue: residue, step: 10, first: 100)
      try self.expectEqual(
        record, TagRecord(tag: tag, maxID: 99, step: 10, residue: residue), "the record of a new stripe")
      try self.expectEqual(try await store.tags().first { $0.tag == tag }, record, "the same as listed")
      try self.expectEqual(
        try await store.stripe(of: tag), StripeRow(state: .open(residue), lastID: 99, step: 10), "the same as a row")
      try self.expectEqual(
        try await store.allocate(4, for: tag), IDRange(start: 101, count: 4, stride: 3), "its first ids")
      try self.expectEqual(try await store.stripe(of: tag)?.lastID, 111, "12 numbers are 4 ids")
      try await self.expectError(.tagExists, "creating a stripe twice") {
        try await store.createStripe(tag, residue: self.residue(2, 0), step: 1, first: 1)
      }
      try await self.expectError(.tagExists, "creating a tag where there is a stripe") {
        try await store.createTag(tag, step: 1, first: 1)
      }
      let whole = try await store.createStripe(Tag("whole"), residue: .all, step: 7, first: 1)
      try self.expectEqual(whole, self.record(try Tag("whole"), next: 1, step: 7), "a stripe that is alone")
    }
  }

  private func refusesBrokenStripes() async throws {
    try await self.withStripe { store in
      let (tag, residue) = (try Tag("shared"), try self.residue(3, 2))
      for (step, first) in [(0, 1), (-1, 1), (1, 0), (1, -1), (Int64.min, Int64.min)] as [(Int64, Int64)] {
        try await self.expectError(.invalidArgument, "creating with step \(step) and first id \(first)") {
          try await store.createStripe(tag, residue: residue, step: step, first: first)
        }
      }
      for (token, step) in [
        (0, 1), (-1, 1), (StripeRow.tokens.upperBound + 1, 1), (Int64.max, 1), (1, 0), (1, Int64.min),
      ]
        as [(Int64, Int64)]
      {
        try await self.expectError(.invalidArgument, "closing by token \(token) with step \(step)") {
          try await store.closeStripe(of: tag, token: token, step: step)
        }
        try await self.expectError(.invalidArgument, "opening by token \(token) with step \(step)") {
          try await store.openStripe(of: tag, token: token, residue: residue, lastID: 0, step: step)
        }
      }
      try self.expectEqual(try await store.stripe(of: tag), nil, "what is refused creates nothing")
    }
  }

  private func claimsOfAStripe() async throws {
    try await self.withStripe { store in
      let tag = try Tag("shared")
      let residue = try self.residue(5, 3)
      _ = try await store.createStripe(tag, residue: residue, step: 10, first: 1)
      // However far the wish lies from the stripe's numbers, the first id is the next of them.
      var mark: Int64 = 0
      for above: Int64 in [1000, 1011, 1022, 1033, 1044, 1055] {
        let start: Int64 = (above + 1...above + 5).first { $0 % 5 == 3 } ?? 0
        try self.expectEqual(
          try await store.allocate(SegmentClaim(count: 1, above: above, notBelow: mark), for: tag),
          IDRange(start: start, count: 1, stride: 5), "an id above \(above)")
        mark = above + 5
      }
      try self.expectEqual(try await store.stripe(of: tag)?.lastID, mark, "where the row stands")
      try await self.expectError(.wentBackwards, "a row below what was taken of it") {
        try await store.allocate(SegmentClaim(count: 1, above: 5000, notBelow: mark + 1), for: tag)
      }
      try await self.expectError(.exhausted, "ids past the largest") {
        try await store.allocate(SegmentClaim(count: 2, above: .max - 12), for: tag)
      }
      try self.expectEqual(try await store.stripe(of: tag)?.lastID, mark, "what is refused takes nothing")
      let last = try await store.allocate(SegmentClaim(count: 2, above: .max - 30), for: tag)
      try self.expect(
        last.count == 2 && last.stride == 5 && last.start > .max - 30 && last.start % 5 == 3,
        "ids near the end: \(last)")
    }
  }

  private func closesStripes() async throws {
    try await self.withStripe { store in
      let (tag, residue) = (try Tag("shared"), try self.residue(4, 1))
      _ = try await store.createStripe(tag, residue: residue, step: 25, first: 1)
      let range = try await store.allocate(10, for: tag)
      for token in [7, StripeRow.tokens.lowerBound, StripeRow.tokens.upperBound, StripeRow.tokens.upperBound] {
        try await store.closeStripe(of: tag, token: token, step: 99)
        try self.expectEqual(
          try await store.stripe(of: tag), StripeRow(state: .closed(token: token), lastID: 40, step: 25),
          "a closed row keeps number and step")
      }
      for claim in [SegmentClaim(count: 1), SegmentClaim(count: 1, above: 100, notBelow: 10)] {
        let error = try await self.expectError(.storeUnavailable, "a load from a closed row") {
          try await store.allocate(claim, for: tag)
        }
        try self.expect(error.message.contains("restriped"), "the message says why: \(error.message)")
      }
      for rest in [IDRange(start: 33, count: 2, stride: 4), IDRange(start: 31, count: 10)] {
        try self.expectEqual(
          try await store.giveBack(rest, of: tag), false, "giving the end of \(range) back to a closed row")
      }
      let listed = try await store.tags().first { $0.tag == tag }
      try self.expectEqual(
        listed, TagRecord(tag: tag, maxID: 40, step: 25, isClosed: true), "a closed row is listed, as closed")
      try await self.expectError(.storeUnavailable, "moving a closed row") {
        try await store.updateTag(tag, step: 5, next: 1000)
      }
      try await self.expectError(.tagExists, "creating a tag where a closed row is") {
        try await store.createTag(tag, step: 5, first: 1)
      }
      try await self.expectError(.tagExists, "creating a stripe where a closed row is") {
        try await store.createStripe(tag, residue: residue, step: 5, first: 1)
      }
      try self.expectEqual(try await store.stripe(of: tag)?.lastID, 40, "what is refused changes nothing")
      let others = try await store.tags().filter { $0.tag != tag }
      try self.expect(others.allSatisfy { !$0.isClosed }, "closing a row closes no other")
    }
  }

  private func closesWhatIsMissing() async throws {
    try await self.withStripe { store in
      let tag = try Tag("shared")
      try await store.closeStripe(of: tag, token: 5, step: 30)
      try self.expectEqual(
        try await store.stripe(of: tag), StripeRow(state: .closed(token: 5), lastID: 0, step: 30), "a row made closed")
      let residue = try self.residue(2, 1)
      let opened = try await store.openStripe(of: tag, token: 5, residue: residue, lastID: 0, step: 30)
      try self.expectEqual(opened, true, "opening it")
      try self.expectEqual(
        try await store.allocate(3, for: tag), IDRange(start: 1, count: 3, stride: 2), "its first ids")
    }
  }

  private func closesWhatWasSeen() async throws {
    try await self.withStripe { store in
      let (tag, residue) = (try Tag("shared"), try self.residue(4, 1))
      func close(_ seen: StripeRow.State?) async throws -> Bool {
        try await store.closeStripe(of: tag, ifStill: seen, token: 7, step: 10)
      }
      try self.expectEqual(try await close(.open(residue)), false, "closing what is not there")
      try self.expectEqual(try await store.stripe(of: tag), nil, "the row after that")
      _ = try await store.createStripe(tag, residue: residue, step: 10, first: 1)
      let others: [StripeRow.State?] = [
        nil, .open(.all), .open(try self.residue(4, 2)), .closed(token: 1), .settled(token: 1),
      ]
      for seen in others {
        try self.expectEqual(
          try await close(seen), false, "closing an open row that was seen as \(String(describing: seen))")
      }
      // A load changes nothing of what a row says.
      _ = try await store.allocate(3, for: tag)
      try self.expectEqual(try await close(.open(residue)), true, "closing what was seen")
      for seen in others + [.open(residue)] {
        try self.expectEqual(
          try await close(seen), false, "closing a closed row that was seen as \(String(describing: seen))")
      }
      try self.expectEqual(try await close(.closed(token: 7)), true, "closing it again by the same token")
      try self.expectEqual(
        try await store.stripe(of: tag), StripeRow(state: .closed(token: 7), lastID: 12, step: 10), "the row after that"
      )
    }
  }

  private func settlesStripes() async throws {
    try await self.withStripe { store in
      let tag = try Tag("shared")
      func settle(_ token: Int64) async throws -> Bool { try await store.settleStripe(of: tag, token: token) }
      try self.expectEqual(try await settle(7), false, "settling what is not there")
      _ = try await store.createStripe(tag, residue: self.residue(4, 1), step: 10, first: 1)
      _ = try await store.allocate(3, for: tag)
      try self.expectEqual(try await settle(7), false, "settling what is open")
      try await store.closeStripe(of: tag, token: 7, step: 10)
      try self.expectEqual(try await settle(8), false, "settling what another has closed")
      try self.expectEqual(try await settle(7), true, "settling what was closed by this token")
      let settled = StripeRow(state: .settled(token: 7), lastID: 12, step: 10)
      try self.expectEqual(try await store.stripe(of: tag), settled, "the row after that")
      try self.expectEqual(try await settle(7), false, "settling it twice")
      let opened = try await store.openStripe(of: tag, token: 8, residue: .all, lastID: 100, step: 1)
      try self.expectEqual(opened, false, "opening a row that another has settled")
      try await self.expectError(.storeUnavailable, "a load from a settled row") {
        try await store.allocate(1, for: tag)
      }
      try self.expectEqual(
        try await store.tags().first { $0.tag == tag }, TagRecord(tag: tag, maxID: 12, step: 10, isClosed: true),
        "a settled row is listed, as closed")
      for token: Int64 in [0, -1, -7, StripeRow.tokens.upperBound + 1] {
        try await self.expectError(.invalidArgument, "settling by token \(token)") {
          try await store.settleStripe(of: tag, token: token)
        }
      }
      try self.expectEqual(try await store.stripe(of: tag), settled, "what is refused changes nothing")
      // It is opened as a closed one is, or closed once more.
      try await store.closeStripe(of: tag, token: 3, step: 99)
      try self.expectEqual(
        try await store.stripe(of: tag), StripeRow(state: .closed(token: 3), lastID: 12, step: 10), "closed again")
      _ = try await settle(3)
      let again = try await store.openStripe(of: tag, token: 3, residue: .all, lastID: 100, step: 5)
      try self.expectEqual(again, true, "opening a row that was settled by this token")
      try self.expectEqual(
        try await store.stripe(of: tag), StripeRow(state: .open(.all), lastID: 100, step: 5), "the row after that")
    }
  }

  private func opensStripes() async throws {
    try await self.withStripe { store in
      let (tag, residue) = (try Tag("shared"), try self.residue(4, 1))
      func open(_ token: Int64, lastID: Int64, step: Int64) async throws -> Bool {
        try await store.openStripe(of: tag, token: token, residue: residue, lastID: lastID, step: step)
      }
      try self.expectEqual(try await open(7, lastID: 5, step: 1), false, "opening what is not there")
      try self.expectEqual(try await store.stripe(of: tag), nil, "the row after that")
      _ = try await store.createStripe(tag, residue: .all, step: 10, first: 101)
      let before = try await store.stripe(of: tag)
      try self.expectEqual(try await open(7, lastID: 500, step: 1), false, "opening what is open")
      try self.expectEqual(try await store.stripe(of: tag), before, "the row after that")
      try await store.closeStripe(of: tag, token: 7, step: 10)
      let closed = try await store.stripe(of: tag)
      try self.expectEqual(try await open(8, lastID: 500, step: 1), false, "opening what another has closed")
      try self.expectEqual(try await store.stripe(of: tag), closed, "the row after that")
      try self.expectEqual(try await open(7, lastID: 500, step: 25), true, "opening what was closed by this token")
      try self.expectEqual(
        try await store.stripe(of: tag), StripeRow(state: .open(residue), lastID: 500, step: 25), "the row after that")
      try self.expectEqual(try await open(7, lastID: 600, step: 1), false, "opening it twice")
      try self.expectEqual(
        try await store.allocate(2, for: tag), IDRange(start: 501, count: 2, stride: 4), "its next ids")
      // A row is never lowered, whatever the caller takes for the last number.
      for lastID in [507, 0, -9, .min] as [Int64] {
        try await store.closeStripe(of: tag, token: 9, step: 10)
        try self.expectEqual(try await open(9, lastID: lastID, step: 25), true, "opening it above \(lastID)")
        try self.expectEqual(try await store.stripe(of: tag)?.lastID, 508, "the row stands where it stood")
      }
      // A step that no column holds does not keep a row closed.
      try await store.closeStripe(of: tag, token: 9, step: 10)
      try self.expectEqual(try await open(9, lastID: 0, step: .max), true, "opening it with the largest step")
      let step = try await store.stripe(of: tag)?.step ?? 0
      try self.expect(step >= Int64(Int32.max) / 4, "as large a step as the table can hold: \(step)")
    }
  }
}
