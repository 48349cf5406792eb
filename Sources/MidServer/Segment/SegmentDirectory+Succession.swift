package import MidCore
import Synchronization

/// Generators that end while their tag goes on: it was restriped, or nobody used it.
extension SegmentDirectory {
  /// A load of `old`'s has brought ids that lie further apart, or closer, than before: its tag was restriped. A new
  /// generator begins with them, at the rate and size that `old` has measured, and what `old` had cached is dropped.
  ///
  /// Ids of the tag go on growing: until this moment `old` gave out what it had, and `range` lies above all of that, or is refused
  /// by `old` as any other range that starts too low, which then gives out what it has. It is not promised that no id below a
  /// restriping's end is given out after it: nodes that load nothing have not heard of it.
  ///
  /// - Returns: `range` itself where nobody will get it, to be given back to the store.
  package func adopt(_ range: IDRange, of old: SegmentGenerator) -> IDRange? {
    guard old !== self.defaultGenerator, old.refusal(of: range, inAnyLayout: true) == nil else {
      return old.loaded(range)
    }
    let before = old.snapshot
    // Checked settings, so this does not fail; where it did, the range would be a gap.
    guard
      case .success(let new) = Result(catching: { () throws(IDError) in
        try Self.makeGenerator(
          old.tag, step: before.step, stride: range.stride, settings: self.settings, highWater: before.highWater,
          clock: self.clock, onLoadNeeded: self.onLoadNeeded)
      })
    else { return range }
    // Before anyone sees it, so that no load of its own is under way.
    new.loaded(range)
    let isTaken = self.state.withLock { state in
      guard !state.isClosed, state.known[old.tag] != nil, state.generators[old.tag] === old else { return false }
      state.generators[old.tag] = new
      return true
    }
    guard isTaken else {
      _ = new.close()
      return range
    }
    new.inherit(old.supersede())
    return nil
  }

  /// The tags of which no id was used for `time`, with which numbers are cached of them: call it after ``sample()``.
  ///
  /// - Parameter time: how long; the default tag's generator stays, where there is one for good.
  package func unused(for time: Duration) -> [(tag: Tag, residues: Set<TableDialect.Residue>)] {
    self.state.withLock { Array($0.generators.values) }
      .filter { $0 !== self.defaultGenerator && $0.isUnused(for: time) }
      .map { generator in
        let residues = generator.remainders.compactMap {
          TableDialect.Residue(delta: generator.stride, remainder: $0)
        }
        return (generator.tag, Set(residues))
      }
  }

  /// Takes a tag out of use if still no id of it was used for `time`. What is returned goes back to the store; until
  /// ``retired(_:mark:)`` was called, calls for the tag wait.
  ///
  /// - Returns: what nobody will get, and the end of what is kept of all that was received.
  package func retire(_ tag: Tag, unusedFor time: Duration) -> (rests: [IDRange], kept: Int64)? {
    let found = self.state.withLock { state -> (generator: SegmentGenerator, rests: [IDRange], mark: Int64?)? in
      // The generator's lock is taken within the directory's, so that nobody finds it once it has ended: calls wait from
      // that moment on. It is a moment, and calls nobody: a generator that somebody waits for is not unused.
      guard !state.isClosed, let generator = state.generators[tag], generator !== self.defaultGenerator,
        let rests = generator.retire(ifUnusedFor: time)
      else { return nil }
      state.generators[tag] = nil
      state.retiring.insert(tag)
      return (generator, rests, state.marks[tag])
    }
    return found.map { ($0.rests, $0.generator.snapshot.usedEnd ?? $0.mark ?? 1) }
  }

  /// The cached ids of a tag have gone back to the store, or are given up: whoever asks gets a new generator.
  ///
  /// - Parameter mark: what the tag's row must not stand below.
  package func retired(_ tag: Tag, mark: Int64) {
    let answers = self.state.withLock { state -> Answers in
      state.retiring.remove(tag)
      state.marks[tag] = mark
      return state.lookups.retired(tag).map { ($0.reply, tag, self.result(for: tag, &state)) }
    }
    self.complete(answers)
  }
}
