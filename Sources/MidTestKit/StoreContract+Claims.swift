import MidCore

// Loads of which more is asked than a count.
extension StoreContract {
  func claimsAbove() async throws {
    try await self.withStore { store in
      let tag = try Tag("claims")
      _ = try await store.createTag(tag, step: 10, first: 1)
      func load(_ count: Int64, above: Int64, from start: Int64) async throws {
        try self.expectEqual(
          try await store.allocate(SegmentClaim(count: count, above: above), for: tag),
          IDRange(start: start, count: count), "\(count) ids above \(above)")
      }
      try await load(3, above: 0, from: 1)
      try await load(10, above: 50, from: 51)
      // Where the row stands there already, or higher, the wish changes nothing.
      var next: Int64 = 61
      for above in [60, 12, 0, -1, -70, .min + 1, .min] as [Int64] {
        try await load(1, above: above, from: next)
        next += 1
      }
      try await load(4, above: next, from: next + 1)
      let listed = try await store.tags().first { $0.tag == tag }
      try self.expectEqual(listed, self.record(tag, next: next + 5, step: 10), "the row after claims")
      // What is given back of a claim comes again; what was left out below it does not.
      let rest = IDRange(start: next + 3, count: 2)
      try self.expectEqual(try await store.giveBack(rest, of: tag), true, "giving back the end of a claim")
      try self.expectEqual(try await store.allocate(1, for: tag).start, next + 3, "the next id after that")
      try await self.expectError(.unknownTag, "a claim of an unknown tag") {
        try await store.allocate(SegmentClaim(count: 1, above: 10, notBelow: 5), for: Tag("nobody"))
      }
    }
  }

  func claimsNotBelow() async throws {
    try await self.withStore { store in
      let tag = try Tag("claims")
      _ = try await store.createTag(tag, step: 10, first: 1)
      try self.expectEqual(try await store.allocate(10, for: tag), IDRange(start: 1, count: 10), "the first ids")
      for (claim, start) in [
        (SegmentClaim(count: 5, notBelow: 10), 11), (SegmentClaim(count: 5, notBelow: 0), 16),
        (SegmentClaim(count: 5, notBelow: .min + 1), 21), (SegmentClaim(count: 5, above: 30, notBelow: 25), 31),
      ] as [(SegmentClaim, Int64)] {
        try self.expectEqual(
          try await store.allocate(claim, for: tag), IDRange(start: start, count: 5),
          "a row that stands as high: \(claim)")
      }
      let before = try await store.tags().first { $0.tag == tag }
      for claim in [
        SegmentClaim(count: 1, notBelow: 36), SegmentClaim(count: 1, above: 1000, notBelow: 36),
        SegmentClaim(count: 1, above: .max, notBelow: .max), SegmentClaim(count: .max, notBelow: 1_000_000),
      ] {
        let error = try await self.expectError(.wentBackwards, "a row that stands lower: \(claim)") {
          try await store.allocate(claim, for: tag)
        }
        for number in ["35", "\(claim.notBelow)", tag.name] {
          try self.expect(error.message.contains(number), "the message says \(number): \(error.message)")
        }
      }
      try self.expectEqual(try await store.tags().first { $0.tag == tag }, before, "what is refused takes nothing")
      // What was given back counts no more: 33 is the last that is still taken.
      try self.expectEqual(try await store.giveBack(IDRange(start: 34, count: 2), of: tag), true, "giving back 34, 35")
      try self.expectEqual(
        try await store.allocate(SegmentClaim(count: 1, notBelow: 33), for: tag).start, 34, "the next id after that")
    }
  }

  /// The last numbers there are, reached by a wish.
  func claimsAtTheEnd() async throws {
    try await self.withStore { store in
      let tag = try Tag("claims")
      _ = try await store.createTag(tag, step: 10, first: 1)
      let before = try await store.tags()
      for claim in [
        SegmentClaim(count: 1, above: .max), SegmentClaim(count: 1, above: .max - 1),
        SegmentClaim(count: 10, above: .max - 10), SegmentClaim(count: .max, above: 1),
      ] {
        try await self.expectError(.exhausted, "ids past the largest: \(claim)") {
          try await store.allocate(claim, for: tag)
        }
      }
      for count in [0, -1, .min] as [Int64] {
        try await self.expectError(.invalidArgument, "a claim of \(count) ids") {
          try await store.allocate(SegmentClaim(count: count, above: 5, notBelow: 5), for: tag)
        }
      }
      try self.expectEqual(Set(try await store.tags()), Set(before), "what is refused takes nothing")
      let last = try await store.allocate(SegmentClaim(count: 10, above: .max - 11), for: tag)
      try self.expectEqual(last, IDRange(start: .max - 10, count: 10), "the last ids there are")
      try await self.expectError(.exhausted, "one more, with a wish") {
        try await store.allocate(SegmentClaim(count: 1, above: 1), for: tag)
      }
    }
  }

  /// Callers that each go on above what they were given elsewhere share one row: nothing overlaps.
  func concurrentClaimsKeepOrder() async throws {
    let stores = [try await self.open(), try await self.open()]
    let tag = try Tag("claims")
    _ = try await stores[0].createTag(tag, step: 10, first: 1)
    let taken = try await withThrowingTaskGroup(of: [IDRange].self) { group in
      for caller: Int64 in 0..<6 {
        group.addTask {
          var ranges: [IDRange] = []
          // What the caller had elsewhere lies some way above what it had here, another way each time.
          var (here, above) = (Int64.min, Int64(0))
          for turn: Int64 in 0..<20 {
            let claim = SegmentClaim(count: 1 + (caller + turn) % 5, above: above, notBelow: here)
            let range = try await stores[Int(caller + turn) % 2].allocate(claim, for: tag)
            try self.expect(range.start > above, "ids above \(above), found \(range)")
            ranges.append(range)
            here = range.end - 1
            above = here + (caller * 7 + turn * 3) % 11
          }
          return ranges
        }
      }
      return try await group.reduce(into: []) { $0 += $1 }
    }
    var next: Int64 = 1
    for range in taken.sorted(by: { $0.start < $1.start }) {
      try self.expect(
        range.start >= next, "ranges of 6 callers on two stores do not overlap: \(range) after \(next - 1)")
      next = range.end
    }
    for store in stores { await store.close() }
  }
}
