internal import Synchronization

/// Random bits from a source, drawn in blocks, so that a system call is paid once for many ids.
///
/// Safe to use from any thread; no word is handed out twice, and each is wiped from the block as it goes. A block holds at
/// most ``blockWords`` words: a copy of a running machine's memory (a snapshot that is resumed twice) repeats that many.
public final class RandomPool: Sendable {
  /// How many words are drawn at once: 512 bytes.
  public static let blockWords = 64

  private let source: any RandomSource
  private let block = Mutex<[UInt64]>([])

  /// Creates a pool that draws from `source`. Nothing is drawn before it is asked for.
  public init(_ source: any RandomSource) { self.source = source }

  /// 128 random bits.
  ///
  /// - Throws: ``IDError/Code/notReady`` where the source has none to give.
  public func next() throws(IDError) -> UInt128 {
    if let bits = self.block.withLock({ Self.take(from: &$0) }) { return bits }
    // The source may be a system call, which no lock is held for. Two threads may draw at once; nothing is lost but time.
    var fresh = try self.source.words(Self.blockWords)
    guard let bits = Self.take(from: &fresh) else {
      throw IDError(.notReady, "the source of random bits gave \(fresh.count) words instead of \(Self.blockWords)")
    }
    self.block.withLock { block in
      if block.count < fresh.count { block = fresh }
    }
    return bits
  }

  private static func take(from block: inout [UInt64]) -> UInt128? {
    let count = block.count
    guard count >= 2 else { return nil }
    let bits = UInt128(block[count - 1]) << 64 | UInt128(block[count - 2])
    block[count - 1] = 0
    block[count - 2] = 0
    block.removeLast(2)
    return bits
  }
}
