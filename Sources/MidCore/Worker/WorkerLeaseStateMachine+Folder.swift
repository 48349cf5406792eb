/// The data folder's part: what has to stand there before the next step, and the short bound.
extension WorkerLeaseStateMachine {
  /// The data folder was written, or not.
  public mutating func wrote(_ result: Result<Void, IDError>, _ now: Moment) -> [Action] {
    guard let written = self.writing else { return [] }
    self.writing = nil
    guard self.phase != .stopped else { return [] }
    var actions: [Action] = []
    switch result {
    case .success:
      self.memory = written
      if self.told.notStored { actions.append(.tell(.storedAgain)) }
      self.told.notStored = false
      switch self.phase {
      case .holding(let holding):
        actions.append(.extend(bound: self.bound(holding), leaseEnd: holding.leaseEnd))
      case .alone: actions.append(.extend(bound: written.bound, leaseEnd: .max))
      case .seeking, .stopped: break
      }
    case .failure(let error):
      if !self.told.notStored { actions.append(.tell(.notStored(error))) }
      self.told.notStored = true
      if !self.isIssuing { actions.append(.revoke(error)) }
      // The bound in force may be three seconds away.
      self.writeAgainAt = now.monotonic + Self.nanoseconds(max(1, self.settings.localBound / 12))
    }
    self.useFolder(now, &actions)
    return actions
  }

  /// Goes on where the folder has what the step needs; writes where it has not, or where its bound comes near.
  mutating func useFolder(_ now: Moment, _ actions: inout [Action]) {
    guard self.writing == nil, self.phase != .stopped else { return }
    if self.needed(now) == self.memory { self.goOn(now, &actions) }
    var target = self.needed(now)
    if self.isIssuing {
      let bound = self.base(now) + self.settings.localBound
      let isClose = self.memory.bound - now.wall < self.settings.localBound * 2 / 3
      if now.monotonic >= self.localAt || isClose || target != self.memory { target.bound = max(target.bound, bound) }
    }
    guard target != self.memory, now.monotonic >= self.writeAgainAt else { return }
    self.localAt = now.monotonic + Self.nanoseconds(self.settings.localBound / 3)
    self.writing = target
    actions.append(.write(target))
  }

  /// What the folder has to hold before the step can go on.
  private func needed(_ now: Moment) -> WorkerMemory {
    var memory = self.memory
    switch self.step {
    case .idle, .listing, .claiming, .renewing, .givingUp, .releasing: break
    case .preparingClaim(let plan):
      memory = plan.before
      memory.isClaiming = true
      memory.askedBound = max(memory.askedBound, plan.asked)
      guard self.memory.worker == plan.worker else { break }
      // What is promised to later runs stays promised.
      memory.bound = max(memory.bound, self.memory.bound)
      memory.askedBound = max(memory.askedBound, self.memory.askedBound)
    case .confirmingClaim(let claim, let floor, _):
      memory.term = claim.current.term
      memory.isClaiming = false
      memory.rowBound = claim.current.bound
      memory.askedBound = claim.current.bound
      // Once this is written it is the bound of a claim that is not granted yet: not to be moved with the clock.
      if memory == self.memory && memory.bound >= floor { break }
      memory.bound = max(floor, memory.bound, self.base(now) + self.settings.localBound)
    case .preparingRenewal(let asked):
      guard case .holding(let holding) = self.phase else { break }
      memory.rowBound = holding.bound
      memory.askedBound = max(memory.askedBound, asked)
    case .confirmingAlone(let worker, let floor):
      if memory.worker == worker && memory.bound > max(floor, now.wall) { break }
      memory.worker = worker
      memory.bound = max(floor, self.base(now) + self.settings.localBound)
    }
    return memory
  }

  /// The folder has what the step needs.
  private mutating func goOn(_ now: Moment, _ actions: inout [Action]) {
    switch self.step {
    case .idle, .listing, .claiming, .renewing, .givingUp, .releasing: break
    case .preparingClaim(let plan):
      self.step = .claiming(plan, sentAt: now.monotonic)
      actions.append(.claim(worker: plan.worker, bound: plan.asked))
    case .confirmingClaim(let claim, let floor, let sentAt):
      self.step = .idle
      let holding = Holding(
        worker: claim.current.worker, term: claim.current.term, bound: claim.current.bound,
        leaseEnd: self.leaseEnd(sentAt), renewAt: now.monotonic,
        changeAt: floor > now.wall ? now.monotonic + Self.nanoseconds(self.settings.renewal) : 0)
      self.phase = .holding(holding)
      self.granted = (holding.worker, isConfirmed: true)
      self.hasBegun = true
      self.told = Told(notStored: self.told.notStored)
      actions.append(
        .grant(worker: holding.worker, floor: floor, bound: self.bound(holding), leaseEnd: holding.leaseEnd))
      actions.append(.tell(.taken(worker: holding.worker, term: holding.term, floor: floor)))
    case .preparingRenewal:
      guard case .holding(let holding) = self.phase else {
        self.step = .idle
        break
      }
      self.step = .renewing(sentAt: now.monotonic)
      actions.append(.renew(worker: holding.worker, term: holding.term, bound: self.memory.askedBound))
    case .confirmingAlone(let worker, let floor):
      self.step = .idle
      self.phase = .alone(worker: worker)
      self.granted = (worker, isConfirmed: false)
      self.hasBegun = true
      actions.append(.grant(worker: worker, floor: floor, bound: self.memory.bound, leaseEnd: .max))
      actions.append(.tell(.alone(worker: worker, floor: floor)))
    }
  }
}
