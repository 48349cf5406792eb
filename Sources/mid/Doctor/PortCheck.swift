import MidServer

/// Judges an address that the server would listen on.
struct PortCheck {
  /// What a look at the address found.
  enum Look: Sendable, Hashable {
    /// Nobody has it.
    case free
    /// A mid answers there; how it says it is.
    case mid(String)
    /// Somebody else has it, or nobody knows who; what came of asking.
    case other(String)
    /// It is served with TLS, so it was not asked.
    case notAsked
    /// It can't be listened on, in a sentence with what to do.
    case unusable(String)
  }

  /// `grpc`, `http`, `http.tinyid` or `metrics`.
  var purpose: String
  /// Where it would listen, or nil where it is off.
  var address: HostPort?
  var look: Look
  /// Whether a server is known to run with this configuration: on its data folder, or on its other port.
  var isServerHere: Bool

  /// One finding.
  var findings: [Finding] {
    guard let address = self.address else { return [.ok(self.purpose, "off")] }
    if address.port == 0 { return [.ok(self.purpose, "\(address): the system picks a free port")] }
    let move = "stop the program that has it, or set \(self.purpose).address to another"
    switch self.look {
    case .free: return [.ok(self.purpose, "\(address) is free")]
    case .mid(let state):
      return [.ok(self.purpose, "a mid is serving on \(address)\(state.isEmpty ? "" : ": \(state)")")]
    case .notAsked where self.isServerHere:
      return [.ok(self.purpose, "\(address) is in use, by the server that is running")]
    case .notAsked:
      return [.fail(self.purpose, "\(address) is in use, and no server is known to run on this data folder", move)]
    case .other(let reason):
      return [.fail(self.purpose, "\(address) is in use, and no mid answers there (\(reason))", move)]
    case .unusable(let reason):
      return [.fail(self.purpose, reason, "mid serve does not start before that is mended")]
    }
  }
}
