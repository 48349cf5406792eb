import MidCore
import MidServer

/// What an import does to each tag: where the source's tables stand, where the target's does, and what follows.
///
/// Pure, so that a dry run and a real one print the same. It holds that whatever the target hands out next lies above all
/// that the source has handed out or could have: every number up to ``TagRecord/lastID`` of its rows, by the rule of their
/// own table, and a margin above that.
struct ImportPlan: Equatable {
  /// What happens to a tag in the target.
  enum Action: String {
    /// It is not there yet.
    case create
    /// It stands lower, and is moved forward.
    case move
    /// It stands as high or higher.
    case leave
  }

  /// One tag.
  struct Line: Equatable {
    var tag: Tag
    var action: Action
    /// The largest number that the source can have given out.
    var sourceLast: Int64
    /// What no id of the target may lie below from now on: above `sourceLast` and the margin, and 1 or more.
    var first: Int64
    /// The target's next id before, or nil where the tag is not there or has none.
    var before: Int64?
    /// The target's next id after, or nil where it has none.
    var after: Int64?
    /// The target's step after, in ids.
    var step: Int64
  }

  /// The tags, by name.
  let lines: [Line]

  /// Makes the plan.
  ///
  /// - Parameters:
  ///   - sources: The rows of every database of the old system; more than one where several share a tag.
  ///   - target: The rows of the new table.
  ///   - only: The tags to import; empty for all.
  ///   - margin: How many numbers are left out above the source's last, 0 or more.
  /// - Throws: Every reason why there is no safe plan, in one line.
  init(sources: [[TagRecord]], target: [TagRecord], only: Set<Tag>, margin: Int64) throws(CommandFailure) {
    let rows = Dictionary(grouping: sources.joined(), by: \.tag).filter { only.isEmpty || only.contains($0.key) }
    let targets = Dictionary(target.map { ($0.tag, $0) }) { first, _ in first }
    var reasons = only.filter { rows[$0] == nil }.map { "there is no tag \($0) in the source" }
    var lines: [Line] = []
    for (tag, records) in rows {
      do throws(CommandFailure) {
        lines.append(try Self.line(tag, records, targets[tag], margin: margin))
      } catch {
        reasons.append(error.description)
      }
    }
    guard reasons.isEmpty else { throw CommandFailure(reasons.sorted().joined(separator: "; ")) }
    self.lines = lines.sorted { $0.tag.name < $1.tag.name }
  }

  private static func line(
    _ tag: Tag, _ records: [TagRecord], _ target: TagRecord?, margin: Int64
  ) throws(CommandFailure) -> Line {
    try self.checkShares(tag, records, target)
    let last = records.map(\.lastID).max() ?? 0
    let (first, isPastEnd) = max(last, 0).addingReportingOverflow(margin)
    guard !isPastEnd, first < Int64.max - 1 else {
      throw CommandFailure("tag \(tag) stands at \(last) in the source: there is no id left above that and the margin")
    }
    var line = Line(
      tag: tag, action: .create, sourceLast: last, first: first + 1, before: target?.next, after: first + 1,
      step: records.map { $0.step.multipliedReportingOverflow(by: $0.stride).partialValue }.max() ?? 1)
    guard let target else { return line }
    line.step = target.step
    if target.lastID >= first {
      (line.action, line.after) = (.leave, target.next)
    } else {
      (line.action, line.after) = (.move, target.residue.first(above: first))
    }
    return line
  }

  /// Where several databases share a tag, each gives out some of the numbers. Whoever takes over all numbers has to know
  /// how far each of them is.
  private static func checkShares(
    _ tag: Tag, _ records: [TagRecord], _ target: TagRecord?
  ) throws(CommandFailure) {
    guard let delta = records.map(\.stride).max(), delta > 1 else { return }
    // One database moves into another that takes the same share.
    if records.count == 1, target?.residue == records[0].residue { return }
    let residues = Set(records.map(\.residue))
    guard residues.allSatisfy({ $0.delta == delta }), Int64(residues.count) == delta else {
      throw CommandFailure(
        "tag \(tag) gives out one number in \(delta) per database, and \(residues.count) of \(delta) are named: name "
          + "them all, each with a --from of its own")
    }
  }

  /// What speaks against the import once it was written, from another look at both sides: nothing, or sentences.
  ///
  /// - Parameters:
  ///   - sources: The source's rows, read after the target was written.
  ///   - target: The target's rows, read after that too.
  ///   - isWhole: Whether all tags were to be imported.
  func doubts(sources: [[TagRecord]], target: [TagRecord], isWhole: Bool) -> [String] {
    let lines = Dictionary(self.lines.map { ($0.tag, $0) }) { first, _ in first }
    let targets = Dictionary(target.map { ($0.tag, $0) }) { first, _ in first }
    var doubts: [String] = self.lines.compactMap { line in
      guard let record = targets[line.tag] else { return "tag \(line.tag) is no longer in the target" }
      guard record.lastID < line.first - 1 else { return nil }
      return "tag \(line.tag) stands at \(record.lastID) in the target, below \(line.first - 1)"
    }
    for record in sources.joined() {
      if let line = lines[record.tag] {
        guard record.lastID >= line.first else { continue }
        doubts.append(
          "tag \(record.tag) of the source went on from \(line.sourceLast) to \(record.lastID), which the target may "
            + "give out too")
      } else if isWhole {
        doubts.append("tag \(record.tag) has appeared in the source")
      }
    }
    return doubts
  }
}

extension ImportPlan {
  /// The plan as a table, a heading first.
  var text: [String] {
    var table = TextTable(
      ("TAG", .left), ("ACTION", .left), ("SOURCE_LAST", .right), ("NEXT_BEFORE", .right), ("NEXT", .right),
      ("STEP", .right))
    for line in self.lines {
      table.add([
        line.tag.name, line.action.rawValue, String(line.sourceLast), line.before.map(String.init) ?? "-",
        line.after.map(String.init) ?? "none", String(line.step),
      ])
    }
    return table.lines
  }

  /// The plan as a JSON object. Ids are strings, as in `mid tag list`; what there is none of is null.
  func json(isDryRun: Bool, margin: Int64) -> String {
    func number(_ number: Int64?) -> String { JSONText.string(number.map(String.init)) }
    return JSONText.object([
      "dry_run": String(isDryRun), "margin": JSONText.string(String(margin)),
      "tags": JSONText.array(
        self.lines.map { line in
          JSONText.object([
            "name": JSONText.string(line.tag.name), "action": JSONText.string(line.action.rawValue),
            "source_last": number(line.sourceLast), "next_before": number(line.before), "next": number(line.after),
            "step": String(line.step),
          ])
        }),
    ])
  }
}
