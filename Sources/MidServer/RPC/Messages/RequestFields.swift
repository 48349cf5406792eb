/// What a request for ids holds, read without allocating: the form the server's hot path parses.
///
/// One type for `pb.IDRequest`, `mid.v1.GenerateIDRequest` and `mid.v1.GenerateBatchRequest`, whose numbers agree. It
/// checks as much as the messages themselves do. Its slices lie in the request's bytes and are valid as long as those.
package struct RequestFields {
  /// Which message the bytes are, which decides the fields that count; the others are skipped as unknown.
  package enum Kind: UInt32, Sendable, Hashable {
    /// `pb.IDRequest`: the mode.
    case id = 1
    /// `mid.v1.GenerateIDRequest`: mode, tag and format.
    case generateID = 2
    /// `mid.v1.GenerateBatchRequest`: mode, tag, count, request key and format.
    case generateBatch = 3
  }

  /// A kind of ids, by its name on the wire.
  package enum Mode: Sendable, Hashable {
    /// `snowflake`.
    case snowflake
    /// `segment`.
    case segment
    /// `ticket`.
    case ticket
    /// Anything else, and nothing at all; ``RequestFields/modeText`` tells what it was.
    case other
  }

  /// How many characters (Unicode scalars) of an unknown mode ``modeText`` keeps.
  package static let maximumModeTextLength = 64

  /// The mode.
  package private(set) var mode = Mode.other

  // SAFETY: the slices are of the bytes handed to the initialiser, whose caller keeps them alive while this is used.
  /// The mode's bytes, UTF-8.
  package private(set) var modeBytes = UnsafeRawBufferPointer(start: nil, count: 0)
  /// The tag's bytes, UTF-8. Empty means the tag `default`.
  package private(set) var tag = UnsafeRawBufferPointer(start: nil, count: 0)

  /// The request key's bytes; empty for none.
  package private(set) var requestKey = UnsafeRawBufferPointer(start: nil, count: 0)

  /// The format's bytes, UTF-8; empty where no text is asked for.
  package private(set) var format = UnsafeRawBufferPointer(start: nil, count: 0)

  /// How many ids; 0 where the message does not say.
  package private(set) var count: UInt32 = 0

  /// Parses the fields of a `kind` message. Never allocates; about 10 ns for a request with a mode.
  ///
  /// - Throws: ``ProtobufError`` where `bytes` are not in the wire format or a text is not UTF-8.
  package init(decoding bytes: UnsafeRawBufferPointer, as kind: Kind) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .lengthDelimited):
        let slice = try reader.slice()
        self.mode = Mode(slice)
        guard self.mode != .other || UTF8Validation.isValid(slice) else { throw .invalidUTF8 }
        self.modeBytes = slice
      case (2, .lengthDelimited) where kind.rawValue >= 2: self.tag = try reader.textSlice()
      case (3, .varint) where kind.rawValue >= 3: self.count = UInt32(truncatingIfNeeded: try reader.varint())
      case (4, .lengthDelimited) where kind.rawValue >= 3: self.requestKey = try reader.slice()
      case (5, .lengthDelimited) where kind.rawValue >= 2: self.format = try reader.textSlice()
      // Names: read where a mode needs them, but they are text everywhere.
      case (6, .lengthDelimited) where kind.rawValue >= 2, (7, .lengthDelimited) where kind.rawValue >= 2:
        _ = try reader.textSlice()
      default: try reader.skip(tag)
      }
    }
  }

  /// The mode as a text for messages, cut after ``maximumModeTextLength`` characters. Allocates.
  package var modeText: String {
    String(String(decoding: self.modeBytes, as: UTF8.self).unicodeScalars.prefix(Self.maximumModeTextLength))
  }

  /// The tag as a text; empty means `default`. Allocates where it is longer than 15 bytes.
  package var tagText: String { String(decoding: self.tag, as: UTF8.self) }

  /// The format as a text. Allocates.
  package var formatText: String { String(decoding: self.format, as: UTF8.self) }
}

extension RequestFields.Mode {
  /// Tells the mode by its bytes: a comparison of lengths, then of two words.
  package init(_ bytes: UnsafeRawBufferPointer) {
    // SAFETY: the loads lie within the lengths compared just before; the names are shorter than two overlapping words.
    if bytes.count == 7 {
      let head = UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self))
      let tail = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 3, as: UInt32.self))
      // "segm", "ment"
      self = head == 0x6d67_6573 && tail == 0x746e_656d ? .segment : .other
    } else if bytes.count == 9 {
      let head = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
      // "snowflak", "e"
      self = head == 0x6b61_6c66_776f_6e73 && bytes[8] == 0x65 ? .snowflake : .other
    } else if bytes.count == 6 {
      let head = UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self))
      let tail = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt32.self))
      // "tick", "cket"
      self = head == 0x6b63_6974 && tail == 0x7465_6b63 ? .ticket : .other
    } else {
      self = .other
    }
  }
}
