import MidCore

/// Judges how many ids are left for each tag: to the largest number of a row, and to the largest that JavaScript and other
/// readers with floating-point numbers keep exact.
struct TagCheck {
  static let name = "tags"
  /// The last id of a tag: a range's end has to fit in 63 bits too.
  static let last = Int64.max - 1
  /// 2^53-1, JavaScript's `Number.MAX_SAFE_INTEGER`.
  static let lastSafe: Int64 = 9_007_199_254_740_991
  /// How many tags get a line of their own.
  static let mostLines = 20

  var tags: [TagRecord]

  /// One finding for all tags, and one for each that needs a look, the furthest first.
  var findings: [Finding] {
    let tags = self.tags.sorted { ($1.lastID, $0.tag.name) < ($0.lastID, $1.tag.name) }
    guard let furthest = tags.first else {
      return [.warn(Self.name, "the store has no tags", "mid tag create NAME makes one for segment ids")]
    }
    let troubled = tags.compactMap(self.trouble)
    let count = tags.count == 1 ? "1 tag" : "\(tags.count) tags"
    var findings = [
      Finding.ok(Self.name, "\(count), the furthest is \(furthest.tag) with ids up to \(furthest.lastID)")
    ]
    findings += troubled.prefix(Self.mostLines)
    let rest = troubled.dropFirst(Self.mostLines)
    if let worst = rest.first {
      findings.append(
        Finding(
          level: rest.contains { $0.level == .fail } ? .fail : worst.level, check: Self.name,
          found: "\(rest.count) more tags are near the end of their numbers", advice: "see `mid tag list`"))
    }
    return findings
  }

  private func trouble(_ record: TagRecord) -> Finding? {
    let tag = "tag \(record.tag) has given out ids up to \(record.lastID)"
    func isNear(_ limit: Int64) -> Bool { record.lastID >= limit - limit / 10 }
    if record.lastID >= Self.last {
      return .fail(Self.name, "\(tag): none is left below 2^63", "its calls fail; move to another tag")
    }
    if isNear(Self.last) {
      return .warn(
        Self.name, "\(tag): \(Self.last - record.lastID) are left below 2^63",
        "move to another tag before they are used up")
    }
    if record.lastID > Self.lastSafe {
      return .warn(
        Self.name, "\(tag), past 2^53-1: JavaScript, and JSON readers like it, round them",
        "take them as strings there, or move to another tag")
    }
    if isNear(Self.lastSafe) {
      return .warn(
        Self.name,
        "\(tag): \(Self.lastSafe - record.lastID) are left to 2^53-1, past which JavaScript and JSON readers like it round",
        "take them as strings there before that, or move to another tag")
    }
    return nil
  }
}
