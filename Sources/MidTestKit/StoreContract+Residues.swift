import MidCore

extension StoreContract {
  /// What a store promises of tags that several databases share: run apart from the other promises, as it takes a table
  /// whose dialect has a delta, and an operator's hand on the rows.
  ///
  /// - Parameters:
  ///   - sql: Runs a statement on the database under test, in which names need no quotation marks.
  ///   - number: Reads one number with a statement.
  public func sharesTags(
    sql: (String) async throws -> Void, number: (String) async throws -> Int64
  ) async throws {
    guard let columns = self.dialect.residueColumns else { return }
    let (table, max) = (self.dialect.table, self.dialect.maxColumn)
    try await self.withStore { store in
      let tag = try Tag("shared")
      _ = try await store.createTag(tag, step: 30, first: 1)
      func share(_ delta: Int64, _ remainder: Int64, _ maxID: Int64) async throws {
        try await sql(
          "UPDATE \(table) SET \(columns.delta) = \(delta), \(columns.remainder) = \(remainder), \(max) = \(maxID) "
            + "WHERE \(self.dialect.tagColumn) = 'shared'")
      }
      func maxID() async throws -> Int64 {
        try await number("SELECT \(max) FROM \(table) WHERE \(self.dialect.tagColumn) = 'shared'")
      }
      try await share(3, 1, 0)
      let listed = try await store.tags().first { $0.tag == tag }
      try self.expectEqual(listed?.stride, 3, "the distance between ids in the listing")
      try self.expectEqual(listed?.next, 1, "the next id in the listing")
      try self.expectEqual(listed?.step, 10, "30 numbers are 10 ids")
      let first = try await store.allocate(5, for: tag)
      try self.expectEqual(first, IDRange(start: 1, count: 5, stride: 3), "ids of remainder 1 out of 1...15")
      try self.expectEqual(try await maxID(), 15, "a load takes the other databases' numbers too")
      try self.expectEqual(
        try await store.giveBack(IDRange(start: 7, count: 3, stride: 3), of: tag), true, "giving back 7, 10 and 13")
      try self.expectEqual(
        try await store.giveBack(IDRange(start: 8, count: 3), of: tag), false, "giving back what has no such distance")
      try self.expectEqual(
        try await store.allocate(2, for: tag), IDRange(start: 7, count: 2, stride: 3), "what was given back comes again"
      )
      let moved = try await store.updateTag(tag, step: 4, next: 100)
      try self.expectEqual(moved.next, 100, "the next id moved to is one of its ids")
      try self.expectEqual(
        try await number("SELECT \(self.dialect.stepColumn) FROM \(table) WHERE \(self.dialect.tagColumn) = 'shared'"),
        12, "the table counts numbers")
      // Every place that the mark may have within the distance: an id is never left out, never one of another remainder.
      for (delta, remainder) in [(3, 0), (3, 2), (5, 4), (2, 0), (1, 0)] as [(Int64, Int64)] {
        for mark in 1000...(1000 + delta) {
          try await share(delta, remainder, mark)
          let expected = (mark + 1...mark + delta).first { $0 % delta == remainder } ?? 0
          let range = try await store.allocate(3, for: tag)
          try self.expectEqual(
            range, IDRange(start: expected, count: 3, stride: delta),
            "delta \(delta), remainder \(remainder), from \(mark)")
          try self.expectEqual(try await maxID(), mark + 3 * delta, "the mark after 3 ids from \(mark)")
        }
      }
      for (delta, remainder) in [(0, 0), (-1, 0), (2, 2), (2, -1), (1_000_001, 0)] as [(Int64, Int64)] {
        try await share(delta, remainder, 0)
        try await self.expectError(.storeRejected, "a load with delta \(delta) and remainder \(remainder)") {
          try await store.allocate(1, for: tag)
        }
        try self.expectEqual(try await maxID(), 0, "a refused load takes nothing")
        try self.expect(try await store.tags().contains { $0.tag == tag }, "such a tag is listed all the same")
      }
      try await share(0, 5, 0)
      try await self.expectError(.storeUnavailable, "a load from a row that somebody else's tool has closed") {
        try await store.allocate(1, for: tag)
      }
      try await share(7, 3, Int64.max - 10)
      try await self.expectError(.exhausted, "a load past the largest id") { try await store.allocate(1, for: tag) }
    }
  }
}
