/// `mid.v1.DecodeIDRequest`: what does this id say?
package struct DecodeIDRequest: ProtobufMessage {
  /// The id, or a text of it.
  package var id: String
  /// Whose text it is. Empty for ids that tell their kind themselves.
  package var tag: String
  /// Read it as this kind only. Empty where it is to be recognised.
  package var kind: String
  /// The layout of Snowflake ids. Empty for the node's own.
  package var layout: String

  /// Creates a request.
  package init(id: String = "", tag: String = "", kind: String = "", layout: String = "") {
    self.id = id
    self.tag = tag
    self.kind = kind
    self.layout = layout
  }

  package init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    self.init()
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .lengthDelimited): self.id = try reader.string()
      case (2, .lengthDelimited): self.tag = try reader.string()
      case (3, .lengthDelimited): self.kind = try reader.string()
      case (4, .lengthDelimited): self.layout = try reader.string()
      default: try reader.skip(tag)
      }
    }
  }

  package func encode(into writer: inout some ProtobufWriter) {
    writer.append(field: 1, string: self.id)
    writer.append(field: 2, string: self.tag)
    writer.append(field: 3, string: self.kind)
    writer.append(field: 4, string: self.layout)
  }
}

/// `mid.v1.DecodeIDResponse`: the ways to read it.
package struct DecodeIDResponse: ProtobufMessage {
  /// The ways to read it, the likeliest first.
  package var readings: [IDReadingMessage]
  /// Why the first reading may be the wrong one. Empty where there is no doubt.
  package var ambiguity: String
  /// The id inside that the text of a tag stands for, or nil where no tag was given.
  package var id: Int64?
  /// The slot of the key that the opaque number was made with, or nil where it was none.
  package var slot: Int64?
  /// When the day or month in the text begins. Empty without one.
  package var date: String

  /// Creates a response.
  package init(
    readings: [IDReadingMessage] = [], ambiguity: String = "", id: Int64? = nil, slot: Int64? = nil, date: String = ""
  ) {
    self.readings = readings
    self.ambiguity = ambiguity
    self.id = id
    self.slot = slot
    self.date = date
  }

  package init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    self.init()
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .lengthDelimited): self.readings.append(try IDReadingMessage(decoding: try reader.slice()))
      case (2, .lengthDelimited): self.ambiguity = try reader.string()
      case (3, .varint): self.id = Int64(bitPattern: try reader.varint())
      case (4, .varint): self.slot = Int64(Int32(truncatingIfNeeded: try reader.varint()))
      case (5, .lengthDelimited): self.date = try reader.string()
      default: try reader.skip(tag)
      }
    }
  }

  package func encode(into writer: inout some ProtobufWriter) {
    for reading in self.readings { writer.append(element: 1, message: reading) }
    writer.append(field: 2, string: self.ambiguity)
    writer.append(field: 3, optional: self.id)
    writer.append(field: 4, optional: self.slot)
    writer.append(field: 5, string: self.date)
  }
}

/// `mid.v1.IDReading`: one way to read an id. What a kind has not is nil or empty.
package struct IDReadingMessage: ProtobufMessage {
  /// The kind.
  package var kind = ""
  /// The text that the kind writes this id as.
  package var canonical = ""
  /// The digits of a number; of the other kinds those of the text, where they are not the kind's own.
  package var digits = ""
  /// The layout's name, of a Snowflake id.
  package var layout = ""
  /// When it was made in UTC, in ISO 8601. Empty past the year 9999.
  package var time = ""
  /// The same in milliseconds since 1970-01-01T00:00:00Z.
  package var unixMilliseconds: Int64?
  /// The worker number of a Snowflake id.
  package var worker: Int64?
  /// Its upper part.
  package var datacenter: Int64?
  /// Its lower part.
  package var machine: Int64?
  /// The sequence of a Snowflake id, the clock sequence of a UUID, the counter of an ObjectId.
  package var sequence: Int64?
  /// The version of a UUID.
  package var version: Int64?
  /// The variant of a UUID.
  package var variant = ""
  /// A UUID's node, an ObjectId's process, in hexadecimal digits.
  package var maker = ""
  /// What else has to be known to believe this reading.
  package var note = ""

  /// Creates a reading that says nothing.
  package init() {}

  package init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    self.init()
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .lengthDelimited): self.kind = try reader.string()
      case (2, .lengthDelimited): self.canonical = try reader.string()
      case (3, .lengthDelimited): self.digits = try reader.string()
      case (4, .lengthDelimited): self.layout = try reader.string()
      case (5, .lengthDelimited): self.time = try reader.string()
      case (6, .varint): self.unixMilliseconds = Int64(bitPattern: try reader.varint())
      case (7, .varint): self.worker = Int64(bitPattern: try reader.varint())
      case (8, .varint): self.datacenter = Int64(bitPattern: try reader.varint())
      case (9, .varint): self.machine = Int64(bitPattern: try reader.varint())
      case (10, .varint): self.sequence = Int64(bitPattern: try reader.varint())
      case (11, .varint): self.version = Int64(Int32(truncatingIfNeeded: try reader.varint()))
      case (12, .lengthDelimited): self.variant = try reader.string()
      case (13, .lengthDelimited): self.maker = try reader.string()
      case (14, .lengthDelimited): self.note = try reader.string()
      default: try reader.skip(tag)
      }
    }
  }

  package func encode(into writer: inout some ProtobufWriter) {
    writer.append(field: 1, string: self.kind)
    writer.append(field: 2, string: self.canonical)
    writer.append(field: 3, string: self.digits)
    writer.append(field: 4, string: self.layout)
    writer.append(field: 5, string: self.time)
    writer.append(field: 6, optional: self.unixMilliseconds)
    writer.append(field: 7, optional: self.worker)
    writer.append(field: 8, optional: self.datacenter)
    writer.append(field: 9, optional: self.machine)
    writer.append(field: 10, optional: self.sequence)
    writer.append(field: 11, optional: self.version)
    writer.append(field: 12, string: self.variant)
    writer.append(field: 13, string: self.maker)
    writer.append(field: 14, string: self.note)
  }
}
