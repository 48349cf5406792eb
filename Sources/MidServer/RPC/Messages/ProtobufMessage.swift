/// A message of the `.proto` files in `proto/`, which are the source of truth for names and numbers.
///
/// Written by hand: a few small messages do not pay for a code generator's run-time library in every build, and its
/// messages allocate where a call of ours must not. Unknown fields are skipped and not kept.
package protocol ProtobufMessage: Sendable, Hashable {
  /// Parses a message. Fields that are absent have their default values; of a scalar that is repeated the last one counts.
  ///
  /// - Throws: ``ProtobufError`` where `bytes` are not in the wire format or a text is not UTF-8.
  init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError)

  /// Appends the message in its canonical form: fields in the order of their numbers, default values left out.
  func encode(into writer: inout some ProtobufWriter)
}

extension ProtobufMessage {
  /// Parses a message. Errors as for ``init(decoding:)-(UnsafeRawBufferPointer)``.
  package init(decoding bytes: [UInt8]) throws(ProtobufError) {
    // The array's own method passes on any error; a result keeps this one's type.
    self = try bytes.withUnsafeBytes { raw in
      Result { () throws(ProtobufError) in try Self(decoding: raw) }
    }.get()
  }

  /// The message's length in its canonical form. Takes as long as encoding it.
  package var encodedByteCount: Int {
    var counter = ProtobufByteCounter()
    self.encode(into: &counter)
    return counter.count
  }

  /// The message in its canonical form.
  package func encoded() -> [UInt8] {
    var bytes: [UInt8] = []
    self.encode(into: &bytes)
    return bytes
  }
}
