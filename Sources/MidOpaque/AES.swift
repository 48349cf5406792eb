internal import CCipher
public import MidCore
internal import Synchronization

/// AES under one key (FIPS 197), by the system's OpenSSL, which uses the processor's own instructions where it has them.
///
/// Safe to use from any thread; threads that use one instance at once take turns, a block at a time. The key is wiped from
/// OpenSSL's memory with the instance, and no text shows it.
public final class AES: BlockCipher, CustomStringConvertible {
  // SAFETY: the context is used under the lock only, and freed once, when nobody can reach it any more.
  private struct Context: @unchecked Sendable {
    let pointer: UnsafeMutableRawPointer
  }

  private let context: Mutex<Context>

  /// Prepares a key.
  ///
  /// - Parameter key: 16, 24 or 32 bytes.
  /// - Throws: ``MidCore/IDError/Code/invalidArgument`` where the key has another length; ``MidCore/IDError/Code/notReady``
  ///   where OpenSSL refuses.
  public init(key: [UInt8]) throws(IDError) {
    guard [16, 24, 32].contains(key.count) else {
      throw IDError(.invalidArgument, "an AES key has 16, 24 or 32 bytes, not \(key.count)")
    }
    guard let pointer = mid_aes_new(key, Int32(key.count)) else {
      throw IDError(.notReady, "OpenSSL gives no AES of \(key.count * 8) bits")
    }
    self.context = Mutex(Context(pointer: pointer))
  }

  deinit { self.context.withLock { mid_aes_free($0.pointer) } }

  /// The block that `block` becomes, its first byte in the highest bits.
  public func encrypt(_ block: UInt128) -> UInt128 {
    var input = block.bigEndian
    var output: UInt128 = 0
    // SAFETY: both numbers have the 16 bytes that are read and written, and outlive the call.
    let isDone = self.context.withLock { context in
      withUnsafeBytes(of: &input) { input in
        withUnsafeMutableBytes(of: &output) { output in
          let source = input.assumingMemoryBound(to: UInt8.self).baseAddress
          let target = output.assumingMemoryBound(to: UInt8.self).baseAddress
          return mid_aes_encrypt(context.pointer, source, target)
        }
      }
    }
    // A block cipher that was set up has no way to fail; an id in clear, or a wrong one, must not go out all the same.
    precondition(isDone == 1, "OpenSSL encrypts a block of 16 bytes")
    return UInt128(bigEndian: output)
  }

  /// `AES`, and nothing of the key.
  public var description: String { "AES" }
}
