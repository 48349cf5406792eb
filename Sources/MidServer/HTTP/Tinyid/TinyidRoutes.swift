import HTTPTypes
import Hummingbird
import MidCore
import NIOCore

/// Tinyid's paths, as its clients know them: always HTTP 200, a code in the body, and nothing at all where the simple form
/// fails. By any method, with the fields in the query or a form.
struct TinyidRoutes: Sendable {
  let ids: IDMethods
  /// The tokens that clients have, or nil where there are none.
  let tokens: TinyidTokens?
  /// Whether a call needs one.
  let needsToken: Bool
  /// The longest body, in bytes.
  let maximumBody: Int
  /// Where room for long lists is reserved.
  let memory: HTTPMemory

  /// The most ids of one call; who asks for more gets so many.
  static let maximumBatch: Int64 = 100_000

  func add(to router: HTTPRouter) {
    let any = HTTPRouter.everyMethod
    router.route("/tinyid/id/nextId", any) { request, context in
      Self.full(await self.list(try await self.fields(request), for: context.connection))
    }
    router.route("/tinyid/id/nextIdSimple", any) { request, context in
      Self.simple(await self.list(try await self.fields(request), for: context.connection))
    }
    router.route("/tinyid/id/nextSegmentId", any) { request, _ in
      Self.full(await self.segment(try await self.fields(request)))
    }
    router.route("/tinyid/id/nextSegmentIdSimple", any) { request, _ in
      Self.simple(await self.segment(try await self.fields(request)))
    }
  }

  // MARK: - Answers

  /// What a call came to, in both forms.
  enum Outcome: Sendable {
    case data(json: String, simple: String, room: HTTPMemory.Reservation? = nil)
    case failure(code: Int, message: String)

    static let wrongToken = Outcome.failure(code: 5, message: "token is error")
  }

  private static func full(_ outcome: Outcome) -> Response {
    let type = "application/json;charset=UTF-8"
    switch outcome {
    case .data(let json, _, let room):
      return .text("{\"data\":\(json),\"code\":200,\"message\":\"\"}", type: type, in: room)
    case .failure(let code, let message):
      var text = "{\"data\":null,\"code\":\(code),\"message\":"
      LogLine.appendString(message, to: &text)
      return .text(text + "}", type: type)
    }
  }

  private static func simple(_ outcome: Outcome) -> Response {
    let type = "text/plain;charset=UTF-8"
    guard case .data(_, let simple, let room) = outcome else { return .text("", type: type) }
    return .text(simple, type: type, in: room)
  }

  // MARK: - Calls

  private func list(_ fields: Fields, for connection: ObjectIdentifier) async -> Outcome {
    await self.answer(fields) { tag throws(IDError) in
      // Fewer than one is none, as a loop of so many rounds makes them, once the tag has been found.
      guard fields.count > 0 else {
        _ = try await self.ids.segmentGenerator(of: tag)
        return .data(json: "[]", simple: "")
      }
      let most = min(Self.maximumBatch, self.ids.limits.maximumBatch)
      let count = min(fields.count, most)
      // An id's digits, and a comma.
      let (ranges, room) = try await self.memory.reserve(Int(count) * 20, for: connection) { () throws(IDError) in
        try await self.ids.ids(of: .segment, tag: tag, count: count)
      }
      let list = IDRoutes.list(ranges, separator: ",")
      return .data(json: "[\(list)]", simple: list, room: room)
    }
  }

  private func segment(_ fields: Fields) async -> Outcome {
    await self.answer(fields) { tag throws(IDError) in
      let segment = TinyidSegment(try await self.ids.segment(of: tag))
      return .data(json: segment.json, simple: segment.simple)
    }
  }

  private func answer(_ fields: Fields, _ body: (Tag) async throws(IDError) -> Outcome) async -> Outcome {
    // Before anything else is looked at: who has no token learns nothing.
    guard let name = fields.name, !name.isEmpty else { return .wrongToken }
    do throws(IDError) {
      if self.needsToken {
        guard let tokens = self.tokens, let token = fields.token, !token.isEmpty,
          try await tokens.allow(token, for: name)
        else { return .wrongToken }
      }
      return try await body(try Tag(name))
    } catch {
      let isUnknown = error.code == .unknownTag || error.code == .invalidArgument
      return .failure(code: 6, message: isUnknown ? "can not find biztype:\(name)" : HTTPProblem(error).detail)
    }
  }

  // MARK: - Fields

  private struct Fields: Sendable {
    var name: String?
    var token: String?
    var count: Int64
  }

  /// The fields of the query, and of the body where that is a form; the query's count where both have one.
  private func fields(_ request: Request) async throws(HTTPProblem) -> Fields {
    let query = try HTTPQuery(request.uri.query ?? "")
    var form: HTTPQuery?
    let type = request.headers[.contentType] ?? ""
    if type.split(separator: ";").first?.trimmingSpaces().lowercased() == "application/x-www-form-urlencoded" {
      form = try HTTPQuery(String(buffer: try await request.bytes(upTo: self.maximumBody)))
    }
    func field(_ name: String) -> String? { query[name] ?? form?[name] }
    let text = field("batchSize") ?? ""
    guard let count = text.isEmpty ? 1 : Int32(text) else {
      throw .badRequest("batchSize is '\(text.prefix(64))', which is no whole number of 32 bits")
    }
    return Fields(name: field("bizType"), token: field("token"), count: Int64(count))
  }
}
