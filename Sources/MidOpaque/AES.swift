internal import CCipher
public import MidCore
internal import Synchronization

/// AES under one key (FIPS 197), by the system's OpenSSL, which uses the processor's own instructions where it has them.
///
/// Safe to use from any thread. Threads that use one instance at once don't wait for each other, up to ``contextCount`` of them:
/// each takes a context of OpenSSL's that is free. The key is wiped from OpenSSL's memory with the instance, and no text shows it.
public final class AES: BlockCipher, CustomStringConvertible, CustomReflectable {
  /// How many threads may be at work in one instance at once. More than that wait, for a block each.
  public static let contextCount = 16

  /// What OpenSSL keeps of a key, for one thread at a time.
  private struct Context: ~Copyable {
    // SAFETY: the pointer is used under the lock only, and freed once, when nobody can reach it any more.
    private struct Pointer: @unchecked Sendable {
      let raw: UnsafeMutableRawPointer
    }

    private let pointer: Mutex<Pointer>

    /// Takes over what `mid_aes_new` made.
    init(_ raw: UnsafeMutableRawPointer) { self.pointer = Mutex(Pointer(raw: raw)) }

    deinit { self.pointer.withLock { mid_aes_free($0.raw) } }

    /// Encrypts a block, or returns nil where another thread is at it.
    func encryptIfAvailable(_ block: UInt128) -> UInt128? {
      self.pointer.withLockIfAvailable { Self.encrypt(block, $0) }
    }

    /// Encrypts a block when no other thread is at it any more.
    func encrypt(_ block: UInt128) -> UInt128 { self.pointer.withLock { Self.encrypt(block, $0) } }

    private static func encrypt(_ block: UInt128, _ pointer: Pointer) -> UInt128 {
      var input = block.bigEndian
      var output: UInt128 = 0
      // SAFETY: both numbers have the 16 bytes that are read and written, and outlive the call.
      let isDone = withUnsafeBytes(of: &input) { input in
        withUnsafeMutableBytes(of: &output) { output in
          let source = input.assumingMemoryBound(to: UInt8.self).baseAddress
          let target = output.assumingMemoryBound(to: UInt8.self).baseAddress
          return mid_aes_encrypt(pointer.raw, source, target)
        }
      }
      // A block cipher that was set up has no way to fail; an id in clear, or a wrong one, must not go out all the same.
      precondition(isDone == 1, "OpenSSL encrypts a block of 16 bytes")
      return UInt128(bigEndian: output)
    }
  }

  /// So many places lie between two contexts that no line of the processor's cache, of 128 bytes at most, has two of them.
  private static let spacing = 8

  // SAFETY: every `spacing`th place is initialised in `init` and deinitialised in `deinit`; in between they are only read, and
  // a Context is safe to use from any thread. Not an array: threads would count references in one place.
  private nonisolated(unsafe) let contexts: UnsafeMutablePointer<Context>
  private let count: Int

  /// Prepares a key.
  ///
  /// - Parameter key: 16, 24 or 32 bytes.
  /// - Throws: ``/MidCore/IDError/Code/invalidArgument`` where the key has another length; ``/MidCore/IDError/Code/notReady``
  ///   where OpenSSL refuses.
  public convenience init(key: [UInt8]) throws(IDError) { try self.init(key: key, contextCount: Self.contextCount) }

  /// Prepares a key for another number of threads at once: a power of two, so that no block pays for a division.
  package init(key: [UInt8], contextCount: Int) throws(IDError) {
    precondition(contextCount >= 1 && contextCount & (contextCount - 1) == 0, "contexts are found by a mask")
    guard [16, 24, 32].contains(key.count) else {
      throw IDError(.invalidArgument, "an AES key has 16, 24 or 32 bytes, not \(key.count)")
    }
    let contexts = UnsafeMutablePointer<Context>.allocate(capacity: contextCount * Self.spacing)
    for index in 0..<contextCount {
      guard let raw = mid_aes_new(key, Int32(key.count)) else {
        Self.free(contexts, count: index)
        throw IDError(.notReady, "OpenSSL gives no AES of \(key.count * 8) bits")
      }
      (contexts + index * Self.spacing).initialize(to: Context(raw))
    }
    self.contexts = contexts
    self.count = contextCount
  }

  deinit { Self.free(self.contexts, count: self.count) }

  private static func free(_ contexts: UnsafeMutablePointer<Context>, count: Int) {
    for index in 0..<count { (contexts + index * Self.spacing).deinitialize(count: 1) }
    contexts.deallocate()
  }

  /// The block that `block` becomes, its first byte in the highest bits.
  public func encrypt(_ block: UInt128) -> UInt128 {
    // Each thread has a context that is likely its own, and tries the others where it is not.
    let own = Int(mid_thread_number())
    for offset in 0..<self.count {
      let index = (own &+ offset) & (self.count - 1)
      if let image = self.contexts[index * Self.spacing].encryptIfAvailable(block) { return image }
    }
    return self.contexts[(own & (self.count - 1)) * Self.spacing].encrypt(block)
  }

  /// `AES`, and nothing of the key.
  public var description: String { "AES" }
  /// No parts: `dump` shows neither the key nor where it lies.
  public var customMirror: Mirror { Mirror(self, children: []) }
}
