import MidCore
import Testing

@testable import mid

@Suite("The doctor's look at several databases") struct DatabaseCheckTests {
  private func record(_ delta: Int64, _ remainder: Int64, isClosed: Bool = false) throws -> TagRecord {
    var record = TableDialect.stripe.record(
      .default, maxID: 10, step: 10, try #require(TableDialect.Residue(delta: delta, remainder: remainder)))
    record.isClosed = isClosed
    return record
  }

  private func findings(_ lists: [[TagRecord]?], isStriped: Bool = true) -> [Finding] {
    let looks = lists.enumerated().map { index, list in
      DatabaseCheck.Look(
        name: "db\(index)", inspection: list == nil ? .failure(IDError(.storeUnavailable, "away")) : .success([]),
        durabilityWarnings: [], tags: list)
    }
    return DatabaseCheck(looks: looks, isStriped: isStriped).findings
  }

  @Test func `rows as the list says are well`() throws {
    let findings = self.findings([[try self.record(2, 0)], [try self.record(2, 1)]])
    #expect(findings.map(\.level) == [.ok, .ok, .ok])
    #expect(findings.last?.found == "all tags (1) stand as the list of 2 databases says")
  }

  @Test func `a stripe that is away is a warning while another answers, a shard is a failure`() throws {
    let lists = [[try self.record(1, 0)], nil]
    #expect(self.findings(lists, isStriped: true).prefix(2).map(\.level) == [.ok, .warn])
    #expect(self.findings(lists, isStriped: false).map(\.level) == [.ok, .fail])
    #expect(self.findings([nil, nil]).map(\.level) == [.fail, .fail])
  }

  @Test func `rows that are closed, missing or elsewhere are told`() throws {
    let closed = self.findings([[try self.record(2, 0)], [try self.record(1, 0, isClosed: true)]])
    #expect(closed.last?.level == .warn && closed.last?.found == "tag default is closed in db1")
    let missing = self.findings([[try self.record(2, 0)], []])
    #expect(missing.last?.found == "tag default stands in 1 of 2 databases")
    let turned = self.findings([[try self.record(2, 1)], [try self.record(2, 0)]])
    #expect(turned.last?.found.contains("remainder 1 by 2 in db0, which is number 0 of 2") == true)
  }
}
