import Testing

@testable import MidServer

@Suite("File descriptors for reflection")
struct DescriptorPoolTests {
  private static let pool = DescriptorPool.generated

  @Test func `all proto files are there`() {
    let names = Self.pool.files.keys.sorted()
    let expected = [
      "grpc/health/v1/health.proto", "grpc/reflection/v1/reflection.proto",
      "grpc/reflection/v1alpha/reflection.proto", "mid/v1/mid.proto", "pb/id.proto",
    ]
    #expect(names == expected)
  }

  /// Written out by hand from `proto/mid/v1/mid.proto`.
  @Test func `a file declares its services, methods, messages and fields by their full names`() throws {
    let symbols = try #require(Self.pool.files["mid/v1/mid.proto"]?.symbols)
    let expected: [String: DescriptorFile.Kind] = [
      "mid.v1.IDService": .service,
      "mid.v1.IDService.GenerateID": .method,
      "mid.v1.IDService.GenerateBatch": .method,
      "mid.v1.IDService.StreamIDs": .method,
      "mid.v1.IDService.DecodeID": .method,
      "mid.v1.GenerateIDRequest": .message,
      "mid.v1.GenerateIDRequest.mode": .field,
      "mid.v1.GenerateIDRequest.tag": .field,
      "mid.v1.GenerateIDRequest.format": .field,
      "mid.v1.GenerateIDRequest.namespace": .field,
      "mid.v1.GenerateIDRequest.name": .field,
      "mid.v1.GenerateIDResponse": .message,
      "mid.v1.GenerateIDResponse.id": .field,
      "mid.v1.GenerateIDResponse.text": .field,
      "mid.v1.GenerateBatchRequest": .message,
      "mid.v1.GenerateBatchRequest.mode": .field,
      "mid.v1.GenerateBatchRequest.tag": .field,
      "mid.v1.GenerateBatchRequest.count": .field,
      "mid.v1.GenerateBatchRequest.request_key": .field,
      "mid.v1.GenerateBatchRequest.format": .field,
      "mid.v1.GenerateBatchRequest.namespace": .field,
      "mid.v1.GenerateBatchRequest.names": .field,
      "mid.v1.GenerateBatchResponse": .message,
      "mid.v1.GenerateBatchResponse.ranges": .field,
      "mid.v1.GenerateBatchResponse.texts": .field,
      "mid.v1.IDRange": .message,
      "mid.v1.IDRange.start": .field,
      "mid.v1.IDRange.stride": .field,
      "mid.v1.IDRange.count": .field,
      "mid.v1.DecodeIDRequest": .message,
      "mid.v1.DecodeIDRequest.id": .field,
      "mid.v1.DecodeIDRequest.tag": .field,
      "mid.v1.DecodeIDRequest.kind": .field,
      "mid.v1.DecodeIDRequest.layout": .field,
      "mid.v1.DecodeIDResponse": .message,
      "mid.v1.DecodeIDResponse.readings": .field,
      "mid.v1.DecodeIDResponse.ambiguity": .field,
      "mid.v1.DecodeIDResponse.id": .field,
      "mid.v1.DecodeIDResponse.slot": .field,
      "mid.v1.DecodeIDResponse.date": .field,
      "mid.v1.DecodeIDResponse._id": .oneof,
      "mid.v1.DecodeIDResponse._slot": .oneof,
      "mid.v1.IDReading": .message,
      "mid.v1.IDReading.kind": .field,
      "mid.v1.IDReading.canonical": .field,
      "mid.v1.IDReading.digits": .field,
      "mid.v1.IDReading.layout": .field,
      "mid.v1.IDReading.time": .field,
      "mid.v1.IDReading.unix_ms": .field,
      "mid.v1.IDReading.worker": .field,
      "mid.v1.IDReading.datacenter": .field,
      "mid.v1.IDReading.machine": .field,
      "mid.v1.IDReading.sequence": .field,
      "mid.v1.IDReading.version": .field,
      "mid.v1.IDReading.variant": .field,
      "mid.v1.IDReading.maker": .field,
      "mid.v1.IDReading.note": .field,
      "mid.v1.IDReading._unix_ms": .oneof,
      "mid.v1.IDReading._worker": .oneof,
      "mid.v1.IDReading._datacenter": .oneof,
      "mid.v1.IDReading._machine": .oneof,
      "mid.v1.IDReading._sequence": .oneof,
      "mid.v1.IDReading._version": .oneof,
    ]
    #expect(symbols == expected)
  }

  @Test func `an enumeration lies in its message, its values beside it`() {
    let scope = "grpc.health.v1.HealthCheckResponse"
    #expect(Self.pool.kind(of: "\(scope).ServingStatus") == .enumeration)
    #expect(Self.pool.kind(of: "\(scope).NOT_SERVING") == .enumerationValue)
    #expect(Self.pool.kind(of: "\(scope).ServingStatus.NOT_SERVING") == nil)
    #expect(Self.pool.kind(of: "grpc.reflection.v1.ServerReflectionRequest.message_request") == .oneof)
  }

  @Test func `every symbol leads to its own file`() throws {
    var count = 0
    for file in Self.pool.files.values {
      for symbol in file.symbols.keys {
        // None of our files imports another.
        #expect(Self.pool.files(declaring: symbol) == [file.bytes], "\(symbol)")
        count += 1
      }
    }
    #expect(count > 80)
  }

  // MARK: - Made-up files

  /// A field that holds bytes.
  private static func field(_ number: UInt32, _ content: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(tag: number, .lengthDelimited)
    bytes.append(varint: UInt64(content.count))
    return bytes + content
  }

  private static func field(_ number: UInt32, _ text: String) -> [UInt8] { self.field(number, Array(text.utf8)) }

  private static func file(_ name: String, imports: String...) throws -> DescriptorFile {
    try DescriptorFile(self.field(1, name) + imports.flatMap { self.field(3, $0) })
  }

  @Test func `a file comes with all that it imports, each once, also in circles`() throws {
    let base = try Self.file("base")
    let left = try Self.file("left", imports: "base")
    let right = try Self.file("right", imports: "base", "elsewhere")
    let top = try Self.file("top", imports: "left", "right")
    let circle = try Self.file("circle", imports: "circle", "base")
    let pool = DescriptorPool([base, left, right, top, circle])
    #expect(pool.files(named: "base") == [base.bytes])
    #expect(pool.files(named: "top") == [top.bytes, left.bytes, right.bytes, base.bytes])
    #expect(pool.files(named: "circle") == [circle.bytes, base.bytes])
    #expect(pool.files(named: "elsewhere") == nil)
  }

  @Test func `names count in whatever order a descriptor has its fields, and without a package`() throws {
    // message Outer { message Inner { } extension of number 6 named more }, the names after what they scope.
    let inner = Self.field(1, "Inner")
    let outer = Self.field(3, inner) + Self.field(6, Self.field(1, "more")) + Self.field(1, "Outer")
    let file = try DescriptorFile(Self.field(4, outer) + Self.field(7, Self.field(1, "top")) + Self.field(1, "late"))
    #expect(file.name == "late")
    #expect(file.symbols == ["Outer": .message, "Outer.Inner": .message, "Outer.more": .field, "top": .field])
    let packaged = try DescriptorFile(Self.field(4, outer) + Self.field(2, "a.b"))
    #expect(packaged.symbols.keys.sorted() == ["a.b.Outer", "a.b.Outer.Inner", "a.b.Outer.more"])
  }

  @Test func `a descriptor that is cut off is refused`() throws {
    let bytes = try #require(Self.pool.files["pb/id.proto"]?.bytes)
    #expect(throws: ProtobufError.truncated) { try DescriptorFile(Array(bytes.dropLast())) }
  }

  // MARK: - Base64

  /// RFC 4648, section 10.
  @Test(arguments: [
    ("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"), ("Zm9v\nYmE=", "fooba"),
    ("Zm9v\nYmFy\n", "foobar"), ("4pi64pi7+/+/", nil),
  ])
  func `base64 is read as the standard has it`(text: String, expected: String?) throws {
    let decoded = try #require(Base64.decode(text))
    if let expected {
      #expect(decoded == Array(expected.utf8))
    } else {
      #expect(decoded.suffix(3) == [0xfb, 0xff, 0xbf])
    }
  }

  @Test(arguments: ["Z", "Zg", "Zg=", "Zg==Zg==", "Z===", "====", "Zm9v=", "Zm 9v", "Zm9-", "é"])
  func `what is no base64 is refused`(text: String) {
    #expect(Base64.decode(text) == nil)
  }
}
