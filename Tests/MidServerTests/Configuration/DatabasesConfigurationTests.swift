import MidCore
import Testing

@testable import MidServer

@Suite("The configuration of several databases") struct DatabasesConfigurationTests {
  private func load(_ environment: [String: String]) throws -> ServerConfiguration {
    try ServerConfiguration.load(environment: environment)
  }

  private func errors(_ environment: [String: String]) -> String {
    do {
      _ = try self.load(environment)
      return ""
    } catch {
      return "\(error)"
    }
  }

  @Test func `without them segments come from the store`() throws {
    let configuration = try self.load([:])
    #expect(configuration.databases.isEmpty && configuration.databases.named.isEmpty)
    #expect(configuration.segmentDialect == .mid)
    #expect(configuration.databases.timeout == .milliseconds(500))
  }

  @Test func `stripes keep their order, and are called by host and database`() throws {
    let configuration = try self.load([
      "MID_SEGMENT_STRIPES": "mysql://u:secret@b:3306/ids, mysql://v@a/ids?tls=required,sqlite:c.db"
    ])
    #expect(configuration.databases.named.map(\.name) == ["b:3306/ids", "a/ids", "sqlite:c.db"])
    #expect(configuration.segmentDialect == TableDialect(.stripe))
    #expect(configuration.table.dialect == .mid)
  }

  @Test func `shards have names, and tags are pinned to them`() throws {
    let configuration = try self.load([
      "MID_SEGMENT_SHARDS": "a=mysql://u@a:3306/ids?connections=4,b=sqlite:b=c.db",
      "MID_SEGMENT_PINS": "x=y=a,orders=b",
      "MID_SEGMENT_TABLE_DIALECT": "leaf",
    ])
    #expect(configuration.databases.named.map(\.name) == ["a", "b"])
    #expect(configuration.databases.shards[1].location == .sqlite(path: "b=c.db"))
    #expect(configuration.databases.pins == [try Tag("x=y"): "a", try Tag("orders"): "b"])
    #expect(configuration.segmentDialect == TableDialect(.leaf))
  }

  @Test(arguments: [
    "mysql//u@a/ids", "mysql://u@a/ids,mysql://v@a/ids,mysql://u@a/ids", "mysql://u@a/ids,",
    "redis://x,mysql://u@a/ids",
  ]) func `a list of stripes that can't be one is refused, and shows no password`(text: String) {
    let errors = self.errors(["MID_SEGMENT_STRIPES": text.replacing("u@", with: "u:secret@")])
    #expect(errors.contains("segment.stripes") && !errors.contains("secret"))
  }

  @Test(arguments: [
    "mysql://u@a/ids", "a=mysql://u@a/ids,a=mysql://u@b/ids", "a=mysql://u@a/ids,b=mysql://u@a/ids", "a b=sqlite:x",
  ])
  func `a list of shards that can't be one is refused`(text: String) {
    #expect(self.errors(["MID_SEGMENT_SHARDS": text]).contains("segment.shards"))
  }

  @Test func `what does not go together is refused`() {
    let stripes = "mysql://u@a/ids,mysql://u@b/ids"
    let both = self.errors(["MID_SEGMENT_STRIPES": stripes, "MID_SEGMENT_SHARDS": "a=mysql://u@a/ids"])
    #expect(both.contains("either striped"))
    let leaf = self.errors(["MID_SEGMENT_STRIPES": stripes, "MID_SEGMENT_TABLE_DIALECT": "leaf"])
    #expect(leaf.contains("no columns for delta and remainder"))
    #expect(self.errors(["MID_SEGMENT_PINS": "orders=a"]).contains("there are none"))
    let pin = self.errors(["MID_SEGMENT_SHARDS": "a=mysql://u@a/ids", "MID_SEGMENT_PINS": "orders=z"])
    #expect(pin.contains("there are only: a"))
    #expect(self.errors(["MID_SEGMENT_STRIPES": stripes, "MID_SEGMENT_TABLE_DIALECT": "tinyid"]) == "")
    #expect(self.errors(["MID_SEGMENT_STRIPES": stripes, "MID_SEGMENT_TABLE_DELTA_COLUMN": "every"]) == "")
  }

  @Test func `passwords do not stand on the command line`() {
    let error = #expect(throws: ConfigurationErrors.self) {
      try ServerConfiguration.load(flags: ["segment.stripes": "mysql://u@a/ids,mysql://u@b/ids"])
    }
    #expect(error?.description.contains("MID_SEGMENT_STRIPES") == true)
  }
}
