import MidCore
import Testing

@Suite("What the data folder remembers of a worker id") struct WorkerMemoryTests {
  private static let own = "own@here"

  /// The floor for a folder of term 5 and bound 100, and a row of bound 700 that the folder knows as it is.
  private func floor(
    worker: Int64 = 1, folderTerm: Int64 = 5, isClaiming: Bool = false, folderBound: Int64 = 100,
    rowToken: String = Self.own, rowTerm: Int64, rowBound: Int64 = 700, expiresAt: Int64 = 1, known: Int64? = nil,
    asked: Int64 = 0
  ) -> Int64 {
    let memory = WorkerMemory(
      worker: worker, term: folderTerm, isClaiming: isClaiming, bound: folderBound, rowBound: known ?? rowBound,
      askedBound: asked)
    let row = WorkerRecord(
      worker: 1, owner: WorkerOwner(token: rowToken, description: "x"), term: rowTerm, expiresAt: expiresAt,
      bound: rowBound)
    return memory.floor(above: row, of: 1, token: Self.own)
  }

  @Test func `without a row the floor is what the folder remembers`() {
    #expect(WorkerMemory(worker: 1, term: 5, bound: 100).floor(above: nil, of: 1, token: Self.own) == 100)
    #expect(WorkerMemory().floor(above: nil, of: 1, token: Self.own) == 0)
  }

  @Test func `what it remembers of another worker id says nothing`() {
    #expect(WorkerMemory(worker: 2, term: 5, bound: 100).floor(above: nil, of: 1, token: Self.own) == 0)
    #expect(self.floor(worker: 2, rowTerm: 5) == 700)
    #expect(self.floor(worker: 2, rowTerm: 5, rowBound: 50) == 50)
  }

  @Test func `with its own row of the same term the floor is the folder's exact one`() {
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
    // A renewal whose answer was lost is one that the folder knows, and so is one between.
    #expect(self.floor(rowTerm: 5, known: 650, asked: 700) == 100)
    #expect(self.floor(rowTerm: 5, known: 650, asked: 800) == 100)
    // A row given back since, with a bound below the one that was confirmed.
    #expect(self.floor(rowTerm: 5, known: 750, asked: 800) == 700)
  }

  @Test func `a claim of its own whose answer was lost changes nothing`() {
    #expect(self.floor(isClaiming: true, rowTerm: 6) == 100)
    #expect(self.floor(folderTerm: 0, isClaiming: true, folderBound: 0, rowTerm: 1) == 0)
    #expect(self.floor(isClaiming: true, rowTerm: 5) == 100)
  }

  @Test func `another node may have been there between two claims of its own`() {
    // Term 6 was another's, term 7 is its own, and the answer that would have told so was lost.
    #expect(self.floor(isClaiming: true, rowTerm: 7) == 700)
    #expect(self.floor(folderTerm: 0, isClaiming: true, folderBound: 0, rowTerm: 2) == 700)
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
