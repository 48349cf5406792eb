/// Where unpredictable bits come from.
///
/// The core has no generator of its own; every random bit comes in through this protocol, so that tests can choose them.
/// A program hands in the system's secure one.
public protocol RandomSource: Sendable {
  /// `count` words of 64 random bits each, independent and unpredictable. May be a system call.
  ///
  /// - Throws: ``IDError/Code/notReady`` where the system has none to give.
  func words(_ count: Int) throws(IDError) -> [UInt64]
}
