/// The time while a worker id is held: renewals, the end of the lease, and the change to another id.
extension WorkerLeaseStateMachine {
  mutating func keep(_ holding: Holding, _ now: Moment, _ actions: inout [Action]) {
    if now.monotonic >= holding.leaseEnd {
      let error = self.lapse(holding)
      self.lose(error, now, &actions)
      actions.append(.tell(.lapsed(worker: holding.worker, error)))
      self.seek(now, &actions)
    } else if self.step == .idle, now.isStoreReady {
      // At its time, or at once where the clock was set forward, close to the bound or past it.
      let isClose = holding.bound - now.wall < self.settings.localBound
      if now.monotonic >= holding.renewAt || isClose, now.monotonic >= holding.notBefore {
        self.step = .preparingRenewal(asked: self.base(now) + self.settings.lease)
      } else if now.monotonic >= holding.changeAt, self.isUseless(now) {
        self.step = .listing
        actions.append(.list)
      }
    }
  }

  private mutating func lose(_ error: IDError, _ now: Moment, _ actions: inout [Action]) {
    self.phase = .seeking
    self.seekAt = now.monotonic
    self.told = Told(notStored: self.told.notStored)
    actions.append(.revoke(error))
  }

  private func lapse(_ holding: Holding) -> IDError {
    IDError(
      .leaseLost,
      "the lease of worker id \(holding.worker) has ended: it could not be renewed for "
        + "\((self.settings.lease - self.settings.margin) / 1000) s, as the store was away or this process stood still")
  }

  // MARK: - Renewals

  /// The renewal was answered, or its answer was lost.
  public mutating func renewed(_ result: Result<WorkerClaim, IDError>, _ now: Moment) -> [Action] {
    guard case .renewing(let sentAt) = self.step else { return [] }
    self.step = .idle
    guard case .holding(var holding) = self.phase else { return self.poll(now) }
    var actions: [Action] = []
    switch result {
    case .success(let claim):
      holding.bound = claim.current.bound
      holding.leaseEnd = self.leaseEnd(sentAt)
      holding.renewAt = sentAt + Self.nanoseconds(self.settings.renewal)
      self.phase = .holding(holding)
      actions.append(.extend(bound: self.bound(holding), leaseEnd: holding.leaseEnd))
      if self.told.notRenewed != nil { actions.append(.tell(.renewedAgain(worker: holding.worker))) }
      self.told.notRenewed = nil
    case .failure(let error):
      if self.told.notRenewed != error.code {
        actions.append(.tell(.notRenewed(worker: holding.worker, error)))
      }
      self.told.notRenewed = error.code
      if error.code == .leaseLost {
        self.lose(error, now, &actions)
      } else {
        holding.notBefore = self.later(now)
        self.phase = .holding(holding)
      }
    }
    self.useFolder(now, &actions)
    return actions
  }

  // MARK: - The change to another id

  /// Whether the clock has gone back behind the ids by more than can be waited for, and others can be had.
  private func isUseless(_ now: Moment) -> Bool {
    guard case .any = self.wish else { return false }
    return now.front - now.wall > self.settings.ahead + self.settings.patience
  }

  /// Gives the id up where another one can be issued under sooner.
  mutating func compare(
    _ holding: Holding, with result: Result<WorkerList, IDError>, _ now: Moment, _ actions: inout [Action]
  ) {
    var holding = holding
    holding.changeAt = self.later(now)
    do throws(IDError) {
      let best = try self.choice(result.get(), now)?.best(
        reach: now.wall + self.settings.ahead, patience: self.settings.patience, skip: 0)
      if let best, self.isUseless(now), best.worker != holding.worker, best.floor < now.front - self.settings.patience {
        let error = self.behind(holding, now)
        self.step = .givingUp
        actions.append(.tell(.changing(worker: holding.worker, error)))
        return actions.append(.giveUp(error))
      }
      holding.changeAt = now.monotonic + Self.nanoseconds(self.settings.renewal)
    } catch {
      // The store does not answer: this one is as good as any, for a moment.
    }
    self.phase = .holding(holding)
  }

  private func behind(_ holding: Holding, _ now: Moment) -> IDError {
    IDError(
      .clockBehind,
      "the clock reads \(WallTime(milliseconds: now.wall)), the ids of worker id \(holding.worker) have reached "
        + "\(WallTime(milliseconds: now.front)); taking another worker id")
  }

  /// Nothing is issued any more under the id that was to be given up.
  ///
  /// - Parameters:
  ///   - exactBound: the first millisecond that no id given out has reached.
  ///   - now: both clocks, and how far the ids have come.
  public mutating func gaveUp(exactBound: Int64, _ now: Moment) -> [Action] {
    guard self.step == .givingUp else { return [] }
    guard case .holding(let holding) = self.phase else {
      // Its lease has ended meanwhile.
      self.step = .idle
      return self.poll(now)
    }
    self.phase = .seeking
    self.seekAt = now.monotonic
    self.step = .releasing
    return [.release(worker: holding.worker, term: holding.term, bound: exactBound)]
  }

  /// The row was given back, or not: then its lease ends by itself.
  public mutating func released(_ now: Moment) -> [Action] {
    guard self.step == .releasing else { return [] }
    self.step = .idle
    return self.poll(now)
  }
}
