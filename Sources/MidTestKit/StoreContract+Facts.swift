import MidCore

extension StoreContract {
  func factsAreKept() async throws {
    try await self.withFacts { store in
      try self.expectEqual(try await store.facts(), [:], "the facts of a fresh database")
      let first = ["test/a": "1", "test/b": "zwei · ' \\ \"%"]
      try self.expectEqual(try await store.agree(on: first), first, "what is there of new facts")
      try self.expectEqual(try await store.agree(on: first), first, "what is there of the same again")
      let more = ["test/b": "zwei · ' \\ \"%", "test/c": "3"]
      try self.expectEqual(try await store.agree(on: more), more, "what is there of known and new ones")
      try self.expectEqual(try await store.agree(on: [:]), [:], "what is there of nothing")
      let all = first.merging(more) { $1 }
      try self.expectEqual(try await store.facts(), all, "all facts")
    }
    guard self.isPersistent else { return }
    try await self.withFacts { store in
      let all = ["test/a": "1", "test/b": "zwei · ' \\ \"%", "test/c": "3"]
      try self.expectEqual(try await store.facts(), all, "the facts after all stores were closed")
    }
  }

  func factsNeverChange() async throws {
    try await self.withFacts { store in
      let first = ["test/a": "1", "test/b": "2"]
      _ = try await store.agree(on: first)
      for (asked, there) in [
        (["test/a": "9"], ["test/a": "1"]),
        (["test/a": "1", "test/b": "9"], first),
        (["test/a": "1", "test/b": "9", "test/new": "3"], first),
        (["test/0": "0", "test/b": "9"], ["test/b": "2"]),
      ] {
        try self.expectEqual(try await store.agree(on: asked), there, "what is there where \(asked) is not agreed on")
        try self.expectEqual(try await store.facts(), first, "all facts after \(asked) was not agreed on")
      }
    }
  }

  /// No name is another's, whatever a collation thinks of case, accents or spaces at the end.
  func factNamesAreExact() async throws {
    try await self.withFacts { store in
      let names = ["tag/a", "tag/A", "tag/ä", "tag/a ", "tag/ａ", "tag/ß", "tag/ss", "tag/😀", "tag/%", "tag/_"]
      var all: [String: String] = [:]
      for (number, name) in names.enumerated() {
        try self.expectEqual(try await store.agree(on: [name: "\(number)"]), [name: "\(number)"], "the fact '\(name)'")
        all[name] = "\(number)"
      }
      try self.expectEqual(try await store.facts(), all, "all facts")
      try self.expectEqual(try await store.agree(on: all), all, "all at once")
    }
  }

  func factRefusals() async throws {
    try await self.withFacts { store in
      let (longest, tooLong) = (
        String(repeating: "x", count: Facts.maximumLength), String(repeating: "x", count: Facts.maximumLength + 1)
      )
      for facts in [["": "1"], ["test/a": ""], [tooLong: "1"], ["test/a": tooLong], ["test/a": "1", "": "1"]] {
        try await self.expectError(.invalidArgument, "the facts \(facts)") { try await store.agree(on: facts) }
      }
      try self.expectEqual(try await store.facts(), [:], "refused facts leave nothing behind")
      try self.expectEqual(try await store.agree(on: [longest: longest]), [longest: longest], "the longest fact")
    }
  }

  /// Whatever callers put at once, they are told the same, and all of one caller's or nothing of it is there.
  func concurrentFactsHaveOneWinner() async throws {
    let stores = [try await self.open(), try await self.open()]
    for round in 0..<10 {
      let names = ["race\(round)/a", "race\(round)/b"]
      let told = try await withThrowingTaskGroup(of: [String: String].self) { group in
        for caller in 0..<4 {
          let store = try self.facts(of: stores[caller % 2])
          // A name of each caller's own, which is there only where the caller won.
          let own = "race\(round)/\(caller)"
          group.addTask {
            try await store.agree(on: [names[0]: "\(caller)", names[1]: "\(caller)", own: "\(caller)"])
          }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      let winners = Set(told.compactMap { $0[names[0]] })
      try self.expect(winners.count == 1, "one winner among 4 callers at once, found \(winners.sorted())")
      let winner = winners.first ?? ""
      try self.expectEqual(told.count { $0.count == 3 }, 1, "callers who put their own")
      let there = try await self.facts(of: stores[0]).facts().filter { $0.key.hasPrefix("race\(round)/") }
      let promised = [names[0]: winner, names[1]: winner, "race\(round)/\(winner)": winner]
      try self.expectEqual(there, promised, "what is there after a race")
    }
    for store in stores { await store.close() }
  }

  private func facts(of store: any IDStore) throws -> any FactStore {
    guard let facts = store as? any FactStore else {
      throw Violation(description: "a store of the kind \(store.kind) keeps no facts")
    }
    return facts
  }

  private func withFacts<T>(_ body: (any FactStore) async throws -> T) async throws -> T {
    try await self.withStore { store in try await body(try self.facts(of: store)) }
  }
}
