import HTTPTypes
import Hummingbird
import NIOCore
import Synchronization

/// The paths of one port. Failures are told as problem details, and all requests are counted.
struct HTTPRouter {
  /// What leads from paths and methods to their handlers.
  typealias Responder = RouterResponder<HTTPContext>

  /// The methods of a path that takes any.
  static let everyMethod: [HTTPRequest.Method] = [.get, .head, .post, .put, .patch, .delete, .options]

  private let router = Router(context: HTTPContext.self)
  private let patterns = RoutePatterns()

  /// Creates a router without paths.
  init(countingIn metrics: HTTPMetrics) {
    self.router.add(middleware: HTTPAnswers(metrics: metrics, patterns: self.patterns))
  }

  /// Has `handler` answer a path; other methods than these are told which there are.
  func route(
    _ path: RouterPath, _ methods: [HTTPRequest.Method],
    _ handler: @escaping @Sendable (Request, HTTPContext) async throws -> Response
  ) {
    self.patterns.add(path.description, methods)
    for method in methods { self.router.on(path, method: method, use: handler) }
  }

  /// All that was added, ready to serve.
  func buildResponder() -> Responder { self.router.buildResponder() }
}

/// Which methods the paths take, for those that are asked by another: the router itself says only that it has no handler.
private final class RoutePatterns: Sendable {
  typealias Pattern = (path: String, parts: [Substring], methods: [HTTPRequest.Method])

  private let patterns = Mutex<[Pattern]>([])

  func add(_ path: String, _ methods: [HTTPRequest.Method]) {
    self.patterns.withLock { $0.append((path, path.split(separator: "/"), methods)) }
  }

  /// The pattern that `path` fits, or nil where there is nothing.
  func pattern(of path: String) -> Pattern? {
    let parts = path.split(separator: "/")
    return self.patterns.withLock { patterns in
      patterns.first { pattern in
        pattern.parts.count == parts.count
          && zip(pattern.parts, parts).allSatisfy { $0.hasPrefix("{") || $0 == $1 }
      }
    }
  }
}

/// Turns what handlers throw into answers, and counts all answers.
private struct HTTPAnswers: RouterMiddleware {
  let metrics: HTTPMetrics
  let patterns: RoutePatterns

  @concurrent
  func handle(
    _ request: Request, context: HTTPContext,
    next: @concurrent (Request, HTTPContext) async throws -> Response
  ) async throws -> Response {
    let start = NIODeadline.now()
    var route = context.endpointPath ?? Self.noRoute
    var response: Response
    do {
      response = try await next(request, context)
    } catch let problem as HTTPProblem {
      response = problem.response
    } catch is HTTPError {
      // The router's own: it has no handler.
      let pattern = self.patterns.pattern(of: request.uri.path)
      route = pattern?.path ?? Self.noRoute
      response = (pattern.map { HTTPProblem.methodNotAllowed($0.methods) } ?? .notFound).response
    } catch {
      response = HTTPProblem(status: .internalServerError, code: "internal", detail: "the call failed").response
    }
    if request.method == .head { response = response.createHeadResponse() }
    self.metrics.answered(
      route: route, status: response.status.code, nanoseconds: (NIODeadline.now() - start).nanoseconds)
    return response
  }

  private static let noRoute = "none"
}
