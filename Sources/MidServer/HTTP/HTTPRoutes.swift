import HTTPTypes
import Hummingbird
import NIOCore

typealias HTTPRouter = Router<BasicRequestContext>

extension HTTPRouter {
  /// Every method that a path can be asked by.
  static var everyMethod: [HTTPRequest.Method] { [.get, .head, .post, .put, .patch, .delete, .options] }

  /// A router whose failures are problem details, and whose requests are counted.
  static func counting(in metrics: HTTPMetrics) -> HTTPRouter {
    let router = HTTPRouter()
    router.add(middleware: HTTPAnswers(metrics: metrics))
    return router
  }

  /// Has `handler` answer a path; other methods than these are told which there are.
  func route(
    _ path: RouterPath, _ methods: [HTTPRequest.Method],
    _ handler: @escaping @Sendable (Request, BasicRequestContext) async throws -> Response
  ) {
    for method in methods { self.on(path, method: method, use: handler) }
    for method in Self.everyMethod + [.trace, .connect] where !methods.contains(method) {
      self.on(path, method: method) { _, _ -> Response in throw HTTPProblem.methodNotAllowed(methods) }
    }
  }
}

/// Turns what handlers throw into answers, and counts all answers.
private struct HTTPAnswers: RouterMiddleware {
  let metrics: HTTPMetrics

  @concurrent
  func handle(
    _ request: Request, context: BasicRequestContext,
    next: @concurrent (Request, BasicRequestContext) async throws -> Response
  ) async throws -> Response {
    let start = NIODeadline.now()
    var route = context.endpointPath ?? Self.noRoute
    var response: Response
    do {
      response = try await next(request, context)
    } catch let problem as HTTPProblem {
      response = problem.response
    } catch is HTTPError {
      // The router's own: nothing is there.
      route = Self.noRoute
      let isKnown = HTTPRouter.everyMethod.contains(request.method) || [.trace, .connect].contains(request.method)
      response =
        isKnown
        ? HTTPProblem.notFound(request.uri.path).response
        : HTTPProblem(status: .notImplemented, code: "unknownMethod", detail: "no path takes this method").response
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
