import ArgumentParser
import Foundation
import MidCore
import MidServer
import Testing

@testable import MidRPC
@testable import mid

/// How the doctor judges what it sees. What it sees is looked at with the real program.
@Suite("mid doctor")
struct DoctorTests {
  private static let now: Int64 = 1_800_000_000_000
  private static let settings = WorkerLeaseSettings(
    lease: 600_000, renewal: 10_000, localBound: 3000, ahead: 1000, patience: 3000)

  private func record(_ worker: Int64, by token: String, left: Int64, bound: Int64 = 0) -> WorkerRecord {
    WorkerRecord(
      worker: worker, owner: WorkerOwner(token: token, description: "host \(token)"), term: 3,
      expiresAt: Self.now + left,
      bound: Self.now + bound)
  }

  private func givenBack(_ worker: Int64, by token: String, bound: Int64 = 0) -> WorkerRecord {
    var record = self.record(worker, by: token, left: 0, bound: bound)
    record.expiresAt = WorkerRecord.givenBack
    return record
  }

  private func list(_ records: [WorkerRecord]) -> WorkerList { WorkerList(records: records, storeTime: Self.now) }

  // MARK: - The report

  @Test func `a report is a line each; only FAIL makes it fail; whatever is not ok says what to do`() throws {
    let well = DoctorReport(findings: [.ok("store", "fine"), .warn("worker.bounds", "far\nahead", "look")])
    #expect(well.isWell)
    #expect(well.lines == ["ok    store          fine", "warn  worker.bounds  far?ahead; look"])
    let ill = DoctorReport(findings: well.findings + [.fail("grpc", "taken \"now\"", "move")])
    #expect(!ill.isWell)
    #expect(ill.lines.last == "FAIL  grpc           taken \"now\"; move")
    let json = try #require(try JSONSerialization.jsonObject(with: Data(ill.json.utf8)) as? [String: Any])
    #expect(json["result"] as? String == "fail")
    let findings = try #require(json["findings"] as? [[String: Any]])
    #expect(findings.map { $0["level"] as? String } == ["ok", "warn", "fail"])
    #expect(findings[2]["found"] as? String == "taken \"now\"" && findings[0]["advice"] is NSNull)
    #expect(well.json.contains(#""result": "warn""#) && DoctorReport(findings: []).json.contains(#""result": "ok""#))
  }

  // MARK: - Tickets

  @Test func `ticket databases that are away, lack tables or are not durable are told`() throws {
    func levels(_ databases: [Result<TicketInspection, IDError>]) -> [Finding.Level] {
      TicketCheck(databases: databases.enumerated().map { ("db\($0.offset)", $0.element) }).findings.map(\.level)
    }
    let away = IDError(.storeUnavailable, "away")
    let well = Result<TicketInspection, IDError>.success(TicketInspection())
    #expect(levels([well, well]) == [.ok])
    #expect(levels([.failure(away), well]) == [.warn])
    #expect(levels([.failure(away), .failure(away)]) == [.fail, .fail])
    #expect(levels([.failure(IDError(.storeRejected, "a right is missing")), well]) == [.fail])
    let troubled = TicketInspection(missing: [.default], warnings: ["Tickets64 is a table of MyISAM; use InnoDB"])
    let findings = TicketCheck(databases: [("db", .success(troubled))]).findings
    #expect(findings.map(\.level) == [.warn, .warn])
    #expect(findings[0].found == "db: Tickets64 is a table of MyISAM" && findings[0].advice == "use InnoDB")
    #expect(findings[1].found == "db lacks the table Tickets64")
  }

  // MARK: - The store

  @Test func `a store that is away, refuses, lacks tables or is not durable is told`() {
    func check(_ inspection: Result<[String], IDError>, _ warnings: [String] = []) -> [Finding] {
      StoreCheck(place: "mysql db:3306/ids", inspection: inspection, durabilityWarnings: warnings).findings
    }
    #expect(check(.success([])).map(\.level) == [.ok])
    #expect(check(.failure(IDError(.storeUnavailable, "away"))).map(\.level) == [.fail])
    #expect(check(.failure(IDError(.storeRejected, "wrong password"))).map(\.found) == ["wrong password"])
    #expect(
      check(.success(["the table a", "the table b"])) == [
        .warn(
          "store", "mysql db:3306/ids lacks the table a and the table b",
          "mid serve makes what is missing; if it should be there, look at store.url")
      ])
    let undurable = check(.success([]), ["sync_binlog is 0: repeats; set it to 1"])
    #expect(undurable.map(\.level) == [.ok, .warn])
    #expect(undurable.last == .warn("store.durable", "sync_binlog is 0: repeats", "set it to 1"))
    #expect(undurable.first?.found.contains("durable") == false)
  }

  @Test func `semi-synchronous replication that is asked for and not at work is FAIL`() {
    #expect([true, false, nil].map { StoreCheck.semiSync($0).level } == [.ok, .fail, .fail])
  }

  @Test func `how far a tag is, is told by its own table's rule`() {
    let next = TableDialect(.leaf).record(.default, maxID: 101, step: 1)
    #expect(TagCheck(tags: [next]).findings.first?.found.contains("ids up to 100") == true)
    let atEnd = TableDialect(.leaf).record(.default, maxID: .max, step: 1)
    #expect(TagCheck(tags: [atEnd]).findings.map(\.level) == [.ok, .fail])
  }

  @Test(
    arguments: [
      (0, [.ok]), (-5, [.ok]), (9_007_199_254_740_991 / 10 * 8, [.ok]),
      (9_007_199_254_740_991 - 9_007_199_254_740_991 / 10, [.ok, .warn]), (9_007_199_254_740_991, [.ok, .warn]),
      (9_007_199_254_740_992, [.ok, .warn]), (Int64.max / 10 * 9 + 10, [.ok, .warn]), (Int64.max - 2, [.ok, .warn]),
      (Int64.max - 1, [.ok, .fail]), (Int64.max, [.ok, .fail]),
    ] as [(Int64, [Finding.Level])])
  func `a tag near the end of its numbers is told`(maxID: Int64, levels: [Finding.Level]) {
    let tags = [TagRecord(tag: .default, maxID: maxID, step: 1)]
    #expect(TagCheck(tags: tags).findings.map(\.level) == levels)
  }

  @Test func `tags are told in order, the furthest first, and not without end`() throws {
    #expect(TagCheck(tags: []).findings.map(\.level) == [.warn])
    var tags = try (0..<30).map { TagRecord(tag: try Tag("t\($0)"), maxID: (1 << 54) + Int64($0), step: 1) }
    let findings = TagCheck(tags: tags).findings
    #expect(findings.count == 22)
    #expect(findings[0].found.contains("30 tags, the furthest is t29"))
    #expect(findings[1].found.contains("past 2^53-1") && findings[1].found.contains("tag t29 "))
    #expect(findings[21].found.hasPrefix("10 more tags"))
    tags.append(TagRecord(tag: try Tag("dense"), maxID: .max, step: 1))
    #expect(TagCheck(tags: tags).findings[1].level == .fail)
  }

  // MARK: - Worker ids

  @Test func `a fixed worker id that another holds is FAIL, one's own is not`() {
    func check(_ records: [WorkerRecord], own: String?, isFolderKnown: Bool = true) -> Finding? {
      var check = WorkerCheck(wish: .fixed(7), list: self.list(records), ownToken: own)
      check.isFolderKnown = isFolderKnown
      return check.findings.first
    }
    let held = self.record(7, by: "a", left: 60_000)
    let conflict = check([held], own: "b")
    #expect(conflict?.level == .fail)
    #expect(conflict?.found == "worker id 7 is held by host a until 2027-01-15T08:01:00.000Z (1m more), in term 3")
    #expect(check([held], own: nil)?.level == .fail)
    #expect(check([held], own: nil, isFolderKnown: false)?.level == .warn)
    #expect(check([held], own: "a")?.level == .ok)
    #expect(check([self.record(7, by: "a", left: 0)], own: "b")?.level == .ok)
    #expect(check([self.givenBack(7, by: "a")], own: nil)?.level == .ok)
    #expect(check([self.record(6, by: "a", left: 60_000)], own: "b")?.level == .ok)
  }

  @Test func `leased worker ids are counted; used up is FAIL, nearly so is warn`() {
    func check(_ range: ClosedRange<Int64>, _ records: [WorkerRecord], own: String? = nil) -> Finding? {
      WorkerCheck(wish: .any(range), list: self.list(records), ownToken: own).findings.first
    }
    let mixed = [
      self.record(0, by: "a", left: 1), self.record(1, by: "b", left: -1), self.givenBack(2, by: "c"),
      self.record(2000, by: "d", left: 1),
    ]
    #expect(
      check(0...1023, mixed)
        == .ok(
          "worker",
          "worker ids 0 to 1023: 1 held, 1 given back or released, 1 with a lease that has ended, 1021 never used"))
    let all = (0..<10).map { self.record(Int64($0), by: "n\($0)", left: 1000 + Int64($0)) }
    #expect(check(0...9, all)?.level == .fail)
    #expect(check(0...9, all)?.found.contains("0: host n0; 1: host n1; 2: host n2 and others") == true)
    #expect(check(0...9, all, own: "n4")?.level == .ok)
    #expect(check(0...99, (0..<91).map { self.record(Int64($0), by: "x", left: 9) })?.level == .warn)
    #expect(check(0...99, (0..<90).map { self.record(Int64($0), by: "x", left: 9) })?.level == .ok)
    #expect(check(7...7, [self.record(7, by: "a", left: 1)])?.level == .fail)
  }

  @Test func `a bound further ahead than a lease explains tells of a clock that was set back`() {
    func check(_ record: WorkerRecord, wish: WorkerWish = .any(0...9)) -> Finding? {
      WorkerBoundCheck(
        wish: wish, list: self.list([record]), now: Self.now, settings: Self.settings, maximumOffset: 500
      ).findings.first
    }
    let slack: Int64 = 1500
    #expect(check(self.record(1, by: "a", left: 600_000, bound: 600_000 + slack))?.level == .ok)
    #expect(check(self.record(1, by: "a", left: 600_000, bound: 600_001 + slack))?.level == .warn)
    #expect(check(self.record(1, by: "a", left: -1, bound: slack))?.level == .ok)
    #expect(check(self.record(1, by: "a", left: -1, bound: slack + 1))?.level == .warn)
    #expect(check(self.givenBack(1, by: "a", bound: 3_600_000))?.found.contains("1h ahead") == true)
    #expect(check(self.givenBack(1, by: "a", bound: 3_600_000), wish: .fixed(1))?.level == .fail)
    #expect(check(self.givenBack(1, by: "a", bound: 3_600_000), wish: .fixed(2))?.level == .warn)
    var freed = self.record(1, by: "a", left: 0, bound: 600_000)
    freed.expiresAt = WorkerRecord.freed
    #expect(check(freed)?.level == .ok)
  }

  // MARK: - The data folder

  @Test func `a data folder is judged by what can be done with it, and by its bound`() {
    func check(_ look: FolderCheck.Look, isFixed: Bool = false) -> Finding? {
      FolderCheck(folder: "./data", look: look, isFixed: isFixed, now: Self.now, settings: Self.settings).findings.first
    }
    func state(bound: Int64, isLocked: Bool = false) -> FolderCheck.Look {
      let memory = WorkerMemory(worker: 3, term: 5, bound: Self.now + bound)
      let reading = WorkerStateReading(
        path: "./data/worker.state", state: WorkerState(token: "t", memory: memory), number: 1, isLocked: isLocked)
      return .state(reading, canBeWritten: true)
    }
    #expect(check(.absent(canBeMade: true))?.level == .warn)
    #expect(check(.absent(canBeMade: false))?.level == .fail)
    #expect(check(.empty(canBeWritten: true))?.level == .ok)
    #expect(check(.empty(canBeWritten: false))?.level == .fail)
    #expect(check(.unreadable("can't read"))?.level == .fail)
    let running = check(state(bound: 2900, isLocked: true))
    #expect(
      running
        == .ok(
          "folder",
          "./data/worker.state: a server is running on this folder; worker id 3, term 5, ids below "
            + "2027-01-15T08:00:02.900Z, 2s900ms ahead of the clock"))
    #expect(check(state(bound: 4000))?.level == .ok)
    #expect(check(state(bound: 4001))?.level == .warn)
    #expect(check(state(bound: 4001), isFixed: true)?.level == .fail)
    #expect(check(state(bound: -7_200_000))?.found.contains("2h behind the clock") == true)
    guard case .state(let reading, _) = state(bound: 0) else { return }
    #expect(check(.state(reading, canBeWritten: false))?.level == .fail)
  }

  // MARK: - The clock

  @Test func `the kernel's and NTP's word on the clock`() {
    let check = ClockCheck(maximumOffset: .seconds(1))
    #expect(check.kernel(nil).level == .ok)
    let kernel = KernelClock(isSynchronized: true, estimatedError: .microseconds(250), maximumError: .milliseconds(9))
    #expect(check.kernel(kernel).found == "synchronised, error about 0.2 ms")
    #expect(
      check.kernel(KernelClock(isSynchronized: false, estimatedError: .zero, maximumError: .seconds(16))).level == .warn
    )

    #expect(check.ntp(servers: 0, reading: nil, failures: []).level == .ok)
    #expect(check.ntp(servers: 1, reading: nil, failures: ["a:123 no answer in time"]).level == .warn)
    func ntp(_ offset: Duration, failures: [String] = []) -> Finding {
      check.ntp(servers: 3, reading: NTPReading(offset: offset, servers: 3 - failures.count), failures: failures)
    }
    #expect(ntp(.milliseconds(1000)) == .ok("clock.ntp", "1s behind the NTP servers, 3 of 3 agree"))
    #expect(ntp(.milliseconds(1001)).level == .fail && ntp(.milliseconds(-1001)).level == .fail)
    #expect(ntp(.milliseconds(-2)).found.hasPrefix("2.0 ms ahead of the NTP servers"))
    #expect(ntp(.zero, failures: ["b:123 no answer in time"]).level == .warn)
    let vague = NTPReading(offset: .milliseconds(1400), uncertainty: .milliseconds(400), servers: 3)
    #expect(check.ntp(servers: 3, reading: vague, failures: []).level == .ok)
    let liar = check.ntp(
      servers: 3, reading: NTPReading(offset: .zero, servers: 2), failures: [], falsetickers: ["c:123"])
    #expect(liar.level == .warn && liar.found.hasSuffix("2 of 3 agree: c:123 contradicts most others"))
    let split = check.ntp(servers: 2, reading: nil, failures: [], isSplit: true)
    #expect(split.level == .warn && split.found.contains("contradict each other"))
    let lone = NTPReading(offset: .seconds(90), servers: 1, isQuorate: false)
    #expect(check.ntp(servers: 3, reading: lone, failures: ["a", "b"]).level == .warn)
  }

  @Test func `the store's clock counts only for what the round trip does not explain`() {
    let check = ClockCheck(maximumOffset: .seconds(1))
    func store(_ offset: Int64, trip: Int64 = 10) -> Finding {
      check.store(Self.now + offset, sent: Self.now, received: Self.now + trip)
    }
    #expect(store(5).level == .ok)
    #expect(store(1000).level == .ok && store(-990).level == .ok)
    #expect(store(1020).level == .fail && store(-1020).level == .fail)
    #expect(store(1020, trip: 4000).level == .ok)
    #expect(store(3_600_000).found.hasPrefix("59m59s behind the store's clock"))
    #expect(store(-3_600_000).found.hasPrefix("1h ahead of the store's clock"))
    #expect(check.store(.max, sent: -5, received: -5).level == .fail)
  }

  @Test func `a clock outside the layout's time is FAIL, its last five years are warn`() {
    func check(_ now: Int64) -> Finding? { LayoutCheck(layout: .original, now: now).findings.first }
    let (start, end) = (SnowflakeLayout.original.epochMilliseconds, SnowflakeLayout.original.endOfTimeMilliseconds)
    #expect(check(start - 1)?.level == .fail)
    #expect(check(start)?.level == .ok)
    #expect(check(end - 6 * 31_556_952_000)?.level == .ok)
    #expect(check(end - 4 * 31_556_952_000)?.level == .warn)
    #expect(check(end - 1)?.level == .warn)
    #expect(check(end)?.level == .fail)
  }

  // MARK: - Ports and TLS

  @Test func `a port is well when it is free or a mid has it`() {
    func check(_ look: PortCheck.Look, isServerHere: Bool = false, port: Int = 50_051) -> Finding.Level? {
      let address = HostPort(host: "127.0.0.1", port: port)
      return PortCheck(purpose: "grpc", address: address, look: look, isServerHere: isServerHere).findings.first?.level
    }
    #expect(check(.free) == .ok)
    #expect(check(.mid("snowflake serves, segment does not serve")) == .ok)
    #expect(check(.other("UNIMPLEMENTED")) == .fail)
    #expect(check(.other("UNIMPLEMENTED"), isServerHere: true) == .fail)
    #expect(check(.notAsked) == .fail)
    #expect(check(.notAsked, isServerHere: true) == .ok)
    #expect(check(.unusable("no address of this machine")) == .fail)
    #expect(check(.free, port: 0) == .ok)
    #expect(
      PortCheck(purpose: "metrics", address: nil, look: .free, isServerHere: false).findings.first?.found == "off")
  }

  @Test func `a certificate is well between its begin and two weeks before its end`() {
    let certificate = RPCCertificate(
      subject: "", names: ["ids.example"], notBefore: 1000, notAfter: 1000 + 90 * 86_400)
    func check(_ now: Int64) -> Finding? {
      CertificateCheck(certificate: .success(certificate), now: now).findings.first
    }
    #expect(check(999)?.level == .fail)
    #expect(check(1000)?.level == .ok)
    #expect(check(1000 + 77 * 86_400)?.level == .warn)
    #expect(check(1000 + 90 * 86_400)?.level == .fail)
    let errors = ConfigurationErrors([
      ConfigurationError(source: "settings", key: "grpc.tls.key", message: "k: missing")
    ])
    #expect(CertificateCheck(certificate: .failure(errors), now: 0).findings.map(\.level) == [.fail])
  }

  // MARK: - The command

  @Test(arguments: [["--worker-id", "banana"], ["--store", "oracle:x"], ["--store", "mysql://u:secret@h/d"]])
  func `a broken configuration is exit code 2, and nothing is printed`(arguments: [String]) async throws {
    let command = try DoctorCommand.parse(arguments)
    let result = try await captured { try await command.run(into: &$0) }
    #expect(result.error as? ExitCode == ExitCode(2))
    #expect(result.text == "")
  }

  @Test(arguments: [["--no-such"], ["extra"], ["--json", "yes"]])
  func `a wrong command line is a usage error`(arguments: [String]) throws {
    let error = try #require(#expect(throws: (any Error).self) { try Mid.parseAsRoot(["doctor"] + arguments) })
    #expect(Mid.exitCode(for: error) == .validationFailure)
  }

  @Test func `keys of opaque ids are looked at, and not shown`() throws {
    let key = "000102030405060708090a0b0c0d0e0f"
    let folder = FileManager.default.temporaryDirectory.appending(path: "mid-\(UUID())").path()
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    func findings(_ flags: [String: String], _ facts: Result<[String: String], IDError>? = nil) throws -> [Finding] {
      let settings = try ServerConfiguration.load(flags: flags).forms
      let findings = FormsCheck(settings: settings, environment: ["KEY": key], folder: folder, facts: facts).findings
      #expect(!findings.contains { $0.found.contains(key) || $0.advice?.contains(key) == true })
      return findings
    }
    #expect(try findings([:]).isEmpty)
    let good = try findings(["opaque.tags": "a", "opaque.keys": "3=env:KEY"])
    #expect(good.map(\.level) == [.ok] && good[0].found.contains("1 tag has opaque numbers, with the keys of slots 3"))
    // What other nodes have put into the store they share.
    let flags = ["opaque.tags": "a", "opaque.keys": "3=env:KEY"]
    #expect(good[0].found.hasSuffix("; the store was not asked whether all nodes have the same"))
    #expect(
      try findings(flags, .success([:]))[0].found.hasSuffix(
        "; the store does not have all of that, and is told at the next start"))
    var memory = OpaqueMemory()
    _ = try ServerConfiguration.load(flags: flags).forms.make(environment: ["KEY": key], remembering: &memory)
    let theirs = Dictionary(uniqueKeysWithValues: memory.facts.map { ($0.key.storeName, $0.value) })
    let same = try findings(flags, .success(theirs))
    #expect(same.map(\.level) == [.ok] && same[0].found.hasSuffix("; the store has the same"))
    let otherwise = try findings(flags, .success(theirs.merging(["opaque/key/3": "1", "opaque/tag/a": "53"]) { $1 }))
    try #require(otherwise.map(\.level) == [.fail, .fail])
    #expect(otherwise[0].found.contains("opaque.keys: slot 3 has another key than the nodes that share this store"))
    #expect(otherwise[1].found.contains("opaque.tags: tag 'a' has 63 bits, and the nodes"))
    #expect(try findings(flags, .failure(IDError(.storeRejected, "no right"))).map(\.level) == [.fail])
    #expect(try findings(flags, .failure(IDError(.storeUnavailable, "away"))).map(\.level) == [.ok])
    let bad = try findings(["opaque.tags": "a", "opaque.keys": "0=env:NONE,1=file:/no/such", "opaque.current": "0"])
    #expect(bad.map(\.level) == [.fail, .fail])
    let path = FileManager.default.temporaryDirectory.appending(path: "mid-\(UUID())").path()
    #expect(
      FileManager.default.createFile(atPath: path, contents: Data(key.utf8), attributes: [.posixPermissions: 0o644]))
    defer { try? FileManager.default.removeItem(atPath: path) }
    let open = try findings(["opaque.tags": "a", "opaque.keys": "0=file:\(path)"])
    #expect(open.map(\.level) == [.warn] && open[0].found.contains("slot 0"))
    // What the server would not start with.
    try Data("slot_bits 4\nkey 3 1\n".utf8).write(to: URL(filePath: "\(folder)/opaque.state"))
    let changed = try findings(["opaque.tags": "a", "opaque.keys": "3=env:KEY"])
    #expect(changed.map(\.level) == [.fail] && changed[0].found.contains("slot 3 has another key than before"))
  }
}
