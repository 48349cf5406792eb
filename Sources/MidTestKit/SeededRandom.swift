public import MidCore
internal import Synchronization

/// Random bits that follow from a seed. Safe to use from any thread; counts how often it was drawn from.
public final class SeededRandom: RandomSource {
  private let state: Mutex<(generator: SplitMix64, draws: Int)>

  /// Starts the sequence of `seed`.
  public init(seed: UInt64) { self.state = Mutex((SplitMix64(seed: seed), 0)) }

  /// How many times words were drawn.
  public var draws: Int { self.state.withLock { $0.draws } }

  /// The next words.
  public func words(_ count: Int) -> [UInt64] {
    self.state.withLock { state in
      state.draws += 1
      return (0..<count).map { _ in state.generator.next() }
    }
  }
}
