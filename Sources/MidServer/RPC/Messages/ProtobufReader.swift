/// How a field's value lies on the wire.
package enum ProtobufWireType: UInt8, Sendable, Hashable {
  /// A number in 1 to 10 bytes of 7 bits.
  case varint = 0
  /// 8 bytes, little-endian.
  case fixed64 = 1
  /// A length, then as many bytes: texts, bytes and messages.
  case lengthDelimited = 2
  /// The beginning of a group, a form that proto3 no longer writes.
  case startGroup = 3
  /// The end of a group.
  case endGroup = 4
  /// 4 bytes, little-endian.
  case fixed32 = 5
}

/// What stands before a value: which field it is, and how the value lies on the wire.
package struct ProtobufFieldTag: Sendable, Hashable {
  /// The field's number in the `.proto` file, 1 to 536,870,911.
  package var number: UInt32
  /// How the value lies on the wire. May differ from what the `.proto` file says; such a field counts as unknown.
  package var wireType: ProtobufWireType

  /// Creates a tag.
  package init(number: UInt32, wireType: ProtobufWireType) {
    self.number = number
    self.wireType = wireType
  }
}

/// A pull parser for the protobuf wire format: ask for the next tag, then take its value or skip it.
///
/// It never allocates, never reads past the bytes it was given, and takes time in proportion to them. Lengths are slices
/// of the input, valid as long as the input is. After a throw the reader's place is not specified; stop there.
///
/// The wire format is that of https://protobuf.dev/programming-guides/encoding/. As protobuf's own parsers do it accepts
/// fields in any order and repeated scalars (the last one counts), and numbers in more bytes than they need; unlike some
/// of them it refuses a number whose tenth byte reaches past 64 bits.
package struct ProtobufReader {
  /// How deep unknown groups may lie in each other, as in protobuf's own parsers.
  package static let maximumGroupDepth = 100

  // SAFETY: every read below is preceded by a comparison of `position` with `bytes.count`; the initialiser's caller
  // promises that `bytes` outlives the reader and its slices.
  private let bytes: UnsafeRawBufferPointer
  private var position = 0

  /// Creates a reader at the first byte. `bytes` has to outlive the reader and every slice it returns.
  package init(_ bytes: UnsafeRawBufferPointer) {
    self.bytes = bytes
  }

  /// Whether nothing is left.
  package var isAtEnd: Bool { self.position >= self.bytes.count }

  /// The next field's tag, or nil at the end of the message.
  ///
  /// - Throws: ``ProtobufError/truncated``, ``ProtobufError/malformedTag``, and ``ProtobufError/unbalancedGroup`` for the
  ///   end of a group that never began.
  @inline(__always)
  package mutating func nextTag() throws(ProtobufError) -> ProtobufFieldTag? {
    guard !self.isAtEnd else { return nil }
    let tag = try self.rawTag()
    guard tag.wireType != .endGroup else { throw .unbalancedGroup }
    return tag
  }

  /// A `varint` value: `int64`, `uint64`, `bool`, enumerations. For 32-bit kinds keep the low 32 bits, as protobuf does.
  ///
  /// - Throws: ``ProtobufError/truncated``, ``ProtobufError/malformedVarint``.
  @inline(__always)
  package mutating func varint() throws(ProtobufError) -> UInt64 {
    if self.position < self.bytes.count, self.bytes[self.position] < 0x80 {
      let byte = self.bytes[self.position]
      self.position &+= 1
      return UInt64(byte)
    }
    return try self.longVarint()
  }

  private mutating func longVarint() throws(ProtobufError) -> UInt64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while shift < 70 {
      guard self.position < self.bytes.count else { throw .truncated }
      let byte = self.bytes[self.position]
      self.position += 1
      guard shift < 63 || byte <= 1 else { throw .malformedVarint }
      value |= UInt64(byte & 0x7f) &<< shift
      if byte < 0x80 { return value }
      shift += 7
    }
    throw .malformedVarint
  }

  /// A `fixed32` value.
  ///
  /// - Throws: ``ProtobufError/truncated``.
  package mutating func fixed32() throws(ProtobufError) -> UInt32 {
    let slice = try self.take(4)
    return UInt32(littleEndian: slice.loadUnaligned(as: UInt32.self))
  }

  /// A `fixed64` value.
  ///
  /// - Throws: ``ProtobufError/truncated``.
  package mutating func fixed64() throws(ProtobufError) -> UInt64 {
    let slice = try self.take(8)
    return UInt64(littleEndian: slice.loadUnaligned(as: UInt64.self))
  }

  /// A length-delimited value as a slice of the input: `bytes` and messages.
  ///
  /// - Throws: ``ProtobufError/truncated``, ``ProtobufError/malformedVarint``.
  @inline(__always)
  package mutating func slice() throws(ProtobufError) -> UnsafeRawBufferPointer {
    let length = try self.varint()
    guard length <= UInt64(self.bytes.count - self.position) else { throw .truncated }
    return try self.take(Int(length))
  }

  /// A `string` value as a slice of the input that is known to be UTF-8.
  ///
  /// - Throws: as ``slice()``, and ``ProtobufError/invalidUTF8``.
  package mutating func textSlice() throws(ProtobufError) -> UnsafeRawBufferPointer {
    let slice = try self.slice()
    guard UTF8Validation.isValid(slice) else { throw .invalidUTF8 }
    return slice
  }

  /// A `string` value. Allocates where the text is longer than 15 bytes.
  ///
  /// - Throws: as ``textSlice()``.
  package mutating func string() throws(ProtobufError) -> String {
    String(decoding: try self.textSlice(), as: UTF8.self)
  }

  /// Steps over the value of a field that nobody knows.
  ///
  /// - Throws: what reading the value would throw; for groups also ``ProtobufError/unbalancedGroup`` and
  ///   ``ProtobufError/groupsTooDeep``.
  package mutating func skip(_ tag: ProtobufFieldTag) throws(ProtobufError) {
    try self.skip(tag, depth: 0)
  }

  private mutating func skip(_ tag: ProtobufFieldTag, depth: Int) throws(ProtobufError) {
    switch tag.wireType {
    case .varint: _ = try self.varint()
    case .fixed64: _ = try self.take(8)
    case .lengthDelimited: _ = try self.slice()
    case .fixed32: _ = try self.take(4)
    case .endGroup: throw .unbalancedGroup
    case .startGroup:
      guard depth < Self.maximumGroupDepth else { throw .groupsTooDeep }
      while true {
        guard !self.isAtEnd else { throw .unbalancedGroup }
        let inner = try self.rawTag()
        if inner.wireType == .endGroup {
          guard inner.number == tag.number else { throw .unbalancedGroup }
          return
        }
        try self.skip(inner, depth: depth + 1)
      }
    }
  }

  @inline(__always)
  private mutating func rawTag() throws(ProtobufError) -> ProtobufFieldTag {
    // Fields 1 to 15 have tags of one byte.
    if self.position < self.bytes.count, self.bytes[self.position] < 0x80 {
      let byte = self.bytes[self.position]
      self.position &+= 1
      guard let wireType = ProtobufWireType(rawValue: byte & 7), byte >> 3 != 0 else { throw .malformedTag }
      return ProtobufFieldTag(number: UInt32(byte >> 3), wireType: wireType)
    }
    return try self.longTag()
  }

  private mutating func longTag() throws(ProtobufError) -> ProtobufFieldTag {
    let start = self.position
    let raw: UInt64
    do {
      raw = try self.varint()
    } catch {
      throw error == .malformedVarint ? .malformedTag : error
    }
    guard self.position - start <= 5, let value = UInt32(exactly: raw),
      let wireType = ProtobufWireType(rawValue: UInt8(value & 7)), value >> 3 != 0
    else { throw .malformedTag }
    return ProtobufFieldTag(number: value >> 3, wireType: wireType)
  }

  @inline(__always)
  private mutating func take(_ count: Int) throws(ProtobufError) -> UnsafeRawBufferPointer {
    guard count <= self.bytes.count - self.position else { throw .truncated }
    let slice = UnsafeRawBufferPointer(start: self.bytes.baseAddress?.advanced(by: self.position), count: count)
    self.position &+= count
    return slice
  }
}
