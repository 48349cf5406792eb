/// How a generator ends: its rest goes back, or another generator takes its tag over.
extension SegmentStateMachine {
  /// Whether no id was used for `time`, as far as the looks of ``sample(servingLeft:now:)`` tell, nothing is asked of the
  /// store, and what is cached can be given back.
  func rests(for time: Duration, servingLeft: Int64, now: UInt64) -> Bool {
    guard case .active = self.phase, self.loadState == .idle, self.waiters.isEmpty, self.failures == 0,
      let lastUse = self.lastUse, lastUse.total == self.used(servingLeft)
    else { return false }
    return .nanoseconds(Int64(clamping: now &- lastUse.time)) >= time
  }

  /// Serves nothing more; everyone who waits or comes later gets `reason`.
  ///
  /// - Returns: What was not used, in ascending order, neighbours joined.
  mutating func stop(_ reason: IDError, rest: IDRange?) -> (tails: [IDRange], action: Action) {
    // Of a table that went backwards nothing goes back: its row may stand where a rest ends by chance, and other nodes may
    // have had those ids.
    let isTrusted = if case .refusing = self.phase { false } else { true }
    self.phase = .stopped(reason)
    self.usedEnd = self.usedEnd(servingLeft: rest?.count ?? 0)
    self.serving = nil
    let tails = self.takeTails(rest)
    return (isTrusted ? tails : [], Action(answers: self.failAll(with: reason)))
  }

  /// The end of what was given out so far, where `servingLeft` ids are left in the serving range.
  func usedEnd(servingLeft: Int64) -> Int64? {
    guard let serving = self.serving, servingLeft < serving.count else { return self.usedEnd }
    return serving.end - servingLeft * self.stride
  }

  /// All that is cached, in ascending order, neighbours joined.
  private mutating func takeTails(_ rest: IDRange?) -> [IDRange] {
    var tails: [IDRange] = []
    for range in (rest.map { [$0] } ?? []) + self.standby.map(\.rest) where !range.isEmpty {
      if let last = tails.last, last.end == range.start {
        tails[tails.count - 1] = IDRange(start: last.start, count: last.count + range.count, stride: self.stride)
      } else {
        tails.append(range)
      }
    }
    self.standby = []
    self.standbyCount = 0
    self.received -= tails.reduce(0) { $0 + $1.count }
    return tails
  }

  /// What the next generator of the tag goes on with, once this one has stopped.
  var history: SegmentHistory {
    if case .stopped = self.phase {} else { preconditionFailure("a generator in use is still to measure") }
    return SegmentHistory(sizing: self.sizing, used: self.used(0))
  }

  /// Goes on with what the generator before this one has measured. ``loadIfDue(servingLeft:now:)`` has to follow.
  mutating func inherit(_ history: SegmentHistory) {
    self.sizing = history.sizing
    // The readings within are of totals, which therefore go on.
    self.received += history.used
    self.lastUse?.total += history.used
  }

  /// The remainders of what is cached, by the distance between ids.
  func remainders(servingLeft: Int64) -> Set<Int64> {
    let serving = servingLeft > 0 ? self.serving.map { [$0] } ?? [] : []
    return Set((serving + self.standby.map(\.rest)).map { ($0.start % self.stride + self.stride) % self.stride })
  }
}
