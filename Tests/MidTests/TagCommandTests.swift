import ArgumentParser
import Foundation
import MidCore
import MidServer
import Testing

@testable import mid

@Suite("mid tag")
struct TagCommandTests {
  /// Runs `body` with the URL of a SQLite file that is not there yet, and removes what it left.
  private func withStore(_ body: (_ url: String, _ path: String) async throws -> Void) async throws {
    let folder = temporaryPath("store")
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try await body("sqlite:\(folder)/mid.db", "\(folder)/mid.db")
  }

  private func create(_ arguments: [String]) async throws -> (text: String, error: (any Error)?) {
    let command = try TagCreateCommand.parse(arguments)
    return try await captured { try await command.run(into: &$0) }
  }

  private func list(_ arguments: [String]) async throws -> (text: String, error: (any Error)?) {
    let command = try TagListCommand.parse(arguments)
    return try await captured { try await command.run(into: &$0) }
  }

  private func set(_ arguments: [String]) async throws -> (text: String, error: (any Error)?) {
    let command = try TagSetCommand.parse(arguments)
    return try await captured { try await command.run(into: &$0) }
  }

  private func advance(_ arguments: [String]) async throws -> (text: String, error: (any Error)?) {
    let command = try TagAdvanceCommand.parse(arguments)
    return try await captured { try await command.run(into: &$0) }
  }

  @Test func `tags are created, listed and moved forward`() async throws {
    try await self.withStore { url, _ in
      #expect(
        try await self.create(["orders", "--first", "500", "--step", "20", "--store", url]).text
          == "created tag orders: first id 500, step 20\n")
      #expect(
        try await self.set(["orders", "--next", "1000", "--step", "5", "--store", url]).text
          == "tag orders: next id 1000, step 5\n")
      #expect(
        try await self.list(["--store", url]).text == """
          NAME     NEXT  MAX_ID   STEP
          default     1       0  10000
          orders   1000     999      5

          """)
      let json = try await self.list(["--json", "--store", url]).text
      let decoded = try JSONDecoder().decode([Row].self, from: Data(json.utf8))
      #expect(
        decoded == [
          Row(name: "default", next: "1", maxID: "0", step: 10000),
          Row(name: "orders", next: "1000", maxID: "999", step: 5),
        ])
    }
  }

  private struct Row: Decodable, Equatable {
    var name: String
    var next: String
    var maxID: String
    var step: Int64

    enum CodingKeys: String, CodingKey {
      case name, next, step
      case maxID = "max_id"
    }
  }

  @Test func `what the store refuses is one line with its code`() async throws {
    try await self.withStore { url, _ in
      _ = try await self.create(["orders", "--first", "500", "--store", url])
      let existing = try #require(await self.create(["orders", "--store", url]).error)
      #expect("\(existing)" == "tagExists: tag orders is there already")
      let unknown = try #require(await self.set(["nope", "--step", "5", "--store", url]).error)
      #expect("\(unknown)".hasPrefix("unknownTag: "))
      let backwards = try #require(await self.set(["orders", "--next", "499", "--store", url]).error)
      #expect("\(backwards)".hasPrefix("wentBackwards: "))
    }
  }

  @Test func `advance moves forward only, and says so`() async throws {
    try await self.withStore { url, _ in
      _ = try await self.create(["orders", "--first", "500", "--store", url])
      #expect(
        try await self.advance(["orders", "--past", "498", "--store", url]).text
          == "tag orders: unchanged, it stands higher: next id 500\n")
      #expect(try await self.advance(["orders", "--past", "499", "--store", url]).text == "tag orders: next id 500\n")
      #expect(
        try await self.advance(["orders", "--past", "7000", "--store", url]).text == "tag orders: next id 7001\n")
      let unknown = try #require(await self.advance(["nope", "--past", "5", "--store", url]).error)
      #expect("\(unknown)".hasPrefix("unknownTag: "))
    }
  }

  @Test func `the live table is what the metrics of a server say`() {
    let page = MetricsPage(
      """
      HTTP/1.1 200 OK

      # HELP mid_segment_ids_left Ids
      mid_segment_ids_left{buffer="serving",tag="a\\"b"} 9995
      mid_segment_ids_left{tag="a\\"b",buffer="standby"} 1e+06
      mid_segment_waiters{tag="a\\"b"} 0
      mid_segment_size{tag="a\\"b",reason="faster"} 20000
      mid_segment_ids_per_second{tag="a\\"b",window="now"} 12.34
      mid_segment_ids_per_second{tag="a\\"b",window="hour"} 1
      mid_segment_dry_seconds{tag="a\\"b",buffer="serving"} 5
      mid_segment_dry_seconds{tag="a\\"b",buffer="all"} 81.9
      broken{tag="x" 5
      other 7
      """)
    let table = LiveTagTable(page)
    #expect(table.lines.count == 2)
    #expect(
      table.lines[1].split(separator: " ") == [
        #"a"b"#, "9995", "1000000", "0", "20000", "faster", "12.3", "1.0", "81", "s",
      ])
    #expect(table.json.contains(#""name": "a\"b", "serving": 9995"#))
    #expect(LiveTagTable(MetricsPage("")).json == "[]")
  }

  @Test func `list and set do not make a store that is missing`() async throws {
    try await self.withStore { url, path in
      let listed = try await self.list(["--store", url]).error
      let changed = try await self.set(["a", "--step", "1", "--store", url]).error
      for error in [listed, changed] {
        #expect(
          (error as? CommandFailure)?.description
            == "there is no store at \(path); `mid serve` or `mid tag create` makes it, or name another with --store")
      }
      #expect(!FileManager.default.fileExists(atPath: (path as NSString).deletingLastPathComponent))
    }
  }

  @Test(arguments: [
    ["create"], ["create", ""], ["create", " a"], ["create", "a", "--step", "0"], ["create", "a", "--first", "0"],
    ["set", "a"], ["set", "a", "--next", "0"], ["set", "a", "--step", "0"], ["list", "--store", "postgres://x"],
    ["list", "--store", "mysql://u:secret@h/d"],
  ])
  func `a wrong command line is a usage error that repeats no password`(arguments: [String]) throws {
    let error = try #require(#expect(throws: (any Error).self) { try Mid.parseAsRoot(["tag"] + arguments) })
    #expect(Mid.exitCode(for: error) == .validationFailure)
    #expect(!Mid.fullMessage(for: error).contains("secret"))
  }

  @Test func `the store is the option's, else the environment's, else the default`() throws {
    let environment = ["MID_STORE_URL": "mysql://env:old@h/d", "MID_STORE_PASSWORD": "new"]
    let none = try StoreOptions.parse([])
    #expect(try none.location([:]) == .sqlite(path: "./mid-data/mid.db"))
    #expect(try none.location(environment).description == "mysql://env@h/d")
    let option = try StoreOptions.parse(["--store", "mysql://opt@[::1]:3307/e?tls=off"])
    let location = try option.location(environment)
    #expect(location.description == "mysql://opt@[::1]:3307/e")
    let store = try StoreOpener.store(at: location, password: "new")
    #expect(store.kind == "mysql")
    #expect(store.location.contains("[::1]:3307/e"))
  }

  @Test func `a URL whose details are wrong is an error that repeats no password`() throws {
    let location = try StoreOpener.location("mysql://u:secret@h/d?tls=maybe", from: "MID_STORE_URL")
    let error = try #require(throws: IDError.self) { _ = try StoreOpener.store(at: location, password: nil) }
    #expect(error.code == .invalidArgument)
    #expect(!error.message.contains("secret"))
  }

  @Test func `a broken environment is exit code 2`() async throws {
    let none = try StoreOptions.parse([])
    await #expect(throws: ExitCode(2)) {
      try await none.withStore(create: true, environment: ["MID_STORE_URL": "nonsense"]) { _ throws(IDError) in }
    }
  }

  @Test func `the table is ordered by name; JSON escapes what it has to`() throws {
    let records = [
      TagRecord(tag: try Tag(#"z"\"#), maxID: .max, step: 1), TagRecord(tag: try Tag("a"), maxID: -5, step: 10),
    ]
    #expect(
      TagTable(records).lines == [
        "NAME  NEXT               MAX_ID  STEP", "a       -4                   -5    10",
        #"z"\   none  9223372036854775807     1"#,
      ])
    #expect(TagTable(records).json.contains(#""name": "z\"\\", "next": "none""#))
    #expect(TagTable([]).json == "[]")
  }
}
