import MidServer

/// What one look at a part of the system came to.
struct Finding: Sendable, Hashable {
  /// How bad it is.
  enum Level: String, Sendable, Hashable {
    /// As it should be.
    case ok
    /// It works, or will; somebody should look.
    case warn
    /// `mid serve` does not work so, or not for long.
    case fail
  }

  var level: Level
  /// Which part: `store`, `clock`. One word, or two with a dot between.
  var check: String
  /// What was found, with the numbers.
  var found: String
  /// What to do; nil where all is well.
  var advice: String?

  static func ok(_ check: String, _ found: String) -> Finding {
    Finding(level: .ok, check: check, found: found, advice: nil)
  }

  static func warn(_ check: String, _ found: String, _ advice: String) -> Finding {
    Finding(level: .warn, check: check, found: found, advice: advice)
  }

  static func fail(_ check: String, _ found: String, _ advice: String) -> Finding {
    Finding(level: .fail, check: check, found: found, advice: advice)
  }
}

/// All findings as text: a line each for people, JSON for programs.
struct DoctorReport {
  let findings: [Finding]

  /// Whether nothing failed.
  var isWell: Bool { !self.findings.contains { $0.level == .fail } }

  /// A line for each finding: level, check, what was found, and what to do about it.
  var lines: [String] {
    let width = self.findings.map(\.check.count).max() ?? 0
    return self.findings.map { finding in
      let level = Self.name(finding.level).padded(to: 4)
      let advice = finding.advice.map { "; \($0)" } ?? ""
      return TerminalText.plain("\(level)  \(finding.check.padded(to: width))  \(finding.found)\(advice)")
    }
  }

  /// An object: `result`, the worst level there is, and `findings`, in the order of ``lines``.
  var json: String {
    let worst: Finding.Level =
      self.isWell ? (self.findings.contains { $0.level == .warn } ? .warn : .ok) : .fail
    let findings = self.findings.map { finding in
      JSONText.object([
        "check": JSONText.string(finding.check), "level": JSONText.string(finding.level.rawValue),
        "found": JSONText.string(finding.found), "advice": JSONText.string(finding.advice),
      ])
    }
    return JSONText.object(["result": JSONText.string(worst.rawValue), "findings": JSONText.array(findings)])
  }

  private static func name(_ level: Finding.Level) -> String { level == .fail ? "FAIL" : level.rawValue }
}

extension String {
  fileprivate func padded(to width: Int) -> String {
    self + String(repeating: " ", count: max(0, width - self.count))
  }
}
