/// MongoDB's ObjectId: 96 bits, the time in front.
///
/// ```
///  95              64 63                          24 23            0
/// ┌──────────────────┬──────────────────────────────┬───────────────┐
/// │ Unix seconds   32│ random, per process        40│ counter     24│   made since 2018
/// ├──────────────────┼──────────────────┬───────────┼───────────────┤
/// │ Unix seconds   32│ machine        24│ process 16│ counter     24│   made before
/// └──────────────────┴──────────────────┴───────────┴───────────────┘
/// ```
/// An ObjectId does not say which of the two it is. Ordered as the number is, which is the order of the texts.
///
/// Source: MongoDB's specification "BSON ObjectId" (source/bson-objectid/objectid.md).
public struct ObjectID: Sendable, Hashable, Comparable, CustomStringConvertible, LosslessStringConvertible {
  /// The 96 bits; the rest is 0.
  public let bits: UInt128

  /// Puts an ObjectId together.
  ///
  /// - Parameters:
  ///   - seconds: since 1970-01-01T00:00:00Z, as an unsigned number: it ends in 2106.
  ///   - process: its lower 40 bits are taken.
  ///   - counter: its lower 24 bits are taken.
  public init(seconds: UInt32, process: UInt64, counter: UInt32) {
    self.bits = UInt128(seconds) << 64 | UInt128(process & 0xFF_FFFF_FFFF) << 24 | UInt128(counter & 0xFF_FFFF)
  }

  /// When it was made, in seconds since 1970-01-01T00:00:00Z, as its maker's clock had it.
  public var seconds: UInt32 { UInt32(truncatingIfNeeded: self.bits >> 64) }
  /// What told its process from others: 40 bits.
  public var process: UInt64 { UInt64(truncatingIfNeeded: self.bits >> 24) & 0xFF_FFFF_FFFF }
  /// The process's counter: 24 bits.
  public var counter: UInt32 { UInt32(truncatingIfNeeded: self.bits) & 0xFF_FFFF }
  /// The machine, if this is of the old form: 24 bits.
  public var machineOfOldForm: UInt32 { UInt32(truncatingIfNeeded: self.process >> 16) }
  /// The process id, if this is of the old form: 16 bits.
  public var processOfOldForm: UInt16 { UInt16(truncatingIfNeeded: self.process) }

  /// The canonical text: 24 hexadecimal digits, lower case.
  public var description: String {
    // SAFETY: all 24 bytes of the buffer are written, within its bounds.
    String(unsafeUninitializedCapacity: Self.textLength) { buffer in
      self.writeText(to: UnsafeMutableRawBufferPointer(buffer))
      return Self.textLength
    }
  }

  /// How many characters the canonical text has, all of ASCII.
  package static let textLength = 24

  /// Writes the canonical text to the first ``textLength`` bytes of `target`, which has at least as many.
  @inline(__always)
  package func writeText(to target: UnsafeMutableRawBufferPointer) {
    for place in 0..<3 {
      let word = TextBase.hexWord(UInt32(truncatingIfNeeded: self.bits >> UInt128(64 - 32 * place)))
      target.storeBytes(of: word.bigEndian, toByteOffset: 8 * place, as: UInt64.self)
    }
  }

  /// Reads a text as ``init(parsing:)`` does; nil where that throws.
  public init?(_ description: String) {
    do throws(IDError) { try self.init(parsing: description) } catch { return nil }
  }

  /// Reads a text: 24 hexadecimal digits of either case.
  ///
  /// - Throws: ``IDError/Code/invalidArgument``, saying what is wrong and where.
  public init(parsing text: String) throws(IDError) {
    let count = text.utf8.count
    guard count == 24 else {
      throw IDError(.invalidArgument, "an ObjectId has 24 hexadecimal digits, this one has \(count) characters")
    }
    do throws(IDError) {
      self.bits = try TextBase.hex.number(of: Array(text.utf8), after: 0, bits: 96)
    } catch {
      throw IDError(.invalidArgument, "an ObjectId has 24 hexadecimal digits: \(error.message)")
    }
  }

  /// Whether the one comes before the other: as numbers, which is as texts.
  public static func < (one: ObjectID, other: ObjectID) -> Bool { one.bits < other.bits }
}
