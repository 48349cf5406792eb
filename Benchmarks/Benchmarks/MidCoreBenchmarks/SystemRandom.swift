import MidCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The system's random bits, a call for each 256 bytes.
struct SystemRandom: RandomSource {
  func words(_ count: Int) throws(IDError) -> [UInt64] {
    var words = [UInt64](repeating: 0, count: count)
    var isComplete = true
    words.withUnsafeMutableBytes { bytes in
      for start in stride(from: 0, to: bytes.count, by: 256) {
        // SAFETY: the part lies within `bytes`, which stays where it is during this closure.
        let part = UnsafeMutableRawBufferPointer(rebasing: bytes[start..<min(start + 256, bytes.count)])
        isComplete = isComplete && getentropy(part.baseAddress, part.count) == 0
      }
    }
    guard isComplete else { throw IDError(.notReady, "the system gives no random bits") }
    return words
  }
}
