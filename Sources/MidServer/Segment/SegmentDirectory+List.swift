package import MidCore
import Synchronization

/// The list of tags: when it is read, and what becomes of the generators when it was.
extension SegmentDirectory {
  /// Begins a read of the list that nobody asked for: what asks for one meanwhile waits for it.
  ///
  /// - Returns: `false` where one is under way already. There is one at a time, so that an older list never replaces a
  ///   newer one.
  package func beginRefresh() -> Bool {
    let now = self.clock.monotonicNanoseconds()
    return self.state.withLock { $0.lookups.beginIfIdle(now: now) }
  }

  /// Has the list read again for an operator, who thereby says that the rows are right: tags that were refused because
  /// their table went backwards are served again where the row stands high enough now.
  package func reload() {
    let now = self.clock.monotonicNanoseconds()
    self.perform(self.state.withLock { $0.isClosed ? .nothing : $0.lookups.reload(now: now) })
  }

  /// The store does not know a tag of the list: the list is read again, unless that was done a moment ago.
  package func listIsStale() {
    let now = self.clock.monotonicNanoseconds()
    self.perform(self.state.withLock { $0.isClosed ? .nothing : $0.lookups.beginIfOld(now: now) })
  }

  /// The pause before the next look-up is over.
  package func lookUp() {
    let now = self.clock.monotonicNanoseconds()
    self.perform(self.state.withLock { $0.isClosed ? .nothing : $0.lookups.due(now: now) })
  }

  /// The list was read: new tags can be served, deleted ones end, steps follow the table.
  ///
  /// A tag whose ids lie another distance apart now was restriped. What its generator has cached stays this node's, as a commit
  /// has reserved it, and is given out until a load brings ids of the new layout, which lie above: see ``adopt(_:of:)``.
  package func refreshed(_ records: [TagRecord]) {
    let known = Dictionary(records.map { ($0.tag, $0) }) { first, _ in first }
    // Before anyone finds it by the new list.
    if let record = known[.default] { self.defaultGenerator?.update(step: record.step, next: record.next ?? .max) }
    let (inUse, isConfirmed) = self.takeIn(known)
    let ended = self.follow(known, inUse, isConfirmed: isConfirmed)
    let (answers, effect) = self.endRefresh(ended)
    self.perform(effect)
    self.complete(answers)
  }

  /// Generators are made by the new list from now on.
  ///
  /// - Returns: Those that were made by an older one, and whether an operator says that the rows are right.
  private func takeIn(_ known: [Tag: TagRecord]) -> (inUse: [SegmentGenerator], isConfirmed: Bool) {
    self.state.withLock { state in
      state.known = known
      state.lastError = nil
      return (Array(state.generators.values), state.lookups.isConfirming)
    }
  }

  /// Tells generators what their rows say, and ends those whose rows are gone. Outside the directory's lock, which every call
  /// takes: there may be a hundred thousand. Meanwhile the read counts as under way, so no other list comes in between.
  ///
  /// - Returns: Those that have ended.
  private func follow(
    _ known: [Tag: TagRecord], _ inUse: [SegmentGenerator], isConfirmed: Bool
  ) -> [SegmentGenerator] {
    var ended: [SegmentGenerator] = []
    for generator in inUse {
      if let record = known[generator.tag] {
        generator.update(step: record.step, next: record.next ?? .max, isConfirmed: isConfirmed)
        continue
      }
      // The default tag's is there for good: it gives out what it has, and loads no more until the tag is back.
      if generator !== self.defaultGenerator { generator.remove() }
      ended.append(generator)
    }
    return ended
  }

  /// Forgets generators that have ended, but not what they had received, and answers those who waited for the list.
  private func endRefresh(_ ended: [SegmentGenerator]) -> (answers: Answers, effect: TagLookups<Completion>.Effect) {
    // They have ended, so nothing more is received.
    let marks = ended.map { ($0, $0.snapshot.highWater) }
    let now = self.clock.monotonicNanoseconds()
    return self.state.withLock { state in
      for (generator, mark) in marks where state.generators[generator.tag] === generator {
        state.generators[generator.tag] = nil
        state.marks[generator.tag] = mark ?? state.marks[generator.tag]
      }
      let known = state.known
      let (calls, effect) = state.lookups.readEnded(now: now) { tag in known[tag].map { !$0.isClosed } ?? false }
      return (calls.map { ($0.reply, $0.tag, self.result(for: $0.tag, &state)) }, effect)
    }
  }

  /// The list could not be read. Calls that wait go on waiting until their deadline where it was never read; otherwise
  /// what is known stands, and an unknown name stays unknown.
  package func refreshFailed(_ error: IDError) {
    let now = self.clock.monotonicNanoseconds()
    let (calls, effect) = self.state.withLock { state in
      state.lastError = error
      return state.lookups.readFailed(now: now)
    }
    self.perform(effect)
    self.complete(calls.map { ($0.reply, $0.tag, .failure(Self.unreadable(error))) })
  }
}
