/// The way to a worker id: which one, the claim of its row, and what to do without the store.
extension WorkerLeaseStateMachine {
  mutating func seek(_ now: Moment, _ actions: inout [Action]) {
    guard self.step == .idle else { return }
    if !self.hasBegun, let refusal = now.refusal { return self.refuse(refusal, now, &actions) }
    guard now.isStoreReady else { return self.beAlone() }
    guard now.monotonic >= self.seekAt else { return }
    switch self.wish {
    case .any:
      self.step = .listing
      actions.append(.list)
    case .fixed(let worker):
      if self.memory.isClaiming {
        // A claim's answer was lost. The row tells, before there are two such claims, which nobody could tell apart.
        self.step = .listing
        actions.append(.list)
      } else {
        self.prepareClaim(of: worker, before: self.knowledge(now), now)
      }
    }
  }

  /// Does not begin while the clock is known to be wrong: what it issued would stand in the way for as long as it is off.
  private mutating func refuse(_ refusal: IDError, _ now: Moment, _ actions: inout [Action]) {
    guard now.monotonic >= self.seekAt else { return }
    self.notTaken(nil, refusal, now, &actions)
  }

  /// Issues without the store, where the id is fixed and the store was never reached.
  private mutating func beAlone() {
    guard case .fixed(let worker) = self.wish, case .seeking = self.phase, !self.isStoreKnown else { return }
    self.step = .confirmingAlone(worker: worker, floor: self.memory.bound)
  }

  /// What this node knows of the worker id that the folder speaks of.
  ///
  /// What this run has issued itself lies below the generator's word, so the folder's bound, which lies ahead of that, is
  /// for later runs only. And a folder that was confirmed in this run is no backup: a row that is one term further on is
  /// a late claim of this node's own.
  private func knowledge(_ now: Moment) -> WorkerMemory {
    var memory = self.memory
    guard let granted = self.granted, granted.worker == memory.worker else { return memory }
    memory.bound = now.front
    if granted.isConfirmed { memory.isClaiming = true }
    return memory
  }

  /// The rows were read.
  public mutating func listed(_ result: Result<WorkerList, IDError>, _ now: Moment) -> [Action] {
    guard self.step == .listing else { return [] }
    self.step = .idle
    self.note(result)
    var actions: [Action] = []
    switch self.phase {
    case .seeking, .alone: self.choose(from: result, now, &actions)
    case .holding(let holding): self.compare(holding, with: result, now, &actions)
    case .stopped: return []
    }
    self.useFolder(now, &actions)
    return actions
  }

  private mutating func choose(
    from result: Result<WorkerList, IDError>, _ now: Moment, _ actions: inout [Action]
  ) {
    do throws(IDError) {
      let list = try result.get()
      let worker: Int64
      let row: WorkerRecord?
      switch self.wish {
      case .any:
        let skip = self.conflicts == 0 ? 0 : Int(now.random % UInt64(min(64, self.conflicts * 8)))
        let best = try self.choice(list, now)?.best(
          reach: now.wall + self.settings.ahead, patience: self.settings.patience, skip: skip)
        guard let best else { return }
        (worker, row) = (best.worker, best.row)
      case .fixed(let number):
        worker = number
        row = list.records.first { $0.worker == number }
      }
      let (before, isCurrent) = self.knowledge(now).beforeClaim(of: worker, seeing: row, token: self.owner.token)
      // Somebody else may have had it: from here on what the folder says counts, and not the generator.
      if !isCurrent { self.granted = nil }
      self.prepareClaim(of: worker, before: before, now)
    } catch {
      self.notTaken(nil, error, now, &actions)
    }
  }

  func choice(_ list: WorkerList, _ now: Moment) -> WorkerChoice? {
    guard case .any(let range) = self.wish else { return nil }
    return WorkerChoice(among: range, for: self.owner.token, remembering: self.knowledge(now), from: list)
  }

  /// Asks for a short bound: what a claim whose answer is lost leaves in the row is waited for by the next one. The first
  /// renewal follows at once, with a long one.
  private mutating func prepareClaim(of worker: Int64, before: WorkerMemory, _ now: Moment) {
    var before = before
    if before.worker != worker { before = WorkerMemory(worker: worker) }
    let asked = self.base(now) + min(self.settings.localBound, self.settings.lease)
    self.step = .preparingClaim(Plan(worker: worker, before: before, asked: asked))
  }

  /// The claim was answered, or its answer was lost.
  public mutating func claimed(_ result: Result<WorkerClaim, IDError>, _ now: Moment) -> [Action] {
    guard case .claiming(let plan, let sentAt) = self.step else { return [] }
    self.step = .idle
    self.note(result)
    var actions: [Action] = []
    switch result {
    case .success(let claim):
      self.conflicts = 0
      let floor = plan.before.floor(above: claim.previous, of: plan.worker, token: self.owner.token)
      if case .alone = self.phase, let holder = claim.previous?.owner, holder.token != self.owner.token,
        floor > now.front
      {
        actions.append(.tell(.sharedWhileAway(worker: plan.worker, holder: holder.description)))
      }
      self.step = .confirmingClaim(claim, floor: floor, sentAt: sentAt)
    case .failure(let error): self.notTaken(plan.worker, error, now, &actions)
    }
    self.useFolder(now, &actions)
    return actions
  }

  private mutating func notTaken(_ worker: Int64?, _ error: IDError, _ now: Moment, _ actions: inout [Action]) {
    self.seekAt = self.later(now)
    if error.code == .leaseLost {
      if case .alone = self.phase { self.phase = .seeking }
      switch self.wish {
      case .any where worker != nil:
        // Somebody was quicker: at once another one.
        self.conflicts += 1
        if self.conflicts < 32 {
          self.seekAt = now.monotonic
          return
        }
      case .any: break
      case .fixed: self.seekAt = now.monotonic + Self.nanoseconds(self.settings.renewal)
      }
    }
    if self.told.notTaken != error.code { actions.append(.tell(.notTaken(worker: worker, error))) }
    self.told.notTaken = error.code
    guard case .seeking = self.phase else { return }
    actions.append(.revoke(error))
    if error.code == .storeUnavailable { self.beAlone() }
  }

  mutating func note(_ result: Result<some Sendable, IDError>) {
    if case .failure(let error) = result, error.code == .storeUnavailable { return }
    self.isStoreKnown = true
  }
}
