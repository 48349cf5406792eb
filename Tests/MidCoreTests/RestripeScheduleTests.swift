import Foundation
import MidCore
import MidTestKit
import Testing

/// One tag's rows in four databases, loads from whatever is open, and up to three runs at once that crash anywhere and are
/// begun again, the last ones or old ones. After each step no two open rows share an id, and no id came twice.
private struct RestripeSchedule {
  struct Tool {
    let databases: [Int]
    let new: [Int]
    var machine: RestripeStateMachine
  }

  enum Violation: Hashable {
    case shared(Int, Int)
    case twice(Int64)
    case stuck
  }

  var random: SplitMix64
  var rows: [StripeRow?] = [nil, nil, nil, nil]
  /// What the tag is spread over, as the last run that was ended well, or opened a row, knows.
  var layout: [Int]
  var runs: [(old: [Int], new: [Int])] = []
  var tools: [Tool] = []
  var issued: Set<Int64> = []
  var violations: Set<Violation> = []
  var (ended, crashed, refused, recovered) = (0, 0, 0, 0)

  init(seed: UInt64) throws {
    self.random = SplitMix64(seed: seed)
    self.layout = Array([0, 1, 2].prefix(1 + self.random.below(3)))
    for (remainder, database) in self.layout.enumerated() {
      let residue = try #require(TableDialect.Residue(delta: Int64(self.layout.count), remainder: Int64(remainder)))
      self.rows[database] = StripeRow(state: .open(residue), lastID: Int64(self.random.below(9)), step: 1)
    }
  }

  mutating func run(steps: Int) throws {
    for _ in 0..<steps where self.violations.isEmpty {
      switch self.random.below(20) {
      case 0...1: try self.startTool()
      case 2: self.load(self.random.below(4))
      case 3 where !self.tools.isEmpty:
        self.tools.remove(at: self.random.below(self.tools.count))
        self.crashed += 1
      default: if !self.tools.isEmpty { self.work(self.random.below(self.tools.count)) }
      }
    }
    if self.violations.isEmpty { try self.recover() }
  }

  private mutating func startTool() throws {
    guard self.tools.count < 3 else { return }
    if !self.runs.isEmpty, self.random.below(2) == 0 {
      let (old, new) = self.runs[self.random.below(self.runs.count)]
      return try self.start(old, new)
    }
    var new = self.layout
    let others = [0, 1, 2, 3].filter { !new.contains($0) }
    if let other = others.randomElement(using: &self.random), self.random.below(3) > 0 { new.append(other) }
    if new.count > 1, self.random.below(2) == 0 { new.remove(at: self.random.below(new.count)) }
    if self.random.below(5) == 0 { new.shuffle(using: &self.random) }
    try self.start(self.layout, new)
  }

  private mutating func start(_ old: [Int], _ new: [Int], isRecovery: Bool = false) throws {
    let databases = Set(old + new).sorted()
    func places(_ layout: [Int]) -> [Int] { layout.compactMap { databases.firstIndex(of: $0) } }
    if !isRecovery { self.runs.append((old, new)) }
    let machine = try RestripeStateMachine(
      tag: .default, databases: databases.map { "db\($0)" }, old: places(old), new: places(new),
      isRecovery: isRecovery, run: Int64(self.runs.count) + (isRecovery ? 100_000 : 0))
    self.tools.append(Tool(databases: databases, new: new, machine: machine))
  }

  /// One action, whose answer may be lost with the tool.
  private mutating func work(_ index: Int) {
    var tool = self.tools[index]
    switch tool.machine.next() {
    case .read(let place): tool.machine.read(.success(self.rows[tool.databases[place]]))
    case .close(let place, let seen, let token, let step):
      let database = tool.databases[place]
      let isSame = self.rows[database]?.state == seen
      if isSame {
        self.rows[database] = StripeRow(
          state: .closed(token: token), lastID: self.rows[database]?.lastID ?? 0, step: step)
      }
      tool.machine.closed(.success(isSame))
    case .settle(let place, let token):
      let isClosed = self.rows[tool.databases[place]]?.state == .closed(token: token)
      if isClosed { self.rows[tool.databases[place]]?.state = .settled(token: token) }
      tool.machine.settled(.success(isClosed))
    case .open(let place, let token, let residue, let lastID, let step):
      let database = tool.databases[place]
      let state = self.rows[database]?.state
      let isMine = state == .closed(token: token) || state == .settled(token: token)
      if isMine {
        self.rows[database] = StripeRow(
          state: .open(residue), lastID: max(lastID, self.rows[database]?.lastID ?? 0), step: step)
        self.layout = tool.new
      }
      tool.machine.opened(.success(isMine))
    case .done, .failed: preconditionFailure("it is gone already")
    }
    self.tools[index] = tool
    switch tool.machine.next() {
    case .done:
      self.ended += 1
      self.tools.remove(at: index)
    case .failed:
      self.refused += 1
      self.tools.remove(at: index)
    default: break
    }
    self.check()
  }

  private mutating func load(_ database: Int) {
    guard let row = self.rows[database], case .open(let residue) = row.state else { return }
    let rest = (residue.remainder - (row.lastID + 1) % residue.delta + residue.delta) % residue.delta
    let id = row.lastID + 1 + rest
    if !self.issued.insert(id).inserted { self.violations.insert(.twice(id)) }
    self.rows[database]?.lastID = id
  }

  private mutating func check() {
    let open = self.rows.enumerated().compactMap { database, row -> (Int, TableDialect.Residue)? in
      if case .open(let residue)? = row?.state { (database, residue) } else { nil }
    }
    for (place, (database, residue)) in open.enumerated() {
      for (other, otherResidue) in open[(place + 1)...] {
        let isShared = (0..<residue.delta * otherResidue.delta).contains {
          $0 % residue.delta == residue.remainder && $0 % otherResidue.delta == otherResidue.remainder
        }
        if isShared { self.violations.insert(.shared(database, other)) }
      }
    }
  }

  /// In the end an operator makes the tag whole again.
  private mutating func recover() throws {
    self.tools = []
    for (old, new) in [(self.layout, self.layout)] + self.runs.reversed() where !self.isServing {
      try self.start(old, new)
      while !self.tools.isEmpty { self.work(0) }
    }
    if !self.isServing {
      self.recovered += 1
      try self.start([0, 1, 2, 3].filter { self.rows[$0] != nil }, self.layout, isRecovery: true)
      while !self.tools.isEmpty { self.work(0) }
    }
    if !self.isServing { self.violations.insert(.stuck) }
    for database in self.layout { self.load(database) }
  }

  private var isServing: Bool {
    self.layout.enumerated().allSatisfy { remainder, database in
      guard case .open(let residue)? = self.rows[database]?.state else { return false }
      return residue.delta == Int64(self.layout.count) && residue.remainder == Int64(remainder)
    }
  }
}

@Suite("Restriping, over many schedules", .timeLimit(.minutes(10))) struct RestripeScheduleTests {
  private static let stepsPerSchedule = 200
  /// A million steps in all, or what `MID_TEST_MODEL_STEPS` says.
  private static var schedules: Int {
    let steps = ProcessInfo.processInfo.environment["MID_TEST_MODEL_STEPS"].flatMap { Int($0) } ?? 1_000_000
    return max(1, steps / self.stepsPerSchedule)
  }

  @Test func `no two open rows ever share ids, and a tag can always be served again`() throws {
    let seed = SplitMix64.freshSeed(for: "restripe")
    var (ended, crashed, refused, recovered) = (0, 0, 0, 0)
    for number in 0..<Self.schedules {
      var schedule = try RestripeSchedule(seed: seed &+ UInt64(number))
      try schedule.run(steps: Self.stepsPerSchedule)
      #expect(schedule.violations.isEmpty, "MID_TEST_SEED=\(seed), schedule \(number): \(schedule.violations)")
      if !schedule.violations.isEmpty { return }
      ended += schedule.ended
      crashed += schedule.crashed
      refused += schedule.refused
      recovered += schedule.recovered
    }
    print(
      "restripe: \(ended) runs ended well, \(crashed) crashed, \(refused) refused; \(recovered) tags had to be recovered"
    )
    for count in [ended, crashed, refused] { #expect(count >= Self.schedules) }
  }
}
