public import MidCore

/// What every store promises, as checks that each backend's tests run against a real store.
///
/// A check that fails throws a ``Violation``. The contract knows no test library and no manual clock: where time has to
/// pass, it asks the store again until its own clock has moved.
public struct StoreContract: Sendable {
  /// A promise that a store did not keep.
  public struct Violation: Error, CustomStringConvertible {
    /// What was promised, and what happened.
    public let description: String
  }

  /// One promise. Each is checked on a fresh database.
  public enum Case: String, Sendable, CaseIterable, CustomStringConvertible {
    case firstIDs, rangesFollowEachOther, concurrentRangesNeverOverlap, unknownTag, countBelowOne, exhausted
    case claimsAbove, claimsNotBelow, claimsAtTheEnd, concurrentClaimsKeepOrder
    case giveBack, createTag, createTagRefusals, updateTag, updateTagNeverGoesBack, listsTags
    case namesAreExact, oddNames
    case claimWorker, workerHeldByAnother, workerExpires, renewWorker, releaseWorker, workerBound, listsWorkers
    case workerRefusals, concurrentClaimsHaveOneWinner
    case freeWorker, freeWorkerRefusals, freeWorkerKeepsTheRacingBound
    case factsAreKept, factsNeverChange, factNamesAreExact, factRefusals, concurrentFactsHaveOneWinner
    case prepareTwice, inspectPrepared, reopeningKeepsEverything, closedStoreRefuses

    /// The promise's name.
    public var description: String { self.rawValue }
  }

  /// Opens one more prepared store on the database under test.
  let open: @Sendable () async throws -> any IDStore
  /// Whether a store opened after all others were closed finds what they left.
  let isPersistent: Bool

  /// The table of tags under test.
  let dialect: TableDialect

  /// Describes the stores under test.
  ///
  /// - Parameters:
  ///   - dialect: The stores' table of tags, with a row `default` whose next id is 1 and whose step is 10,000.
  ///   - isPersistent: `false` for a store that keeps nothing once closed.
  ///   - open: Opens one more prepared store, on the same fresh database every time. A store that can't be opened twice
  ///     returns the same instance.
  public init(
    dialect: TableDialect = .mid, isPersistent: Bool = true, open: @escaping @Sendable () async throws -> any IDStore
  ) {
    self.dialect = dialect
    self.isPersistent = isPersistent
    self.open = open
  }

  /// Checks one promise.
  ///
  /// - Throws: ``Violation``, or whatever the store threw where it should not have.
  public func check(_ promise: Case) async throws {
    switch promise {
    case .firstIDs: try await self.firstIDs()
    case .rangesFollowEachOther: try await self.rangesFollowEachOther()
    case .concurrentRangesNeverOverlap: try await self.concurrentRangesNeverOverlap()
    case .unknownTag: try await self.unknownTag()
    case .countBelowOne: try await self.countBelowOne()
    case .exhausted: try await self.exhausted()
    case .claimsAbove: try await self.claimsAbove()
    case .claimsNotBelow: try await self.claimsNotBelow()
    case .claimsAtTheEnd: try await self.claimsAtTheEnd()
    case .concurrentClaimsKeepOrder: try await self.concurrentClaimsKeepOrder()
    case .giveBack: try await self.giveBack()
    case .createTag: try await self.createTag()
    case .createTagRefusals: try await self.createTagRefusals()
    case .updateTag: try await self.updateTag()
    case .updateTagNeverGoesBack: try await self.updateTagNeverGoesBack()
    case .listsTags: try await self.listsTags()
    case .namesAreExact: try await self.namesAreExact()
    case .oddNames: try await self.oddNames()
    case .claimWorker: try await self.claimWorker()
    case .workerHeldByAnother: try await self.workerHeldByAnother()
    case .workerExpires: try await self.workerExpires()
    case .renewWorker: try await self.renewWorker()
    case .releaseWorker: try await self.releaseWorker()
    case .workerBound: try await self.workerBound()
    case .listsWorkers: try await self.listsWorkers()
    case .workerRefusals: try await self.workerRefusals()
    case .concurrentClaimsHaveOneWinner: try await self.concurrentClaimsHaveOneWinner()
    case .freeWorker: try await self.freeWorker()
    case .freeWorkerRefusals: try await self.freeWorkerRefusals()
    case .freeWorkerKeepsTheRacingBound: try await self.freeWorkerKeepsTheRacingBound()
    case .factsAreKept: try await self.factsAreKept()
    case .factsNeverChange: try await self.factsNeverChange()
    case .factNamesAreExact: try await self.factNamesAreExact()
    case .factRefusals: try await self.factRefusals()
    case .concurrentFactsHaveOneWinner: try await self.concurrentFactsHaveOneWinner()
    case .prepareTwice: try await self.prepareTwice()
    case .inspectPrepared: try await self.inspectPrepared()
    case .reopeningKeepsEverything: try await self.reopeningKeepsEverything()
    case .closedStoreRefuses: try await self.closedStoreRefuses()
    }
  }

  // MARK: - What the checks are made of

  /// Opens a store, and closes it whatever `body` does.
  func withStore<T>(_ body: (any IDStore) async throws -> T) async throws -> T {
    let store = try await self.open()
    let result: T
    do {
      result = try await body(store)
    } catch {
      await store.close()
      throw error
    }
    await store.close()
    return result
  }

  func expect(_ holds: Bool, _ promise: @autoclosure () -> String) throws(Violation) {
    guard holds else { throw Violation(description: promise()) }
  }

  func expectEqual<T: Equatable>(_ found: T, _ promised: T, _ what: @autoclosure () -> String) throws(Violation) {
    try self.expect(found == promised, "\(what()): promised \(promised), found \(found)")
  }

  /// Expects `body` to fail with `code`, and returns the error for a look at its message.
  @discardableResult
  func expectError<T>(_ code: IDError.Code, _ what: String, _ body: () async throws -> T) async throws -> IDError {
    let value: T
    do {
      value = try await body()
    } catch let error as IDError {
      try self.expectEqual(error.code, code, "\(what), which said \"\(error.message)\"")
      try self.expect(!error.message.contains("\n"), "\(what): the message is one line, found \"\(error.message)\"")
      return error
    }
    throw Violation(description: "\(what): promised \(code), found success with \(value)")
  }
}
