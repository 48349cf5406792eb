internal import Synchronization

/// Random bits from a source, drawn in blocks, so that a system call is paid once for many ids.
///
/// Safe to use from any thread, and no call waits for another: one that finds a block in use goes on to the next, and draws
/// for itself where all are. No word is handed out twice, and each is wiped from its block as it goes. There are
/// ``blockCount`` blocks of at most ``blockWords`` words: a copy of a running machine's memory (a snapshot that is resumed
/// twice) repeats that many.
public final class RandomPool: Sendable {
  /// How many words are drawn at once: 512 bytes.
  public static let blockWords = 64
  /// How many blocks there are. One thread alone uses the first.
  public static let blockCount = 8

  private final class Block: Sendable {
    let words = Mutex<[UInt64]>([])
  }

  private let source: any RandomSource
  private let blocks: [Block]

  /// Creates a pool that draws from `source`. Nothing is drawn before it is asked for.
  public init(_ source: any RandomSource) {
    self.source = source
    self.blocks = (0..<Self.blockCount).map { _ in Block() }
  }

  /// 128 random bits.
  ///
  /// - Throws: ``IDError/Code/notReady`` where the source has none to give.
  public func next() throws(IDError) -> UInt128 {
    // Only tried, never waited for: a thread that is put aside by the system while it holds a lock would have all others
    // sleep and wake in turn, which takes a hundred times as long as the bits do.
    for block in self.blocks {
      guard let taken = block.words.withLockIfAvailable({ Self.take(from: &$0) }) else { continue }
      if let taken { return taken }
      return try self.refill(block)
    }
    return Self.bits(try self.words(2))
  }

  /// 128 random bits straight from the source, for what a copy of this process must not draw as well: the blocks' bits would be
  /// in the copy too.
  ///
  /// - Throws: ``IDError/Code/notReady`` where the source has none to give.
  func fresh() throws(IDError) -> UInt128 { Self.bits(try self.words(2)) }

  /// `count` words of 64 random bits, drawn for this call alone.
  ///
  /// - Throws: ``IDError/Code/notReady`` where the source has none to give.
  func words(_ count: Int) throws(IDError) -> [UInt64] {
    let words = try self.source.words(count)
    guard words.count == count else {
      throw IDError(.notReady, "the source of random bits gave \(words.count) words instead of \(count)")
    }
    return words
  }

  /// Draws for a block that is empty, and takes the first bits. The source may be a system call, which no lock is held for.
  private func refill(_ block: Block) throws(IDError) -> UInt128 {
    var fresh = try self.words(Self.blockWords)
    guard let bits = Self.take(from: &fresh) else {
      throw IDError(.notReady, "the source of random bits gave none")
    }
    // Another thread may have filled it meanwhile; nothing is lost but time.
    _ = block.words.withLockIfAvailable { words in
      if words.count < fresh.count { words = fresh }
    }
    return bits
  }

  private static func take(from block: inout [UInt64]) -> UInt128? {
    let count = block.count
    guard count >= 2 else { return nil }
    let bits = Self.bits(block[(count - 2)...])
    block[count - 1] = 0
    block[count - 2] = 0
    block.removeLast(2)
    return bits
  }

  private static func bits(_ words: some Sequence<UInt64>) -> UInt128 {
    words.reduce(0) { $0 << 64 | UInt128($1) }
  }
}
