internal import Synchronization

/// 128 bits of state that any number of threads move on, by a rule that is a function of them.
///
/// Where the processor exchanges 128 bits at once, as those of 64 bits do, no thread waits for another: one that was
/// overtaken applies the rule again, and a thread that is put aside by the system is in nobody's way.
struct SharedBits: ~Copyable, Sendable {
  #if _hasAtomicBitWidth(_128) && _pointerBitWidth(_64)
    private let word: Atomic<WordPair>
  #else
    private let word: Mutex<UInt128>
  #endif

  /// Begins with `bits`.
  init(_ bits: UInt128) {
    #if _hasAtomicBitWidth(_128) && _pointerBitWidth(_64)
      self.word = Atomic(Self.pair(bits))
    #else
      self.word = Mutex(bits)
    #endif
  }

  /// Replaces the bits by what `rule` makes of them. It may be asked several times, and only the last answer counts; where
  /// it throws, the bits stay as they were.
  func update<Result>(
    _ rule: (_ bits: UInt128) throws(IDError) -> (bits: UInt128, result: Result)
  ) throws(IDError) -> Result {
    #if _hasAtomicBitWidth(_128) && _pointerBitWidth(_64)
      // Relaxed: all that threads share here is this word.
      var current = self.word.load(ordering: .relaxed)
      while true {
        let next = try rule(UInt128(current.first) << 64 | UInt128(current.second))
        let (isExchanged, original) = self.word.weakCompareExchange(
          expected: current, desired: Self.pair(next.bits), ordering: .relaxed)
        if isExchanged { return next.result }
        current = original
      }
    #else
      return try self.word.withLock { bits throws(IDError) in
        let next = try rule(bits)
        bits = next.bits
        return next.result
      }
    #endif
  }

  #if _hasAtomicBitWidth(_128) && _pointerBitWidth(_64)
    private static func pair(_ bits: UInt128) -> WordPair {
      WordPair(first: UInt(truncatingIfNeeded: bits >> 64), second: UInt(truncatingIfNeeded: bits))
    }
  #endif
}
