import MidCore
import NIOCore
import Testing

@testable import MidRPC
@testable import MidServer

@Suite("Server reflection", .timeLimit(.minutes(10)))
struct ReflectionTests {
  private static let methods = ReflectionMethods(paths: IDServer.paths)

  private static func answer(_ question: ServerReflectionRequest.Question?) -> ServerReflectionResponse.Answer? {
    self.methods.response(to: ServerReflectionRequest(host: "h", question)).answer
  }

  /// The names of the files in an answer.
  private static func fileNames(_ answer: ServerReflectionResponse.Answer?) throws -> [String] {
    guard case .files(let files) = answer else {
      Issue.record("\(String(describing: answer)) holds no files")
      return []
    }
    return try files.map { try DescriptorFile($0).name }
  }

  private static func expectError(
    _ answer: ServerReflectionResponse.Answer?, _ code: RPCStatus.Code,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    guard case .error(let number, let message) = answer else {
      Issue.record("\(String(describing: answer)) is no error", sourceLocation: sourceLocation)
      return
    }
    #expect(number == Int32(code.rawValue), sourceLocation: sourceLocation)
    #expect(!message.isEmpty, sourceLocation: sourceLocation)
  }

  // MARK: - Answers

  @Test func `the services are those of the server's methods, whatever the text says`() {
    let expected = [
      "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
      "mid.v1.IDService", "pb.IDMaker",
    ]
    for text in ["", "*", "pb"] {
      #expect(Self.answer(.listServices(text)) == .services(expected))
    }
    #expect(ReflectionMethods(paths: ["/a.B/C", "/a.B/D"]).listed == ["a.B"])
  }

  @Test func `every method of the server is declared, and so is every service it lists`() throws {
    for path in IDServer.paths {
      let symbol = String(path.dropFirst()).replacing("/", with: ".")
      #expect(DescriptorPool.generated.kind(of: symbol) == .method, "\(symbol)")
      let file = try Self.fileNames(Self.answer(.fileContainingSymbol(symbol)))
      #expect(file.count == 1)
    }
    for service in Self.methods.listed {
      #expect(DescriptorPool.generated.kind(of: service) == .service, "\(service)")
    }
  }

  @Test(arguments: [
    ("mid.v1.IDService", "mid/v1/mid.proto"), ("mid.v1.IDService.StreamIDs", "mid/v1/mid.proto"),
    ("mid.v1.IDRange", "mid/v1/mid.proto"), ("mid.v1.IDRange.stride", "mid/v1/mid.proto"),
    ("pb.IDMaker.MakeIDService", "pb/id.proto"), ("pb.IDResponse", "pb/id.proto"),
    ("grpc.health.v1.HealthCheckResponse.ServingStatus", "grpc/health/v1/health.proto"),
    ("grpc.reflection.v1.ServerReflection", "grpc/reflection/v1/reflection.proto"),
    ("grpc.reflection.v1alpha.ErrorResponse", "grpc/reflection/v1alpha/reflection.proto"),
  ])
  func `a symbol leads to its file, and so does the file's name`(symbol: String, file: String) throws {
    #expect(try Self.fileNames(Self.answer(.fileContainingSymbol(symbol))) == [file])
    #expect(try Self.fileNames(Self.answer(.fileByFilename(file))) == [file])
  }

  @Test(arguments: [
    "", ".", "mid", "mid.v1", ".mid.v1.IDService", "mid.v1.IDService.", "mid.v1.idservice",
    "mid.v1.IDService/StreamIDs",
    "mid.v1.Nothing", "mid/v1/mid.proto", "grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING",
  ])
  func `an unknown symbol is not found, and no file or type of that name either`(symbol: String) {
    Self.expectError(Self.answer(.fileContainingSymbol(symbol)), .notFound)
    Self.expectError(Self.answer(.allExtensionNumbersOfType(symbol)), .notFound)
    Self.expectError(Self.answer(.fileContainingExtension(ExtensionRequest(containingType: symbol))), .notFound)
    if symbol != "mid/v1/mid.proto" { Self.expectError(Self.answer(.fileByFilename(symbol)), .notFound) }
  }

  @Test func `no message has extensions`() {
    let type = "mid.v1.IDRange"
    let asked = ExtensionRequest(containingType: type, extensionNumber: 1)
    Self.expectError(Self.answer(.fileContainingExtension(asked)), .notFound)
    #expect(Self.answer(.allExtensionNumbersOfType(type)) == .extensionNumbers(type: type, []))
    // A service is no message.
    Self.expectError(Self.answer(.allExtensionNumbersOfType("mid.v1.IDService")), .notFound)
  }

  @Test func `a request that asks nothing is told so`() {
    Self.expectError(Self.answer(nil), .invalidArgument)
  }

  @Test func `each answer brings back its request and host`() {
    let questions: [ServerReflectionRequest.Question?] = [
      .listServices(""), .fileByFilename("pb/id.proto"), .fileContainingSymbol("nobody"),
      .fileContainingExtension(ExtensionRequest(containingType: "x", extensionNumber: -1)),
      .allExtensionNumbersOfType("pb.IDRequest"), nil,
    ]
    for question in questions {
      let request = ServerReflectionRequest(host: "example.org:443", question)
      let response = Self.methods.response(to: request)
      #expect(response.originalRequest == request)
      #expect(response.validHost == "example.org:443")
    }
  }

  // MARK: - Over a socket

  @Test(arguments: ReflectionMethods.paths)
  func `both versions answer over the wire`(path: String) async throws {
    try await IDServer.with { _, client in
      let request = ServerReflectionRequest(host: "here", .fileContainingSymbol("pb.IDMaker"))
      let reply = try await client.call(path, request.encoded())
      #expect(reply.status == "0", "\(reply.text)")
      #expect(try ServerReflectionResponse(decoding: reply.message) == Self.methods.response(to: request))
      // An error of a question is no error of the call.
      let unknown = ServerReflectionRequest(host: "", .fileByFilename("nobody.proto"))
      let answer = try await client.call(path, unknown.encoded())
      #expect(answer.status == "0", "\(answer.text)")
      Self.expectError(try ServerReflectionResponse(decoding: answer.message).answer, .notFound)
    }
  }
}
