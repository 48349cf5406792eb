internal import Synchronization

extension StripedStore {
  /// Takes the next ids of `tag` from one of the databases, above all that this node has had of it.
  ///
  /// - Throws: Where no database could serve: ``IDError/Code/storeUnavailable`` if one may later on, else
  ///   ``IDError/Code/wentBackwards``, ``IDError/Code/storeRejected``, ``IDError/Code/exhausted`` or
  ///   ``IDError/Code/unknownTag``, with what each database said.
  public func allocate(_ claim: SegmentClaim, for tag: Tag) async throws(IDError) -> IDRange {
    let known = self.databases.state
    let random = self.random()
    let (order, refusals, conflict) = self.state.withLock { state in
      let order = state.choice.order(
        for: tag, isOpen: known.map(\.isOpen), isUp: known.map(\.isUp), random: random)
      return (order, state.choice.refusals(of: tag), state.conflicts[tag])
    }
    if let conflict { throw conflict }
    guard !order.isEmpty else {
      guard refusals.isEmpty else { throw self.summary(refusals) }
      throw self.databases.unreachable
    }
    let (events, continuation) = AsyncStream<LoadEvent>.makeStream()
    let race = LoadRace(continuation)
    defer { race.close() }
    var waiting = order[...]
    var running = 0
    var errors: [(database: Int, error: IDError)] = refusals
    func startNext() {
      guard let next = waiting.popFirst() else { return }
      running += 1
      self.databases.tasks.start { await self.attempt(claim, for: tag, of: next, race) }
    }
    startNext()
    for await event in events {
      switch event {
      case .loaded(let database, let range):
        // What earlier runs and this one have had is durable before an id of it is given out.
        await self.rememberMark(of: tag, database)
        return range
      case .failed(let database, let error):
        running -= 1
        errors.append((database, error))
        startNext()
        if running == 0 { throw self.summary(errors) }
      case .overdue: startNext()
      }
    }
    throw IDError(.storeUnavailable, "the load was cancelled")
  }

  enum LoadEvent: Sendable {
    case loaded(Int, IDRange)
    case failed(Int, IDError)
    case overdue(Int)
  }

  /// One load that several databases may be asked for. The first that brings ids wins; after that, and after the end of
  /// the call, whoever comes has to give them back.
  final class LoadRace: Sendable {
    private let isOver = Mutex(false)
    private let events: AsyncStream<LoadEvent>.Continuation

    init(_ events: AsyncStream<LoadEvent>.Continuation) { self.events = events }

    /// - Returns: Whether the ids are the call's.
    func offer(_ range: IDRange, by database: Int) -> Bool {
      self.isOver.withLock { isOver in
        guard !isOver, case .enqueued = self.events.yield(.loaded(database, range)) else { return false }
        isOver = true
        return true
      }
    }

    func note(_ event: LoadEvent) { self.events.yield(event) }

    /// Nobody waits any more.
    func close() { self.isOver.withLock { $0 = true } }
  }

  /// Asks one database, and watches how long that takes.
  private func attempt(_ claim: SegmentClaim, for tag: Tag, of database: Int, _ race: LoadRace) async {
    let result = await withTaskGroup(of: Void.self, returning: Result<IDRange, IDError>.self) { group in
      group.addTask {
        do {
          try await Task.sleep(for: self.databases.patience)
          self.databases.failed(database, self.databases.late)
          race.note(.overdue(database))
        } catch {
          // Cancelled: it has answered.
        }
      }
      defer { group.cancelAll() }
      do throws(IDError) {
        return .success(
          try await self.databases.all[database].store.allocate(self.wish(claim, tag, database), for: tag))
      } catch {
        return .failure(error)
      }
    }
    switch result {
    case .success(let range):
      self.databases.answered(database)
      self.take(range, of: tag, from: database)
      guard !race.offer(range, by: database) else { return self.state.withLock { $0.choice.served(tag, by: database) } }
      do throws(IDError) { _ = try await self.giveBack(range, of: tag) } catch {
        // The ids are not used: a gap.
      }
    case .failure(let error):
      self.note(error, of: tag, from: database)
      race.note(.failed(database, error))
    }
  }

  /// What has to hold for a load from `database`.
  private func wish(_ claim: SegmentClaim, _ tag: Tag, _ database: Int) -> SegmentClaim {
    self.state.withLock { state in
      var wish = claim
      // The first number that an earlier range has not come to may be given out.
      if let end = state.ends[tag] { wish.above = max(wish.above, end - 1) }
      if let last = self.rows(of: tag, state)[database].mark.last { wish.notBelow = max(wish.notBelow, last) }
      return wish
    }
  }

  private func take(_ range: IDRange, of tag: Tag, from database: Int) {
    let residue = range.residue
    self.state.withLock { state in
      var rows = self.rows(of: tag, state)
      // Another database may have had this remainder before the tag was restriped: ids of it go back to this one now.
      for other in rows.indices where rows[other].residue == residue { rows[other].residue = nil }
      rows[database].mark.received(range)
      rows[database].residue = residue
      state.rows[tag] = rows
      state.ends[tag] = max(state.ends[tag] ?? range.end, range.end)
    }
  }

  private func note(_ error: IDError, of tag: Tag, from database: Int) {
    switch error.code {
    case .storeUnavailable where error != .restriped(tag): self.databases.failed(database, error)
    case .storeRejected: break
    case .wentBackwards:
      self.databases.answered(database)
      let isNew = self.state.withLock { $0.choice.refuse(tag, of: database, because: error) }
      if isNew { self.onRefusal(tag, self.databases.names[database], error) }
    default: self.databases.answered(database)
    }
  }

  /// One error for what all databases said.
  private func summary(_ errors: [(database: Int, error: IDError)]) -> IDError {
    let byWeight: [IDError.Code] = [.storeUnavailable, .wentBackwards, .storeRejected, .exhausted, .unknownTag]
    let code = byWeight.first { code in errors.contains { $0.error.code == code } }
    let reasons = errors.sorted { $0.database < $1.database }.map { database, error in
      "\(self.databases.names[database]): \(error.message)"
    }
    return IDError(code ?? .storeUnavailable, reasons.joined(separator: "; "))
  }

  /// Gives the unused rest of a range back to the database that it came from.
  ///
  /// - Throws: ``IDError/Code/storeUnavailable`` at once, with nothing tried, where that one is down.
  public func giveBack(_ rest: IDRange, of tag: Tag) async throws(IDError) -> Bool {
    guard !rest.isEmpty, let residue = rest.residue, let database = self.database(of: tag, residue) else {
      return false
    }
    guard self.databases.isUp(database) else {
      throw IDError(.storeUnavailable, "\(self.databases.names[database]), where the ids came from, does not answer")
    }
    // Before: a mark that is too low misses something once, one that is too high refuses what is right.
    let taken = self.change(tag, database) { $0.mark.returning(rest) }
    await self.rememberMark(of: tag, database)
    let isBack: Bool
    do throws(IDError) {
      isBack = try await self.databases.all[database].store.giveBack(rest, of: tag)
    } catch {
      self.note(error, of: tag, from: database)
      throw error
    }
    self.databases.answered(database)
    if !isBack {
      self.change(tag, database) { $0.mark.keep(taken) }
      await self.rememberMark(of: tag, database)
    }
    return isBack
  }

  /// Keeps what was had of a row for the next run. Of several that do so at a time, the last one has kept what holds now.
  private func rememberMark(of tag: Tag, _ database: Int) async {
    var kept: Int64?
    while true {
      let last = self.state.withLock { self.rows(of: tag, $0)[database].mark.last } ?? .min
      if last == kept { return }
      await self.remember(last, tag, self.databases.names[database])
      kept = last
    }
  }
}
