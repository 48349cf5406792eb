import HTTPTypes
import Hummingbird
import MidCore
import MidRPC
import NIOCore

/// What an HTTP caller is told of a failure: problem details, RFC 9457.
struct HTTPProblem: Error, Sendable, Equatable {
  /// The media type of the answer.
  static let contentType = "application/problem+json"

  /// The status of the answer.
  var status: HTTPResponse.Status
  /// The failure's class, for programs: the core's code, or one of HTTP's own.
  var code: String
  /// One sentence for people, with what is allowed.
  var detail: String
  /// Further header fields.
  var headers: HTTPFields = [:]

  /// A request that has to be changed.
  static func badRequest(_ detail: String) -> HTTPProblem {
    HTTPProblem(status: .badRequest, code: IDError.Code.invalidArgument.description, detail: detail)
  }

  /// A path that leads nowhere.
  static let notFound = HTTPProblem(
    status: .notFound, code: "unknownPath",
    detail: "there is nothing at this path; GET /openapi.json says what there is")

  /// A path that is asked in another way.
  static func methodNotAllowed(_ allowed: [HTTPRequest.Method]) -> HTTPProblem {
    let list = allowed.map(\.rawValue).joined(separator: ", ")
    return HTTPProblem(
      status: .methodNotAllowed, code: "methodNotAllowed", detail: "this path takes \(list)", headers: [.allow: list])
  }

  /// A body that is longer than the limit.
  static func tooLarge(_ limit: Int) -> HTTPProblem {
    HTTPProblem(status: .contentTooLarge, code: "tooLarge", detail: "a request's body has at most \(limit) bytes")
  }

  /// The text of the answer.
  var text: String {
    var text = "{\"type\":\"about:blank\",\"title\":"
    LogLine.appendString(self.status.reasonPhrase, to: &text)
    text += ",\"status\":\(self.status.code),\"code\":"
    LogLine.appendString(self.code, to: &text)
    text += ",\"detail\":"
    LogLine.appendString(self.detail, to: &text)
    return text + "}"
  }

  /// The answer.
  var response: Response {
    var response = Response.text(self.text, type: Self.contentType, status: self.status)
    for field in self.headers { response.headers.append(field) }
    return response
  }
}

extension HTTPProblem {
  /// What a caller is told of an error of the core: the one place where codes become statuses.
  init(_ error: IDError) {
    let status: HTTPResponse.Status =
      switch error.code {
      case .invalidArgument: .badRequest
      case .unknownTag: .notFound
      case .tagExists: .conflict
      case .overloaded: .tooManyRequests
      case .storeUnavailable, .storeRejected, .clockBehind, .leaseLost, .notReady: .serviceUnavailable
      case .deadlineExceeded: .gatewayTimeout
      default: .internalServerError
      }
    // As gRPC's callers hear it: where the store is and who asks it is the operator's business.
    self.init(status: status, code: error.code.description, detail: RPCStatus(error).message)
    if status == .tooManyRequests || status == .serviceUnavailable { self.headers[.retryAfter] = "1" }
  }
}

extension Response {
  /// An answer of `text`, which no cache keeps.
  static func text(_ text: String, type: String, status: HTTPResponse.Status = .ok) -> Response {
    Response(
      status: status, headers: [.contentType: type, .cacheControl: "no-store"],
      body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
  }

  /// An answer that has room reserved where it is long. It is its connection's once that takes it, after the answers before.
  static func text(_ text: String, type: String, in room: HTTPMemory.Reservation?) -> Response {
    Response(
      status: .ok, headers: [.contentType: type, .cacheControl: "no-store"],
      body: Self.body(ByteBuffer(string: text), in: room))
  }

  /// An answer of JSON that stands in a buffer, which no cache keeps.
  static func json(_ body: ByteBuffer, in room: HTTPMemory.Reservation? = nil) -> Response {
    Response(
      status: .ok, headers: [.contentType: "application/json", .cacheControl: "no-store"],
      body: Self.body(body, in: room))
  }

  private static func body(_ body: ByteBuffer, in room: HTTPMemory.Reservation?) -> ResponseBody {
    guard let room else { return ResponseBody(byteBuffer: body) }
    room.settle(at: body.readableBytes)
    return ResponseBody(contentLength: body.readableBytes) { writer in
      try await writer.write(body)
      room.giveBack()
      try await writer.finish(nil)
    }
  }

  /// An answer of JSON, which no cache keeps.
  static func json(_ text: String, status: HTTPResponse.Status = .ok) -> Response {
    .text(text, type: "application/json", status: status)
  }
}
