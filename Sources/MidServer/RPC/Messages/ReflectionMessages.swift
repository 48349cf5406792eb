/// `grpc.reflection.v1.ServerReflectionRequest`, and that of `v1alpha`, which has the same fields.
package struct ServerReflectionRequest: ProtobufMessage {
  /// `message_request`: the one question of a request.
  package enum Question: Sendable, Hashable {
    /// The file of this name.
    case fileByFilename(String)
    /// The file that declares this symbol, by its full name.
    case fileContainingSymbol(String)
    /// The file that declares this extension.
    case fileContainingExtension(ExtensionRequest)
    /// The numbers of all extensions of this message.
    case allExtensionNumbersOfType(String)
    /// The services' names. The text is for nothing.
    case listServices(String)
  }

  /// The host that the caller means. Not looked at; it comes back in the response.
  package var host: String
  /// The question; nil where there is none, or one that only newer callers know.
  package var question: Question?

  /// Creates a request.
  package init(host: String = "", _ question: Question? = nil) {
    self.host = host
    self.question = question
  }

  package init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    self.init()
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .lengthDelimited): self.host = try reader.string()
      case (3, .lengthDelimited): self.question = .fileByFilename(try reader.string())
      case (4, .lengthDelimited): self.question = .fileContainingSymbol(try reader.string())
      case (5, .lengthDelimited):
        // Of several messages in one field protobuf makes one, field by field.
        var asked = ExtensionRequest()
        if case .fileContainingExtension(let earlier) = self.question { asked = earlier }
        try asked.merge(try reader.slice())
        self.question = .fileContainingExtension(asked)
      case (6, .lengthDelimited): self.question = .allExtensionNumbersOfType(try reader.string())
      case (7, .lengthDelimited): self.question = .listServices(try reader.string())
      default: try reader.skip(tag)
      }
    }
  }

  package func encode(into writer: inout some ProtobufWriter) {
    writer.append(field: 1, string: self.host)
    // Which question it is can be told from the field alone, so an empty text is written too.
    switch self.question {
    case .fileByFilename(let name): writer.append(element: 3, string: name)
    case .fileContainingSymbol(let symbol): writer.append(element: 4, string: symbol)
    case .fileContainingExtension(let asked): writer.append(element: 5, message: asked)
    case .allExtensionNumbersOfType(let type): writer.append(element: 6, string: type)
    case .listServices(let text): writer.append(element: 7, string: text)
    case nil: break
    }
  }
}

/// `grpc.reflection.v1.ExtensionRequest`: an extension, by the message it extends and its number.
package struct ExtensionRequest: ProtobufMessage {
  /// The extended message's full name.
  package var containingType: String
  /// The extension's field number.
  package var extensionNumber: Int32

  /// Creates a request.
  package init(containingType: String = "", extensionNumber: Int32 = 0) {
    self.containingType = containingType
    self.extensionNumber = extensionNumber
  }

  package init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    self.init()
    try self.merge(bytes)
  }

  /// Takes over the fields that `bytes` hold. Errors as for ``init(decoding:)``.
  mutating func merge(_ bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .lengthDelimited): self.containingType = try reader.string()
      case (2, .varint): self.extensionNumber = Int32(truncatingIfNeeded: try reader.varint())
      default: try reader.skip(tag)
      }
    }
  }

  package func encode(into writer: inout some ProtobufWriter) {
    writer.append(field: 1, string: self.containingType)
    writer.append(field: 2, int64: Int64(self.extensionNumber))
  }
}
