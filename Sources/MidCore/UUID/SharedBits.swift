internal import Synchronization

#if _hasAtomicBitWidth(_128) && _pointerBitWidth(_64)
  /// The way to share 128 bits on this machine: its processor exchanges as many at once, and no thread waits for another.
  typealias SharedBits = ExchangedBits
#else
  /// The way to share 128 bits on this machine, whose processor does not exchange as many at once.
  typealias SharedBits = LockedBits
#endif

/// 128 bits of state that any number of threads move on, by a rule that is a function of them.
protocol BitsSharing: ~Copyable, Sendable {
  /// Begins with `bits`.
  init(_ bits: UInt128)

  /// Replaces the bits by what `rule` makes of them. It may be asked several times, and only the last answer counts; where
  /// it throws, the bits stay as they were.
  func update<Result>(
    _ rule: (_ bits: UInt128) throws(IDError) -> (bits: UInt128, result: Result)
  ) throws(IDError) -> Result
}

/// By a lock, for processors that exchange no 128 bits.
struct LockedBits: BitsSharing, ~Copyable {
  private let word: Mutex<UInt128>

  init(_ bits: UInt128) { self.word = Mutex(bits) }

  func update<Result>(
    _ rule: (_ bits: UInt128) throws(IDError) -> (bits: UInt128, result: Result)
  ) throws(IDError) -> Result {
    try self.word.withLock { bits throws(IDError) in
      let next = try rule(bits)
      bits = next.bits
      return next.result
    }
  }
}

#if _hasAtomicBitWidth(_128) && _pointerBitWidth(_64)
  /// By an exchange of the processor's. A thread that was overtaken applies the rule again, and one that is put aside by the
  /// system is in nobody's way.
  struct ExchangedBits: BitsSharing, ~Copyable {
    private let word: Atomic<WordPair>

    init(_ bits: UInt128) { self.word = Atomic(Self.pair(bits)) }

    func update<Result>(
      _ rule: (_ bits: UInt128) throws(IDError) -> (bits: UInt128, result: Result)
    ) throws(IDError) -> Result {
      // Relaxed: all that threads share here is this word.
      var current = self.word.load(ordering: .relaxed)
      while true {
        let next = try rule(UInt128(current.first) << 64 | UInt128(current.second))
        let (isExchanged, original) = self.word.weakCompareExchange(
          expected: current, desired: Self.pair(next.bits), ordering: .relaxed)
        if isExchanged { return next.result }
        current = original
      }
    }

    private static func pair(_ bits: UInt128) -> WordPair {
      WordPair(first: UInt(truncatingIfNeeded: bits >> 64), second: UInt(truncatingIfNeeded: bits))
    }
  }
#endif
