package import NIOCore

/// Something that protobuf fields can be appended to: an array, a NIO buffer, or a counter of bytes.
///
/// The two requirements take bytes; everything of protobuf is an extension on top. Fields of default value (0, empty) are
/// left out, as proto3 wants it, so that equal messages have equal bytes.
package protocol ProtobufWriter {
  /// Appends one byte.
  mutating func append(byte: UInt8)
  /// Appends bytes.
  mutating func append(bytes: UnsafeRawBufferPointer)
}

extension ProtobufWriter {
  /// Appends a number in 7-bit groups, 1 to 10 bytes.
  package mutating func append(varint value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      self.append(byte: UInt8(truncatingIfNeeded: rest) | 0x80)
      rest &>>= 7
    }
    self.append(byte: UInt8(truncatingIfNeeded: rest))
  }

  /// Appends a field's tag.
  package mutating func append(tag number: UInt32, _ wireType: ProtobufWireType) {
    self.append(varint: UInt64(number) << 3 | UInt64(wireType.rawValue))
  }

  /// Appends an `int64` field, nothing for 0. Negative numbers take 10 bytes.
  package mutating func append(field number: UInt32, int64 value: Int64) {
    guard value != 0 else { return }
    self.append(tag: number, .varint)
    self.append(varint: UInt64(bitPattern: value))
  }

  /// Appends an `optional int64` or `optional int32` field, nothing for nil.
  package mutating func append(field number: UInt32, optional value: Int64?) {
    guard let value else { return }
    self.append(tag: number, .varint)
    self.append(varint: UInt64(bitPattern: value))
  }

  /// Appends a `uint32` field, nothing for 0.
  package mutating func append(field number: UInt32, uint32 value: UInt32) {
    guard value != 0 else { return }
    self.append(tag: number, .varint)
    self.append(varint: UInt64(value))
  }

  /// Appends an enumeration's field, nothing for 0. Negative numbers take 10 bytes, as in protobuf.
  package mutating func append(field number: UInt32, enumeration value: Int32) {
    self.append(field: number, int64: Int64(value))
  }

  /// Appends a `string` field, nothing for an empty one.
  package mutating func append(field number: UInt32, string value: String) {
    guard !value.isEmpty else { return }
    self.append(element: number, string: value)
  }

  /// Appends one element of a `repeated string` field, also an empty one: elements are never left out.
  package mutating func append(element number: UInt32, string value: String) {
    self.append(tag: number, .lengthDelimited)
    var copy = value
    copy.withUTF8 { utf8 in
      self.append(varint: UInt64(utf8.count))
      self.append(bytes: UnsafeRawBufferPointer(utf8))
    }
  }

  /// Appends a `bytes` field, nothing for an empty one.
  package mutating func append(field number: UInt32, bytes value: [UInt8]) {
    guard !value.isEmpty else { return }
    self.append(element: number, bytes: value)
  }

  /// Appends one element of a `repeated bytes` field, also an empty one.
  package mutating func append(element number: UInt32, bytes value: [UInt8]) {
    self.append(tag: number, .lengthDelimited)
    self.append(varint: UInt64(value.count))
    value.withUnsafeBytes { self.append(bytes: $0) }
  }

  /// Appends one element of a repeated message field, also one of default values.
  package mutating func append(element number: UInt32, message: some ProtobufMessage) {
    self.append(tag: number, .lengthDelimited)
    self.append(varint: UInt64(message.encodedByteCount))
    message.encode(into: &self)
  }
}

extension [UInt8]: ProtobufWriter {
  /// Appends one byte.
  package mutating func append(byte: UInt8) { self.append(byte) }
  /// Appends bytes.
  package mutating func append(bytes: UnsafeRawBufferPointer) { self.append(contentsOf: bytes) }
}

extension ByteBuffer: ProtobufWriter {
  /// Appends one byte at the writer index.
  package mutating func append(byte: UInt8) { self.writeInteger(byte) }
  /// Appends bytes at the writer index.
  package mutating func append(bytes: UnsafeRawBufferPointer) { self.writeBytes(bytes) }
}

/// Counts what a message will take, so that a length can stand before it.
package struct ProtobufByteCounter: ProtobufWriter, Sendable {
  /// The bytes appended so far.
  package private(set) var count = 0

  /// Creates a counter at 0.
  package init() {}

  /// Counts one byte.
  package mutating func append(byte: UInt8) { self.count += 1 }
  /// Counts bytes.
  package mutating func append(bytes: UnsafeRawBufferPointer) { self.count += bytes.count }
}
