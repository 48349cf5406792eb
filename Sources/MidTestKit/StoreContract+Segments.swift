import MidCore

extension StoreContract {
  /// The record of a tag whose next id is `next`, as the table under test shows it.
  func record(_ tag: Tag, next: Int64, step: Int64) -> TagRecord {
    self.dialect.record(tag, maxID: self.dialect.maxID(beforeNext: next), step: step)
  }

  func firstIDs() async throws {
    try await self.withStore { store in
      let range = try await store.allocate(10, for: .default)
      try self.expectEqual(range, IDRange(start: 1, count: 10), "the first range of a fresh database")
      let listed = try await store.tags()
      try self.expectEqual(
        listed, [self.record(.default, next: 11, step: 10_000)], "a fresh database's tags after a load of 10")
    }
  }

  func rangesFollowEachOther() async throws {
    try await self.withStore { store in
      var end: Int64 = 1
      for count: Int64 in [1, 1, 10_000, 1, 1_000_000] {
        let range = try await store.allocate(count, for: .default)
        try self.expectEqual(range, IDRange(start: end, count: count), "a range begins where the last one ended")
        end = range.end
      }
    }
  }

  func concurrentRangesNeverOverlap() async throws {
    let stores = [try await self.open(), try await self.open()]
    let tag = try Tag("orders")
    _ = try await stores[0].createTag(tag, step: 10, first: 1)
    let taken = try await withThrowingTaskGroup(of: [IDRange].self) { group in
      for caller in 0..<8 {
        group.addTask {
          var ranges: [IDRange] = []
          for turn in 0..<25 {
            ranges.append(try await stores[caller % 2].allocate(Int64(1 + (caller + turn) % 7), for: tag))
          }
          return ranges
        }
      }
      return try await group.reduce(into: [[IDRange]]()) { $0.append($1) }
    }
    for ranges in taken {
      for (earlier, later) in zip(ranges, ranges.dropFirst()) {
        try self.expect(later.start >= earlier.end, "one caller's ranges grow: \(earlier), then \(later)")
      }
    }
    // 200 loads from an untouched row leave neither a gap nor an overlap.
    var next: Int64 = 1
    for range in taken.joined().sorted(by: { $0.start < $1.start }) {
      try self.expectEqual(range.start, next, "ranges of 8 callers on two stores lie end to end")
      next = range.end
    }
    for store in stores { await store.close() }
  }

  func unknownTag() async throws {
    try await self.withStore { store in
      let before = try await store.tags()
      for name in ["nobody", "DEFAULT", String(repeating: "x", count: Tag.maximumLength)] {
        let tag = try Tag(name)
        let error = try await self.expectError(.unknownTag, "a load of an unknown tag") {
          try await store.allocate(1, for: tag)
        }
        try self.expect(error.message.contains(name), "the message names the tag: \(error.message)")
        try await self.expectError(.unknownTag, "an update of an unknown tag") {
          try await store.updateTag(tag, step: 5, next: nil)
        }
        let gaveBack = try await store.giveBack(IDRange(start: 1, count: 1), of: tag)
        try self.expectEqual(gaveBack, false, "giving back a range of an unknown tag")
      }
      try self.expectEqual(try await store.tags(), before, "asking for unknown tags creates none")
    }
  }

  func countBelowOne() async throws {
    try await self.withStore { store in
      for count: Int64 in [0, -1, .min] {
        try await self.expectError(.invalidArgument, "a load of \(count) ids") {
          try await store.allocate(count, for: .default)
        }
      }
    }
  }

  func exhausted() async throws {
    try await self.withStore { store in
      let tag = try Tag("old")
      _ = try await store.createTag(tag, step: 1, first: Int64.max - 10)
      try await self.expectError(.exhausted, "a load past the largest id") { try await store.allocate(11, for: tag) }
      try await self.expectError(.exhausted, "a load of everything") { try await store.allocate(.max, for: tag) }
      let rest = try await store.allocate(10, for: tag)
      try self.expectEqual(rest, IDRange(start: Int64.max - 10, count: 10), "the last ids there are")
      try await self.expectError(.exhausted, "a load past the last id") { try await store.allocate(1, for: tag) }
    }
  }

  func giveBack() async throws {
    try await self.withStore { store in
      let first = try await store.allocate(10, for: .default)
      let rest = IDRange(start: 4, count: 7)
      try self.expectEqual(try await store.giveBack(rest, of: .default), true, "giving back the end of the last range")
      try self.expectEqual(try await store.giveBack(rest, of: .default), false, "giving the same rest back twice")
      let again = try await store.allocate(10, for: .default)
      try self.expectEqual(again, IDRange(start: 4, count: 10), "what was given back comes again")
      try self.expectEqual(
        try await store.giveBack(IDRange(start: 8, count: 3), of: .default), false,
        "giving back a rest of \(first) after somebody else's load")
      try self.expectEqual(
        try await store.giveBack(IDRange(start: 14, count: 0), of: .default), false, "giving back an empty range")
      try self.expectEqual(
        try await store.allocate(1, for: .default), IDRange(start: 14, count: 1), "refused rests change nothing")
    }
  }

  func createTag() async throws {
    try await self.withStore { store in
      let plain = try Tag("plain")
      let record = try await store.createTag(plain, step: 500, first: 1)
      try self.expectEqual(record, self.record(plain, next: 1, step: 500), "a new tag's record")
      try self.expectEqual(try await store.allocate(3, for: plain), IDRange(start: 1, count: 3), "its first ids")
      let later = try Tag("later")
      _ = try await store.createTag(later, step: 1, first: 1_000_001)
      let range = try await store.allocate(1, for: later)
      try self.expectEqual(range.start, 1_000_001, "the first id of a tag created with one")
    }
  }

  func createTagRefusals() async throws {
    try await self.withStore { store in
      let tag = try Tag("once")
      _ = try await store.createTag(tag, step: 10, first: 100)
      try await self.expectError(.tagExists, "creating a tag twice") {
        try await store.createTag(tag, step: 20, first: 1)
      }
      for (step, first) in [(0, 1), (-1, 1), (1, 0), (1, -1), (Int64.min, 1), (1, Int64.min)] as [(Int64, Int64)] {
        try await self.expectError(.invalidArgument, "creating a tag with step \(step) and first id \(first)") {
          try await store.createTag(try Tag("refused"), step: step, first: first)
        }
      }
      let names = Set(try await store.tags())
      try self.expectEqual(
        names, [self.record(.default, next: 1, step: 10_000), self.record(tag, next: 100, step: 10)],
        "refused tags leave nothing behind")
    }
  }

  func updateTag() async throws {
    try await self.withStore { store in
      _ = try await store.allocate(10, for: .default)
      let stepped = try await store.updateTag(.default, step: 77, next: nil)
      try self.expectEqual(stepped, self.record(.default, next: 11, step: 77), "a new step")
      let moved = try await store.updateTag(.default, step: nil, next: 1000)
      try self.expectEqual(moved, self.record(.default, next: 1000, step: 77), "a next id moved forward")
      let both = try await store.updateTag(.default, step: 5, next: 2000)
      try self.expectEqual(both, self.record(.default, next: 2000, step: 5), "step and next id at once")
      let neither = try await store.updateTag(.default, step: nil, next: nil)
      try self.expectEqual(neither, both, "an update of nothing")
      try self.expectEqual(try await store.tags(), [both], "the listing shows the update")
      try self.expectEqual(
        try await store.allocate(1, for: .default), IDRange(start: 2000, count: 1), "the next id comes next")
    }
  }

  func updateTagNeverGoesBack() async throws {
    try await self.withStore { store in
      _ = try await store.allocate(10, for: .default)
      for next: Int64 in [10, 1, 0, -5, .min] {
        let error = try await self.expectError(.wentBackwards, "moving the next id from 11 to \(next)") {
          try await store.updateTag(.default, step: 3, next: next)
        }
        try self.expect(error.message.contains("10"), "the message names the last id given out: \(error.message)")
      }
      try await self.expectError(.invalidArgument, "a step of 0") {
        try await store.updateTag(.default, step: 0, next: 50)
      }
      let same = try await store.updateTag(.default, step: nil, next: 11)
      try self.expectEqual(same, self.record(.default, next: 11, step: 10_000), "refused updates change nothing")
    }
  }

  func listsTags() async throws {
    try await self.withStore { store in
      var promised: Set<TagRecord> = [self.record(.default, next: 1, step: 10_000)]
      for number: Int64 in 1...50 {
        promised.insert(try await store.createTag(try Tag("tag\(number)"), step: number, first: number * 10))
      }
      let found = try await store.tags()
      try self.expectEqual(found.count, promised.count, "the number of tags")
      try self.expectEqual(Set(found), promised, "the tags")
    }
  }

  /// Two names are two tags, or the second is refused: never one row under two names.
  func namesAreExact() async throws {
    try await self.withStore { store in
      let lower = try Tag("order")
      _ = try await store.createTag(lower, step: 10, first: 1)
      for name in ["Order", "ORDER", "örder"] {
        let tag = try Tag(name)
        try await self.expectError(.unknownTag, "a load of \(name) where only order exists") {
          try await store.allocate(1, for: tag)
        }
        let gaveBack = try await store.giveBack(IDRange(start: 1, count: 1), of: tag)
        try self.expectEqual(gaveBack, false, "giving back to \(name) where only order exists")
        do {
          _ = try await store.createTag(tag, step: 20, first: 500)
          try self.expectEqual(try await store.allocate(1, for: tag).start, 500, "the first id of \(name)")
        } catch let error as IDError where error.code == .tagExists {
          // A table whose collation takes both for one name can't hold the second.
        }
      }
      try self.expectEqual(try await store.allocate(1, for: lower).start, 1, "the first id of order")
    }
  }

  func oddNames() async throws {
    try await self.withStore { store in
      let names = [
        "o'rder", "a\"b", "back\\slash", "%", "_", "訂單", "😀", "a b", "-- ;", "'; DROP TABLE id_segments; --",
      ]
      for (index, name) in names.enumerated() {
        let tag = try Tag(name)
        _ = try await store.createTag(tag, step: 1, first: Int64(index + 1))
      }
      for (index, name) in names.enumerated() {
        let range = try await store.allocate(1, for: try Tag(name))
        try self.expectEqual(range.start, Int64(index + 1), "the first id of \(name)")
      }
      let listed = Set(try await store.tags().map(\.tag.name))
      try self.expectEqual(listed, Set(names + ["default"]), "the names in the listing")
    }
  }

  func prepareTwice() async throws {
    let stores = [try await self.open(), try await self.open()]
    _ = try await stores[0].allocate(10, for: .default)
    for store in stores { try await store.prepare() }
    try self.expectEqual(
      try await stores[1].allocate(1, for: .default), IDRange(start: 11, count: 1), "preparing again changes nothing")
    for store in stores { await store.close() }
  }

  func reopeningKeepsEverything() async throws {
    guard self.isPersistent else { return }
    let tag = try Tag("kept")
    let owner = WorkerOwner(token: "token", description: "host:1")
    let (tags, workers) = try await self.withStore { store in
      _ = try await store.createTag(tag, step: 42, first: 7)
      _ = try await store.allocate(100, for: tag)
      _ = try await store.claimWorker(3, owner: owner, leaseMilliseconds: 600_000, bound: 123)
      return (Set(try await store.tags()), try await store.workers().records)
    }
    try await self.withStore { store in
      try self.expectEqual(Set(try await store.tags()), tags, "tags after reopening")
      try self.expectEqual(try await store.workers().records, workers, "workers after reopening")
      try self.expectEqual(try await store.allocate(1, for: tag).start, 107, "the next id after reopening")
    }
  }

  func closedStoreRefuses() async throws {
    let store = try await self.open()
    await store.close()
    await store.close()
    try await self.expectError(.storeUnavailable, "a load from a closed store") {
      try await store.allocate(1, for: .default)
    }
    try await self.expectError(.storeUnavailable, "a listing of a closed store") { try await store.tags() }
    try await self.expectError(.storeUnavailable, "the workers of a closed store") { try await store.workers() }
    try await self.expectError(.storeUnavailable, "preparing a closed store") { try await store.prepare() }
  }
}
