import Hummingbird

/// `/healthz`: the process lives. `/readyz`: whether ids can be had here, and why not.
struct HealthRoutes: Sendable {
  let readiness: Readiness

  func add(to router: HTTPRouter) {
    router.route("/healthz", [.get, .head]) { _, _ in .json("{\"status\":\"ok\"}") }
    router.route("/readyz", [.get, .head]) { _, _ in self.answer }
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
