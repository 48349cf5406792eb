package import MidCore

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// The system's secure generator of random bits: `getentropy`, which on Linux asks the kernel by `getrandom`.
package struct SystemRandom: RandomSource {
  /// The most bytes that one call gives.
  private static let callBytes = 256

  /// Creates the source. It holds no state.
  package init() {}

  /// `count` words from the system, a call for each 32 of them.
  package func words(_ count: Int) throws(IDError) -> [UInt64] {
    var words = [UInt64](repeating: 0, count: count)
    var failure: Int32 = 0
    words.withUnsafeMutableBytes { bytes in
      for start in stride(from: 0, to: bytes.count, by: Self.callBytes) where failure == 0 {
        // SAFETY: the part lies within `bytes`, which stays where it is during this closure.
        let part = UnsafeMutableRawBufferPointer(rebasing: bytes[start..<min(start + Self.callBytes, bytes.count)])
        if getentropy(part.baseAddress, part.count) != 0 { failure = errno }
      }
    }
    guard failure == 0 else {
      throw IDError(.notReady, "the system gives no random bits: error \(failure)")
    }
    return words
  }
}
