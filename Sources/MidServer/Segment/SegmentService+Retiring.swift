import MidCore
import Synchronization

/// Tags that nobody uses any more: what is cached of them goes back.
extension SegmentService {
  /// Tags whose ids go back one after another, beside those of other lanes: one that hangs holds up no other.
  enum ReturnLane: Hashable {
    /// Those of one database, by its place: at most 16.
    case database(Int64)
    /// Those whose ids came from several.
    case several
  }

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
  private func beginRetiring() -> [ReturnLane: [Tag]] {
    guard let unused = self.unused, self.directory.isCurrent else { return [:] }
    let lanes = Dictionary(grouping: self.directory.unused(for: unused)) { self.lane(of: $0.tag, $0.remainders) }
    return self.returning.withLock { returning in
      let free = lanes.filter { !returning.contains($0.key) }
      returning.formUnion(free.keys)
      return free.mapValues { $0.map(\.tag) }
    }
  }

  /// Where a tag's ids go back to. One database has one lane, however its ids lie.
  private func lane(of tag: Tag, _ remainders: Set<Int64>) -> ReturnLane {
    guard self.store is any CompositeStore else { return .database(0) }
    if let shards = self.store as? ShardedStore { return .database(Int64(shards.homes.home(of: tag))) }
    guard remainders.count <= 1 else { return .several }
    return .database(remainders.first ?? 0)
  }

  /// Each tag is taken out of use only when its turn comes, and the first that the store does not take ends it for now. Of a
  /// database that is down nothing is tried: its ids would be given up for nothing.
  private func retire(_ tags: [Tag], _ lane: ReturnLane) async {
    defer { self.returning.withLock { _ = $0.remove(lane) } }
    guard let unused = self.unused else { return }
    for tag in tags.prefix(Self.mostRetired) where self.directory.isCurrent && !Task.isCancelled {
      guard (self.store as? any CompositeStore)?.isAway(tag) != true else { return }
      guard let (rests, kept) = self.directory.retire(tag, unusedFor: unused) else { continue }
      let (mark, error) = await self.giveBack(rests, of: tag, kept: kept)
      self.directory.retired(tag, mark: mark)
      guard error == nil else { return }
    }
  }
}
