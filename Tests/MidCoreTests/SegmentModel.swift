import MidCore
import MidTestKit
import Synchronization

/// Nodes that share tags through one to four databases, on one thread, in an order that the seed alone decides: calls,
/// batches, deadlines, cancelled calls, loads whose answers are late or lost, loads that are carried out after their sender
/// is gone, databases away, failovers that lose the last commits, crashes with the folder kept or lost, clean stops, new
/// steps, operators who move rows on, and restripes by one or two tools that may crash anywhere.
///
/// The nodes run the real generators, and the tools the real rules; rows follow the rules that the stores share. Played
/// are the databases, the folders, and the choice among databases.
struct SegmentModel {
  /// A rule to take out, to see that its absence is noticed.
  enum Sabotage: CaseIterable {
    case none
    /// A node takes whatever a database that went backwards hands out.
    case noHighWater
    /// A rest is given back without a look at where the row stands.
    case blindGiveBack
    /// One row stays open while the tool takes it for closed.
    case opensEarly
    /// The tool takes the maximum from before it closed the rows.
    case readsEarly
    /// A row is opened whoever has closed it.
    case opensAnyway
    /// A load does not compare the row's delta and remainder.
    case noResidue
    /// A row is closed whatever it says by then.
    case closesAnyway
  }

  /// What went wrong.
  enum Violation: Hashable {
    /// A number that no failover has lost came twice.
    case twice(tag: Int, id: Int64)
    /// Two open rows have numbers in common.
    case shared(tag: Int)
    case notIncreasing(node: Int, tag: Int, id: Int64, after: Int64)
    case belowOne(tag: Int, id: Int64)
    case answeredTwice(call: Int)
    case wrongCount(call: Int)
    /// A call was not answered though its deadline has passed, or it was cancelled, or its node has stopped.
    case notAnswered(call: Int)
    /// A node says that a table went backwards, but none has.
    case falseAlarm(node: Int, tag: Int)
    /// All is well again, and yet a node does not serve.
    case stuck(node: Int, tag: Int)
  }

  static let away = IDError(.storeUnavailable, "away")
  static let settings = SegmentSettings(
    maximumWaiters: 6, maximumLoad: 100, target: .seconds(20), outage: .seconds(5), firstRetryDelay: .milliseconds(50),
    maximumRetryDelay: .milliseconds(400))

  var random: SplitMix64
  let sabotage: Sabotage
  /// Whether tools are at work most of the time.
  let isAboutLayouts: Bool
  /// Whether databases fail over to replicas that lack the last commits.
  let losesCommits: Bool
  let tags: Int
  var databases: [Database] = []
  /// Which databases a tag is spread over, as operators know.
  var layouts: [[Int]]
  /// The lists of all runs that were begun, by tag.
  var runs: [[(old: [Int], new: [Int])]] = []
  var nodes: [Node] = []
  var tools: [Tool] = []
  /// Requests whose senders are gone: they may still be carried out, each once.
  var orphans: [(database: Int, request: Request)] = []
  let outbox = Outbox()
  let clock = ManualClock(wallMilliseconds: 0)
  var time: Int64 = 0
  var calls: [Call] = []
  var nextRun: Int64 = 1
  /// What was given out, by tag.
  var issued: [[IDRange]]
  /// What was committed and then lost by a failover, by tag.
  var lost: [[IDRange]]
  var violations: Set<Violation> = []
  var counts = Counts()

  /// One call for ids that had to wait or was answered at once.
  struct Call {
    let node: Int
    let tag: Int
    let count: Int64
    var isOpen = true
  }

  /// What generators ask for and answer, in order; emptied after each step of theirs.
  final class Outbox: Sendable {
    enum Event: Sendable {
      case load(node: Int, tag: Int, SegmentLoad)
      case answer(call: Int, Result<[IDRange], IDError>)
    }

    private let events = Mutex<[Event]>([])

    func append(_ event: Event) { self.events.withLock { $0.append(event) } }
    func take() -> [Event] {
      self.events.withLock { events in
        defer { events.removeAll(keepingCapacity: true) }
        return events
      }
    }
  }

  init(seed: UInt64, sabotage: Sabotage = .none) throws {
    var random = SplitMix64(seed: seed)
    let isAboutLoss = sabotage == .noHighWater
    let isAboutLayouts: Bool = [.opensEarly, .readsEarly, .opensAnyway, .noResidue, .closesAnyway].contains(sabotage)
    self.isAboutLayouts = isAboutLayouts || (sabotage == .none && random.below(5) == 0)
    // The table of one database is what most run.
    let count = isAboutLoss ? 1 : self.isAboutLayouts ? 2 + random.below(3) : max(1, random.below(6) - 1)
    self.losesCommits = sabotage == .none ? random.below(3) == 0 : isAboutLoss
    self.tags = 1 + random.below(2)
    self.sabotage = sabotage
    self.layouts = []
    self.issued = Array(repeating: [], count: self.tags)
    self.lost = self.issued
    self.databases = Array(repeating: Database(rows: Array(repeating: nil, count: self.tags)), count: count)
    let nodes = 1 + random.below(4)
    self.random = random
    for tag in 0..<self.tags { self.lay(out: tag) }
    for index in 0..<nodes {
      self.nodes.append(Node(tags: self.tags, databases: count))
      try self.boot(index)
    }
  }

  /// Spreads a new tag over some of the databases.
  private mutating func lay(out tag: Int) {
    let layout = self.someDatabases()
    let first = Int64(self.random.below(30)) - 4
    for (remainder, database) in layout.enumerated() {
      guard let residue = TableDialect.Residue(delta: Int64(layout.count), remainder: Int64(remainder)) else { return }
      let record = TagRecord(
        tag: .default, maxID: first, step: Int64(1 + self.random.below(12)), residue: residue)
      self.databases[database].rows[tag] = Row(record: record)
    }
    self.layouts.append(layout)
    self.runs.append([])
  }

  /// One or more databases, in any order.
  mutating func someDatabases() -> [Int] {
    var all = Array(self.databases.indices)
    all.shuffle(using: &self.random)
    return Array(all.prefix(1 + self.random.below(all.count)))
  }

  /// Carries out `steps` random steps, then puts all right and sees that all serve; ``violations`` tells what went wrong.
  mutating func run(steps: Int) throws {
    for _ in 0..<steps {
      try self.step()
      if !self.violations.isEmpty { break }
    }
    if self.violations.isEmpty { try self.recover() }
    for tag in 0..<self.tags { self.findRepeats(tag) }
  }

  private mutating func step() throws {
    let index = self.random.below(self.nodes.count)
    // In thousandths.
    switch self.random.below(1000) {
    case 0..<340: self.call(index)
    case 340..<360: self.cancel(index)
    case 360..<540: self.carryOut(index)
    case 540..<700: try self.deliver(index)
    case 700..<800: self.pass(Int64(self.random.below(40)))
    case 800..<830: self.pass(Int64(self.random.below(3000)))
    case 830..<850: self.nodes[index].sample()
    case 850..<880: try self.list(index, isConfirmed: self.random.below(6) == 0)
    case 880..<890: self.databases[self.random.below(self.databases.count)].isAway = self.random.below(3) == 0
    case 890..<900: if self.losesCommits { self.failOver(self.random.below(self.databases.count)) }
    case 900..<906: self.setStep()
    case 906..<910: self.advance()
    case 910..<916: if self.losesCommits { try self.mend() }
    case 916..<921: try self.crash(index)
    case 921..<926: try self.stop(index)
    case 926..<934: self.call(index)
    case 934..<950: self.carryOutOrphan()
    case 950..<955: self.startTool()
    default: self.work()
    }
    if self.isAboutLayouts && self.random.below(4) == 0 {
      if self.random.below(8) == 0 { self.startTool() }
      self.work()
    }
    self.settle()
  }

  /// Time passes, and with it the deadlines of calls and the pauses between loads.
  mutating func pass(_ milliseconds: Int64) {
    self.time += milliseconds
    self.clock.advance(by: milliseconds)
    for index in self.nodes.indices {
      let due = self.nodes[index].waiting.filter { $0.deadline <= self.time }
      self.nodes[index].waiting.removeAll { $0.deadline <= self.time }
      for wait in due {
        wait.generator.expire(wait.id)
        self.settle()
        if self.calls[wait.call].isOpen { self.violations.insert(.notAnswered(call: wait.call)) }
        self.counts.expired += 1
      }
      self.endPauses(index)
    }
  }

  // MARK: - The books

  /// Takes in what generators have asked for and answered.
  mutating func settle() {
    while true {
      let events = self.outbox.take()
      if events.isEmpty { return }
      for event in events {
        switch event {
        case .load(let node, let tag, let load): self.begin(load, tag, node)
        case .answer(let call, let result): self.answered(call, result)
        }
      }
    }
  }

  private mutating func answered(_ index: Int, _ result: Result<[IDRange], IDError>) {
    let call = self.calls[index]
    guard call.isOpen else {
      self.violations.insert(.answeredTwice(call: index))
      return
    }
    self.calls[index].isOpen = false
    self.nodes[call.node].waiting.removeAll { $0.call == index }
    switch result {
    case .success(let ranges):
      if ranges.reduce(0, { $0 + $1.count }) != call.count { self.violations.insert(.wrongCount(call: index)) }
      self.issue(ranges, call.tag, call.node)
    case .failure(let error):
      self.counts.refusedCalls += 1
      if error.code == .wentBackwards { self.alarm(call.node, call.tag) }
    }
  }

  /// A node says that a table went backwards.
  mutating func alarm(_ node: Int, _ tag: Int) {
    self.counts.alarms += 1
    if !self.losesCommits { self.violations.insert(.falseAlarm(node: node, tag: tag)) }
  }

  mutating func issue(_ ranges: [IDRange], _ tag: Int, _ node: Int) {
    for range in ranges {
      guard let last = range.last else { continue }
      if range.start < 1 { self.violations.insert(.belowOne(tag: tag, id: range.start)) }
      let before = self.nodes[node].last[tag]
      if range.start <= before {
        self.violations.insert(.notIncreasing(node: node, tag: tag, id: range.start, after: before))
      }
      self.nodes[node].last[tag] = last
      self.counts.ids += range.count
      self.issued[tag].append(range)
    }
  }

  /// Finds numbers that were given out twice. Those that a failover has lost may be: by another node than the one that
  /// had received them, which ``Violation/notIncreasing(node:tag:id:after:)`` is about.
  private mutating func findRepeats(_ tag: Int) {
    var open: [IDRange] = []
    for range in self.issued[tag].sorted(by: { $0.start < $1.start }) {
      open.removeAll { ($0.last ?? .min) < range.start }
      for other in open {
        guard let id = Self.common(other, range) else { continue }
        if self.lost[tag].contains(where: { Self.contains($0, id) }) {
          self.counts.repeatsOfLost += 1
        } else {
          self.violations.insert(.twice(tag: tag, id: id))
        }
      }
      open.append(range)
    }
  }

  private static func contains(_ range: IDRange, _ id: Int64) -> Bool {
    id >= range.start && id < range.end && (id - range.start) % range.stride == 0
  }

  /// A number that is in both, the lowest.
  private static func common(_ one: IDRange, _ other: IDRange) -> Int64? {
    let (short, long) = one.count <= other.count ? (one, other) : (other, one)
    var id = short.start
    while id < short.end {
      if self.contains(long, id) { return id }
      id += short.stride
    }
    return nil
  }
}

extension SegmentModel {
  /// How often what the rules are for has happened.
  struct Counts {
    var ids: Int64 = 0
    var loads = 0
    /// Calls that ended with an error.
    var refusedCalls = 0
    var expired = 0
    var cancelled = 0
    var lostAnswers = 0
    var orphans = 0
    var crashes = 0
    var emptyFolders = 0
    /// Rests that a row took back, and those that it did not.
    var givenBack = 0
    var notGivenBack = 0
    var failovers = 0
    /// Ranges that were committed and lost.
    var lostRanges = 0
    /// How often a node said that a table went backwards.
    var alarms = 0
    /// Numbers of lost commits that were given out again.
    var repeatsOfLost = 0
    var restripes = 0
    var crashedTools = 0
    /// Tools that found another one at work.
    var overtaken = 0
    var resumed = 0
    /// Tags that no run could go on with. Seldom: a run has to meet a row that says again what it has seen.
    var recoveries = 0
    /// Loads that did not match the row's delta and remainder any more.
    var mismatches = 0
    /// First loads of a new layout.
    var adopted = 0

    static var fields: [WritableKeyPath<Counts, Int>] {
      [
        \.loads, \.refusedCalls, \.expired, \.cancelled, \.lostAnswers, \.orphans, \.crashes, \.emptyFolders,
        \.givenBack,
        \.notGivenBack, \.failovers, \.lostRanges, \.alarms, \.repeatsOfLost, \.restripes, \.crashedTools, \.overtaken,
        \.resumed,
        \.mismatches, \.adopted,
      ]
    }

    static func += (one: inout Counts, other: Counts) {
      one.ids += other.ids
      one.recoveries += other.recoveries
      for field in self.fields { one[keyPath: field] += other[keyPath: field] }
    }
  }
}
