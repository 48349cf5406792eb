import MidCore
import Synchronization

/// Tags that nobody uses any more: what is cached of them goes back.
extension SegmentService {
  /// How many tags of a lane at most have their cached ids given back after one look, so that the store hardly notices.
  package static let mostRetired = 1000

  /// Looks every ``sampleInterval``. By itself, since giving back may take as long as a store does not answer.
  func keepRetiring() async {
    await withDiscardingTaskGroup { group in
      while !Task.isCancelled {
        do { try await Task.sleep(for: Self.sampleInterval) } catch { return }
        for (lane, tags) in self.beginRetiring() { group.addTask { await self.retire(tags, lane) } }
      }
    }
  }

  /// Gives back what is cached of tags that nobody uses any more, and returns once all of it has gone.
  package func retireUnused() async {
    await withDiscardingTaskGroup { group in
      for (lane, tags) in self.beginRetiring() { group.addTask { await self.retire(tags, lane) } }
    }
  }

  /// What there is to give back, without lanes that are busy still; each has to be followed by ``retire(_:_:)``.
  private func beginRetiring() -> [ReturnLane: [(tag: Tag, databases: Set<Int>)]] {
    guard let unused = self.unused, self.directory.isCurrent else { return [:] }
    let tags = self.directory.unused(for: unused).map { ($0.tag, self.databases(of: $0.tag, $0.residues)) }
    let lanes = Dictionary(grouping: tags) { ReturnLane($0.1) }
    return self.returning.withLock { returning in
      let free = lanes.filter { !returning.contains($0.key) }
      returning.formUnion(free.keys)
      return free
    }
  }

  /// Each tag is taken out of use only when its turn comes, and the first that the store does not take ends it for now. Of a
  /// database that is down nothing is tried: its ids would be given up for nothing.
  private func retire(_ tags: [(tag: Tag, databases: Set<Int>)], _ lane: ReturnLane) async {
    defer { self.returning.withLock { _ = $0.remove(lane) } }
    guard let unused = self.unused else { return }
    for (tag, databases) in tags.prefix(Self.mostRetired) where self.directory.isCurrent && !Task.isCancelled {
      guard self.areUp(databases), let (rests, kept) = self.directory.retire(tag, unusedFor: unused) else { continue }
      let (mark, error) = await self.giveBack(rests, of: tag, kept: kept)
      self.directory.retired(tag, mark: mark)
      guard error == nil else { return }
    }
  }
}
