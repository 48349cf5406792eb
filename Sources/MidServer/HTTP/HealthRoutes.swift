import HTTPTypes
import Hummingbird

/// `/healthz`: the process lives. `/readyz`: whether ids can be had here, and why not.
struct HealthRoutes: Sendable {
  let readiness: Readiness

  func add(to router: HTTPRouter) {
    router.route("/healthz", [.get, .head]) { _, _ in Self.alive(.get) }
    router.route("/readyz", [.get, .head]) { _, _ in self.answer }
  }

  /// The same paths where requests are not counted: whoever looks every second says nothing of callers.
  func add(to router: Router<BasicRequestContext>) {
    for method in [HTTPRequest.Method.get, .head] {
      router.on("healthz", method: method) { _, _ in Self.alive(method) }
      router.on("readyz", method: method) { _, _ in
        method == .head ? self.answer.createHeadResponse() : self.answer
      }
    }
  }

  private static func alive(_ method: HTTPRequest.Method) -> Response {
    let answer = Response.json("{\"status\":\"ok\"}")
    return method == .head ? answer.createHeadResponse() : answer
  }

  private var answer: Response {
    let isReady = self.readiness.isReady
    var text = "{\"ready\":\(isReady),\"modes\":{"
    for (index, mode) in self.readiness.modes.enumerated() {
      if index > 0 { text += "," }
      text += "\"\(mode.name)\":{\"ready\":\(mode.reasons.isEmpty),\"reasons\":["
      for (index, reason) in mode.reasons.enumerated() {
        if index > 0 { text += "," }
        LogLine.appendString(reason, to: &text)
      }
      text += "]}"
    }
    return .json(text + "}}", status: isReady ? .ok : .serviceUnavailable)
  }
}
