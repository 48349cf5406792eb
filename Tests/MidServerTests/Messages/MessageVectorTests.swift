import MidServer
import NIOCore
import Testing

/// Messages and their bytes, as Python's protobuf 7.36 serialises them from the files in `proto/`.
@Suite("Messages have the bytes that protobuf gives them")
struct MessageVectorTests {
  private func check(_ message: some ProtobufMessage, _ expected: String) throws {
    #expect(hex(message.encoded()) == expected)
    var buffer = ByteBuffer()
    message.encode(into: &buffer)
    #expect(Array(buffer.readableBytesView) == bytes(expected))
    #expect(message.encodedByteCount == expected.count / 2)
    #expect(try type(of: message).init(decoding: bytes(expected)) == message)
  }

  @Test func `the original's request`() throws {
    try self.check(IDRequest(), "")
    try self.check(IDRequest(mode: "segment"), "0a077365676d656e74")
    try self.check(IDRequest(mode: "snowflake"), "0a09736e6f77666c616b65")
    try self.check(IDRequest(mode: "größe"), "0a076772c3b6c39f65")
    try self.check(IDRequest(mode: String(repeating: "x", count: 130)), "0a8201" + String(repeating: "78", count: 130))
  }

  @Test(arguments: [
    (0, ""), (1, "0801"), (127, "087f"), (128, "088001"), (300, "08ac02"), (Int64.max, "08ffffffffffffffff7f"),
    (-1, "08ffffffffffffffffff01"), (Int64.min, "0880808080808080808001"),
  ])
  func `the original's response`(id: Int64, expected: String) throws {
    try self.check(IDResponse(id: id), expected)
  }

  @Test func `one id`() throws {
    try self.check(GenerateIDRequest(mode: "segment", tag: "orders"), "0a077365676d656e7412066f7264657273")
    try self.check(GenerateIDRequest(tag: "orders"), "12066f7264657273")
    try self.check(GenerateIDResponse(id: .max, text: "0189"), "08ffffffffffffffff7f120430313839")
  }

  @Test func `many ids`() throws {
    try self.check(
      GenerateBatchRequest(mode: "snowflake", tag: "t", count: 1_000_000, requestKey: [0, 0xff, 0x80]),
      "0a09736e6f77666c616b6512017418c0843d220300ff80")
    try self.check(GenerateBatchRequest(mode: "segment", count: .max), "0a077365676d656e7418ffffffff0f")
    try self.check(IDRangeMessage(start: -5, stride: 1, count: 4096), "08fbffffffffffffffff011001188020")
    let ranges = [
      IDRangeMessage(start: 1, stride: 1, count: 10), IDRangeMessage(),
      IDRangeMessage(start: .max - 7, stride: 7, count: .max),
    ]
    try self.check(
      GenerateBatchResponse(ranges: ranges, texts: ["a", "", "é"]),
      "0a0608011001180a0a000a1208f8ffffffffffffff7f100718ffffffff0f12016112001202c3a9")
  }

  @Test func `health`() throws {
    try self.check(HealthCheckRequest(service: "pb.IDMaker"), "0a0a70622e49444d616b6572")
    try self.check(HealthCheckResponse(), "")
    try self.check(HealthCheckResponse(status: .serving), "0801")
    try self.check(HealthCheckResponse(status: .notServing), "0802")
    try self.check(HealthCheckResponse(status: .serviceUnknown), "0803")
    try self.check(HealthCheckResponse(status: .init(rawValue: 4)), "0804")
  }

  @Test func `questions of reflection`() throws {
    try self.check(ServerReflectionRequest(), "")
    try self.check(ServerReflectionRequest(host: "h", .listServices("")), "0a01683a00")
    try self.check(ServerReflectionRequest(.listServices("*")), "3a012a")
    try self.check(ServerReflectionRequest(.fileByFilename("a.proto")), "1a07612e70726f746f")
    try self.check(ServerReflectionRequest(.fileContainingSymbol("pb.IDMaker")), "220a70622e49444d616b6572")
    let extensions: [(ExtensionRequest, String)] = [
      (ExtensionRequest(containingType: "a.B", extensionNumber: 100), "2a070a03612e421064"),
      (ExtensionRequest(extensionNumber: -1), "2a0b10ffffffffffffffffff01"),
      (ExtensionRequest(), "2a00"),
    ]
    for (asked, expected) in extensions {
      try self.check(ServerReflectionRequest(.fileContainingExtension(asked)), expected)
    }
    try self.check(ServerReflectionRequest(.allExtensionNumbersOfType("a.B")), "3203612e42")
  }

  @Test func `of two questions the last one counts, and two halves of one are put together`() throws {
    let both = try ServerReflectionRequest(decoding: bytes("2a050a03612e422a0210643a00"))
    #expect(both == ServerReflectionRequest(.listServices("")))
    let halves = try ServerReflectionRequest(decoding: bytes("2a050a03612e422a021064"))
    let asked = ExtensionRequest(containingType: "a.B", extensionNumber: 100)
    #expect(halves == ServerReflectionRequest(.fileContainingExtension(asked)))
  }

  @Test func `answers of reflection`() throws {
    let request = ServerReflectionRequest(host: "h", .fileByFilename("f"))
    try self.check(
      ServerReflectionResponse(validHost: "h", originalRequest: request, .files([[1, 2], [0xff]])),
      "0a016812060a01681a016622070a0201020a01ff")
    try self.check(
      ServerReflectionResponse(.extensionNumbers(type: "a.B", [1, 300, -1])),
      "12002a140a03612e42120d01ac02ffffffffffffffffff01")
    try self.check(ServerReflectionResponse(.extensionNumbers(type: "a.B", [])), "12002a050a03612e42")
    let listing = ServerReflectionRequest(.listServices(""))
    try self.check(
      ServerReflectionResponse(originalRequest: listing, .services(["a.B", ""])), "12023a0032090a050a03612e420a00")
    try self.check(ServerReflectionResponse(.error(code: 5, message: "no")), "12003a06080512026e6f")
  }
}
