/// A keyed permutation of blocks of 128 bits: AES. The core has none; a library that is well kept is handed in.
public protocol BlockCipher: Sendable {
  /// The block that `block` becomes, its first byte in the highest bits. Safe to call from any thread.
  func encrypt(_ block: UInt128) -> UInt128
}
