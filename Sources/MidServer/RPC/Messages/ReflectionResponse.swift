/// `grpc.reflection.v1.ServerReflectionResponse`, and that of `v1alpha`, which has the same fields.
package struct ServerReflectionResponse: ProtobufMessage {
  /// `message_response`: what became of the question.
  package enum Answer: Sendable, Hashable {
    /// Files as serialized `FileDescriptorProto`s: the one asked for, and all that it imports.
    case files([[UInt8]])
    /// The numbers of a message's extensions.
    case extensionNumbers(type: String, [Int32])
    /// The services' full names.
    case services([String])
    /// The question failed; the call goes on. The code is one of gRPC's.
    case error(code: Int32, message: String)
  }

  /// The request's host.
  package var validHost: String
  /// The request.
  package var originalRequest: ServerReflectionRequest
  /// The answer. A server always has one.
  package var answer: Answer?

  /// Creates a response.
  package init(
    validHost: String = "", originalRequest: ServerReflectionRequest = ServerReflectionRequest(),
    _ answer: Answer? = nil
  ) {
    self.validHost = validHost
    self.originalRequest = originalRequest
    self.answer = answer
  }

  package init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    self.init()
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .lengthDelimited): self.validHost = try reader.string()
      case (2, .lengthDelimited): self.originalRequest = try ServerReflectionRequest(decoding: try reader.slice())
      case (4, .lengthDelimited):
        self.answer = .files(try FileDescriptorResponse(decoding: try reader.slice()).files)
      case (5, .lengthDelimited):
        let numbers = try ExtensionNumberResponse(decoding: try reader.slice())
        self.answer = .extensionNumbers(type: numbers.type, numbers.numbers)
      case (6, .lengthDelimited):
        self.answer = .services(try ListServiceResponse(decoding: try reader.slice()).services.map(\.name))
      case (7, .lengthDelimited):
        let error = try ReflectionErrorResponse(decoding: try reader.slice())
        self.answer = .error(code: error.code, message: error.message)
      default: try reader.skip(tag)
      }
    }
  }

  package func encode(into writer: inout some ProtobufWriter) {
    writer.append(field: 1, string: self.validHost)
    writer.append(element: 2, message: self.originalRequest)
    switch self.answer {
    case .files(let files): writer.append(element: 4, message: FileDescriptorResponse(files: files))
    case .extensionNumbers(let type, let numbers):
      writer.append(element: 5, message: ExtensionNumberResponse(type: type, numbers: numbers))
    case .services(let names):
      writer.append(element: 6, message: ListServiceResponse(services: names.map { ServiceResponse(name: $0) }))
    case .error(let code, let message):
      writer.append(element: 7, message: ReflectionErrorResponse(code: code, message: message))
    case nil: break
    }
  }
}

/// `grpc.reflection.v1.FileDescriptorResponse`.
private struct FileDescriptorResponse: ProtobufMessage {
  var files: [[UInt8]] = []

  init(files: [[UInt8]]) { self.files = files }

  init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .lengthDelimited): self.files.append([UInt8](try reader.slice()))
      default: try reader.skip(tag)
      }
    }
  }

  func encode(into writer: inout some ProtobufWriter) {
    for file in self.files { writer.append(element: 1, bytes: file) }
  }
}

/// `grpc.reflection.v1.ExtensionNumberResponse`.
private struct ExtensionNumberResponse: ProtobufMessage {
  var type = ""
  var numbers: [Int32] = []

  init(type: String, numbers: [Int32]) {
    self.type = type
    self.numbers = numbers
  }

  init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .lengthDelimited): self.type = try reader.string()
      case (2, .varint): self.numbers.append(Int32(truncatingIfNeeded: try reader.varint()))
      case (2, .lengthDelimited):
        var packed = ProtobufReader(try reader.slice())
        while !packed.isAtEnd { self.numbers.append(Int32(truncatingIfNeeded: try packed.varint())) }
      default: try reader.skip(tag)
      }
    }
  }

  func encode(into writer: inout some ProtobufWriter) {
    writer.append(field: 1, string: self.type)
    // Packed, as proto3 writes repeated numbers.
    var packed: [UInt8] = []
    for number in self.numbers { packed.append(varint: UInt64(bitPattern: Int64(number))) }
    writer.append(field: 2, bytes: packed)
  }
}

/// `grpc.reflection.v1.ListServiceResponse`.
private struct ListServiceResponse: ProtobufMessage {
  var services: [ServiceResponse] = []

  init(services: [ServiceResponse]) { self.services = services }

  init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .lengthDelimited): self.services.append(try ServiceResponse(decoding: try reader.slice()))
      default: try reader.skip(tag)
      }
    }
  }

  func encode(into writer: inout some ProtobufWriter) {
    for service in self.services { writer.append(element: 1, message: service) }
  }
}

/// `grpc.reflection.v1.ServiceResponse`.
private struct ServiceResponse: ProtobufMessage {
  var name = ""

  init(name: String) { self.name = name }

  init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .lengthDelimited): self.name = try reader.string()
      default: try reader.skip(tag)
      }
    }
  }

  func encode(into writer: inout some ProtobufWriter) { writer.append(field: 1, string: self.name) }
}

/// `grpc.reflection.v1.ErrorResponse`.
private struct ReflectionErrorResponse: ProtobufMessage {
  var code: Int32 = 0
  var message = ""

  init(code: Int32, message: String) {
    self.code = code
    self.message = message
  }

  init(decoding bytes: UnsafeRawBufferPointer) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .varint): self.code = Int32(truncatingIfNeeded: try reader.varint())
      case (2, .lengthDelimited): self.message = try reader.string()
      default: try reader.skip(tag)
      }
    }
  }

  func encode(into writer: inout some ProtobufWriter) {
    writer.append(field: 1, int64: Int64(self.code))
    writer.append(field: 2, string: self.message)
  }
}
