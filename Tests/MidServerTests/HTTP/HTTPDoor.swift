import Hummingbird
import Logging
import MidCore
import MidTestKit
import NIOCore
import NIOEmbedded

@testable import MidServer

/// The HTTP routes over the generators of an ``IDServer``, asked without a socket.
struct HTTPDoor: Sendable {
  /// An answer.
  struct Answer: Equatable {
    var status: Int
    var type: String?
    var text: String
  }

  let server: IDServer
  let ids: IDMethods
  private let responder: HTTPRouter.Responder

  init(
    maximumWaiters: Int = 100, maximumBatch: Int64 = 10_000, maximumWait: Duration = .seconds(60), step: Int64 = 1000,
    maximumList: Int = 100, forms: TagForms = .none,
    memory: HTTPMemory = HTTPMemory(limit: 1 << 20, now: { .now() })
  ) throws {
    let server = try IDServer(maximumWaiters: maximumWaiters, step: step)
    let ids = IDMethods(
      snowflake: server.snowflake, segments: server.directory, tickets: server.tickets,
      texts: TextIDs(increment: .counter, clock: server.clock, random: SeededRandom(seed: 1)),
      forms: forms, clock: server.clock,
      limits: IDMethods.Limits(
        maximumWait: maximumWait, maximumBatch: maximumBatch, maximumWaiters: maximumWaiters), meter: server.metrics)
    let router = HTTPRouter(countingIn: HTTPMetrics(registry: server.registry))
    HealthRoutes(readiness: Readiness(health: server.health) { ["\($0) is off"] }).add(to: router)
    IDRoutes(ids: ids, maximumList: maximumList, maximumBody: 1024, memory: memory).add(to: router)
    LeafRoutes(ids: ids, now: { IDServer.start }, localTime: { "\($0) here" }, memory: memory).add(to: router)
    TinyidRoutes(ids: ids, tokens: nil, needsToken: false, maximumBody: 1024, memory: memory).add(to: router)
    OpenAPIRoutes(maximumList: maximumList, maximumBatch: Int(maximumBatch), maximumTickets: 50).add(to: router)
    self.server = server
    self.ids = ids
    self.responder = router.buildResponder()
  }

  /// Asks for a path with its query.
  func ask(
    _ path: String, method: HTTPRequest.Method = .get, body: String = "", headers: HTTPFields = [:]
  ) async throws -> Answer {
    let response = try await self.respond(path, method: method, body: body, headers: headers)
    let collector = Collector()
    try await response.body.write(collector)
    return Answer(
      status: response.status.code, type: response.headers[.contentType], text: String(buffer: collector.bytes))
  }

  /// The status, and which methods the path takes.
  func allowance(_ path: String, _ method: HTTPRequest.Method) async throws -> (status: Int, allow: String?) {
    let response = try await self.respond(path, method: method, body: "", headers: [:])
    return (response.status.code, response.headers[.allow])
  }

  /// The answer as the server has it.
  func respond(
    _ path: String, method: HTTPRequest.Method, body: String, headers: HTTPFields
  ) async throws -> Response {
    let request = Request(
      head: HTTPRequest(method: method, scheme: "http", authority: "localhost", path: path, headerFields: headers),
      body: RequestBody(buffer: ByteBuffer(string: body)))
    let context = HTTPContext(
      source: ApplicationRequestContextSource(
        channel: EmbeddedChannel(), logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })))
    return try await self.responder.respond(to: request, context: context)
  }

  /// Posts JSON.
  func post(_ path: String, _ body: String, type: String = "application/json") async throws -> Answer {
    try await self.ask(path, method: .post, body: body, headers: [.contentType: type])
  }

  final class Collector: ResponseBodyWriter {
    var bytes = ByteBuffer()
    func write(_ buffer: ByteBuffer) async throws { self.bytes.writeImmutableBuffer(buffer) }
    func finish(_ trailingHeaders: HTTPFields?) async throws {}
  }
}
