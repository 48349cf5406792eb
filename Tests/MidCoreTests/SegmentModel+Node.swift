import MidCore
import MidTestKit

/// A node of the model: its process and its folder.
extension SegmentModel {
  struct Mark {
    /// Below it everything of this row was received.
    var end: Int64
    /// The last id received.
    var last: Int64
  }

  /// A call that waits.
  struct Wait {
    let call: Int
    let id: WaiterID
    let generator: SegmentGenerator
    let deadline: Int64
  }

  /// A load of a generator, from one database after the other until one has ids.
  struct Load {
    let tag: Int
    let generator: SegmentGenerator
    let stride: Int64
    let count: Int64
    /// Where it is tried next.
    var left: [Int] = []
    var flight: Flight?
    /// Until when the generator pauses, once all have failed.
    var pauseEnd: Int64?
  }

  /// Ids on their way back, the last range first.
  struct Return {
    let tag: Int
    var rests: [(database: Int, range: IDRange)]
    /// The end of what the node keeps, where there is one database.
    let kept: Int64
    var flight: Flight?
  }

  struct Node {
    /// By tag. Nil until the tag's rows were read.
    var generators: [SegmentGenerator?]
    /// How far apart their ids lie.
    var strides: [Int64]
    var loads: [Load] = []
    var returns: [Return] = []
    var waiting: [Wait] = []
    var isStopping = false
    /// What the rows said when they were last read, by tag and database.
    var beliefs: [[TableDialect.Residue?]]
    /// The folder, by tag and database.
    var marks: [[Mark?]]
    /// The marks at the start.
    var found: [[Mark?]]
    /// What was received since the start of a row, by tag and database, in order.
    var received: [[[IDRange]]]
    /// Which numbers a row brought last, by tag and database; nil where another one brings them by now.
    var residues: [[TableDialect.Residue?]]
    /// The last id that was received of a row, by tag and database.
    var taken: [[Int64]]
    /// Where the next load goes, by tag.
    var favourite: [Int]
    var isDown: [Bool]
    /// The last id given out, by tag.
    var last: [Int64]

    init(tags: Int, databases: Int) {
      self.generators = Array(repeating: nil, count: tags)
      self.strides = Array(repeating: 1, count: tags)
      self.beliefs = Array(repeating: Array(repeating: nil, count: databases), count: tags)
      self.residues = self.beliefs
      self.marks = Array(repeating: Array(repeating: nil, count: databases), count: tags)
      self.found = self.marks
      self.received = Array(repeating: Array(repeating: [], count: databases), count: tags)
      self.taken = Array(repeating: Array(repeating: .min, count: databases), count: tags)
      self.favourite = Array(repeating: 0, count: tags)
      self.isDown = Array(repeating: false, count: databases)
      self.last = Array(repeating: 0, count: tags)
    }

    func highestMark(_ tag: Int) -> Int64? { self.marks[tag].compactMap { $0?.end }.max() }

    func sample() { for generator in self.generators { generator?.sample() } }
  }

  // MARK: - Calls

  mutating func call(_ index: Int) {
    let tag = self.random.below(self.tags)
    guard let generator = self.nodes[index].generators[tag], !self.nodes[index].isStopping else { return }
    let count = self.random.below(8) == 0 ? Int64(1 + self.random.below(60)) : Int64(1 + self.random.below(4))
    switch self.random.below(6) {
    case 0...1: if let id = generator.next() { self.issue([IDRange(start: id, count: 1)], tag, index) }
    case 2: if let range = generator.take(upTo: count) { self.issue([range], tag, index) }
    case 3: if let range = generator.take(exactly: count) { self.issue([range], tag, index) }
    default: self.enqueue(count, tag, generator, index, patience: Int64(1 + self.random.below(2000)))
    }
  }

  /// - Returns: The call's place in ``calls``.
  @discardableResult
  mutating func enqueue(
    _ count: Int64, _ tag: Int, _ generator: SegmentGenerator, _ index: Int, patience: Int64
  ) -> Int {
    let (call, outbox) = (self.calls.count, self.outbox)
    self.calls.append(Call(node: index, tag: tag, count: count))
    let result = generator.enqueue(count: count) { outbox.append(.answer(call: call, $0)) }
    if case .waiting(let id) = result {
      self.nodes[index].waiting.append(
        Wait(call: call, id: id, generator: generator, deadline: self.time + patience))
    }
    self.settle()
    if case .answered = result, self.calls[call].isOpen { self.violations.insert(.notAnswered(call: call)) }
    return call
  }

  mutating func cancel(_ index: Int) {
    guard !self.nodes[index].waiting.isEmpty else { return }
    let wait = self.nodes[index].waiting.remove(at: self.random.below(self.nodes[index].waiting.count))
    wait.generator.cancel(wait.id)
    self.settle()
    if self.calls[wait.call].isOpen { self.violations.insert(.notAnswered(call: wait.call)) }
    self.counts.cancelled += 1
  }

  // MARK: - Loads

  mutating func begin(_ load: SegmentLoad, _ tag: Int, _ index: Int) {
    guard let generator = self.nodes[index].generators[tag] else { return }
    var begun = Load(
      tag: tag, generator: generator, stride: self.nodes[index].strides[tag], count: load.count)
    let count = self.databases.count
    let all = (0..<count).map { (self.nodes[index].favourite[tag] + $0) % count }
    // Whatever the layout: what comes of another one begins a new generator.
    let beliefs = self.nodes[index].beliefs[tag]
    let own = all.filter { beliefs[$0] != nil }
    let up = own.filter { !self.nodes[index].isDown[$0] }
    begun.left = up.isEmpty ? own : up
    self.nodes[index].loads.append(begun)
    self.send(self.nodes[index].loads.count - 1, index)
  }

  /// Sends a load to the next database, or has the generator pause where none is left.
  private mutating func send(_ place: Int, _ index: Int, error: IDError = away) {
    let load = self.nodes[index].loads[place]
    guard let database = load.left.first else {
      let random = Double(self.random.below(1000)) / 1000
      if let pause = load.generator.loadFailed(error, random: random) {
        self.nodes[index].loads[place].pauseEnd = self.time + Int64(pause / .milliseconds(1))
      } else {
        self.nodes[index].loads.remove(at: place)
      }
      return
    }
    self.nodes[index].loads[place].left.removeFirst()
    guard let residue = self.nodes[index].beliefs[load.tag][database] else {
      return self.send(place, index, error: error)
    }
    var claim = SegmentClaim(count: load.count)
    if self.databases.count > 1 {
      claim.above = (load.generator.snapshot.highWater ?? .min + 1) - 1
      claim.notBelow = self.nodes[index].taken[load.tag][database]
    }
    self.nodes[index].loads[place].flight = Flight(
      database: database, request: .load(tag: load.tag, claim, residue))
  }

  mutating func endPauses(_ index: Int) {
    while let place = self.nodes[index].loads.firstIndex(where: { ($0.pauseEnd ?? .max) <= self.time }) {
      let load = self.nodes[index].loads.remove(at: place)
      load.generator.retry()
      self.settle()
    }
  }

  /// A database carries out what a node has sent, or does not.
  mutating func carryOut(_ index: Int) {
    let (loads, returns) = (self.nodes[index].loads.count, self.nodes[index].returns.count)
    guard loads + returns > 0 else { return }
    let place = self.random.below(loads + returns)
    let flight = place < loads ? self.nodes[index].loads[place].flight : self.nodes[index].returns[place - loads].flight
    guard let flight, flight.answer == nil, let answer = self.answer(to: flight) else { return }
    if place < loads {
      self.nodes[index].loads[place].flight?.answer = answer
    } else {
      self.nodes[index].returns[place - loads].flight?.answer = answer
    }
  }

  /// What becomes of a request; nil where it is still on its way.
  private mutating func answer(to flight: Flight) -> Answer? {
    let isAway = self.databases[flight.database].isAway
    if isAway || self.random.below(30) == 0 {
      // Lost on its way, or late: the sender no longer waits for it.
      if self.random.below(3) == 0 { self.orphans.append((flight.database, flight.request)) }
      return .failed(Self.away)
    }
    let answer = self.serve(flight.request, flight.database)
    guard self.random.below(30) > 0 else {
      self.counts.lostAnswers += 1
      return .failed(Self.away)
    }
    return answer
  }

  /// A node hears what has become of a request.
  mutating func deliver(_ index: Int) throws {
    let (loads, returns) = (self.nodes[index].loads.count, self.nodes[index].returns.count)
    guard loads + returns > 0 else { return }
    let place = self.random.below(loads + returns)
    if place < loads {
      if let flight = self.nodes[index].loads[place].flight, let answer = flight.answer {
        try self.hear(answer, flight.database, place, index)
      }
    } else if let answer = self.nodes[index].returns[place - loads].flight?.answer {
      self.hearReturn(answer, place - loads, index)
    }
    if self.nodes[index].isStopping { try self.goOnStopping(index) }
  }

  private mutating func hear(_ answer: Answer, _ database: Int, _ place: Int, _ index: Int) throws {
    self.nodes[index].loads[place].flight = nil
    let load = self.nodes[index].loads[place]
    switch answer {
    case .range(let range):
      self.nodes[index].loads.remove(at: place)
      self.nodes[index].favourite[load.tag] = database
      try self.take(range, load, database, index)
    case .failed(let error):
      if error.code == .wentBackwards { self.alarm(index, load.tag) }
      self.nodes[index].isDown[database] = true
      self.send(place, index, error: error)
    case .mismatch(let residue):
      self.nodes[index].beliefs[load.tag][database] = residue
      // The statement is sent again as the row wants it.
      self.nodes[index].loads[place].left.insert(database, at: 0)
      self.send(place, index)
    case .done: preconditionFailure("a load ends with a range")
    }
  }

  private mutating func take(_ range: IDRange, _ load: Load, _ database: Int, _ index: Int) throws {
    let (tag, highWater) = (load.tag, load.generator.snapshot.highWater)
    if range.start >= highWater ?? .min {
      self.nodes[index].marks[tag][database] = Mark(end: range.end, last: range.end - range.stride)
      self.nodes[index].taken[tag][database] = range.end - range.stride
      self.nodes[index].received[tag][database].append(range)
      let residue = Self.residue(of: range)
      for other in self.databases.indices where self.nodes[index].residues[tag][other] == residue {
        self.nodes[index].residues[tag][other] = nil
      }
      self.nodes[index].residues[tag][database] = residue
    } else if self.sabotage == .noHighWater {
      // As if it remembered nothing.
      try self.replace(tag, stride: load.stride, highWater: nil, index)
      self.nodes[index].generators[tag]?.prefetch()
      self.settle()
      if let again = self.nodes[index].loads.lastIndex(where: { $0.generator === self.nodes[index].generators[tag] }) {
        self.nodes[index].loads.remove(at: again)
      }
      self.nodes[index].generators[tag]?.loaded(range)
      return
    }
    if range.stride != load.stride, load.generator.refusal(of: range, inAnyLayout: true) == nil,
      self.nodes[index].generators[tag] === load.generator
    {
      self.counts.adopted += 1
      return try self.adopt(range, of: load.generator, tag, index)
    }
    let surplus = load.generator.loaded(range)
    self.settle()
    if let surplus {
      let highest = self.nodes[index].generators[tag]?.snapshot.highWater ?? .min
      self.giveBack([surplus], tag, index, kept: max(highest, highWater ?? 1))
    }
    if load.generator.snapshot.lastError?.code == .wentBackwards { self.alarm(index, tag) }
  }

  static func residue(of range: IDRange) -> TableDialect.Residue? {
    TableDialect.Residue(
      delta: range.stride, remainder: (range.start % range.stride + range.stride) % range.stride)
  }

  // MARK: - The tag list

  /// The rows are read, those of the databases that answer.
  mutating func list(_ index: Int, isConfirmed: Bool) throws {
    guard !self.nodes[index].isStopping else { return }
    for database in self.databases.indices {
      self.nodes[index].isDown[database] = self.databases[database].isAway
    }
    for tag in 0..<self.tags {
      let open = self.databases.indices.filter { database in
        !self.databases[database].isAway && self.databases[database].rows[tag].map { $0.closed == nil } == true
      }
      let records = open.compactMap { self.databases[$0].rows[tag]?.record }
      for (database, record) in zip(open, records) { self.nodes[index].beliefs[tag][database] = record.residue }
      guard let first = records.first else { continue }
      let generator = self.nodes[index].generators[tag]
      if generator == nil {
        let highWater = self.nodes[index].highestMark(tag)
        try self.replace(tag, stride: first.stride, highWater: self.sabotage == .noHighWater ? nil : highWater, index)
      }
      let next = records.compactMap(\.next).max() ?? .max
      self.nodes[index].generators[tag]?.update(step: first.step, next: next, isConfirmed: isConfirmed)
      self.settle()
    }
  }

  private mutating func replace(_ tag: Int, stride: Int64, highWater: Int64?, _ index: Int) throws {
    let outbox = self.outbox
    let old = self.nodes[index].generators[tag]
    let new = try SegmentGenerator(
      tag: .default, step: 1, stride: stride, settings: Self.settings, highWater: highWater, clock: self.clock
    ) { outbox.append(.load(node: index, tag: tag, $1)) }
    old?.remove()
    self.settle()
    self.nodes[index].generators[tag] = new
    self.nodes[index].strides[tag] = stride
  }

  /// A new generator begins with the first range of a new layout; until now the old one has given out what it had.
  private mutating func adopt(_ range: IDRange, of old: SegmentGenerator, _ tag: Int, _ index: Int) throws {
    let outbox = self.outbox
    let new = try SegmentGenerator(
      tag: .default, step: 1, stride: range.stride, settings: Self.settings, highWater: old.snapshot.highWater,
      clock: self.clock
    ) { outbox.append(.load(node: index, tag: tag, $1)) }
    self.nodes[index].generators[tag] = new
    self.nodes[index].strides[tag] = range.stride
    new.loaded(range)
    new.inherit(old.supersede())
    self.settle()
  }
}
