import MidCore
import Synchronization

/// Whether a row has been closed.
private final class Closing: Sendable {
  let isDone = Atomic(false)
}

/// What a stripe promises where several callers change one row at once, or one changes what another knew.
extension StoreContract {
  /// A store that knew the tag under another delta takes the right ids at its next load.
  func othersSeeTheNewStride() async throws {
    let (node, tool) = (try await self.open(), try self.stripe(try await self.open()))
    let tag = try Tag("shared")
    _ = try await tool.createStripe(tag, residue: self.residue(2, 1), step: 10, first: 1)
    try self.expectEqual(
      try await node.allocate(5, for: tag), IDRange(start: 1, count: 5, stride: 2), "ids of the old stripe")
    try await tool.closeStripe(of: tag, token: 3, step: 10)
    try await self.expectError(.storeUnavailable, "a load while the row is closed") {
      try await node.allocate(5, for: tag)
    }
    _ = try await tool.openStripe(of: tag, token: 3, residue: self.residue(3, 0), lastID: 70, step: 10)
    try self.expectEqual(
      try await node.giveBack(IDRange(start: 5, count: 3, stride: 2), of: tag), false,
      "giving back ids of the old stripe")
    try self.expectEqual(
      try await node.allocate(5, for: tag), IDRange(start: 72, count: 5, stride: 3), "ids of the new stripe")
    await node.close()
    if let tool = tool as? any IDStore { await tool.close() }
  }

  /// What is read of a row after it was closed is the last that anybody gets of it, however many load at that moment.
  func closedRowsStandStill() async throws {
    let stores = [try await self.open(), try await self.open()]
    let tool = try self.stripe(stores[0])
    for round: Int64 in 1...5 {
      let tag = try Tag("shared\(round)")
      _ = try await tool.createStripe(tag, residue: self.residue(3, 1), step: 10, first: 1)
      let closing = Closing()
      let (last, taken) = try await withThrowingTaskGroup(of: (Int64?, Int64).self) { group in
        for caller: Int64 in 0..<4 {
          group.addTask {
            var highest: Int64 = 0
            while true {
              try Task.checkCancellation()
              let mustFail = closing.isDone.load(ordering: .acquiring)
              do throws(IDError) {
                let range = try await stores[Int(caller) % 2].allocate(1 + caller, for: tag)
                // Some of it goes back, which must not lower a row that is closed by then.
                let rest = IDRange(start: range.end - 3, count: 1, stride: 3)
                let gaveBack = caller > 0 ? try await stores[Int(caller) % 2].giveBack(rest, of: tag) : false
                highest = max(highest, gaveBack ? range.end - 6 : range.end - 3)
                // A store in memory suspends nobody, and the other tasks need a turn.
                await Task.yield()
              } catch {
                guard error.code == .storeUnavailable else { throw error }
                return (nil, highest)
              }
              guard !mustFail else { throw Violation(description: "loads from a closed row go on") }
            }
          }
        }
        group.addTask {
          while try await tool.stripe(of: tag)?.lastID ?? 0 < 60 * round {
            try Task.checkCancellation()
            await Task.yield()
          }
          try await tool.closeStripe(of: tag, token: round, step: 10)
          closing.isDone.store(true, ordering: .releasing)
          return (try await tool.stripe(of: tag)?.lastID, 0)
        }
        return try await group.reduce((Int64.min, Int64(0))) { (max($0.0, $1.0 ?? .min), max($0.1, $1.1)) }
      }
      try self.expect(last >= 60 * round && taken <= last, "ids up to \(taken) of a row that was closed at \(last)")
      try self.expectEqual(
        try await tool.stripe(of: tag), StripeRow(state: .closed(token: round), lastID: last, step: 10),
        "a closed row once all callers have failed")
    }
    for store in stores { await store.close() }
  }

  /// Of runs that close and open one row at once, the last to close it is the one that opens it.
  func oneRunOpens() async throws {
    let stores = [try self.stripe(try await self.open()), try self.stripe(try await self.open())]
    let residue = try self.residue(2, 0)
    for round in 0..<5 {
      let tag = try Tag("shared\(round)")
      if round % 2 == 0 { _ = try await stores[0].createStripe(tag, residue: .all, step: 10, first: 1) }
      try await withThrowingTaskGroup(of: Void.self) { group in
        for token: Int64 in 1...6 {
          group.addTask { try await stores[Int(token) % 2].closeStripe(of: tag, token: token, step: 10) }
        }
        try await group.waitForAll()
      }
      guard case .closed(let winner)? = try await stores[0].stripe(of: tag)?.state else {
        throw Violation(description: "a row that six have closed is closed")
      }
      let openers = try await withThrowingTaskGroup(of: [Int64].self) { group in
        for token: Int64 in 1...6 {
          group.addTask {
            let opened = try await stores[Int(token) % 2].openStripe(
              of: tag, token: token, residue: residue, lastID: token * 100, step: 10)
            return opened ? [token] : []
          }
        }
        return try await group.reduce(into: []) { $0 += $1 }
      }
      try self.expectEqual(openers, [winner], "who opens a row that \(winner) has closed last")
      try self.expectEqual(
        try await stores[1].stripe(of: tag), StripeRow(state: .open(residue), lastID: winner * 100, step: 10),
        "the row after that")
    }
    for case let store as any IDStore in stores { await store.close() }
  }
}
