/// A universally unique identifier: 128 bits, of which up to six say how the rest is to be read.
///
/// ```
///  127                            64 63                              0
/// ┌──────────┬──────┬────┬──────────┬───┬─────────────────────────────┐
/// │        32│    16│ver │        12│var│                          62 │
/// └──────────┴──────┴────┴──────────┴───┴─────────────────────────────┘
///              bits 79…76: version     bits 63, 62: variant (10)
/// ```
/// What the other bits hold is told by the version: see ``UUIDFields``. Ordered as the number is, which is the order of the
/// texts and of the 16 bytes. Not called UUID, so that it can stand beside Foundation's.
///
/// Source: RFC 9562.
public struct UUIDValue: Sendable, Hashable, Comparable {
  /// The 128 bits, the first byte of the UUID in the highest ones.
  public let bits: UInt128

  /// Takes any 128 bits as a UUID.
  public init(bits: UInt128) { self.bits = bits }

  /// All bits 0 (RFC 9562, 5.9).
  public static let zero = UUIDValue(bits: 0)
  /// All bits 1 (RFC 9562, 5.10).
  public static let max = UUIDValue(bits: .max)

  /// Whether the one comes before the other: as numbers, which is as texts and as bytes.
  public static func < (one: UUIDValue, other: UUIDValue) -> Bool { one.bits < other.bits }

  /// Who laid down the meaning of the bits (RFC 9562, 4.1).
  public enum Variant: String, Sendable, Hashable {
    /// Apollo's NCS, before UUIDs had versions.
    case ncs
    /// RFC 9562 and RFC 4122 before it.
    case rfc9562
    /// Microsoft's GUIDs of old.
    case microsoft
    /// Nobody yet.
    case reserved
  }

  /// Who laid down the meaning of the bits.
  public var variant: Variant {
    switch UInt8(truncatingIfNeeded: self.bits >> 61) & 7 {
    case 0...3: .ncs
    case 4, 5: .rfc9562
    case 6: .microsoft
    default: .reserved
    }
  }

  /// The version, 0 to 15, of which RFC 9562 defines 1 to 8. Nil for other variants, which have none.
  public var version: Int? {
    self.variant == .rfc9562 ? Int(truncatingIfNeeded: self.bits >> 76) & 0xF : nil
  }

  /// The 16 bytes in the order of the network.
  public var bytes: [UInt8] {
    (0..<16).map { UInt8(truncatingIfNeeded: self.bits >> UInt128(120 - 8 * $0)) }
  }

  /// The same bits with version and variant put in their places, whatever stood there.
  static func marked(_ bits: UInt128, version: Int) -> UUIDValue {
    let cleared = bits & ~(0xF << 76 | 0x3 << 62)
    return UUIDValue(bits: cleared | UInt128(version) << 76 | 0x2 << 62)
  }
}
