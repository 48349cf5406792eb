/// `mid.v1.GenerateBatchRequest`: many ids, please.
package struct GenerateBatchRequest: ProtobufMessage {
  /// `snowflake` or `segment`.
  package var mode: String
  /// The business's own space of ids, for `segment`. Empty means `default`.
  package var tag: String
  /// How many ids: 1 to 1,000,000.
  package var count: UInt32
  /// For safe retries; empty for none.
  package var requestKey: [UInt8]
  /// The ``IDFormat`` of the texts that are wanted, too. Empty for none.
  package var format: String
  /// The namespace of ``names``, for modes that make ids of names.
  package var namespace: String
  /// What the ids are made of, for modes that make ids of names.
  package var names: [String]

  /// Creates a request.
  package init(
    mode: String = "", tag: String = "", count: UInt32 = 0, requestKey: [UInt8] = [], format: String = "",
    namespace: String = "", names: [String] = []
  ) {
    self.mode = mode
    self.tag = tag
    self.count = count
    self.requestKey = requestKey
    self.format = format
    self.namespace = namespace
    self.names = names
  }

  package init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    self.init()
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .lengthDelimited): self.mode = try reader.string()
      case (2, .lengthDelimited): self.tag = try reader.string()
      case (3, .varint): self.count = UInt32(truncatingIfNeeded: try reader.varint())
      case (4, .lengthDelimited): self.requestKey = [UInt8](try reader.slice())
      case (5, .lengthDelimited): self.format = try reader.string()
      case (6, .lengthDelimited): self.namespace = try reader.string()
      case (7, .lengthDelimited): self.names.append(try reader.string())
      default: try reader.skip(tag)
      }
    }
  }

  package func encode(into writer: inout some ProtobufWriter) {
    writer.append(field: 1, string: self.mode)
    writer.append(field: 2, string: self.tag)
    writer.append(field: 3, uint32: self.count)
    writer.append(field: 4, bytes: self.requestKey)
    writer.append(field: 5, string: self.format)
    writer.append(field: 6, string: self.namespace)
    for name in self.names { writer.append(element: 7, string: name) }
  }
}

/// `mid.v1.GenerateBatchResponse`: the ids, as ranges. Together they hold exactly as many as were asked for.
package struct GenerateBatchResponse: ProtobufMessage {
  /// The ranges, in order.
  package var ranges: [IDRangeMessage]
  /// For kinds of ids wider than 64 bits, and where a format was asked for: one for each id. Else empty.
  package var texts: [String]

  /// Creates a response.
  package init(ranges: [IDRangeMessage] = [], texts: [String] = []) {
    self.ranges = ranges
    self.texts = texts
  }

  package init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    self.init()
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .lengthDelimited): self.ranges.append(try IDRangeMessage(decoding: try reader.slice()))
      case (2, .lengthDelimited): self.texts.append(try reader.string())
      default: try reader.skip(tag)
      }
    }
  }

  package func encode(into writer: inout some ProtobufWriter) {
    for range in self.ranges { writer.append(element: 1, message: range) }
    for text in self.texts { writer.append(element: 2, string: text) }
  }
}

/// `mid.v1.IDRange`: the ids start, start + stride, start + 2 × stride and so on, `count` of them.
///
/// What came over the wire, unchecked: the sums may overflow. The server writes only what its own ranges hold.
package struct IDRangeMessage: ProtobufMessage {
  /// The first id.
  package var start: Int64
  /// The distance between neighbours.
  package var stride: Int64
  /// How many ids.
  package var count: UInt32

  /// Creates a range.
  package init(start: Int64 = 0, stride: Int64 = 0, count: UInt32 = 0) {
    self.start = start
    self.stride = stride
    self.count = count
  }

  package init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    self.init()
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .varint): self.start = Int64(bitPattern: try reader.varint())
      case (2, .varint): self.stride = Int64(bitPattern: try reader.varint())
      case (3, .varint): self.count = UInt32(truncatingIfNeeded: try reader.varint())
      default: try reader.skip(tag)
      }
    }
  }

  package func encode(into writer: inout some ProtobufWriter) {
    writer.append(field: 1, int64: self.start)
    writer.append(field: 2, int64: self.stride)
    writer.append(field: 3, uint32: self.count)
  }
}
