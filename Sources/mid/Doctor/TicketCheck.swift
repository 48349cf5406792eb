import MidCore

/// Judges the databases of tickets that are not the store: there, and durable.
struct TicketCheck {
  static let name = "tickets"

  /// Each database with what a look at it has found, or why there was none.
  var databases: [(place: String, inspection: Result<TicketInspection, IDError>)]

  /// A finding for all that is well, and one for each that needs a look. As long as one database of several answers,
  /// tickets are served.
  var findings: [Finding] {
    let isAnyThere = self.databases.contains { if case .success = $0.inspection { true } else { false } }
    var findings: [Finding] = []
    for (place, inspection) in self.databases {
      switch inspection {
      case .failure(let error) where isAnyThere && error.code == .storeUnavailable:
        findings.append(.warn(Self.name, error.message, "start it; the others serve meanwhile"))
      case .failure(let error):
        findings.append(.fail(Self.name, error.message, "tickets need at least one of ticket.databases; mend it"))
      case .success(let found):
        findings += found.warnings.map { warning in
          let (found, advice) = StoreCheck.parts(warning)
          return .warn("tickets.durable", "\(place): \(found)", advice)
        }
        guard !found.missing.isEmpty else { continue }
        let names = found.missing.map(\.name).joined(separator: ", ")
        findings.append(
          .warn(
            Self.name, "\(place) lacks the table \(names)",
            "the first ticket makes it and counts from the start; if it should be there, look at ticket.databases"))
      }
    }
    guard findings.isEmpty else { return findings }
    let count = self.databases.count == 1 ? "1 database answers" : "\(self.databases.count) databases answer"
    return [.ok(Self.name, "\(count), the tables are there, and commits are durable")]
  }
}
