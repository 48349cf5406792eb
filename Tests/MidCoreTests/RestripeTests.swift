import MidCore
import MidTestKit
import Testing

@Suite struct RestripeTests {
  static let tag = Tag.default
  static let away = IDError(.storeUnavailable, "connection refused")

  private static func residue(_ delta: Int64, _ remainder: Int64) throws -> TableDialect.Residue {
    try #require(TableDialect.Residue(delta: delta, remainder: remainder))
  }

  private static func machine(old: [Int] = [0, 1], new: [Int] = [2, 0, 1]) throws -> RestripeStateMachine {
    let names = Set(old + new).sorted().map { "db\($0)" }
    return try RestripeStateMachine(tag: self.tag, databases: names, old: old, new: new, token: 7)
  }

  private static func open(_ delta: Int64, _ remainder: Int64, at last: Int64, step: Int64 = 10) throws -> StripeRow {
    StripeRow(state: .open(try self.residue(delta, remainder)), lastID: last, step: step)
  }

  private static func closed(at last: Int64, token: Int64 = 7) -> StripeRow {
    StripeRow(state: .closed(token: token), lastID: last, step: 10)
  }

  /// Tells of the rows that each `read` asks for, in order.
  private static func tell(_ rows: [StripeRow?], to machine: inout RestripeStateMachine) {
    for (database, row) in rows.enumerated() {
      #expect(machine.next() == .read(database: database))
      machine.read(.success(row))
    }
  }

  private static func failure(of machine: RestripeStateMachine) -> IDError? {
    if case .failed(let error) = machine.next() { error } else { nil }
  }

  // MARK: - The order of things

  @Test func `everything is closed before anything is read for the maximum, and read before anything is opened`() throws
  {
    var machine = try Self.machine()
    Self.tell([try Self.open(2, 0, at: 40, step: 25), try Self.open(2, 1, at: 61), nil], to: &machine)
    for database in 0...2 {
      #expect(machine.next() == .close(database: database, step: 25))
      machine.closed(.success(()))
    }
    // A load that came in before the close counts, though the look did not show it.
    Self.tell([Self.closed(at: 90), Self.closed(at: 61), Self.closed(at: 0)], to: &machine)
    // Those of both layouts first.
    for (database, remainder) in [(0, 1), (1, 2), (2, 0)] as [(Int, Int64)] {
      let residue = try Self.residue(3, remainder)
      #expect(machine.next() == .open(database: database, residue: residue, lastID: 90, step: 25))
      machine.opened(.success(true))
    }
    #expect(machine.next() == .done(lastID: 90))
    #expect(machine.next() == .done(lastID: 90), "it is over for good")
  }

  @Test func `a database that leaves is closed and read, and stays closed`() throws {
    var machine = try Self.machine(old: [0, 1], new: [1])
    Self.tell([try Self.open(2, 0, at: 40), try Self.open(2, 1, at: 61)], to: &machine)
    for _ in 0...1 { machine.closed(.success(())) }
    Self.tell([Self.closed(at: 80), Self.closed(at: 61)], to: &machine)
    #expect(machine.next() == .open(database: 1, residue: .all, lastID: 80, step: 10))
    machine.opened(.success(true))
    #expect(machine.next() == .done(lastID: 80))
  }

  @Test func `rows that stand below 0 open at 0`() throws {
    var machine = try Self.machine(old: [0], new: [0, 1])
    Self.tell([try Self.open(1, 0, at: -5), nil], to: &machine)
    for _ in 0...1 { machine.closed(.success(())) }
    Self.tell([Self.closed(at: -5), Self.closed(at: -9)], to: &machine)
    #expect(machine.next() == .open(database: 0, residue: try Self.residue(2, 0), lastID: 0, step: 10))
  }

  // MARK: - What ends a run

  @Test func `nothing is closed where a database does not answer the look`() throws {
    for missing in 0...2 {
      var machine = try Self.machine()
      Self.tell(Array(repeating: Self.closed(at: 1), count: missing), to: &machine)
      machine.read(.failure(Self.away))
      let error = try #require(Self.failure(of: machine))
      #expect(error.code == .storeUnavailable)
      #expect(error.message.hasSuffix("nothing was changed"))
    }
  }

  @Test func `a layout of another number of databases is refused, one that an interrupted run began is not`() throws {
    var machine = try Self.machine()
    machine.read(.success(try Self.open(4, 0, at: 40)))
    let error = try #require(Self.failure(of: machine))
    #expect(error.code == .storeRejected)
    #expect(error.message.contains("one of 4 stripes, but it was said to be in 2 databases"))

    var foreign = try Self.machine()
    Self.tell([try Self.open(2, 0, at: 40), try Self.open(2, 1, at: 40), try Self.open(1, 0, at: 3)], to: &foreign)
    #expect(try #require(Self.failure(of: foreign)).message.contains("database db2 has ids"))

    var again = try Self.machine()
    Self.tell([try Self.open(3, 1, at: 90), Self.closed(at: 61, token: 9), Self.closed(at: 0, token: 9)], to: &again)
    #expect(again.next() == .close(database: 0, step: 10))
  }

  @Test func `a tag without a row is unknown`() throws {
    var machine = try Self.machine()
    Self.tell([nil, nil, nil], to: &machine)
    #expect(Self.failure(of: machine)?.code == .unknownTag)
  }

  @Test func `a close that may have failed ends the run, which says that rows may be closed`() throws {
    var machine = try Self.machine()
    Self.tell([try Self.open(2, 0, at: 40), try Self.open(2, 1, at: 61), nil], to: &machine)
    machine.closed(.success(()))
    machine.closed(.failure(Self.away))
    let error = try #require(Self.failure(of: machine))
    #expect(error.code == .storeUnavailable)
    #expect(error.message.hasSuffix("run it again"))
  }

  @Test(arguments: [0, 1, 2])
  func `nothing is opened where one row is not closed by this run any more`(_ other: Int) throws {
    for row in [Self.closed(at: 5, token: 8), try Self.open(2, 0, at: 5), nil] {
      var machine = try Self.machine()
      Self.tell([try Self.open(2, 0, at: 40), try Self.open(2, 1, at: 61), nil], to: &machine)
      for _ in 0...2 { machine.closed(.success(())) }
      Self.tell(Array(repeating: Self.closed(at: 5), count: other), to: &machine)
      machine.read(.success(row))
      #expect(try #require(Self.failure(of: machine)).message.contains("another restripe"))
    }
  }

  @Test func `nothing more is opened once a row was not closed by this run any more`() throws {
    var machine = try Self.machine()
    Self.tell([try Self.open(2, 0, at: 40), try Self.open(2, 1, at: 61), nil], to: &machine)
    for _ in 0...2 { machine.closed(.success(())) }
    Self.tell([Self.closed(at: 40), Self.closed(at: 61), Self.closed(at: 0)], to: &machine)
    machine.opened(.success(true))
    machine.opened(.success(false))
    #expect(try #require(Self.failure(of: machine)).message.contains("in database db1 is no longer closed"))
  }

  @Test func `lists that make no sense are refused with every reason`() throws {
    func reasons(_ old: [Int], _ new: [Int], token: Int64 = 1) -> String? {
      do throws(IDError) {
        _ = try RestripeStateMachine(tag: Self.tag, databases: ["a", "b"], old: old, new: new, token: token)
        return nil
      } catch { return error.message }
    }
    #expect(reasons([0], [0, 1]) == nil)
    #expect(reasons([], [0, 1])?.contains("one database or more") == true)
    #expect(reasons([0, 1], [1, 1])?.contains("named twice") == true)
    #expect(reasons([0], [0])?.contains("every database is in a layout") == true)
    #expect(reasons([0], [2, 1])?.contains("no other is") == true)
    #expect(reasons([0, 1], [0], token: 0)?.contains("a token is") == true)
  }

  // MARK: - Over stores

  private static func stores(_ count: Int) -> [(name: String, store: MemoryStore)] {
    (0..<count).map { ("db\($0)", MemoryStore(clock: ManualClock(wallMilliseconds: 0), hasDefault: false)) }
  }

  @Test func `from one database to two, to three, to another two: no id twice, all above what was given out`()
    async throws
  {
    let stores = Self.stores(4)
    _ = try await stores[0].store.createStripe(Self.tag, residue: .all, step: 10, first: 1)
    var seen: Set<Int64> = []
    var last = try await Self.take(from: [stores[0].store], into: &seen)
    for (token, (old, new)) in [([0], [0, 1]), ([0, 1], [2, 0, 1]), ([2, 0, 1], [1, 3])].enumerated() {
      let all = Set(old + new).sorted()
      func places(_ layout: [Int]) -> [Int] { layout.compactMap { all.firstIndex(of: $0) } }
      let run = try Restripe(
        tag: Self.tag, databases: all.map { (stores[$0].name, stores[$0].store) }, old: places(old), new: places(new),
        token: Int64(token + 1))
      #expect(try await run.run() == last)
      for left in Set(old).subtracting(new) {
        await #expect(throws: IDError.self) { try await stores[left].store.allocate(1, for: Self.tag) }
      }
      let floor = last
      var mine: Set<Int64> = []
      last = try await Self.take(from: new.map { stores[$0].store }, into: &mine)
      #expect(mine.allSatisfy { $0 > floor })
      #expect(seen.isDisjoint(with: mine))
      seen.formUnion(mine)
    }
    #expect(seen.count == 240)
  }

  /// Three loads of ten from each, and the highest number that any row shows.
  private static func take(from stores: [MemoryStore], into seen: inout Set<Int64>) async throws -> Int64 {
    var last: Int64 = 0
    for store in stores {
      for _ in 0..<3 {
        for id in try await store.allocate(10, for: self.tag).ids { #expect(seen.insert(id).inserted, "\(id) twice") }
      }
      last = max(last, try #require(try await store.stripe(of: self.tag)).lastID)
    }
    return last
  }

  @Test func `what it does is told before it is done, and an error of the store ends it`() async throws {
    let stores = Self.stores(2)
    _ = try await stores[0].store.createStripe(Self.tag, residue: .all, step: 10, first: 1)
    let run = try Restripe(
      tag: Self.tag, databases: stores.map { ($0.name, $0.store) }, old: [0], new: [0, 1], token: 3)
    await stores[1].store.close()
    var actions: [RestripeStateMachine.Action] = []
    await #expect(throws: IDError.self) { try await run.run { actions.append($0) } }
    #expect(actions.prefix(2) == [.read(database: 0), .read(database: 1)])
    #expect(actions.count == 3)
    // The tag is served as before.
    #expect(try await stores[0].store.allocate(1, for: Self.tag).start == 1)
  }
}
