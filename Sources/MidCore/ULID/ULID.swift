/// A universally unique lexicographically sortable identifier: 128 bits, the time in front.
///
/// ```
///  127                        80 79                                  0
/// ┌─────────────────────────────┬─────────────────────────────────────┐
/// │ Unix milliseconds         48│ random                            80│
/// └─────────────────────────────┴─────────────────────────────────────┘
///  01AN4Z07BY                    79KA1307SR9X4MV3      in Crockford's base 32
/// ```
/// Ordered as the number is, which is the order of the canonical texts.
///
/// Source: https://github.com/ulid/spec
public struct ULID: Sendable, Hashable, Comparable, CustomStringConvertible, LosslessStringConvertible {
  /// The 128 bits.
  public let bits: UInt128

  /// Takes any 128 bits as a ULID.
  public init(bits: UInt128) { self.bits = bits }

  /// Puts a ULID together.
  ///
  /// - Parameters:
  ///   - milliseconds: since 1970-01-01T00:00:00Z.
  ///   - random: its lower 80 bits are taken.
  /// - Throws: ``IDError/Code/exhausted`` where the time is before 1970 or past 48 bits, the year 10889.
  public init(milliseconds: Int64, random: UInt128) throws(IDError) {
    guard (0..<1 << 48).contains(milliseconds) else {
      throw IDError(.exhausted, "a ULID has 48 bits of milliseconds since 1970, \(milliseconds) does not fit")
    }
    self.bits = UInt128(milliseconds) << 80 | random & (1 << 80 - 1)
  }

  /// When it was made, in milliseconds since 1970-01-01T00:00:00Z, as its maker's clock had it.
  public var milliseconds: Int64 { Int64(self.bits >> 80) }

  /// What follows the time: 80 bits.
  public var random: UInt128 { self.bits & (1 << 80 - 1) }

  /// The canonical text: 26 characters, upper case.
  public var description: String {
    // SAFETY: all 26 bytes of the buffer are written, within its bounds.
    String(unsafeUninitializedCapacity: Self.textLength) { buffer in
      self.writeText(to: UnsafeMutableRawBufferPointer(buffer))
      return Self.textLength
    }
  }

  /// How many characters the canonical text has, all of ASCII.
  package static let textLength = 26

  /// Writes the canonical text to the first ``textLength`` bytes of `target`, which has at least as many.
  @inline(__always)
  package func writeText(to target: UnsafeMutableRawBufferPointer) {
    let high = UInt64(truncatingIfNeeded: self.bits >> 64)
    let low = UInt64(truncatingIfNeeded: self.bits)
    // 26 digits of 5 bits are 2 more than there are: 10 in front, then three times 40.
    let first = TextBase.crockfordWord(high >> 56)
    target.storeBytes(of: UInt16(truncatingIfNeeded: first).bigEndian, as: UInt16.self)
    let words = (high >> 16, high << 24 | low >> 40, low)
    target.storeBytes(of: TextBase.crockfordWord(words.0).bigEndian, toByteOffset: 2, as: UInt64.self)
    target.storeBytes(of: TextBase.crockfordWord(words.1).bigEndian, toByteOffset: 10, as: UInt64.self)
    target.storeBytes(of: TextBase.crockfordWord(words.2).bigEndian, toByteOffset: 18, as: UInt64.self)
  }

  /// Reads a text as ``init(parsing:)`` does; nil where that throws.
  public init?(_ description: String) {
    do throws(IDError) { try self.init(parsing: description) } catch { return nil }
  }

  /// Reads a text: 26 digits of Crockford's base 32 in either case, at most `7ZZZZZZZZZZZZZZZZZZZZZZZZZ`. I, L, O and U are
  /// refused, as other readers of ULIDs do.
  ///
  /// - Throws: ``IDError/Code/invalidArgument``, saying what is wrong and where.
  public init(parsing text: String) throws(IDError) {
    let count = text.utf8.count
    guard count == 26 else {
      throw IDError(.invalidArgument, "a ULID has 26 characters, this one has \(count)")
    }
    do throws(IDError) {
      self.bits = try TextBase.crockford.number(of: Array(text.utf8), after: 0, bits: 128)
    } catch {
      throw IDError(.invalidArgument, "a ULID is a number of 128 bits in 26 digits: \(error.message)")
    }
  }

  /// Whether the one comes before the other: as numbers, which is as canonical texts.
  public static func < (one: ULID, other: ULID) -> Bool { one.bits < other.bits }
}
