/// Which of several databases each tag lives in: a rule that all nodes come to the same answer by, without asking anyone.
///
/// A tag that is pinned lives where it is pinned. Any other lives in the database whose name, together with the tag's,
/// has the highest hash (rendezvous hashing: D. Thaler, C. Ravishankar, 1996). The order of the databases does not
/// matter, and one more takes over only those tags that it wins.
public struct ShardHomes: Sendable {
  private let names: [String]
  private let pins: [Tag: Int]

  /// Creates the rule.
  ///
  /// - Parameters:
  ///   - names: The databases' names, at least one, no two alike.
  ///   - pins: Tags that live in a database of a name.
  /// - Throws: ``IDError/Code/invalidArgument`` for a pin to a name that there is not.
  public init(names: [String], pins: [Tag: String]) throws(IDError) {
    precondition(!names.isEmpty && Set(names).count == names.count, "databases have names of their own")
    self.names = names
    var indices: [Tag: Int] = [:]
    for (tag, name) in pins {
      guard let index = names.firstIndex(of: name) else {
        throw IDError(
          .invalidArgument, "tag \(tag) is pinned to '\(name)', and there are only: \(names.joined(separator: ", "))")
      }
      indices[tag] = index
    }
    self.pins = indices
  }

  /// Where `tag` lives, by the databases' order.
  public func home(of tag: Tag) -> Int {
    if let pin = self.pins[tag] { return pin }
    let weights = self.names.map { Self.weight($0, tag) }
    // Two alike are decided by name, not by place.
    let best = self.names.indices.max { (weights[$0], self.names[$0]) < (weights[$1], self.names[$1]) }
    return best ?? 0
  }

  /// FNV-1a over the name, a byte that is in no name, and the tag, mixed as splitmix64 ends: FNV alone spreads its last
  /// bytes poorly over the high bits. Never to be changed: tags would move.
  static func weight(_ name: String, _ tag: Tag) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in Array(name.utf8) + [0xff] + Array(tag.name.utf8) {
      hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3
    }
    hash = (hash ^ (hash >> 30)) &* 0xbf58_476d_1ce4_e5b9
    hash = (hash ^ (hash >> 27)) &* 0x94d0_49bb_1331_11eb
    return hash ^ (hash >> 31)
  }
}
