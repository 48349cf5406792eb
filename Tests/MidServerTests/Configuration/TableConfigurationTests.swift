import MidCore
import Testing

@testable import MidServer

@Suite struct TableConfigurationTests {
  @Test func `without settings it is mid's own table`() throws {
    #expect(try ServerConfiguration.load().table.dialect == .mid)
    #expect(try ServerConfiguration.load().store.requireSemiSync == false)
  }

  @Test func `names replace the dialect's own`() throws {
    let file = """
      segment:
        table:
          dialect: tinyid
          name: ids-2
          tag_column: tag
          delta_column: d
      """
    let dialect = try ServerConfiguration.load(
      environment: ["MID_SEGMENT_TABLE_VERSION_COLUMN": "v"], file: ("mid.yaml", file)
    ).table.dialect
    var expected = TableDialect(.tinyid)
    (expected.table, expected.tagColumn, expected.versionColumn) = ("ids-2", "tag", "v")
    expected.residueColumns?.delta = "d"
    #expect(dialect == expected)
    // The commands beside the server read the table alone, whatever else the environment says.
    let environment = [
      "MID_SEGMENT_TABLE_NAME": "ids-2", "MID_SEGMENT_TABLE_TAG_COLUMN": "tag", "MID_SEGMENT_TABLE_DELTA_COLUMN": "d",
      "MID_SEGMENT_TABLE_VERSION_COLUMN": "v", "MID_SEGMENT_TABLE_DIALECT": "leaf", "MID_NONSENSE": "x",
    ]
    #expect(try ServerConfiguration.Table.load(kind: "tinyid", environment: environment).dialect == expected)
  }

  @Test func `every error is told at once`() {
    let error = #expect(throws: ConfigurationErrors.self) {
      _ = try ServerConfiguration.load(environment: [
        "MID_SEGMENT_TABLE_DIALECT": "oracle", "MID_SEGMENT_TABLE_NAME": "a`; DROP TABLE x",
        "MID_SEGMENT_TABLE_STEP_COLUMN": "a b",
      ])
    }
    #expect(
      error?.errors.map(\.key).sorted { ($0 ?? "") < ($1 ?? "") } == [
        "segment.table.dialect", "segment.table.name", "segment.table.step_column",
      ])
    #expect(error?.description.contains("leaf-segment") == true)
  }

  @Test func `columns that the dialect's tables don't have, and one name for two columns, are conflicts`() {
    let error = #expect(throws: ConfigurationErrors.self) {
      _ = try ServerConfiguration.load(environment: [
        "MID_SEGMENT_TABLE_DIALECT": "leaf", "MID_SEGMENT_TABLE_VERSION_COLUMN": "v",
        "MID_SEGMENT_TABLE_DELTA_COLUMN": "d",
      ])
    }
    #expect(error?.errors.map(\.key) == ["segment.table.version_column", "segment.table.delta_column"])
    let twice = #expect(throws: ConfigurationErrors.self) {
      _ = try ServerConfiguration.Table.load(kind: "leaf", environment: ["MID_SEGMENT_TABLE_STEP_COLUMN": "MAX_ID"])
    }
    #expect(twice?.description.contains("two columns are named MAX_ID") == true)
  }
}
