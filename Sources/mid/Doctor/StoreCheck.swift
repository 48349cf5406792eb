import MidCore

/// Judges the store: there, complete, and durable.
struct StoreCheck {
  static let name = "store"

  /// `sqlite ./mid-data/mid.db`, without a secret.
  var place: String
  /// What an inspection found missing, or why there was none.
  var inspection: Result<[String], IDError>
  /// What lets a crash take back commits, one sentence each, with what to do after its last semicolon.
  var durabilityWarnings: [String]

  /// At least one finding.
  var findings: [Finding] {
    let missing: [String]
    switch self.inspection {
    case .failure(let error): return [self.failed(error)]
    case .success(let found): missing = found
    }
    let warnings = self.durabilityWarnings.map { text in
      let (found, advice) = Self.parts(text)
      return Finding.warn("store.durable", found, advice)
    }
    guard missing.isEmpty else {
      return [
        .warn(
          Self.name, "\(self.place) lacks \(missing.joined(separator: " and "))",
          "mid serve makes what is missing; if it should be there, look at store.url")
      ] + warnings
    }
    let durable = warnings.isEmpty ? ", and commits are durable" : ""
    return [.ok(Self.name, "\(self.place) answers, its tables are as needed\(durable)")] + warnings
  }

  /// Judges semi-synchronous replication where it is asked for: on, off, or nil for none.
  static func semiSync(_ isOn: Bool?) -> Finding {
    let check = "store.semi_sync"
    return switch isOn {
    case true?: .ok(check, "commits wait for a replica")
    case false?:
      .fail(
        check, "semi-synchronous replication is off: commits do not wait for a replica",
        "segments are not ready before it is on; look at the replicas, and at the primary's timeout for them")
    case nil:
      .fail(check, "the store has no semi-synchronous replication", "set store.require_semi_sync to off")
    }
  }

  private func failed(_ error: IDError) -> Finding {
    switch error.code {
    case .storeUnavailable:
      .fail(Self.name, error.message, "start it, or set store.url to where it is; mid serve comes up once it answers")
    default: .fail(Self.name, error.message, "mid serve does not start before that is mended")
    }
  }

  /// What was found, and what to do about it, of a warning's text.
  static func parts(_ text: String) -> (String, String) {
    guard let mark = text.lastIndex(of: ";") else { return (text, "mend that") }
    return (String(text[..<mark]), text[text.index(after: mark)...].drop { $0 == " " }.description)
  }
}
