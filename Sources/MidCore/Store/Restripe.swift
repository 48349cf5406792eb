/// Spreads a tag over other databases than before: ``RestripeStateMachine`` over stores, one call at a time.
///
/// All databases of both layouts have to answer. Ids that nodes have cached stay good; what they load next comes from the
/// new layout. May be run again after whatever went wrong, over the same databases, and does no harm at the same time as
/// another run over them.
public struct Restripe: Sendable {
  private let databases: [any StripeStore]
  private let start: RestripeStateMachine

  /// Creates a run; nothing is read before ``run(_:)``.
  ///
  /// - Parameters:
  ///   - tag: Whose rows.
  ///   - databases: Every database of both layouts, with the name that errors call it by.
  ///   - old: Which of them the tag is spread over so far.
  ///   - new: Which of them it is to be spread over, in the order of the remainders.
  ///   - past: All new ids lie above this number, 0 or more, and above what the rows show: for databases that have lost
  ///     commits.
  ///   - isRecovery: Whether to begin anew whatever the rows say; `old` is every database that the tag was ever in then.
  ///   - run: This run's own number, one of ``RestripeStateMachine/runs``: draw it at random, and never use it again.
  /// - Throws: ``IDError/Code/invalidArgument`` with every reason.
  public init(
    tag: Tag, databases: [(name: String, store: any StripeStore)], old: [Int], new: [Int], past: Int64 = 0,
    isRecovery: Bool = false, run: Int64
  ) throws(IDError) {
    self.databases = databases.map(\.store)
    self.start = try RestripeStateMachine(
      tag: tag, databases: databases.map(\.name), old: old, new: new, past: past,
      isRecovery: isRecovery, run: run)
  }

  /// Says what the rules make of these rows, in the order of the databases, without asking or changing anything.
  ///
  /// - Throws: What ``run(_:)`` would, before it has changed anything.
  public func check(_ rows: [StripeRow?]) throws(IDError) {
    var machine = self.start
    for row in rows {
      machine.read(.success(row))
      if case .failed(let error) = machine.next() { throw error }
    }
  }

  /// Carries the run out.
  ///
  /// - Parameter onAction: Is told of each action before it is begun.
  /// - Returns: The number above which all ids lie from now on.
  /// - Throws: What the stores say, with what it means for the tag; ``IDError/Code/unknownTag`` where no database has a
  ///   row; ``IDError/Code/storeRejected`` where a row belongs to a layout of another number of databases, or where another
  ///   run has come between.
  @discardableResult
  public func run(
    _ onAction: (RestripeStateMachine.Action) -> Void = { _ in }
  ) async throws(IDError) -> Int64 {
    var machine = self.start
    let tag = machine.tag
    while true {
      let action = machine.next()
      onAction(action)
      switch action {
      case .read(let database):
        let store = self.databases[database]
        machine.read(await Self.result { () async throws(IDError) in try await store.stripe(of: tag) })
      case .close(let database, let seen, let token, let step):
        let store = self.databases[database]
        machine.closed(
          await Self.result { () async throws(IDError) in
            try await store.closeStripe(of: tag, ifStill: seen, token: token, step: step)
          })
      case .settle(let database, let token):
        let store = self.databases[database]
        machine.settled(
          await Self.result { () async throws(IDError) in try await store.settleStripe(of: tag, token: token) })
      case .open(let database, let token, let residue, let lastID, let step):
        let store = self.databases[database]
        machine.opened(
          await Self.result { () async throws(IDError) in
            try await store.openStripe(of: tag, token: token, residue: residue, lastID: lastID, step: step)
          })
      case .done(let lastID): return lastID
      case .failed(let error): throw error
      }
    }
  }

  private static func result<Value>(_ call: () async throws(IDError) -> Value) async -> Result<Value, IDError> {
    do throws(IDError) { return .success(try await call()) } catch { return .failure(error) }
  }
}
