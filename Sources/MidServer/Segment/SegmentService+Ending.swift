import Logging
import MidCore

/// The end: what is left of the buffers goes back.
extension SegmentService {
  /// How many tags are given back at a time at the end, all lanes together, but at least one of each: what they write to the
  /// data folder is written together.
  private static let mostReturnsAtOnce = 16

  /// Returns what is left of the buffers, that of each database by itself. What can't be returned is not used: ids are skipped,
  /// never repeated.
  ///
  /// A database that is down, or does not take something, costs the rest of its own tags and no other's. Once the task is
  /// cancelled nothing more begins.
  func giveBack() async {
    let entries = self.directory.close().map { tag, rests, kept in
      let databases = self.databases(of: tag, Set(rests.compactMap(\.residue)))
      return ReturnQueue.Entry(tag: tag, rests: rests, kept: kept, databases: databases)
    }
    let queues = Dictionary(grouping: entries) { ReturnLane($0.databases) }.map { ReturnQueue($0, $1) }
    let workers = max(1, Self.mostReturnsAtOnce / max(1, queues.count))
    await withDiscardingTaskGroup { group in
      for queue in queues {
        for _ in 0..<min(workers, queue.count) { group.addTask { await self.giveBack(queue) } }
      }
    }
    for queue in queues { self.tellUntried(queue) }
  }

  private func giveBack(_ queue: ReturnQueue) async {
    while !Task.isCancelled, let entry = queue.next() {
      guard self.areUp(entry.databases) else {
        queue.skip()
        continue
      }
      let (_, error) = await self.giveBack(entry.rests, of: entry.tag, kept: entry.kept)
      if let error { queue.end(error) }
    }
  }

  private func tellUntried(_ queue: ReturnQueue) {
    let (count, error) = queue.untried
    guard count > 0 else { return }
    let reason = error.map { "\($0)" } ?? (Task.isCancelled ? "the time to stop is over" : "the database is down")
    var metadata: Logger.Metadata = ["tags": "\(count)", "reason": "\(reason)"]
    if case .database(let index) = queue.lane, let store = self.store as? any CompositeStore {
      metadata["database"] = "\(store.databases.names[index])"
    }
    self.logger.warning("unused ids of tags skipped", metadata: metadata)
  }

  /// The databases that ids of those residues go back to, by their places; a single one has place 0.
  func databases(of tag: Tag, _ residues: Set<TableDialect.Residue>) -> Set<Int> {
    guard let store = self.store as? any CompositeStore else { return [0] }
    return Set(residues.compactMap { store.database(of: tag, $0) })
  }

  /// Whether all of these databases have answered the last time; of a single one that is found by asking it.
  func areUp(_ databases: Set<Int>) -> Bool {
    guard let store = self.store as? any CompositeStore else { return true }
    return databases.allSatisfy { store.databases.isUp($0) }
  }
}
