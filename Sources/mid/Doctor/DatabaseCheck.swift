import MidCore

/// Judges several databases of segments: each by itself, and what their rows say together.
struct DatabaseCheck {
  static let name = "segments"

  /// What was seen of one database.
  struct Look: Sendable {
    var name: String
    var inspection: Result<[String], IDError>
    var durabilityWarnings: [String]
    /// Its tags; nil where they could not be read.
    var tags: [TagRecord]?
  }

  var looks: [Look]
  /// Whether all have all tags, so that one that is left serves them.
  var isStriped: Bool

  /// At least one finding for each database; for stripes one about their rows as well.
  var findings: [Finding] {
    let isAnyUp = self.looks.contains { if case .success = $0.inspection { true } else { false } }
    return self.looks.flatMap { look in
      let check = StoreCheck(
        place: look.name, inspection: look.inspection, durabilityWarnings: look.durabilityWarnings)
      return check.findings.map { finding in
        // One of several stripes that is away takes nothing with it.
        let isBearable = self.isStriped && isAnyUp && finding.level == .fail
        return Finding(
          level: isBearable ? .warn : finding.level, check: Self.name,
          found: finding.found.contains(look.name) ? finding.found : "\(look.name): \(finding.found)",
          advice: isBearable ? "the others serve all tags; mend it before another one fails" : finding.advice)
      }
    } + (self.isStriped ? self.layout : [])
  }

  private var layout: [Finding] {
    let read = self.looks.enumerated().compactMap { index, look in look.tags.map { (index, $0) } }
    var rows: [Tag: [(place: Int, record: TagRecord)]] = [:]
    for (place, tags) in read { for record in tags { rows[record.tag, default: []].append((place, record)) } }
    guard !rows.isEmpty else { return [] }
    let troubles = rows.sorted { $0.key.name < $1.key.name }.compactMap {
      self.trouble($0.key, $0.value, of: read.count)
    }
    guard troubles.isEmpty else { return Array(troubles.prefix(TagCheck.mostLines)) }
    return [
      .ok("\(Self.name).layout", "all tags (\(rows.count)) stand as the list of \(self.looks.count) databases says")
    ]
  }

  private func trouble(_ tag: Tag, _ rows: [(place: Int, record: TagRecord)], of count: Int) -> Finding? {
    let check = "\(Self.name).layout"
    if let closed = rows.first(where: \.record.isClosed) {
      return .warn(
        check, "tag \(tag) is closed in \(self.looks[closed.place].name)",
        "it is being restriped; where that was interrupted, run the same mid tag restripe again")
    }
    if rows.count < count {
      return .warn(
        check, "tag \(tag) stands in \(rows.count) of \(count) databases",
        "look whether the others have lost it; mid tag create \(tag) --first N makes it there, N above all that was given out"
      )
    }
    let misplaced = rows.first { place, record in
      record.residue.delta != Int64(self.looks.count) || record.residue.remainder != Int64(place)
    }
    guard let misplaced else { return nil }
    let residue = misplaced.record.residue
    return .warn(
      check,
      "tag \(tag) has ids of remainder \(residue.remainder) by \(residue.delta) in \(self.looks[misplaced.place].name), which is "
        + "number \(misplaced.place) of \(self.looks.count)",
      "the rows decide and ids stay distinct as long as they agree; put the list in their order, or use mid tag restripe"
    )
  }
}
