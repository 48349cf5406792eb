/// What a UUID says about its making, as far as its version lays that down.
///
/// ```
/// version 1  time low 32 │ time mid 16 │0001│ time high 12 │10│ clock sequence 14 │ node 48
/// version 2  local id 32 │ time mid 16 │0010│ time high 12 │10│ clock seq. 6 │ domain 8 │ node 48
/// version 3  MD5 48 ················· │0011│ MD5 12       │10│ MD5 62
/// version 4  random 48 ·············· │0100│ random 12    │10│ random 62
/// version 5  SHA-1 48 ··············· │0101│ SHA-1 12     │10│ SHA-1 62
/// version 6  time high 32 │ mid 16    │0110│ time low 12  │10│ clock sequence 14 │ node 48
/// version 7  Unix milliseconds 48     │0111│ free 12      │10│ free 62
/// version 8  free 48                  │1000│ free 12      │10│ free 62
/// ```
/// The times of 1, 2 and 6 are 60 bits that count 100 ns from 1582-10-15T00:00:00Z; version 2 has lost the lowest 32 of them.
///
/// Source: RFC 9562, 5; for version 2, DCE 1.1: Authentication and Security Services, 5.2.1.
public struct UUIDFields: Sendable, Hashable {
  /// How many units of 100 ns lie between 1582-10-15 and 1970-01-01 (RFC 9562, 5.1).
  static let gregorianOffset: Int64 = 122_192_928_000_000_000

  /// When it was made, in units of 100 ns since 1970-01-01T00:00:00Z, as its maker's clock had it; nil for versions without
  /// a time. Version 7 knows it to the millisecond, version 2 to seven minutes.
  public let time: Int64?
  /// The clock sequence, 14 bits (version 2: the upper 6 of them); nil for versions without one.
  public let clockSequence: Int?
  /// The node, 48 bits; nil for versions without one.
  public let node: UInt64?

  /// Reads the fields of a UUID. Nothing is known of one whose variant is not ``UUIDValue/Variant/rfc9562``.
  public init(_ value: UUIDValue) {
    let bits = value.bits
    let head = UInt64(truncatingIfNeeded: bits >> 64)
    var time: UInt64?
    switch value.version {
    case 1: time = (head & 0xFFF) << 48 | (head >> 16 & 0xFFFF) << 32 | head >> 32
    case 2: time = (head & 0xFFF) << 48 | (head >> 16 & 0xFFFF) << 32
    case 6: time = (head >> 16) << 12 | head & 0xFFF
    case 7:
      // 48 bits of milliseconds are 62 bits of 100 ns.
      self.time = Int64(head >> 16) * 10_000
      self.clockSequence = nil
      self.node = nil
      return
    default: break
    }
    let sequence = Int(truncatingIfNeeded: bits >> 48) & 0x3FFF
    self.time = time.map { Int64($0) - Self.gregorianOffset }
    self.clockSequence = time == nil ? nil : value.version == 2 ? sequence & 0x3F00 : sequence
    self.node = time == nil ? nil : UInt64(truncatingIfNeeded: bits) & 0xFFFF_FFFF_FFFF
  }

  /// Whether the node was drawn at random instead of being a network card's address: its multicast bit is set
  /// (RFC 9562, 6.10). Nil where there is no node.
  public var nodeIsRandom: Bool? { self.node.map { $0 >> 40 & 1 == 1 } }
}
