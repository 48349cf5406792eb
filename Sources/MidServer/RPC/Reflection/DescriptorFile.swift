/// A `.proto` file as a serialized `google.protobuf.FileDescriptorProto`, and the names that it declares.
/// Source: `google/protobuf/descriptor.proto`.
package struct DescriptorFile: Sendable, Hashable {
  /// What a name stands for.
  package enum Kind: Sendable, Hashable {
    case message
    case enumeration
    case enumerationValue
    case field
    case oneof
    case service
    case method
  }

  /// The file's name, as imports write it.
  package private(set) var name = ""
  /// The names of the files that it imports.
  package private(set) var imports: [String] = []
  /// What it declares, by full name without a leading dot, nested declarations included.
  package private(set) var symbols: [String: Kind] = [:]
  /// The serialized descriptor.
  package private(set) var bytes: [UInt8]

  /// Reads a serialized descriptor.
  ///
  /// - Throws: ``ProtobufError`` where `bytes` are none.
  package init(_ bytes: [UInt8]) throws(ProtobufError) {
    self.bytes = bytes
    self = try bytes.withUnsafeBytes { raw in
      var file = self
      return Result { () throws(ProtobufError) in
        try file.read(raw)
        return file
      }
    }.get()
  }

  /// Where the declarations of one kind of descriptor lie, by field number.
  private static func declarations(in kind: Kind?) -> [UInt32: Kind] {
    switch kind {
    // A file's extensions are fields.
    case nil: [4: .message, 5: .enumeration, 6: .service, 7: .field]
    case .message: [2: .field, 3: .message, 4: .enumeration, 6: .field, 8: .oneof]
    case .enumeration: [2: .enumerationValue]
    case .service: [2: .method]
    case .enumerationValue, .field, .oneof, .method: [:]
    }
  }

  private mutating func read(_ raw: UnsafeRawBufferPointer) throws(ProtobufError) {
    var package = ""
    var reader = ProtobufReader(raw)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .lengthDelimited): self.name = try reader.string()
      case (2, .lengthDelimited): package = try reader.string()
      case (3, .lengthDelimited): self.imports.append(try reader.string())
      default: try reader.skip(tag)
      }
    }
    try self.declare(everythingIn: raw, of: nil, scope: package)
  }

  private mutating func declare(
    everythingIn raw: UnsafeRawBufferPointer, of kind: Kind?, scope: String
  ) throws(ProtobufError) {
    let declarations = Self.declarations(in: kind)
    var reader = ProtobufReader(raw)
    while let tag = try reader.nextTag() {
      guard tag.wireType == .lengthDelimited, let kind = declarations[tag.number] else {
        try reader.skip(tag)
        continue
      }
      try self.declare(try reader.slice(), kind, scope: scope)
    }
  }

  private mutating func declare(
    _ raw: UnsafeRawBufferPointer, _ kind: Kind, scope: String
  ) throws(ProtobufError) {
    // Every descriptor's name is its field 1.
    var name = ""
    var reader = ProtobufReader(raw)
    while let tag = try reader.nextTag() {
      switch (tag.number, tag.wireType) {
      case (1, .lengthDelimited): name = try reader.string()
      default: try reader.skip(tag)
      }
    }
    let fullName = scope.isEmpty ? name : "\(scope).\(name)"
    self.symbols[fullName] = kind
    // The values of an enumeration are named beside it, not in it.
    try self.declare(everythingIn: raw, of: kind, scope: kind == .enumeration ? scope : fullName)
  }
}
