import MidTestKit
import Testing

@testable import MidCore

@Suite struct TableDialectTests {
  private static let all = TableDialect.Kind.allCases.map(TableDialect.init)

  @Test func `the range rules are those of each table's own system`() throws {
    // A row that is moved from 100 to 110, and what belongs to whoever moved it.
    let expected: [TableDialect.Kind: ClosedRange<Int64>] = [
      .mid: 101...110, .tinyid: 101...110, .leaf: 100...109, .leafSegment: 100...109, .stripe: 101...110,
    ]
    for dialect in Self.all {
      let range = try #require(dialect.range(endingAt: 110, count: 10, .all))
      #expect(expected[dialect.kind] == range.start...(range.last ?? 0), "\(dialect.kind)")
      let record = dialect.record(.default, maxID: 110, step: 5)
      #expect(record.next == range.end && record.lastID == range.last, "\(dialect.kind)")
      #expect(dialect.maxID(beforeNext: range.end) == 110)
    }
  }

  @Test func `ranges that follow each other neither meet nor leave a gap, whatever the rule`() throws {
    var random = SplitMix64(seed: 20_261_126)
    for dialect in Self.all {
      for _ in 0..<2000 {
        let delta = dialect.residueColumns == nil ? 1 : Int64.random(in: 1...9, using: &random)
        let residue = try #require(
          TableDialect.Residue(delta: delta, remainder: .random(in: 0..<delta, using: &random)))
        var mark = Int64.random(in: -50...50, using: &random)
        var last: IDRange?
        for _ in 0..<5 {
          let count = Int64.random(in: 1...20, using: &random)
          let next = dialect.record(.default, maxID: mark, step: 1, residue).next
          let range = try #require(dialect.range(endingAt: mark + count * delta, count: count, residue))
          #expect(next == range.start && range.stride == delta && range.count == count)
          #expect((range.start - residue.remainder) % delta == 0)
          if let last { #expect(range.start == last.end) }
          mark += count * delta
          let marks = try #require(dialect.marks(of: range))
          #expect(marks.taken.contains(mark) && marks.residue == residue)
          #expect(dialect.record(.default, maxID: marks.before, step: 1, residue).next == range.start)
          last = range
        }
      }
    }
  }

  @Test func `the last load that fits ends at the largest number, and one more does not fit`() throws {
    for dialect in Self.all {
      for delta in dialect.residueColumns == nil ? [1] : [1, 2, 7] as [Int64] {
        let residue = try #require(TableDialect.Residue(delta: delta, remainder: delta - 1))
        let limit = try #require(dialect.lastMaxID(for: 10, residue))
        #expect(dialect.range(endingAt: limit + 10 * delta, count: 10, residue) != nil)
        #expect(limit > Int64.max - 12 * delta)
        #expect(dialect.lastMaxID(for: .max, residue).map { $0 <= 0 } ?? true)
      }
      #expect(dialect.record(.default, maxID: .max, step: 1).next == nil)
      #expect(dialect.record(.default, maxID: .min, step: 0).step == 1)
    }
    #expect(TableDialect.Residue.all.first(above: .max) == nil)
  }

  @Test func `names hold nothing that needs escaping`() throws {
    for name in ["leaf-segment", "a", "T_1$", String(repeating: "x", count: 64)] { #expect(TableDialect.isName(name)) }
    for name in ["", "a b", "a`b", "a\"b", "a'b", "a;b", "a.b", "é", "a\0", "a\nb", String(repeating: "x", count: 65)] {
      #expect(!TableDialect.isName(name))
      var dialect = TableDialect.mid
      dialect.maxColumn = name
      #expect(throws: IDError.self) { try dialect.validate() }
    }
    var dialect = TableDialect(.tinyid)
    (dialect.table, dialect.stepColumn, dialect.tagColumn) = ("a b", "MAX_ID", "c`")
    let error = #expect(throws: IDError.self) { try dialect.validate() }
    for part in ["table name 'a b'", "'c`'", "two columns are named MAX_ID"] {
      #expect(error?.message.contains(part) == true, "\(String(describing: error))")
    }
    for dialect in Self.all { try dialect.validate() }
  }
}
