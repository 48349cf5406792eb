import ArgumentParser
import Foundation
import MidCore
import MidServer
import Testing

@testable import mid

@Suite("mid worker")
struct WorkerCommandTests {
  private static let now: Int64 = 1_800_000_000_000
  private static let owner = WorkerOwner(token: "secret-token", description: "host-a, process 12")

  /// Runs `body` with a prepared SQLite store and its URL, and removes both.
  private func withStore(_ body: (_ store: any IDStore, _ url: String) async throws -> Void) async throws {
    let folder = temporaryPath("store")
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let store = try StoreOpener.store(at: .sqlite(path: "\(folder)/mid.db"), password: nil)
    try await store.prepare()
    try await body(store, "sqlite:\(folder)/mid.db")
    await store.close()
  }

  private func list(_ arguments: String...) async throws -> (text: String, error: (any Error)?) {
    let command = try WorkerListCommand.parse(arguments)
    return try await captured { try await command.run(into: &$0) }
  }

  private func release(_ arguments: String...) async throws -> (text: String, error: (any Error)?) {
    let command = try WorkerReleaseCommand.parse(arguments)
    return try await captured { try await command.run(into: &$0) }
  }

  private func record(_ worker: Int64, expiresAt: Int64, bound: Int64, term: Int64 = 3) -> WorkerRecord {
    WorkerRecord(worker: worker, owner: Self.owner, term: term, expiresAt: expiresAt, bound: bound)
  }

  @Test func `the table tells of each row what is known`() {
    let table = WorkerTable(
      WorkerList(
        records: [
          self.record(0, expiresAt: Self.now + 590_250, bound: Self.now + 590_000),
          self.record(1, expiresAt: Self.now, bound: Self.now + 5),
          self.record(2, expiresAt: WorkerRecord.givenBack, bound: Self.now - 1000),
          self.record(1023, expiresAt: WorkerRecord.freed, bound: Self.now + 60_000),
        ], storeTime: Self.now))
    #expect(
      table.lines == [
        "  ID  STATE  TERM  OWNER               EXPIRES                          LEFT  BOUND                     LAST_TICK",
        "   0  held      3  host-a, process 12  2027-01-15T08:09:50.250Z        9m50s  2027-01-15T08:09:50.000Z  before BOUND",
        "   1  free      3  host-a, process 12  ended 2027-01-15T08:00:00.000Z      -  2027-01-15T08:00:00.005Z  before BOUND",
        "   2  free      3  host-a, process 12  given back                          -  2027-01-15T07:59:59.000Z  2027-01-15T07:59:58.999Z",
        "1023  free      3  host-a, process 12  released                            -  2027-01-15T08:01:00.000Z  before BOUND",
      ])
  }

  private struct Row: Decodable, Equatable {
    var worker: Int64
    var state, lease, owner, term: String
    var expiresAt, expiresAtMs, leaseLeftMs: String?
    var bound, boundMs: String
    var lastTick, lastTickMs: String?
  }

  @Test func `JSON keeps large numbers exact, and escapes what it has to`() throws {
    let odd = WorkerRecord(
      worker: 5, owner: WorkerOwner(token: "t", description: "a\"b\\\n\u{1b}"), term: .max, expiresAt: .max, bound: .max
    )
    let json = WorkerTable(
      WorkerList(
        records: [odd, self.record(2, expiresAt: WorkerRecord.givenBack, bound: 1000)], storeTime: Self.now)
    ).json
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let rows = try decoder.decode([Row].self, from: Data(json.utf8))
    #expect(rows[0].owner == odd.owner.description)
    #expect(rows[0].term == "9223372036854775807" && rows[0].boundMs == rows[0].term)
    #expect(rows[0].state == "held" && rows[0].lease == "held" && rows[0].lastTick == nil)
    #expect(rows[0].leaseLeftMs == String(Int64.max - Self.now))
    #expect(
      rows[1]
        == Row(
          worker: 2, state: "free", lease: "given_back", owner: "host-a, process 12", term: "3",
          bound: "1970-01-01T00:00:01.000Z", boundMs: "1000", lastTick: "1970-01-01T00:00:00.999Z", lastTickMs: "999"))
    #expect(!json.contains("secret-token"))
    #expect(WorkerTable(WorkerList(records: [], storeTime: 0)).json == "[]")
    #expect(WorkerTable(WorkerList(records: [odd], storeTime: 0)).lines.joined().contains(#"a"b\??"#))
  }

  @Test func `a lease that runs is released with --force only, and keeps its bound`() async throws {
    try await self.withStore { store, url in
      let bound = SystemClock().wallMilliseconds() + 500_000
      let claim = try await store.claimWorker(7, owner: Self.owner, leaseMilliseconds: 600_000, bound: bound)
      let refused = try await self.release("7", "--store", url)
      let failure = try #require(refused.error as? CommandFailure).description
      #expect(refused.text == "")
      for part in [
        "host-a, process 12", "term 1", "\(WallTime(milliseconds: claim.current.expiresAt))", "--force",
        "\(WallTime(milliseconds: bound))",
      ] {
        #expect(failure.contains(part), "\(part) is not in: \(failure)")
      }
      #expect(try await store.workers().records == [claim.current])

      let released = try await self.release("7", "--force", "--store", url)
      #expect(released.error == nil)
      #expect(released.text.hasPrefix("released worker id 7, which host-a, process 12 held in term 1 until "))
      #expect(released.text.contains("\(WallTime(milliseconds: bound))"))
      let row = try #require(try await store.workers().records.first)
      #expect(row.bound == bound && row.expiresAt == WorkerRecord.freed)
      #expect(try await self.list("--store", url).text.contains("released"))
      #expect(
        try await self.release("7", "--store", url).text
          == "worker id 7 is free already: it was released from host-a, process 12\n")
    }
  }

  @Test func `what was never held, or is free, is told so and stays as it is`() async throws {
    try await self.withStore { store, url in
      let never = try #require(try await self.release("5", "--force", "--store", url).error as? CommandFailure)
      #expect(never.description.hasPrefix("no node ever held worker id 5 in this store"))
      _ = try await store.claimWorker(5, owner: Self.owner, leaseMilliseconds: 600_000, bound: 9)
      try await store.releaseWorker(5, token: Self.owner.token, term: 1, bound: 4)
      let before = try await store.workers().records
      #expect(
        try await self.release("5", "--store", url).text
          == "worker id 5 is free already: host-a, process 12 gave it back\n")
      #expect(try await store.workers().records == before)
    }
  }

  @Test func `an ended lease is released without --force`() {
    let row = self.record(7, expiresAt: Self.now, bound: Self.now - 5)
    let list = WorkerList(records: [row], storeTime: Self.now)
    guard case .release(term: 3) = WorkerRelease(of: 7, force: false, in: list).decision else {
      Issue.record("it is not released")
      return
    }
    var freed = row
    freed.expiresAt = WorkerRecord.freed
    #expect(
      WorkerRelease.lines(WorkerClaim(current: freed, previous: row, storeTime: Self.now)) == [
        "released worker id 7: the lease of host-a, process 12 in term 3 had ended 2027-01-15T08:00:00.000Z, so it was free "
          + "for the taking already",
        "the next holder's ids begin at 2027-01-15T07:59:59.995Z, which is past",
      ])
  }

  @Test(arguments: [
    ["release"], ["release", "-1"], ["release", "--", "-1"], ["release", "x"], ["release", "1", "2"],
    ["release", "99999999999999999999"], ["list", "--store", "mysql://u:secret@h/d"],
  ])
  func `a wrong command line is a usage error`(arguments: [String]) throws {
    let error = try #require(#expect(throws: (any Error).self) { try Mid.parseAsRoot(["worker"] + arguments) })
    #expect(Mid.exitCode(for: error) == .validationFailure)
    #expect(!Mid.fullMessage(for: error).contains("secret"))
  }

  @Test(
    arguments: [
      (0, "0s"), (1, "1ms"), (999, "999ms"), (1250, "1s250ms"), (60_000, "1m"), (590_250, "9m50s"), (-590_250, "9m50s"),
      (3_600_000, "1h"), (90_061_001, "1d1h"), (86_400_500, "1d"), (Int64.min, "106751991167d7h"),
    ] as [(Int64, String)])
  func `spans are told by their two largest units`(milliseconds: Int64, text: String) {
    #expect(SpanText.short(milliseconds) == text)
  }
}
