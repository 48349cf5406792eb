public import MidCore

/// What every store promises of its tickets, as checks that each backend's tests run against a real store.
///
/// A check that fails throws a ``StoreContract/Violation``.
public struct TicketStoreContract: Sendable {
  /// One promise. Each is checked on a fresh database.
  public enum Case: String, Sendable, CaseIterable, CustomStringConvertible {
    case firstTickets, statementsGrow, concurrentStatements, countBelowOne, tablesAreApart, looking, reopening,
      closedStoreRefuses

    /// The promise's name.
    public var description: String { self.rawValue }
  }

  private let open: @Sendable () async throws -> any TicketStore
  private let isPersistent: Bool
  private let stride: Int64

  /// Describes the stores under test.
  ///
  /// - Parameters:
  ///   - isPersistent: `false` for a store that keeps nothing once closed and can't be opened twice.
  ///   - stride: How far apart its tickets lie.
  ///   - open: Opens one more store, on the same fresh database every time, or returns the one there is.
  public init(
    isPersistent: Bool = true, stride: Int64 = 1, open: @escaping @Sendable () async throws -> any TicketStore
  ) {
    self.isPersistent = isPersistent
    self.stride = stride
    self.open = open
  }

  /// Checks one promise.
  ///
  /// - Throws: ``StoreContract/Violation``, or whatever the store threw where it should not have.
  public func check(_ promise: Case) async throws {
    let store = try await self.open()
    do {
      switch promise {
      case .firstTickets: try await self.firstTickets(store)
      case .statementsGrow: try await self.statementsGrow(store)
      case .concurrentStatements: try await self.concurrentStatements(store)
      case .countBelowOne: try await self.countBelowOne(store)
      case .tablesAreApart: try await self.tablesAreApart(store)
      case .looking: try await self.looking(store)
      case .reopening: try await self.reopening(store)
      case .closedStoreRefuses: try await self.closedStoreRefuses(store)
      }
    } catch {
      await store.close()
      throw error
    }
    await store.close()
  }

  private func expect(_ holds: Bool, _ promise: @autoclosure () -> String) throws(StoreContract.Violation) {
    guard holds else { throw StoreContract.Violation(description: promise()) }
  }

  private func firstTickets(_ store: any TicketStore) async throws {
    let range = try await store.takeTickets(1, of: .default)
    try self.expect((1...self.stride).contains(range.start), "a fresh table begins with its offset, found \(range)")
    try self.expect(range.count == 1, "one ticket was asked for, \(range.count) came")
  }

  private func statementsGrow(_ store: any TicketStore) async throws {
    var end: Int64 = 0
    for count: Int64 in [1, 1, 7, 1, 50, 2, 1] {
      let range = try await store.takeTickets(count, of: .default)
      try self.expect(
        range.count == count && range.stride == self.stride, "\(count) tickets \(self.stride) apart, found \(range)")
      try self.expect(range.start > end, "tickets grow: \(range) after \(end)")
      end = range.last ?? end
    }
  }

  private func concurrentStatements(_ first: any TicketStore) async throws {
    let stores = [first, self.isPersistent ? try await self.open() : first]
    let taken = try await withThrowingTaskGroup(of: [IDRange].self) { group in
      for caller in 0..<4 {
        group.addTask {
          var ranges: [IDRange] = []
          for turn in 0..<25 {
            ranges.append(try await stores[caller % 2].takeTickets(Int64(1 + (caller + turn) % 7), of: .default))
          }
          return ranges
        }
      }
      return try await group.reduce(into: [[IDRange]]()) { $0.append($1) }
    }
    var seen: Set<Int64> = []
    for ranges in taken {
      var last: Int64 = 0
      for range in ranges {
        for index in 0..<range.count {
          let id = range.start + index * range.stride
          try self.expect(id > last, "one caller's tickets grow: \(id) after \(last)")
          try self.expect(seen.insert(id).inserted, "ticket \(id) was given twice")
          last = id
        }
      }
    }
    if self.isPersistent { await stores[1].close() }
  }

  private func countBelowOne(_ store: any TicketStore) async throws {
    for count: Int64 in [0, -1, .min] {
      try await self.expectError(.invalidArgument, "a statement for \(count) tickets") {
        try await store.takeTickets(count, of: .default)
      }
    }
  }

  private func tablesAreApart(_ store: any TicketStore) async throws {
    let other = try TicketTable("TicketsOrders")
    let first = try await store.takeTickets(3, of: .default)
    let second = try await store.takeTickets(3, of: other)
    try self.expect(first.start == second.start, "each table counts for itself: \(first) and \(second)")
  }

  private func looking(_ store: any TicketStore) async throws {
    let other = try TicketTable("TicketsOrders")
    for _ in 0..<2 {
      let found = try await store.inspect([.default, other])
      try self.expect(found.missing == [.default, other], "a look makes no table: \(found)")
    }
    _ = try await store.takeTickets(1, of: .default)
    let found = try await store.inspect([.default, other])
    try self.expect(found.missing == [other], "a table that was made is seen: \(found)")
  }

  private func reopening(_ store: any TicketStore) async throws {
    guard self.isPersistent else { return }
    let last = try await store.takeTickets(5, of: .default).last ?? .max
    await store.close()
    let again = try await self.open()
    let next = try await again.takeTickets(1, of: .default).start
    await again.close()
    try self.expect(next > last, "a store opened again goes on above \(last), found \(next)")
  }

  private func closedStoreRefuses(_ store: any TicketStore) async throws {
    _ = try await store.takeTickets(1, of: .default)
    await store.close()
    try await self.expectError(.storeUnavailable, "a closed store") { try await store.takeTickets(1, of: .default) }
  }

  private func expectError(_ code: IDError.Code, _ what: String, _ body: () async throws -> IDRange) async throws {
    do {
      let range = try await body()
      throw StoreContract.Violation(description: "\(what): promised \(code), found \(range)")
    } catch let error as IDError {
      try self.expect(error.code == code, "\(what): promised \(code), found \(error)")
    }
  }
}
