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
    return try RestripeStateMachine(tag: self.tag, databases: names, old: old, new: new, run: 7)
  }

  /// The token of a run's row that is to have this place among `new` databases, 31 for none, and was one of `old`, or is a
  /// new one.
  private static func token(
    _ place: Int64, old: Int64 = 2, new: Int64 = 3, run: Int64 = 7, isNew: Bool = false
  ) -> Int64 {
    run << 14 | (old - 1) << 10 | (new - 1) << 6 | (isNew ? 0 : 1) << 5 | place
  }

  private static func open(_ delta: Int64, _ remainder: Int64, at last: Int64, step: Int64 = 10) throws -> StripeRow {
    StripeRow(state: .open(try self.residue(delta, remainder)), lastID: last, step: step)
  }

  private static func closed(_ token: Int64, at last: Int64) -> StripeRow {
    StripeRow(state: .closed(token: token), lastID: last, step: 10)
  }

  private static func settled(_ token: Int64, at last: Int64) -> StripeRow {
    StripeRow(state: .settled(token: token), lastID: last, step: 10)
  }

  /// The rows of ``machine(old:new:)`` as it closes them, with these numbers.
  private static func closed(at lasts: [Int64], run: Int64 = 7) -> [StripeRow] {
    zip([1, 2, 0], lasts).map { self.closed(self.token($0, run: run, isNew: $0 == 0), at: $1) }
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

  @Test func `all is closed before any is read, read before any is settled, and settled before any is opened`() throws {
    var machine = try Self.machine()
    let seen = [try Self.open(2, 0, at: 40, step: 25), try Self.open(2, 1, at: 61), nil]
    Self.tell(seen, to: &machine)
    let tokens = [Self.token(1), Self.token(2), Self.token(0, isNew: true)]
    for database in 0...2 {
      #expect(
        machine.next() == .close(database: database, seen: seen[database]?.state, token: tokens[database], step: 25))
      machine.closed(.success(true))
    }
    // A load that came in before the close counts, though the look did not show it.
    Self.tell(Self.closed(at: [90, 61, 0]), to: &machine)
    for database in 0...1 {
      #expect(machine.next() == .settle(database: database, token: tokens[database]))
      machine.settled(.success(true))
    }
    // Those of both layouts last.
    for (database, remainder) in [(2, 0), (0, 1), (1, 2)] as [(Int, Int64)] {
      let residue = try Self.residue(3, remainder)
      #expect(
        machine.next()
          == .open(database: database, token: tokens[database], residue: residue, lastID: 90, step: 25))
      machine.opened(.success(true))
    }
    #expect(machine.next() == .done(lastID: 90))
    #expect(machine.next() == .done(lastID: 90), "it is over for good")
  }

  @Test func `a database that leaves is closed, read and settled, and stays so`() throws {
    var machine = try Self.machine(old: [0, 1], new: [1])
    Self.tell([try Self.open(2, 0, at: 40), try Self.open(2, 1, at: 61)], to: &machine)
    for _ in 0...1 { machine.closed(.success(true)) }
    let (leaves, stays) = (Self.token(31, new: 1), Self.token(0, new: 1))
    Self.tell([Self.closed(leaves, at: 80), Self.closed(stays, at: 61)], to: &machine)
    for (database, token) in [(0, leaves), (1, stays)] {
      #expect(machine.next() == .settle(database: database, token: token))
      machine.settled(.success(true))
    }
    #expect(machine.next() == .open(database: 1, token: stays, residue: .all, lastID: 80, step: 10))
    machine.opened(.success(true))
    #expect(machine.next() == .done(lastID: 80))
  }

  @Test func `those of the old layout are closed first, by name, in whatever order they were listed`() throws {
    var machine = try RestripeStateMachine(
      tag: Self.tag, databases: ["c", "a", "d", "b"], old: [0, 2, 3], new: [1, 2], run: 7)
    Self.tell(
      [try Self.open(3, 0, at: 1), nil, try Self.open(3, 1, at: 1), try Self.open(3, 2, at: 1)], to: &machine)
    var order: [Int] = []
    while case .close(let database, _, _, _) = machine.next() {
      order.append(database)
      machine.closed(.success(true))
    }
    #expect(order == [3, 0, 2, 1])
  }

  @Test func `rows that stand below 0 open at 0`() throws {
    var machine = try Self.machine(old: [0], new: [0, 1])
    Self.tell([try Self.open(1, 0, at: -5), nil], to: &machine)
    for _ in 0...1 { machine.closed(.success(true)) }
    let tokens = [Self.token(0, old: 1, new: 2), Self.token(1, old: 1, new: 2, isNew: true)]
    Self.tell([Self.closed(tokens[0], at: -5), Self.closed(tokens[1], at: -9)], to: &machine)
    machine.settled(.success(true))
    #expect(
      machine.next() == .open(database: 1, token: tokens[1], residue: try Self.residue(2, 1), lastID: 0, step: 10))
  }

  // MARK: - Going on

  @Test func `what an interrupted run has left is opened, above all that any row shows`() throws {
    var machine = try Self.machine()
    var rows: [StripeRow?] = Self.closed(at: [0, 61, 0], run: 99)
    for database in 0...1 { rows[database] = Self.settled(Self.token(Int64(database + 1), run: 99), at: 61) }
    rows[2] = try Self.open(3, 0, at: 95)
    Self.tell(rows, to: &machine)
    for (database, remainder) in [(0, 1), (1, 2)] as [(Int, Int64)] {
      let residue = try Self.residue(3, remainder)
      let token = Self.token(remainder, run: 99)
      #expect(machine.next() == .open(database: database, token: token, residue: residue, lastID: 95, step: 10))
      machine.opened(.success(true))
    }
    #expect(machine.next() == .done(lastID: 95))
  }

  @Test func `a run that was interrupted while it settled rows is ended`() throws {
    func token(_ place: Int64) -> Int64 { Self.token(place, new: 2, run: 99, isNew: place != 31) }
    var machine = try Self.machine(old: [0, 1], new: [2, 3])
    Self.tell(
      [
        Self.settled(token(31), at: 40), Self.closed(token(31), at: 61), Self.closed(token(0), at: 10),
        Self.closed(token(1), at: 20),
      ], to: &machine)
    #expect(machine.next() == .settle(database: 1, token: token(31)))
    machine.settled(.success(true))
    for (database, remainder) in [(2, 0), (3, 1)] as [(Int, Int64)] {
      let residue = try Self.residue(2, remainder)
      #expect(
        machine.next()
          == .open(database: database, token: token(remainder), residue: residue, lastID: 61, step: 10))
      machine.opened(.success(true))
    }
    #expect(machine.next() == .done(lastID: 61))
  }

  @Test func `a run that has ended well has nothing left to do`() throws {
    var machine = try Self.machine(old: [0, 1], new: [0, 2])
    Self.tell(
      [try Self.open(2, 0, at: 40), Self.settled(Self.token(31, new: 2), at: 61), try Self.open(2, 1, at: 99)],
      to: &machine)
    #expect(machine.next() == .done(lastID: 99))
  }

  @Test func `rows that a look finds half way, as it reads one after another, are settled and no more`() throws {
    var machine = try Self.machine(old: [0, 1], new: [0, 2])
    let token = Self.token(31, new: 2)
    Self.tell([try Self.open(2, 0, at: 40), Self.closed(token, at: 61), try Self.open(2, 1, at: 99)], to: &machine)
    #expect(machine.next() == .settle(database: 1, token: token))
    machine.settled(.success(true))
    #expect(machine.next() == .done(lastID: 99))
  }

  @Test func `what was begun over other lists is refused, and nothing is changed`() throws {
    let left = Self.token(31, new: 2, run: 99)
    func new(_ place: Int64, run: Int64 = 99) -> StripeRow {
      Self.closed(Self.token(place, new: 2, run: run, isNew: true), at: 1)
    }
    func grown(_ place: Int64, run: Int64 = 99) -> StripeRow {
      Self.closed(Self.token(place, old: 1, run: run, isNew: true), at: 1)
    }
    let cases: [(old: [Int], new: [Int], rows: [StripeRow?])] = [
      // The tag is in other databases, which were not named.
      ([0, 1], [2, 3], [Self.settled(left, at: 1), Self.settled(left, at: 1), nil, nil]),
      ([0, 1], [0, 2], [try Self.open(2, 0, at: 9), Self.settled(left, at: 1), nil]),
      // The other run wants one of the rows that this one does not, or leaves one that this one wants.
      ([0, 1], [0], [Self.settled(Self.token(31, new: 1), at: 1), Self.closed(Self.token(0, new: 1), at: 1)]),
      // The same databases in another order.
      ([0, 1], [3, 2], [Self.settled(left, at: 1), Self.settled(left, at: 1), new(0), new(1)]),
      // Of another number of databases.
      ([0], [1, 2], [Self.settled(Self.token(31, old: 1), at: 1), grown(0), grown(1)]),
      // What two runs have left.
      ([0, 1], [2, 3], [Self.settled(left, at: 1), Self.settled(left, at: 1), new(0), new(1, run: 98)]),
      ([0], [0, 1, 2], [try Self.open(3, 0, at: 9), grown(1), grown(2, run: 98)]),
      ([0], [0, 1, 2], [try Self.open(3, 0, at: 9), nil, grown(2)]),
      // Closed by a run that knew of as many databases so far, but of others.
      ([0, 1], [2, 3], [new(0), try Self.open(2, 1, at: 1), nil, nil]),
      ([0, 1], [1, 2], [try Self.open(2, 0, at: 1), try Self.open(2, 1, at: 1), Self.closed(Self.token(31), at: 1)]),
      // Another run has won, whose row elsewhere has the remainder that this one's closed row was to have.
      (
        [0, 1], [0, 1, 2],
        [try Self.open(3, 0, at: 9), try Self.open(3, 1, at: 9), Self.closed(Self.token(2, isNew: true), at: 1)]
      ),
      // Settled by such a run: its row of db1 was a new one.
      ([0, 1], [0, 1], [Self.settled(Self.token(0, new: 2), at: 1), new(1, run: 7)]),
      // Closed by a run that knew of three databases so far.
      ([0, 1], [2, 3], [Self.closed(Self.token(31, old: 3, new: 2), at: 1), try Self.open(2, 1, at: 1), nil, nil]),
    ]
    for (index, each) in cases.enumerated() {
      var machine = try Self.machine(old: each.old, new: each.new)
      Self.tell(each.rows, to: &machine)
      let error = try #require(Self.failure(of: machine), "case \(index): \(machine.next())")
      #expect(error.code == .storeRejected && error.message.hasSuffix("nothing was changed"), "case \(index): \(error)")
    }
  }

  // MARK: - Databases that lost commits

  @Test func `new ids lie above the number that is given, or above what the rows show`() throws {
    for (past, last) in [(500, 500), (50, 90)] as [(Int64, Int64)] {
      var machine = try RestripeStateMachine(
        tag: Self.tag, databases: ["db0", "db1", "db2"], old: [0, 1], new: [2, 0, 1], past: past, run: 7)
      Self.tell([try Self.open(2, 0, at: 40), try Self.open(2, 1, at: 61), nil], to: &machine)
      for _ in 0...2 { machine.closed(.success(true)) }
      Self.tell(Self.closed(at: [90, 61, 0]), to: &machine)
      for _ in 0...1 { machine.settled(.success(true)) }
      for _ in 0...2 {
        guard case .open(_, _, _, last, _) = machine.next() else { return #expect(Bool(false), "\(machine.next())") }
        machine.opened(.success(true))
      }
      #expect(machine.next() == .done(lastID: last))
    }
  }

  @Test func `a number that comes too late, as an interrupted run has opened a row below it, is refused`() throws {
    for (past, isRefused) in [(96, true), (95, false)] as [(Int64, Bool)] {
      var machine = try RestripeStateMachine(
        tag: Self.tag, databases: ["db0", "db1", "db2"], old: [0, 1], new: [2, 0, 1], past: past, run: 7)
      var rows: [StripeRow?] = Self.closed(at: [0, 61, 0], run: 99)
      for database in 0...1 { rows[database] = Self.settled(Self.token(Int64(database + 1), run: 99), at: 61) }
      rows[2] = try Self.open(3, 0, at: 95)
      Self.tell(rows, to: &machine)
      let error = Self.failure(of: machine)
      #expect((error?.message.contains("mid tag advance") == true) == isRefused, "\(machine.next())")
    }
  }

  // MARK: - What ends a run

  private static let closedByOther = closed(token(1, run: 8), at: 5)

  /// A machine that has closed all its rows.
  private static func closing() throws -> RestripeStateMachine {
    var machine = try self.machine()
    self.tell([try self.open(2, 0, at: 40), try self.open(2, 1, at: 61), nil], to: &machine)
    for _ in 0...2 { machine.closed(.success(true)) }
    return machine
  }

  @Test func `nothing is closed where a database does not answer the look`() throws {
    for missing in 0...2 {
      var machine = try Self.machine()
      Self.tell(Array(repeating: Self.closedByOther, count: missing), to: &machine)
      machine.read(.failure(Self.away))
      let error = try #require(Self.failure(of: machine))
      #expect(error.code == .storeUnavailable)
      #expect(error.message.hasSuffix("nothing was changed"))
    }
  }

  @Test func `a layout of another number of databases is refused, rows that an interrupted run closed are not`() throws
  {
    var machine = try Self.machine()
    Self.tell([try Self.open(4, 0, at: 40), nil, nil], to: &machine)
    let error = try #require(Self.failure(of: machine))
    #expect(error.code == .storeRejected)
    #expect(error.message.contains("one of 4 stripes, but it was said to be in 2 databases"))

    var foreign = try Self.machine()
    Self.tell([try Self.open(2, 0, at: 40), try Self.open(2, 1, at: 40), try Self.open(1, 0, at: 3)], to: &foreign)
    #expect(try #require(Self.failure(of: foreign)).message.contains("database db2 has ids"))

    var again = try Self.machine()
    let rows = [try Self.open(2, 0, at: 90), Self.closedByOther, Self.settled(5, at: 0)]
    Self.tell(rows, to: &again)
    #expect(again.next() == .close(database: 0, seen: rows[0].state, token: Self.token(1), step: 10))
  }

  @Test func `a database of the old layout that has lost its row is refused, and nothing is changed`() throws {
    for rows in [[try Self.open(2, 0, at: 1000), nil, nil], [nil, Self.closedByOther, nil]] as [[StripeRow?]] {
      var machine = try Self.machine()
      Self.tell(rows, to: &machine)
      let error = try #require(Self.failure(of: machine))
      #expect(error.code == .storeRejected && error.message.contains("has no row in database db"))
      #expect(error.message.hasSuffix("nothing was changed"))
    }
  }

  @Test func `a tag without a row is unknown`() throws {
    var machine = try Self.machine()
    Self.tell([nil, nil, nil], to: &machine)
    #expect(Self.failure(of: machine)?.code == .unknownTag)
  }

  @Test func `a close that may have failed ends the run, which says that rows may be closed`() throws {
    var machine = try Self.machine()
    Self.tell([try Self.open(2, 0, at: 40), try Self.open(2, 1, at: 61), nil], to: &machine)
    machine.closed(.success(true))
    machine.closed(.failure(Self.away))
    let error = try #require(Self.failure(of: machine))
    #expect(error.code == .storeUnavailable)
    #expect(error.message.hasSuffix("run it again"))
  }

  @Test func `a row that has changed since the look ends the run`() throws {
    var machine = try Self.machine()
    Self.tell([try Self.open(2, 0, at: 40), try Self.open(2, 1, at: 61), nil], to: &machine)
    machine.closed(.success(true))
    machine.closed(.success(false))
    #expect(try #require(Self.failure(of: machine)).message.contains("another restripe"))
  }

  @Test(arguments: [0, 1, 2])
  func `nothing is settled where one row is not closed by this run any more`(_ other: Int) throws {
    for row in [Self.closedByOther, try Self.open(2, 0, at: 5), nil] {
      var machine = try Self.closing()
      Self.tell(Array(Self.closed(at: [5, 5, 5]).prefix(other)), to: &machine)
      machine.read(.success(row))
      #expect(try #require(Self.failure(of: machine)).message.contains("another restripe"))
    }
  }

  @Test func `nothing is opened where a row could not be settled`() throws {
    for result in [Result<Bool, IDError>.success(false), .failure(Self.away)] {
      var machine = try Self.closing()
      Self.tell(Self.closed(at: [40, 61, 0]), to: &machine)
      machine.settled(.success(true))
      machine.settled(result)
      #expect(Self.failure(of: machine) != nil)
    }
  }

  @Test func `nothing more is opened once a row was not closed by this run any more`() throws {
    var machine = try Self.closing()
    Self.tell(Self.closed(at: [40, 61, 0]), to: &machine)
    for _ in 0...1 { machine.settled(.success(true)) }
    machine.opened(.success(true))
    machine.opened(.success(false))
    #expect(try #require(Self.failure(of: machine)).message.contains("in database db0 has changed"))
  }

  @Test func `lists that make no sense are refused with every reason`() throws {
    func reasons(_ old: [Int], _ new: [Int], run: Int64 = 1) -> String? {
      do throws(IDError) {
        _ = try RestripeStateMachine(tag: Self.tag, databases: ["a", "b"], old: old, new: new, run: run)
        return nil
      } catch { return error.message }
    }
    #expect(reasons([0], [0, 1]) == nil)
    #expect(reasons([], [0, 1])?.contains("one database or more") == true)
    #expect(reasons([0, 1], [1, 1])?.contains("named twice") == true)
    #expect(reasons([0], [0])?.contains("every database is in a layout") == true)
    #expect(reasons([0], [2, 1])?.contains("no other is") == true)
    #expect(reasons([0, 1], [0], run: 0)?.contains("a run has a number") == true)
    #expect(reasons([0, 1], [0], run: 1 << 17)?.contains("a run has a number") == true)
    let many = (0..<17).map { "db\($0)" }
    let error = #expect(throws: IDError.self) {
      try RestripeStateMachine(tag: Self.tag, databases: many, old: [0], new: Array(many.indices), run: 1)
    }
    #expect(error?.message.contains("16 databases at most") == true)
    for past in [-1, Int64.max - 1] {
      let error = #expect(throws: IDError.self) {
        try RestripeStateMachine(tag: Self.tag, databases: ["a"], old: [0], new: [0], past: past, run: 1)
      }
      #expect(error?.message.contains("can't lie above") == true)
    }
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
        run: Int64(token + 1))
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

  @Test func `a check says what a run would, and changes nothing`() async throws {
    let stores = Self.stores(2)
    _ = try await stores[0].store.createStripe(Self.tag, residue: .all, step: 10, first: 1)
    let run = try Restripe(
      tag: Self.tag, databases: stores.map { ($0.name, $0.store) }, old: [0], new: [0, 1], run: 3)
    let row = try await stores[0].store.stripe(of: Self.tag)
    try run.check([row, nil])
    let error = #expect(throws: IDError.self) { try run.check([nil, row]) }
    #expect(error?.message.hasSuffix("nothing was changed") == true)
    #expect(try await stores[0].store.stripe(of: Self.tag) == row)
    let other = try await stores[1].store.stripe(of: Self.tag)
    #expect(other == nil)
  }

  @Test func `the least and the highest token are tokens`() throws {
    let names = (0..<16).map { "db\($0)" }
    let all = Array(names.indices)
    let most = try #require(RestripeStateMachine.runs.last)
    for (old, new, run) in [([0], [1], 1), (all, all, most), (all, [0], most)] as [([Int], [Int], Int64)] {
      let used = Set(old + new)
      let machine = try RestripeStateMachine(
        tag: Self.tag, databases: Array(names.prefix(used.count)), old: old, new: new, run: run)
      for database in used { #expect(StripeRow.tokens.contains(machine.token(of: database))) }
    }
  }

  @Test func `a run that has lost against another one is not gone on with: its remainder is another database's now`()
    async throws
  {
    let stores = Self.stores(4)
    for (database, remainder) in [(0, 0), (1, 1)] as [(Int, Int64)] {
      _ = try await stores[database].store.createStripe(
        Self.tag, residue: try Self.residue(2, remainder), step: 10, first: 1)
    }
    func run(_ third: Int, _ number: Int64) throws -> Restripe {
      let databases = [stores[0], stores[1], stores[third]].map { (name: $0.name, store: $0.store as any StripeStore) }
      return try Restripe(tag: Self.tag, databases: databases, old: [0, 1], new: [0, 1, 2], run: number)
    }
    // It has closed its rows and gets no further.
    var machine = try RestripeStateMachine(
      tag: Self.tag, databases: ["db0", "db1", "db3"], old: [0, 1], new: [0, 1, 2], run: 1)
    for database in [0, 1, 3] { machine.read(.success(try await stores[database].store.stripe(of: Self.tag))) }
    while case .close(let place, let seen, let token, let step) = machine.next() {
      let store = stores[place == 2 ? 3 : place].store
      machine.closed(
        .success(try await store.closeStripe(of: Self.tag, ifStill: seen, token: token, step: step)))
    }
    try await run(2, 2).run()
    let error = await #expect(throws: IDError.self) { try await run(3, 3).run() }
    #expect(error?.message.contains("over other databases already") == true)
    let row = try await stores[3].store.stripe(of: Self.tag)
    #expect(row?.state == .closed(token: machine.token(of: 2)))
  }

  @Test func `a recovery begins anew whatever the rows say, and leaves all above what was given out`() async throws {
    let stores = Self.stores(3)
    let databases = stores.map { (name: $0.name, store: $0.store as any StripeStore) }
    for (database, remainder) in [(0, 0), (1, 1)] as [(Int, Int64)] {
      _ = try await stores[database].store.createStripe(
        Self.tag, residue: try Self.residue(2, remainder), step: 10, first: 501)
    }
    // One run's row, another run's, which was over other lists, and an open one.
    let seen = try await stores[0].store.stripe(of: Self.tag)?.state
    _ = try await stores[0].store.closeStripe(
      of: Self.tag, ifStill: seen, token: Self.token(0, new: 2, run: 8), step: 1)
    _ = try await stores[2].store.closeStripe(of: Self.tag, ifStill: nil, token: Self.token(1, new: 2, run: 9), step: 1)
    _ = try await stores[2].store.settleStripe(of: Self.tag, token: Self.token(1, new: 2, run: 9))
    func run(_ isRecovery: Bool) throws -> Restripe {
      try Restripe(
        tag: Self.tag, databases: databases, old: [0, 1, 2], new: [2, 0], isRecovery: isRecovery, run: 10)
    }
    await #expect(throws: IDError.self) { try await run(false).run() }
    let last = try await run(true).run()
    #expect(last >= 499)
    let states = [try await stores[0].store.stripe(of: Self.tag), try await stores[2].store.stripe(of: Self.tag)]
    #expect(states.map { $0?.state } == [.open(try Self.residue(2, 1)), .open(try Self.residue(2, 0))])
    #expect(states.allSatisfy { ($0?.lastID ?? 0) >= last })
    await #expect(throws: IDError.self) { try await stores[1].store.allocate(1, for: Self.tag) }
  }

  @Test func `what it does is told before it is done, and an error of the store ends it`() async throws {
    let stores = Self.stores(2)
    _ = try await stores[0].store.createStripe(Self.tag, residue: .all, step: 10, first: 1)
    let run = try Restripe(
      tag: Self.tag, databases: stores.map { ($0.name, $0.store) }, old: [0], new: [0, 1], run: 3)
    await stores[1].store.close()
    var actions: [RestripeStateMachine.Action] = []
    await #expect(throws: IDError.self) { try await run.run { actions.append($0) } }
    #expect(actions.prefix(2) == [.read(database: 0), .read(database: 1)])
    #expect(actions.count == 3)
    // The tag is served as before.
    #expect(try await stores[0].store.allocate(1, for: Self.tag).start == 1)
  }
}
