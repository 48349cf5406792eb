import ArgumentParser
import Foundation
import MidCore
import MidSQLite
import MidTestKit
import Testing

@testable import mid

@Suite("mid import")
struct ImportCommandTests {
  private static let orders = (try? Tag("orders")) ?? .default

  private func plan(
    _ sources: [[TagRecord]], _ target: [TagRecord] = [], only: Set<MidCore.Tag> = [], margin: Int64 = 0
  ) throws -> ImportPlan.Line {
    try #require(try ImportPlan(sources: sources, target: target, only: only, margin: margin).lines.first)
  }

  private func record(_ kind: TableDialect.Kind, _ maxID: Int64, step: Int64 = 10) -> TagRecord {
    TableDialect(kind).record(Self.orders, maxID: maxID, step: step)
  }

  @Test func `each table's own rule says what it has given out`() throws {
    // Leaf's row shows the next id, the others the last one: 100 is an id of the target only in the first case.
    for kind in [TableDialect.Kind.leaf, .leafSegment] {
      let line = try self.plan([[self.record(kind, 100)]])
      #expect(line.action == .create && line.sourceLast == 99 && line.after == 100 && line.step == 10)
    }
    for kind in [TableDialect.Kind.mid, .tinyid] {
      let line = try self.plan([[self.record(kind, 100)]])
      #expect(line.action == .create && line.sourceLast == 100 && line.after == 101)
    }
    // A row that has not begun yet, or stands below 0, still gives ids from 1 on.
    #expect(try self.plan([[self.record(.leaf, 1)]]).after == 1)
    #expect(try self.plan([[self.record(.leaf, -50)]]).after == 1)
  }

  @Test func `a tag only ever moves forward`() throws {
    for (stands, action, after) in [
      (98, .move, 100), (99, .leave, 100), (100, .leave, 101), (5000, .leave, 5001),
    ] as [(Int64, ImportPlan.Action, Int64)] {
      let line = try self.plan([[self.record(.leaf, 100)]], [self.record(.mid, stands, step: 7)])
      #expect(line.action == action && line.after == after && line.before == stands + 1 && line.step == 7, "\(stands)")
    }
    let line = try self.plan([[self.record(.leaf, 100)]], [self.record(.mid, 99)], margin: 1000)
    #expect(line.action == .move && line.after == 1100)
  }

  @Test func `whatever the rows are, the target's ids lie above all of the source's`() throws {
    let seed: UInt64 = 20_261_126
    var random = SplitMix64(seed: seed)
    for turn in 0..<5000 {
      let kinds = TableDialect.Kind.named
      let (from, to) = (TableDialect(kinds[turn % 4]), TableDialect(kinds[turn / 4 % 4]))
      let mark = Int64.random(in: -20...1000, using: &random)
      let margin = Int64.random(in: 0...20, using: &random)
      let count = Int64.random(in: 1...50, using: &random)
      // The last range that the source can have taken to come to its mark.
      let taken = try #require(from.range(endingAt: mark, count: count, .all))
      let target =
        Bool.random(using: &random)
        ? [to.record(Self.orders, maxID: .random(in: -20...1000, using: &random), step: 1)] : []
      let line = try self.plan([[from.record(Self.orders, maxID: mark, step: 1)]], target, margin: margin)
      let maxID = line.action == .leave ? target[0].maxID : to.maxID(beforeNext: line.first)
      let next = try #require(to.record(Self.orders, maxID: maxID, step: 1).next)
      #expect(next >= taken.end + margin && next >= 1 && next == line.after, "seed \(seed), turn \(turn): \(line)")
      if let before = line.before { #expect(next >= before) }
    }
  }

  @Test func `databases that share a tag are taken together or not at all`() throws {
    let dialect = TableDialect(.tinyid)
    func share(_ remainder: Int64, _ maxID: Int64) throws -> TagRecord {
      dialect.record(
        Self.orders, maxID: maxID, step: 30, try #require(TableDialect.Residue(delta: 3, remainder: remainder)))
    }
    let all = [[try share(0, 300)], [try share(1, 900)], [try share(2, 600)]]
    let line = try self.plan(all)
    #expect(line.sourceLast == 900 && line.after == 901 && line.step == 30)
    for some in [[all[0]], [all[0], all[1]], [all[0], all[1], all[1]]] {
      let error = #expect(throws: CommandFailure.self) { try self.plan(some) }
      #expect(error?.description.contains("one number in 3") == true)
    }
    // One of them moves to another place.
    #expect(try self.plan([all[1]], [try share(1, 0)]).after == 901)
    #expect(throws: CommandFailure.self) { try self.plan([all[1]], [try share(2, 0)]) }
  }

  @Test func `what can't be planned is told all at once`() throws {
    let error = #expect(throws: CommandFailure.self) {
      try ImportPlan(
        sources: [[self.record(.mid, .max - 3)]], target: [], only: [Self.orders, try Tag("a"), try Tag("b")], margin: 5
      )
    }
    for part in ["no tag a", "no tag b", "no id left"] { #expect(error?.description.contains(part) == true) }
  }

  @Test func `a source that goes on is found out`() throws {
    let before = [[self.record(.leaf, 100)]]
    let plan = try ImportPlan(sources: before, target: [], only: [], margin: 10)
    let target = [self.record(.mid, 109)]
    #expect(plan.doubts(sources: before, target: target, isWhole: true) == [])
    #expect(plan.doubts(sources: [[self.record(.leaf, 110)]], target: target, isWhole: true) == [])
    #expect(plan.doubts(sources: [[self.record(.leaf, 111)]], target: target, isWhole: true).count == 1)
    #expect(plan.doubts(sources: before, target: [self.record(.mid, 108)], isWhole: true).count == 1)
    #expect(plan.doubts(sources: before, target: [], isWhole: true).count == 1)
    let more = before + [[TableDialect(.leaf).record(.default, maxID: 1, step: 1)]]
    #expect(plan.doubts(sources: more, target: target, isWhole: true).count == 1)
    #expect(plan.doubts(sources: more, target: target, isWhole: false) == [])
  }

  // MARK: - The command

  /// Runs `body` with the URLs of two SQLite files that are not there yet, and removes what it left.
  private func withStores(_ body: (_ from: String, _ to: String) async throws -> Void) async throws {
    let folder = temporaryPath("import")
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try await body("sqlite:\(folder)/from.db", "sqlite:\(folder)/to.db")
  }

  private func run(_ arguments: [String]) async throws -> (text: String, error: (any Error)?) {
    let command = try ImportCommand.parse(arguments)
    return try await captured { try await command.run(into: &$0, environment: [:]) }
  }

  private func create(_ tag: String, first: Int64, in url: String) async throws {
    let command = try TagCreateCommand.parse([tag, "--first", "\(first)", "--step", "20", "--store", url])
    let error = try await captured { try await command.run(into: &$0) }.error
    #expect(error == nil)
  }

  private func list(_ url: String) async throws -> String {
    let command = try TagListCommand.parse(["--store", url])
    return try await captured { try await command.run(into: &$0) }.text
  }

  @Test func `a dry run shows what the import then does, and changes nothing`() async throws {
    try await self.withStores { from, to in
      try await self.create("a", first: 500, in: from)
      try await self.create("b", first: 600, in: from)
      let arguments = ["--from", from, "--from-table", "mid", "--to", to, "--margin", "10"]
      let fresh = try await self.run(arguments + ["--dry-run"])
      #expect(fresh.error == nil && fresh.text.contains("a        create"))
      #expect(!FileManager.default.fileExists(atPath: String(to.dropFirst("sqlite:".count))))
      try await self.create("b", first: 9000, in: to)
      let before = try await self.list(to)
      let dry = try await self.run(arguments + ["--dry-run"]).text
      #expect(try await self.list(to) == before)
      let wet = try await self.run(arguments)
      #expect(wet.error == nil)
      #expect(wet.text.split(separator: "\n").dropLast() == dry.split(separator: "\n").dropLast())
      #expect(
        wet.text.split(separator: "\n").dropLast().joined(separator: "\n") == """
          TAG      ACTION  SOURCE_LAST  NEXT_BEFORE  NEXT   STEP
          a        create          499            -   510     20
          b        leave           599         9000  9000     20
          default  move              0            1    11  10000
          """)
      #expect(
        try await self.list(to) == """
          NAME     NEXT  MAX_ID   STEP
          a         510     509     20
          b        9000    8999     20
          default    11      10  10000

          """)
      // Again: nothing is left to do.
      let again = try await self.run(arguments).text
      #expect(!again.contains("create") && !again.contains("move"))
    }
  }

  @Test func `JSON says the same`() async throws {
    try await self.withStores { from, to in
      try await self.create("a", first: 500, in: from)
      let text = try await self.run(
        ["--from", from, "--from-table", "mid", "--to", to, "--tag", "a", "--json", "--dry-run"]
      ).text
      let decoder = JSONDecoder()
      decoder.keyDecodingStrategy = .convertFromSnakeCase
      let plan = try decoder.decode(Plan.self, from: Data(text.utf8))
      #expect(plan.dryRun && plan.margin == "0")
      #expect(
        plan.tags == [
          Plan.Row(name: "a", action: "create", sourceLast: "499", nextBefore: nil, next: "500", step: 20)
        ])
    }
  }

  private struct Plan: Decodable {
    struct Row: Decodable, Equatable {
      var name: String
      var action: String
      var sourceLast: String
      var nextBefore: String?
      var next: String
      var step: Int64
    }
    var dryRun: Bool
    var margin: String
    var tags: [Row]
  }

  @Test func `a source that is not there, or is the target, is refused`() async throws {
    try await self.withStores { from, to in
      let absent = try await self.run(["--from", from, "--from-table", "leaf", "--to", to])
      #expect("\(String(describing: absent.error))".contains("no source"))
      try await self.create("a", first: 500, in: from)
      let same = try await self.run(["--from", from, "--from-table", "mid", "--to", from])
      #expect("\(String(describing: same.error))".contains("one table"))
      let other = try await self.run(["--from", from, "--from-table", "leaf", "--to", to])
      #expect("\(String(describing: other.error))".contains("leaf_alloc"))
      #expect(!FileManager.default.fileExists(atPath: String(to.dropFirst("sqlite:".count))))
    }
  }

  @Test(arguments: [
    [], ["--from", "sqlite:a"], ["--from", "nonsense", "--from-table", "leaf"],
    ["--from", "sqlite:a", "--from-table", "x"],
    ["--from", "sqlite:a", "--from-table", "leaf", "--margin=-1"],
    ["--from", "sqlite:a", "--from-table", "leaf", "--tag", ""],
    ["--from", "mysql://u:secret@h/d", "--from-table", "leaf"],
    ["--from", "sqlite:a", "--from-table", "leaf", "--to", "mysql://u:secret@h/d"],
    ["--from", "sqlite:a", "--from-table", "leaf", "--from-name", "name"],
    ["--from", "sqlite:a", "--from-table", "leaf", "--from-name", "name=a`b"],
    ["--from", "sqlite:a", "--from-table", "leaf", "--from-name", "version_column=v"],
    ["--from", "sqlite:a", "--from-table", "leaf", "--from-name", "nonsense=v"],
  ])
  func `a wrong command line is a usage error that repeats no password`(arguments: [String]) throws {
    let error = try #require(#expect(throws: (any Error).self) { try Mid.parseAsRoot(["import"] + arguments) })
    #expect(Mid.exitCode(for: error) == .validationFailure)
    #expect(!Mid.fullMessage(for: error).contains("secret"))
  }
}
