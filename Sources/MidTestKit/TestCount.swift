#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// How many of something a test tries.
public enum TestCount {
  /// Whether the long forms are asked for: `MID_TEST_LONG` is set.
  public static let isLong = getenv("MID_TEST_LONG") != nil

  /// The ids that a test makes: 100,000, 10,000,000 in the long form, or what `MID_TEST_IDS` says.
  public static let ids = Self.count("MID_TEST_IDS", short: 100_000, long: 10_000_000)

  /// The texts or numbers that a reader is given: 100,000, 1,000,000 in the long form, or what `MID_TEST_TEXTS` says.
  public static let texts = Self.count("MID_TEST_TEXTS", short: 100_000, long: 1_000_000)

  private static func count(_ variable: String, short: Int, long: Int) -> Int {
    guard let text = getenv(variable) else { return Self.isLong ? long : short }
    guard let count = Int(String(cString: text)), count >= 1000 else {
      preconditionFailure("\(variable) is a number of at least 1000")
    }
    return count
  }
}
