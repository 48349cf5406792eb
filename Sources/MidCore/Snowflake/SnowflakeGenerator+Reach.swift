internal import Synchronization

/// What ``SnowflakeGenerator/reach()`` found.
package enum SnowflakeReach: Sendable, Hashable {
  /// So many ids, at least 1, could be taken now.
  case ids(Int64)
  /// None now.
  case wait(SnowflakeWait)
  /// None: as for one id.
  case failure(IDError)
}

extension SnowflakeGenerator {
  /// How many ids batches could take now, while nobody else takes any. Issues nothing.
  ///
  /// Cost: one clock reading.
  package func reach() -> SnowflakeReach {
    let position = self.word.load(ordering: .acquiring)
    return switch self.room(at: position, now: self.clock.wallMilliseconds(), mayStartAhead: true) {
    case .from(let start, let limit): .ids(Int64(limit - start))
    case .wait(let wait): .wait(wait)
    case .failure(let error): .failure(error)
    }
  }
}
