extension UUIDValue: CustomStringConvertible, LosslessStringConvertible {
  /// The canonical text: 36 characters, lower case, `017f22e2-79b0-7cc3-98c4-dc0c0c07398f`.
  public var description: String {
    // SAFETY: all 36 bytes of the buffer are written, within its bounds.
    String(unsafeUninitializedCapacity: Self.textLength) { buffer in
      self.writeText(to: UnsafeMutableRawBufferPointer(buffer))
      return Self.textLength
    }
  }

  /// How many characters the canonical text has, all of ASCII.
  package static let textLength = 36

  /// Writes the canonical text to the first ``textLength`` bytes of `target`, which has at least as many.
  @inline(__always)
  package func writeText(to target: UnsafeMutableRawBufferPointer) {
    let high = UInt64(truncatingIfNeeded: self.bits >> 64)
    let low = UInt64(truncatingIfNeeded: self.bits)
    let second = TextBase.hexWord(UInt32(truncatingIfNeeded: high))
    let third = TextBase.hexWord(UInt32(truncatingIfNeeded: low >> 32))
    target.storeBytes(of: TextBase.hexWord(UInt32(truncatingIfNeeded: high >> 32)).bigEndian, as: UInt64.self)
    for (place, half) in [(9, second >> 32), (14, second), (19, third >> 32), (24, third)] {
      target.storeBytes(of: UInt32(truncatingIfNeeded: half).bigEndian, toByteOffset: place, as: UInt32.self)
      target[place - 1] = UInt8(ascii: "-")
    }
    target.storeBytes(
      of: TextBase.hexWord(UInt32(truncatingIfNeeded: low)).bigEndian, toByteOffset: 28, as: UInt64.self)
  }

  /// Reads a text as ``init(parsing:)`` does; nil where that throws.
  public init?(_ description: String) {
    do throws(IDError) { try self.init(parsing: description) } catch { return nil }
  }

  /// Reads a text: 32 hexadecimal digits of either case, in groups of 8-4-4-4-12 or without any hyphen; in braces, or after
  /// `urn:uuid:` (RFC 9562, 4). Every version and variant is taken.
  ///
  /// - Throws: ``IDError/Code/invalidArgument``, saying what is wrong and where.
  public init(parsing text: String) throws(IDError) {
    let characters = Array(text.utf8)
    var body = characters[...]
    let urn = Array("urn:uuid:".utf8)
    if body.count >= urn.count, zip(body, urn).allSatisfy({ ASCII.lowercased($0) == $1 }) {
      body = body.dropFirst(urn.count)
    } else if body.first == UInt8(ascii: "{") {
      guard body.last == UInt8(ascii: "}"), body.count > 1 else { throw Self.wrong("the brace is not closed") }
      body = body.dropFirst().dropLast()
    }
    let hyphens = body.count == 36 ? [8, 13, 18, 23] : []
    guard body.count == 36 || body.count == 32 else {
      throw Self.wrong("this one has \(body.count) characters, not 36, or 32 without hyphens")
    }
    var bits: UInt128 = 0
    for (index, character) in body.enumerated() {
      let place = body.startIndex + index + 1
      if hyphens.contains(index) {
        guard character == UInt8(ascii: "-") else {
          throw Self.wrong("character \(place) is \(ASCII.shown(character)), not a hyphen")
        }
        continue
      }
      guard let digit = ASCII.hexDigit(character) else {
        throw Self.wrong("character \(place) is \(ASCII.shown(character)), no hexadecimal digit")
      }
      bits = bits << 4 | UInt128(digit)
    }
    self.init(bits: bits)
  }

  private static func wrong(_ what: String) -> IDError {
    IDError(.invalidArgument, "a UUID is 32 hexadecimal digits in groups of 8-4-4-4-12: \(what)")
  }
}
