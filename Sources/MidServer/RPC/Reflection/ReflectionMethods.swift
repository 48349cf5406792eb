package import MidRPC
import NIOCore

/// Server reflection: what this server can be asked, told to callers that have no `.proto` files.
///
/// The same answers under `grpc.reflection.v1` and under `v1alpha`, which older callers ask for; the two differ in name
/// only. A question that has no answer is answered with an error of its own and the call goes on.
/// Source: gRPC's `server-reflection.md` and `reflection.proto`.
package struct ReflectionMethods: Sendable {
  /// The services that have it, by full name.
  package static let services = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]
  /// The methods' paths, in the order of ``all``.
  package static let paths = Self.services.map { "/\($0)/ServerReflectionInfo" }

  /// The services that are told of, by full name, in the order of the alphabet.
  package let listed: [String]
  private let pool: DescriptorPool

  /// Creates the methods of a server.
  ///
  /// - Parameters:
  ///   - paths: the paths of all methods that the server has, `/package.Service/Method`.
  ///   - pool: the files that declare them.
  package init(paths: [String], pool: DescriptorPool = .generated) {
    self.listed = Set(paths.compactMap { $0.split(separator: "/").first.map(String.init) }).sorted()
    self.pool = pool
  }

  /// The methods for a server.
  package var all: [RPCMethod] {
    Self.paths.map { path in
      RPCMethod(path: path, kind: .streaming) { _, message, response in
        do throws(ProtobufError) {
          self.response(to: try ServerReflectionRequest(decoding: message)).encode(into: &response)
        } catch {
          return .failure(RPCStatus(.internalError, "the request is not a protobuf message: \(error)"))
        }
        return .reply
      }
    }
  }

  /// The response to one request.
  package func response(to request: ServerReflectionRequest) -> ServerReflectionResponse {
    ServerReflectionResponse(
      validHost: request.host, originalRequest: request, self.answer(to: request.question))
  }

  private func answer(to question: ServerReflectionRequest.Question?) -> ServerReflectionResponse.Answer {
    switch question {
    case .listServices: return .services(self.listed)
    case .fileByFilename(let name):
      return self.pool.files(named: name).map { .files($0) } ?? Self.notFound("no file of that name")
    case .fileContainingSymbol(let symbol):
      return self.pool.files(declaring: symbol).map { .files($0) } ?? Self.notFound("no file declares that symbol")
    // No file of ours extends a message.
    case .fileContainingExtension: return Self.notFound("no such extension")
    case .allExtensionNumbersOfType(let type):
      guard self.pool.kind(of: type) == .message else { return Self.notFound("no message of that name") }
      return .extensionNumbers(type: type, [])
    case nil:
      return .error(
        code: Int32(RPCStatus.Code.invalidArgument.rawValue),
        message: "the request asks nothing that this server knows of")
    }
  }

  private static func notFound(_ message: String) -> ServerReflectionResponse.Answer {
    .error(code: Int32(RPCStatus.Code.notFound.rawValue), message: message)
  }
}
