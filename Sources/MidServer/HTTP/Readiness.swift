import MidCore

/// Whether each mode can be served now, and if not, why. Safe to use from any thread.
package struct Readiness: Sendable {
  /// A mode's name, and what stands in its way; nothing where it is ready.
  package struct Mode: Sendable, Equatable {
    /// The name: `segment`.
    package var name: String
    /// Sentences for operators.
    package var reasons: [String]
  }

  private let health: HealthMethods
  private let reasons: @Sendable (_ mode: String) -> [String]

  /// Creates it.
  ///
  /// - Parameters:
  ///   - health: says whether a mode is ready.
  ///   - reasons: says why it is not. Asked only then.
  package init(health: HealthMethods, reasons: @escaping @Sendable (_ mode: String) -> [String]) {
    self.health = health
    self.reasons = reasons
  }

  /// Whether the server as a whole is ready: what gRPC's health service says of it.
  package var isReady: Bool { self.health.isServing("") ?? false }

  /// All modes, and opaque numbers where there are keys for them.
  package var modes: [Mode] {
    (["snowflake", "segment", "ticket"] + (self.health.isOpaqueReady == nil ? [] : ["opaque"])).map { name in
      if self.health.isServing(name) ?? false { return Mode(name: name, reasons: []) }
      if self.health.stopping.isRaised { return Mode(name: name, reasons: ["the server is stopping"]) }
      let reasons = self.reasons(name)
      return Mode(name: name, reasons: reasons.isEmpty ? ["not ready a moment ago"] : reasons)
    }
  }
}

extension SegmentDirectory {
  /// Why segments can't be served, where ``isReady`` says so.
  var obstacles: [String] {
    let dry = self.snapshots.filter { _, snapshot in
      snapshot.failures > 0 && snapshot.servingLeft == 0 && snapshot.standbyLeft == 0
    }
    guard dry.isEmpty else {
      return dry.prefix(10).map { tag, snapshot in
        "tag \(tag) has no ids left and its loads fail (\(snapshot.lastError?.code.description ?? "unknown"))"
      }
    }
    return self.isReady ? [] : ["the list of tags was not read from the store yet"]
  }
}
