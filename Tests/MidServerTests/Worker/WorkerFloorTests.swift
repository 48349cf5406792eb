import MidCore
import Testing

@testable import MidServer

@Suite("The floor of a claim") struct WorkerFloorTests {
  private static let own = "own@here"

  /// The floor for a file of term 5 and bound 100, and a row of bound 700 that the file knows as it is.
  private func floor(
    fileTerm: Int64 = 5, isClaiming: Bool = false, fileBound: Int64 = 100, rowToken: String = Self.own,
    rowTerm: Int64, rowBound: Int64 = 700, expiresAt: Int64 = 1, known: Int64? = nil, asked: Int64 = 0
  ) -> Int64 {
    WorkerFloor.floor(
      file: WorkerState(
        token: "own", term: fileTerm, isClaiming: isClaiming, bound: fileBound, rowBound: known ?? rowBound,
        askedBound: asked),
      previous: WorkerRecord(
        worker: 1, owner: WorkerOwner(token: rowToken, description: "x"), term: rowTerm, expiresAt: expiresAt,
        bound: rowBound),
      token: Self.own)
  }

  @Test func `without a row it is what the folder remembers`() {
    let file = WorkerState(token: "own", term: 5, bound: 100)
    #expect(WorkerFloor.floor(file: file, previous: nil, token: Self.own) == 100)
    #expect(WorkerFloor.floor(file: WorkerState(token: "own"), previous: nil, token: Self.own) == 0)
  }

  @Test func `with our own row of the same term it is the folder's exact one`() {
    #expect(self.floor(rowTerm: 5) == 100)
    #expect(self.floor(rowTerm: 5, rowBound: 50) == 100)
    #expect(self.floor(rowTerm: 5, expiresAt: 0) == 100)
  }

  @Test func `with a folder copied back from a backup it is the row's`() {
    #expect(self.floor(rowTerm: 6) == 700)
    #expect(self.floor(rowTerm: 6, rowBound: 50) == 100)
    // A row that is older than the folder: somebody put the table back.
    #expect(self.floor(rowTerm: 4) == 700)
  }

  @Test func `with a backup of the same term it is the row's, which has been renewed since`() {
    #expect(self.floor(rowTerm: 5, known: 650) == 700)
    #expect(self.floor(rowTerm: 5, known: 650, asked: 690) == 700)
    #expect(self.floor(isClaiming: true, rowTerm: 6, known: 650) == 700)
    // A renewal whose answer was lost is one that the file knows.
    #expect(self.floor(rowTerm: 5, known: 650, asked: 700) == 100)
  }

  @Test func `a claim of ours whose answer was lost changes nothing`() {
    #expect(self.floor(isClaiming: true, rowTerm: 6) == 100)
    #expect(self.floor(fileTerm: 0, isClaiming: true, fileBound: 0, rowTerm: 1) == 0)
    #expect(self.floor(isClaiming: true, rowTerm: 5) == 100)
  }

  @Test func `another node may have been there between two claims of ours`() {
    // Term 6 was another's, term 7 is ours, and the answer that would have told us was lost.
    #expect(self.floor(isClaiming: true, rowTerm: 7) == 700)
    #expect(self.floor(fileTerm: 0, isClaiming: true, fileBound: 0, rowTerm: 2) == 700)
  }

  @Test func `with another's row it is above both`() {
    for term: Int64 in [1, 5, 6, 9] {
      for isClaiming in [false, true] {
        #expect(self.floor(isClaiming: isClaiming, rowToken: "own@elsewhere", rowTerm: term) == 700)
        #expect(self.floor(isClaiming: isClaiming, rowToken: "other@here", rowTerm: term, rowBound: 50) == 100)
      }
    }
    #expect(self.floor(rowToken: "other@here", rowTerm: 6, expiresAt: 0) == 700)
  }
}
