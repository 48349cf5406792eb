import MidTestKit
import Testing

@testable import MidCore

/// What a row hands out by a claim, by the rule of each table.
@Suite struct SegmentClaimTests {
  @Test func `a claim takes new ids of the row, above what it asks for, and moves the row past them`() throws {
    var random = SplitMix64(seed: SplitMix64.freshSeed(for: "claims"))
    for dialect in TableDialect.Kind.allCases.map(TableDialect.init) {
      for _ in 0..<3000 {
        let delta = dialect.residueColumns == nil ? 1 : Int64.random(in: 1...6, using: &random)
        let residue = try #require(
          TableDialect.Residue(delta: delta, remainder: .random(in: 0..<delta, using: &random)))
        let record = dialect.record(.default, maxID: .random(in: -30...30, using: &random), step: 1, residue)
        let near: [Int64] = (-3...3).map { record.lastID + $0 }
        let wishes: [Int64] = [.min, .min + 1, -31, 0, 31] + near
        let claim = SegmentClaim(
          count: .random(in: 1...9, using: &random), above: wishes[random.below(wishes.count)],
          notBelow: wishes[random.below(wishes.count)])
        let (maxID, range): (Int64, IDRange)
        do throws(IDError) {
          (maxID, range) = try dialect.taking(claim, from: record)
        } catch {
          #expect(error.code == .wentBackwards && record.lastID < claim.notBelow, "\(claim) of \(record): \(error)")
          continue
        }
        // Found by counting, with none of the arithmetic under test.
        let old = max(record.lastID, claim.above)
        let ids: [Int64] = (old + 1...old + claim.count * delta).filter { ($0 - residue.remainder) % delta == 0 }
        let taken: [Int64] = (0..<range.count).map { range.start + $0 * range.stride }
        #expect(taken == ids, "\(claim) of \(record)")
        let after = dialect.record(.default, maxID: maxID, step: 1, residue)
        #expect(after.lastID == old + claim.count * delta && record.lastID >= claim.notBelow, "\(claim) of \(record)")
      }
    }
  }

  @Test func `a claim near the ends of the numbers fits or is refused, and never overflows`() throws {
    let edges: [Int64] = [.min, .min + 1, -1, 0, 1, .max / 2, .max - 20, .max - 2, .max - 1, .max]
    let counts: [Int64] = [1, 2, 1000, .max / 7, .max]
    for dialect in TableDialect.Kind.allCases.map(TableDialect.init) {
      let residues = dialect.residueColumns == nil ? [.all] : [.all, TableDialect.Residue(delta: 7, remainder: 3)]
      for (residue, maxID) in residues.compactMap({ $0 }).flatMap({ residue in edges.map { (residue, $0) } }) {
        let record = dialect.record(.default, maxID: maxID, step: 1, residue)
        for (above, notBelow) in edges.flatMap({ above in edges.map { (above, $0) } }) {
          for count in counts {
            Self.check(SegmentClaim(count: count, above: above, notBelow: notBelow), record, dialect)
          }
        }
      }
    }
  }

  private static func check(_ claim: SegmentClaim, _ record: TagRecord, _ dialect: TableDialect) {
    let (delta, old) = (record.stride, max(record.lastID, claim.above))
    // Whether the mark fits behind the last id, and the end of the range behind that.
    let (width, isTooWide) = claim.count.multipliedReportingOverflow(by: delta)
    let fits = !isTooWide && width <= .max - delta && !old.addingReportingOverflow(width + delta).overflow
    do throws(IDError) {
      let range = try dialect.taking(claim, from: record).range
      // Below the lowest number there is none that a wish or a row could name.
      #expect(range.count == claim.count && (range.start > old || old == .min))
      #expect(range.stride == delta && record.lastID >= claim.notBelow)
      // A row that shows the next id needs no room for a mark.
      #expect(fits || dialect.rule == .showsNext)
    } catch {
      #expect(error.code == (record.lastID < claim.notBelow ? .wentBackwards : .exhausted), "\(claim) of \(record)")
      #expect(error.code == .wentBackwards || !fits, "\(claim) of \(record)")
    }
  }

  @Test func `a closed row hands out nothing, whatever is asked`() throws {
    let closed = TableDialect.stripe.record(.default, maxID: 40, step: 25, .closed(token: 7))
    #expect(closed == TagRecord(tag: .default, maxID: 40, step: 25, isClosed: true))
    for claim in [SegmentClaim(count: 1), SegmentClaim(count: .max, above: .max, notBelow: .max)] {
      let error = #expect(throws: IDError.self) { try TableDialect.stripe.taking(claim, from: closed) }
      #expect(error?.code == .storeUnavailable)
    }
  }

  @Test func `delta and remainder say whether a row is open, closed, or neither`() throws {
    let odd = try #require(TableDialect.Residue(delta: 2, remainder: 1))
    #expect(StripeRow.State(delta: 2, remainder: 1) == .open(odd))
    #expect(StripeRow.State(delta: 0, remainder: 1) == .closed(token: 1))
    #expect(StripeRow.State(delta: 0, remainder: 2_147_483_647) == .closed(token: 2_147_483_647))
    #expect(StripeRow.State(delta: 0, remainder: -1) == .settled(token: 1))
    #expect(StripeRow.State(delta: 0, remainder: -2_147_483_647) == .settled(token: 2_147_483_647))
    for (delta, remainder) in [
      (0, 0), (0, -2_147_483_648), (0, .min), (0, 2_147_483_648), (2, 2), (-1, 5), (1_000_001, 0),
    ]
      as [(Int64, Int64)]
    {
      #expect(StripeRow.State(delta: delta, remainder: remainder) == nil, "\(delta), \(remainder)")
    }
  }

  @Test func `the table of stripes is mid's own and is not named by hand`() {
    #expect(TableDialect.stripe.isOwn && TableDialect.mid.isOwn)
    #expect(!TableDialect(.tinyid).isOwn && !TableDialect(.leaf).isOwn)
    var renamed = TableDialect.stripe
    renamed.table = "ids"
    #expect(!renamed.isOwn)
    #expect(!TableDialect.Kind.named.contains(.stripe))
    #expect(Set(TableDialect.Kind.named) == [.mid, .leaf, .leafSegment, .tinyid])
  }
}
