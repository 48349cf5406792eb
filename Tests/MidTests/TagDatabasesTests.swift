import ArgumentParser
import Foundation
import MidCore
import Testing

@testable import mid

@Suite("mid tag on several databases") struct TagDatabasesTests {
  /// Runs `body` with the URLs of SQLite files that are not there yet, and removes what it left.
  private func withFiles(_ count: Int, _ body: ([String]) async throws -> Void) async throws {
    let folder = temporaryPath("databases")
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try await body((0..<count).map { "sqlite:\(folder)/\($0).db" })
  }

  private func run<Command: ParsableCommand>(
    _ type: Command.Type, _ arguments: [String], _ body: (Command, inout OutputBuffer) async throws -> Void
  ) async throws -> (text: String, error: (any Error)?) {
    let command = try type.parse(arguments)
    return try await captured { try await body(command, &$0) }
  }

  private func create(_ arguments: String...) async throws -> (text: String, error: (any Error)?) {
    try await self.run(TagCreateCommand.self, arguments) { try await $0.run(into: &$1) }
  }

  private func list(_ arguments: String...) async throws -> (text: String, error: (any Error)?) {
    try await self.run(TagListCommand.self, arguments) { try await $0.run(into: &$1) }
  }

  private func restripe(_ arguments: String...) async throws -> (text: String, error: (any Error)?) {
    try await self.run(TagRestripeCommand.self, arguments) { try await $0.run(into: &$1, environment: [:]) }
  }

  /// The words of a table's lines, without its heading and the databases' names.
  private func rows(_ text: String) -> [[String]] {
    text.split(separator: "\n").dropFirst().map { line in
      line.split(separator: " ").map(String.init).enumerated().filter { $0.offset != 1 }.map(\.element)
    }
  }

  @Test func `a tag is created in every stripe, and each row listed`() async throws {
    try await self.withFiles(2) { urls in
      let stripes = urls.joined(separator: ",")
      #expect(
        try await self.create("orders", "--step", "20", "--stripes", stripes).text
          == "created tag orders: first id 1, step 20\n")
      let listed = try await self.list("--stripes", stripes).text
      #expect(
        self.rows(listed) == [
          ["orders", "0", "mod", "2", "2", "0", "20"], ["orders", "1", "mod", "2", "1", "0", "20"],
        ])
      let again = try await self.create("orders", "--stripes", stripes)
      #expect("\(try #require(again.error))".contains("there already, in all 2 databases"))
    }
  }

  @Test func `a tag goes over to a longer list and back`() async throws {
    try await self.withFiles(3) { urls in
      let (two, three) = (urls[..<2].joined(separator: ","), urls.joined(separator: ","))
      for name in ["a", "b"] { _ = try await self.create(name, "--first", "100", "--step", "20", "--stripes", two) }
      let preview = try await self.restripe("--all", "--stripes", three, "--dry-run").text
      #expect(preview.contains("tag a: would go from 2 to 3 databases, next ids above 99 or later"))
      #expect(self.rows(try await self.list("--stripes", two).text).first?.suffix(4) == ["2", "100", "99", "20"])
      #expect(
        try await self.restripe("--all", "--stripes", three).text == """
          tag a: over 3 databases now, was 2; next ids lie above 99
          tag b: over 3 databases now, was 2; next ids lie above 99

          """)
      #expect(try await self.restripe("a", "--stripes", three).text.contains("already over 3 databases"))
      // One of them can't know the others.
      let short = try await self.restripe("a", "--stripes", two)
      #expect(short.error as? ExitCode == .failure && short.text == "")
      #expect(try await self.restripe("a", "--from", three, "--stripes", two).error == nil)
      let rows = self.rows(try await self.list("--stripes", three).text)
      #expect(rows.map { $0[1] } == ["0", "1", "closed", "0", "1", "2"])
      // The closed row does not say of which layout it was.
      let closed = try await self.restripe("a", "--stripes", three)
      #expect(closed.error as? ExitCode == .failure)
      #expect(try await self.restripe("a", "--from", two, "--stripes", three).error == nil)
    }
  }

  @Test func `a look and a refusal create nothing`() async throws {
    try await self.withFiles(3) { urls in
      let (one, three) = (urls[0], urls.joined(separator: ","))
      _ = try await self.create("orders", "--stripes", one)
      func files() -> [Bool] { urls.map { FileManager.default.fileExists(atPath: String($0.dropFirst(7))) } }
      let preview = try await self.restripe("orders", "--stripes", three, "--dry-run")
      #expect(preview.error == nil && preview.text.contains("\(urls[2].dropFirst(7)): no row; then remainder 2 by 3"))
      #expect(files() == [true, false, false])
      // A wrong old layout: a look says so as the run does.
      for options in [["--dry-run"], []] {
        let refused = try await self.run(
          TagRestripeCommand.self, ["orders", "--from", "\(urls[0]),\(urls[1])", "--stripes", three] + options
        ) { try await $0.run(into: &$1, environment: [:]) }
        #expect(refused.error as? ExitCode == .failure && refused.text == "")
      }
      let unknown = try await self.restripe("nobody", "--stripes", three)
      #expect(unknown.error as? ExitCode == .failure)
      #expect(files() == [true, false, false])
      #expect(try await self.restripe("orders", "--stripes", three).error == nil)
      #expect(files() == [true, true, true])
    }
  }

  @Test func `new ids lie above the number that is given, and one list back to a single database is one as others`()
    async throws
  {
    try await self.withFiles(2) { urls in
      let (one, two) = (urls[0], urls.joined(separator: ","))
      _ = try await self.create("orders", "--stripes", two)
      let done = try await self.restripe("orders", "--stripes", one, "--from", two, "--past", "4000")
      #expect(done.text == "tag orders: over 1 database now, was 2; next ids lie above 4000\n")
      let listed = self.rows(try await self.list("--stripes", one).text)
      #expect(listed == [["orders", "all", "4001", "4000", "10000"]])
      let low = try await self.restripe("orders", "--stripes", one, "--from", one, "--past", "5000")
      #expect(low.error as? ExitCode == .failure)
      let advanced = try await self.run(
        TagAdvanceCommand.self, ["orders", "--stripes", one, "--past", "5000"]
      ) { try await $0.run(into: &$1) }
      #expect(advanced.text == "tag orders: next id 5001\n" && advanced.error == nil)
      #expect(
        try await self.restripe("orders", "--stripes", one, "--from", one, "--past", "5000").text.contains("already"))
    }
  }

  @Test func `rows are moved where a database answers, and the command fails where one does not`() async throws {
    try await self.withFiles(2) { urls in
      let two = urls.joined(separator: ",")
      _ = try await self.create("orders", "--stripes", two)
      let path = String(urls[1].dropFirst(7))
      try Data("no database".utf8).write(to: URL(filePath: path))
      let advanced = try await self.run(
        TagAdvanceCommand.self, ["orders", "--stripes", two, "--past", "400"]
      ) { try await $0.run(into: &$1) }
      #expect(advanced.text == "tag orders: next id 402\n")
      #expect("\(try #require(advanced.error))".contains(path))
      let listed = self.rows(try await self.list("--stripes", urls[0]).text)
      #expect(listed.first?.contains("402") == true, "\(listed)")
    }
  }

  @Test func `a tag is created in its home alone`() async throws {
    try await self.withFiles(2) { urls in
      let shards = "x=\(urls[0]),y=\(urls[1])"
      let homes = try ShardHomes(names: ["x", "y"], pins: [:])
      for index in 0..<10 { _ = try await self.create("tag\(index)", "--shards", shards) }
      let listed = try await self.list("--shards", shards).text.split(separator: "\n").dropFirst().map {
        $0.split(separator: " ").map(String.init)
      }
      for index in 0..<10 {
        let home = homes.home(of: try Tag("tag\(index)")) == 0 ? "x" : "y"
        #expect(listed.filter { $0[0] == "tag\(index)" }.map { $0[1] } == [home])
      }
    }
  }

  @Test func `a password on the command line is refused, and a broken list`() {
    for arguments in [
      ["a", "--stripes", "mysql://u:secret@h/d,mysql://u@i/d"], ["a", "--shards", "x=mysql://u:secret@h/d"],
      ["a", "--stripes", "sqlite:a,sqlite:b", "--shards", "x=sqlite:a"],
    ] {
      let error = #expect(throws: (any Error).self) { try TagCreateCommand.parse(arguments) }
      #expect(error.map { !TagCreateCommand.fullMessage(for: $0).contains("secret") } == true)
    }
    for arguments in [
      ["a", "--stripes", "sqlite:a,sqlite:a"], ["--stripes", "sqlite:a"], ["a", "--all", "--stripes", "sqlite:a"],
      ["a", "--stripes", "mysql://u:secret@h/d"], ["a", "--stripes", "sqlite:a", "--from", ""],
      ["a", "--stripes", "sqlite:a", "--recover"], ["a", "--stripes", "sqlite:a", "--past", "-1"],
    ] {
      #expect(throws: (any Error).self) { try TagRestripeCommand.parse(arguments) }
    }
  }
}
