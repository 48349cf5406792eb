/// Where a node's worker number comes from.
package enum WorkerSource: Sendable, Equatable {
  /// Any free one, leased from the store.
  case leased
  /// The number at the end of the host's name, as a StatefulSet gives it to its pods.
  case ordinal
  /// This one.
  case number(Int)

  /// The number at the end of a host's name, up to the first dot; nil where there is none.
  static func ordinal(ofHost host: String) -> Int? {
    let name = host.prefix { $0 != "." }
    let digits = name.utf8.reversed().prefix { (0x30...0x39).contains($0) }
    return Int(String(decoding: digits.reversed(), as: UTF8.self))
  }
}
