internal import Synchronization

/// Calls that can wait, and the loads they wait for.
extension SegmentGenerator {
  /// Asks for exactly `count` ids, 1 to 1,000,000, as one or more ranges in ascending order.
  ///
  /// What is cached is used at once, all or nothing; otherwise the call waits in line. `completion` is called exactly once:
  /// before this returns where it answers ``EnqueueResult/answered``, later otherwise.
  ///
  /// Errors: ``IDError/Code/invalidArgument``, ``IDError/Code/overloaded`` (too many wait), ``IDError/Code/wentBackwards``,
  /// ``IDError/Code/unknownTag``, ``IDError/Code/exhausted``, ``IDError/Code/notReady``.
  public func enqueue(count: Int64, completion: @escaping Completion) -> EnqueueResult {
    if let error = BatchLimit.error(for: count) {
      completion(.failure(error))
      return .answered
    }
    if let range = self.takeServing(upTo: count, orNothing: true) {
      completion(.success([range]))
      return .answered
    }
    let (answer, action) = self.machine.withLock { machine -> (Answer, Machine.Action) in
      if let (ranges, action) = self.takeAll(count, machine: &machine) { return (.now(.success(ranges)), action) }
      switch machine.wait(for: count, reply: completion) {
      case .success(let id): return (.later(id), Machine.Action(load: self.loadIfDue(&machine)))
      case .failure(let error): return (.now(.failure(error)), Machine.Action())
      }
    }
    self.perform(action)
    switch answer {
    case .later(let id): return .waiting(id)
    case .now(let result):
      completion(result)
      return .answered
    }
  }

  private enum Answer {
    case now(Result<[IDRange], IDError>)
    case later(WaiterID)
  }

  /// Takes `count` ids out of serving and standby together, or none.
  private func takeAll(_ count: Int64, machine: inout Machine) -> (ranges: [IDRange], action: Machine.Action)? {
    while true {
      let left = self.servingLeft
      // Another call has just installed a range, or has not yet used this one up.
      if left >= count {
        guard let range = self.swap(exactly: count) else { continue }
        return ([range], Machine.Action())
      }
      // What is left only shrinks under the lock, so a no stays a no.
      guard left + machine.standbyCount >= count else { return nil }
      let (isDrained, rest) = self.drain(exactly: left)
      guard isDrained else { continue }
      let (ranges, publication) = machine.take(count, rest: rest)
      self.install(publication)
      return (ranges, Machine.Action(load: self.loadIfDue(&machine)))
    }
  }

  /// Completes a waiting call at its deadline with ``IDError/Code/storeUnavailable``, naming the store's last error, or
  /// with ``IDError/Code/deadlineExceeded`` where the store has not failed. Nothing happens where it was answered already.
  public func expire(_ id: WaiterID) {
    self.perform(self.machine.withLock { $0.expire(id) })
  }

  /// Completes a waiting call whose caller is gone with ``IDError/Code/deadlineExceeded``. Ids that arrive later go to the
  /// others. Nothing happens where it was answered already.
  public func cancel(_ id: WaiterID) {
    self.perform(self.machine.withLock { $0.cancel(id) })
  }

  /// Asks for the first range before anyone wants one. Does nothing where something is cached or on its way.
  public func prefetch() {
    self.perform(self.machine.withLock { Machine.Action(load: self.loadIfDue(&$0)) })
  }

  /// Measures how fast ids are used, and asks for more where what is cached would not last through an outage of
  /// ``SegmentSettings/outage``. Call it every 10 s or so, at most 30 s apart.
  public func sample() {
    let now = self.clock.monotonicNanoseconds()
    self.perform(
      self.machine.withLock { machine in
        machine.sample(servingLeft: self.servingLeft, now: now)
        return Machine.Action(load: self.loadIfDue(&machine))
      })
  }

  /// Takes in the range that the load under way has brought: waiters first, in order, then everyone.
  ///
  /// Ids below 1 are skipped. A range that starts below the end of an earlier one is refused: the table went backwards.
  /// Those who wait then fail with ``IDError/Code/wentBackwards``, and so does everyone once the ids cached before are
  /// used up, as nothing more is loaded until an operator has raised the tag's row and says so; see
  /// ``update(step:next:isConfirmed:)``.
  ///
  /// - Returns: The range itself where this generator was closed or removed meanwhile, to be given back to the store.
  @discardableResult
  public func loaded(_ range: IDRange) -> IDRange? {
    let action = self.machine.withLock { machine -> Machine.Action in
      if let refused = machine.admit(range) { return refused }
      while true {
        let left = self.servingLeft
        guard machine.canServe(servingLeft: left) else {
          var action = machine.distribute(rest: nil, isServingEmpty: left == 0)
          self.install(action.publish)
          action.load = self.loadIfDue(&machine)
          return action
        }
        let (isDrained, rest) = self.drain(exactly: left)
        guard isDrained else { continue }
        var action = machine.distribute(rest: rest, isServingEmpty: true)
        self.install(action.publish)
        action.load = self.loadIfDue(&machine)
        return action
      }
    }
    self.perform(action)
    return action.surplus
  }

  /// Why ``loaded(_:)`` would refuse `range`, or nil where it would take it, or where this generator has stopped.
  ///
  /// - Parameters:
  ///   - range: What a store has allocated.
  ///   - inAnyLayout: Whether ids that lie further apart than ``stride``, or closer, are no reason: another generator is to have
  ///     them.
  public func refusal(of range: IDRange, inAnyLayout: Bool = false) -> IDError? {
    self.machine.withLock { $0.refusal(of: range, inAnyLayout: inAnyLayout) }
  }

  /// Takes note that the load under way has failed. Waiters stay until a load arrives or their deadline; those of an
  /// unknown tag or a used-up number space fail at once, and so do those of a table that went backwards, of which nothing
  /// more is loaded until an operator says that it is right.
  ///
  /// - Parameters:
  ///   - error: What the store said.
  ///   - random: 0 up to, not including, 1: the share of the longest pause to take (full jitter).
  /// - Returns: How long to pause before ``retry()``, or nil where there is nothing to retry.
  public func loadFailed(_ error: IDError, random: Double) -> Duration? {
    let (delay, action) = self.machine.withLock { $0.loadFailed(error, random: random) }
    self.perform(action)
    return delay
  }

  /// Ends the pause after a failed load: `onLoadNeeded` is called with the load to do now.
  public func retry() {
    let now = self.clock.monotonicNanoseconds()
    self.perform(self.machine.withLock { $0.retry(servingLeft: self.servingLeft, now: now) })
  }

  /// The tag's row was read again.
  ///
  /// - Parameters:
  ///   - step: Loads take at least that many from the next one on. Below 1 counts as 1.
  ///   - next: The first id that the row would hand out.
  ///   - isConfirmed: Whether an operator says that the row is right. Where ranges are refused because the table went
  ///     backwards, and `next` is not below what was received before, they are taken again then.
  public func update(step: Int64, next: Int64, isConfirmed: Bool = false) {
    self.machine.withLock { $0.update(step: step, next: next, isConfirmed: isConfirmed) }
  }

  /// Stops for good: waiters and later calls fail with ``IDError/Code/notReady``.
  ///
  /// - Returns: The ids that nobody will get, in ascending order, neighbours joined. Give them back to the store, the last
  ///   first. No id of theirs was or will be given out.
  public func close() -> [IDRange] {
    self.stop(IDError(.notReady, "the service is stopping"))
  }

  /// Stops for good, because the tag was deleted: waiters and later calls fail with ``IDError/Code/unknownTag``. Cached ids
  /// are dropped.
  public func remove() {
    _ = self.stop(IDError(.unknownTag, "tag '\(self.tag)' was deleted"))
  }

  /// Stops for good, because another generator takes the tag over: waiters and later calls fail with
  /// ``IDError/Code/notReady``. Cached ids are dropped.
  ///
  /// - Returns: What the other one goes on with; see ``inherit(_:)``.
  @discardableResult
  public func supersede() -> SegmentHistory {
    let reason = IDError(.notReady, "the layout of tag '\(self.tag)' has changed, try again")
    let (history, action) = self.machine.withLock { machine in
      let (_, action) = machine.stop(reason, rest: self.swap(upTo: .max))
      return (machine.history, action)
    }
    self.perform(action)
    return history
  }

  /// Goes on where the generator before this one has ended, as if its ids had been used here: loads are as large as its last
  /// ones and change from there, and as many ids are kept at hand. Call it at most once, on a generator that is new.
  public func inherit(_ history: SegmentHistory) {
    self.perform(
      self.machine.withLock { machine in
        machine.inherit(history)
        return Machine.Action(load: self.loadIfDue(&machine))
      })
  }

  /// Whether no id was used for `time`, nothing is loaded and nothing has failed: what ``retire(ifUnusedFor:)`` looks for.
  public func isUnused(for time: Duration) -> Bool {
    let now = self.clock.monotonicNanoseconds()
    return self.machine.withLock { $0.rests(for: time, servingLeft: self.servingLeft, now: now) }
  }

  /// The remainders, by ``stride``, of the ids that are cached: which of several databases they go back to.
  public var remainders: Set<Int64> { self.machine.withLock { $0.remainders(servingLeft: self.servingLeft) } }

  /// Stops for good where no id was used for `time`: later calls fail with ``IDError/Code/notReady`` and belong to a
  /// generator that is made anew. One call may take an id this very moment; it is not among those that are returned.
  ///
  /// - Returns: As ``close()``; nil where the generator is in use, loads, or has failed, and goes on as before.
  public func retire(ifUnusedFor time: Duration) -> [IDRange]? {
    let now = self.clock.monotonicNanoseconds()
    let reason = IDError(.notReady, "the ids cached for tag '\(self.tag)' go back to the store, try again")
    let retired = self.machine.withLock { machine -> ([IDRange], Machine.Action)? in
      guard machine.rests(for: time, servingLeft: self.servingLeft, now: now) else { return nil }
      return machine.stop(reason, rest: self.swap(upTo: .max))
    }
    guard let (tails, action) = retired else { return nil }
    self.perform(action)
    return tails
  }

  /// The state as numbers. Takes the lock for a moment.
  public var snapshot: SegmentSnapshot {
    let now = self.clock.monotonicNanoseconds()
    return self.machine.withLock { machine in
      var snapshot = machine.snapshot(servingLeft: self.servingLeft, now: now)
      snapshot.servingEnd = self.limit.load(ordering: .acquiring)
      snapshot.stride = self.stride
      return snapshot
    }
  }

  private func stop(_ reason: IDError) -> [IDRange] {
    let (tails, action) = self.machine.withLock { machine in
      machine.stop(reason, rest: self.swap(upTo: .max))
    }
    self.perform(action)
    return tails
  }
}
