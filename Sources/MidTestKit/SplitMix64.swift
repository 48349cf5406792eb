internal import Synchronization

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// A small, fast generator of random numbers whose whole sequence follows from its seed. Not for secrets.
///
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014).
public struct SplitMix64: RandomNumberGenerator, Sendable {
  private var state: UInt64

  /// Starts the sequence of `seed`.
  public init(seed: UInt64) { self.state = seed }

  /// The next 64 bits.
  public mutating func next() -> UInt64 {
    self.state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = self.state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  /// A number from 0 up to, not including, `bound`: quicker than `Int.random(in:using:)` in a debug build, and as even
  /// as a test needs.
  public mutating func below(_ bound: Int) -> Int {
    Int(self.next().multipliedFullWidth(by: UInt64(bound)).high)
  }

  /// A seed for a random test: `MID_TEST_SEED` where the environment sets it, a fresh one otherwise. Prints it with the
  /// test's name, so that a failure can be run again.
  public static func freshSeed(for test: String) -> UInt64 {
    var seed = UInt64.random(in: .min ... .max)
    if let text = getenv("MID_TEST_SEED"), let given = UInt64(String(cString: text)) { seed = given }
    print("\(test): MID_TEST_SEED=\(seed)")
    return seed
  }
}
