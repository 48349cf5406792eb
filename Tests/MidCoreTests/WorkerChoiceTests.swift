import Testing

@testable import MidCore

@Suite("Which free worker id a node takes") struct WorkerChoiceTests {
  private static let now: Int64 = 1_700_000_000_000

  private func row(
    _ worker: Int64, _ token: String = "other", bound: Int64 = -1000, isHeld: Bool = false
  ) -> WorkerRecord {
    WorkerRecord(
      worker: worker, owner: WorkerOwner(token: token, description: "\(token), process 1"), term: 1,
      expiresAt: isHeld ? Self.now + 60_000 : Self.now, bound: Self.now + bound)
  }

  private func best(
    _ rows: [WorkerRecord], in range: ClosedRange<Int64> = 0...3, remembering memory: WorkerMemory = WorkerMemory(),
    skip: Int = 0
  ) throws -> Int64 {
    let choice = WorkerChoice(
      among: range, for: "me", remembering: memory, from: WorkerList(records: rows, storeTime: Self.now))
    return try choice.best(reach: Self.now + 1000, patience: 3000, skip: skip).worker
  }

  @Test func `one that nobody ever had comes first, the lowest of its range`() throws {
    #expect(try self.best([]) == 0)
    #expect(try self.best([], in: 512...1023) == 512)
    #expect(try self.best([self.row(0), self.row(1, isHeld: true)]) == 2)
  }

  @Test func `then the one that was left the longest ago`() throws {
    let rows = [
      self.row(0, bound: -500), self.row(1, bound: -9000), self.row(2, bound: -8000), self.row(3, isHeld: true),
    ]
    #expect(try self.best(rows) == 1)
  }

  @Test func `its own of the last time comes before all, while its ids are near`() throws {
    let mine = WorkerMemory(worker: 3, term: 1, bound: Self.now + 4000, rowBound: Self.now + 9000)
    #expect(try self.best([self.row(3, "me", bound: 9000, isHeld: true)], remembering: mine) == 3)
    #expect(try self.best([], remembering: mine) == 3, "a store that was emptied")
    #expect(try self.best([], in: 0...2, remembering: mine) == 0, "another range was set")
    var far = mine
    far.bound += 1
    #expect(try self.best([self.row(3, "me", bound: 9000, isHeld: true)], remembering: far) == 0)
    #expect(try self.best([self.row(3, "other", bound: -1)], remembering: mine) == 0, "it is another's now")
  }

  @Test func `where all ids lie ahead of the clock it is the one to wait for the shortest`() throws {
    let rows = [
      self.row(0, bound: 90_000), self.row(1, bound: 5000), self.row(2, bound: 7000), self.row(3, isHeld: true),
    ]
    #expect(try self.best(rows) == 1)
    #expect(try self.best(rows, skip: 5) == 1)
  }

  @Test func `those who were in each other's way choose apart, among the ready ones`() throws {
    let rows = [self.row(0, bound: -500), self.row(1, bound: 90_000)]
    #expect(try (0..<4).map { try self.best(rows, skip: $0) } == [2, 3, 0, 2])
    #expect(try (0..<3).map { try self.best([], in: 0...1023, skip: $0 * 30) } == [0, 30, 60])
  }

  @Test func `says who holds them where all are held`() throws {
    var rows = (0..<4).map { self.row($0, $0 < 2 ? "many" : "host \($0)", isHeld: true) }
    rows[3].expiresAt = Self.now + 1500
    let error = #expect(throws: IDError.self) { try self.best(rows) }
    #expect(error?.code == .leaseLost)
    #expect(
      error?.message == "all 4 worker ids from 0 to 3 are held, by many, process 1 (2); host 2, process 1; "
        + "host 3, process 1; the first lease ends at 2023-11-14T22:13:21.500Z (now 2023-11-14T22:13:20.000Z by the "
        + "store's clock)")
    let full = (0..<1024).map { self.row($0, "host \($0)", isHeld: true) }
    let long = #expect(throws: IDError.self) { try self.best(full, in: 0...1023) }
    #expect(long?.message.contains("all 1024 worker ids from 0 to 1023 are held") == true)
    #expect(long?.message.contains(" and 1016 more; ") == true)
  }
}
