package import MidCore
import Synchronization

/// Generators that end while their tag goes on: it was restriped, or nobody used it.
extension SegmentDirectory {
  /// A load of `old`'s has brought ids that lie further apart, or closer, than before: its tag was restriped. A new
  /// generator begins with them, and what the old one had is not used any more.
  ///
  /// - Returns: `range` itself where nobody will get it, to be given back to the store.
  package func adopt(_ range: IDRange, of old: SegmentGenerator) -> IDRange? {
    let before = old.snapshot
    let highWater = max(before.highWater ?? .min, self.state.withLock { $0.marks[old.tag] ?? .min })
    // Checked settings, so this does not fail; where it did, the range would be a gap.
    guard old !== self.defaultGenerator,
      case .success(let new) = Result(catching: { () throws(IDError) in
        try Self.makeGenerator(
          old.tag, step: before.step, stride: range.stride, settings: self.settings,
          highWater: highWater == .min ? nil : highWater, clock: self.clock, onLoadNeeded: self.onLoadNeeded)
      })
    else { return range }
    // Before anyone sees it, so that no load of its own is under way.
    new.loaded(range)
    let isTaken = self.state.withLock { state in
      guard !state.isClosed, state.generators[old.tag] === old else { return false }
      state.generators[old.tag] = new
      return true
    }
    guard isTaken else {
      _ = new.close()
      return range
    }
    old.supersede()
    return nil
  }

  /// Takes a tag out of use of which no id was used for `time`, if there is one: call it after ``sample()``. What is returned
  /// goes back to the store; until ``retired(_:mark:)`` was called, calls for the tag wait.
  ///
  /// - Parameter time: how long; the default tag's generator stays, where there is one for good.
  /// - Returns: what nobody will get, and the end of what is kept of all that was received.
  package func retire(unusedFor time: Duration) -> (tag: Tag, rests: [IDRange], kept: Int64)? {
    for generator in self.state.withLock({ Array($0.generators.values) }) where generator !== self.defaultGenerator {
      let tag = generator.tag
      let found = self.state.withLock { state -> (rests: [IDRange], mark: Int64?)? in
        guard !state.isClosed, state.generators[tag] === generator, let rests = generator.retire(ifUnusedFor: time)
        else { return nil }
        state.generators[tag] = nil
        state.retiring.insert(tag)
        return (rests, state.marks[tag])
      }
      if let (rests, mark) = found { return (tag, rests, generator.snapshot.usedEnd ?? mark ?? 1) }
    }
    return nil
  }

  /// The cached ids of a tag have gone back to the store, or are given up: whoever asks gets a new generator.
  ///
  /// - Parameter mark: what the tag's row must not stand below.
  package func retired(_ tag: Tag, mark: Int64) {
    let answers = self.state.withLock { state -> [(Completion, Result<SegmentGenerator, IDError>)] in
      state.retiring.remove(tag)
      state.marks[tag] = mark
      return state.waiting.filter { $0.value.tag == tag }.map { id, entry in
        state.waiting[id] = nil
        return (entry.completion, self.result(for: tag, &state))
      }
    }
    for (completion, result) in answers { completion(result) }
  }
}
