/// `pb.IDRequest`: what the Go original's clients send.
package struct IDRequest: ProtobufMessage {
  /// `snowflake` or `segment`.
  package var mode: String

  /// Creates a request.
  package init(mode: String = "") {
    self.mode = mode
  }

  package init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    self.init()
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .lengthDelimited): self.mode = try reader.string()
      default: try reader.skip(tag)
      }
    }
  }

  package func encode(into writer: inout some ProtobufWriter) {
    writer.append(field: 1, string: self.mode)
  }
}

/// `pb.IDResponse`: what the Go original's clients expect.
package struct IDResponse: ProtobufMessage {
  /// The id.
  package var id: Int64

  /// Creates a response.
  package init(id: Int64 = 0) {
    self.id = id
  }

  package init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    self.init()
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .varint): self.id = Int64(bitPattern: try reader.varint())
      default: try reader.skip(tag)
      }
    }
  }

  package func encode(into writer: inout some ProtobufWriter) {
    writer.append(field: 1, int64: self.id)
  }
}

/// `mid.v1.GenerateIDRequest`: one id, please.
package struct GenerateIDRequest: ProtobufMessage {
  /// `snowflake` or `segment`.
  package var mode: String
  /// The business's own space of ids, for `segment`. Empty means `default`.
  package var tag: String
  /// The ``IDFormat`` of the text that is wanted, too. Empty for none.
  package var format: String
  /// The namespace of ``name``, for modes that make ids of names.
  package var namespace: String
  /// What the id is made of, for modes that make ids of names.
  package var name: String

  /// Creates a request.
  package init(mode: String = "", tag: String = "", format: String = "", namespace: String = "", name: String = "") {
    self.mode = mode
    self.tag = tag
    self.format = format
    self.namespace = namespace
    self.name = name
  }

  package init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    self.init()
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .lengthDelimited): self.mode = try reader.string()
      case (2, .lengthDelimited): self.tag = try reader.string()
      case (5, .lengthDelimited): self.format = try reader.string()
      case (6, .lengthDelimited): self.namespace = try reader.string()
      case (7, .lengthDelimited): self.name = try reader.string()
      default: try reader.skip(tag)
      }
    }
  }

  package func encode(into writer: inout some ProtobufWriter) {
    writer.append(field: 1, string: self.mode)
    writer.append(field: 2, string: self.tag)
    writer.append(field: 5, string: self.format)
    writer.append(field: 6, string: self.namespace)
    writer.append(field: 7, string: self.name)
  }
}

/// `mid.v1.GenerateIDResponse`: the id.
package struct GenerateIDResponse: ProtobufMessage {
  /// The id.
  package var id: Int64
  /// For kinds of ids wider than 64 bits, and where a format was asked for. Else empty.
  package var text: String

  /// Creates a response.
  package init(id: Int64 = 0, text: String = "") {
    self.id = id
    self.text = text
  }

  package init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    self.init()
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .varint): self.id = Int64(bitPattern: try reader.varint())
      case (2, .lengthDelimited): self.text = try reader.string()
      default: try reader.skip(tag)
      }
    }
  }

  package func encode(into writer: inout some ProtobufWriter) {
    writer.append(field: 1, int64: self.id)
    writer.append(field: 2, string: self.text)
  }
}
