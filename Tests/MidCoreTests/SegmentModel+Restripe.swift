import MidCore
import MidTestKit

/// The tools that restripe tags.
extension SegmentModel {
  struct Tool {
    let tag: Int
    /// The model's databases by their place in the tool's list.
    let databases: [Int]
    let new: [Int]
    var machine: RestripeStateMachine
    var flight: Flight?
    var hasClosed = false
    /// What the look has shown, for the sabotage.
    var shown: [Int64] = []
  }

  /// Starts a tool, at most two at a time, the second one for the same tag as the first, and whatever databases; or one that
  /// goes on with a run that has ended badly.
  mutating func startTool() {
    guard self.databases.count > 1, self.tools.count < 2 else { return }
    let tag = self.tools.first?.tag ?? self.random.below(self.tags)
    if !self.runs[tag].isEmpty, self.random.below(2) == 0 {
      // The last one, or one long forgotten.
      let back = self.random.below(2) == 0 ? 0 : self.random.below(min(self.runs[tag].count, 8))
      let (old, new) = self.runs[tag][self.runs[tag].count - 1 - back]
      return self.start(tag, old: old, new: new)
    }
    let others = self.databases.indices.filter { !self.layouts[tag].contains($0) }
    guard self.random.below(3) == 0, !others.isEmpty else {
      return self.start(tag, old: self.layouts[tag], new: self.someDatabases())
    }
    // As operators do: one more, or one in the place of another.
    var layout = self.layouts[tag]
    if self.random.below(3) == 0 { layout.remove(at: self.random.below(layout.count)) }
    self.start(tag, old: self.layouts[tag], new: layout + [others[self.random.below(others.count)]])
  }

  mutating func start(_ tag: Int, old: [Int], new: [Int], isRecovery: Bool = false) {
    let databases = Set(old + new).sorted()
    func places(_ layout: [Int]) -> [Int] { layout.compactMap { databases.firstIndex(of: $0) } }
    do throws(IDError) {
      let machine = try RestripeStateMachine(
        tag: .default, databases: databases.map { "\($0)" }, old: places(old), new: places(new), isRecovery: isRecovery,
        run: self.nextRun)
      self.nextRun += 1
      self.runs[tag].append((old, new))
      self.tools.append(Tool(tag: tag, databases: databases, new: new, machine: machine))
    } catch { preconditionFailure("\(error)") }
  }

  /// One step of a tool: it sends, the database carries out, it hears, or it crashes.
  mutating func work() {
    guard !self.tools.isEmpty else { return }
    let index = self.random.below(self.tools.count)
    if self.random.below(40) == 0 {
      self.counts.crashedTools += 1
      let tool = self.tools.remove(at: index)
      if let flight = tool.flight, flight.answer == nil { self.orphans.append((flight.database, flight.request)) }
      return
    }
    self.work(index, isFaulty: true)
  }

  mutating func work(_ index: Int, isFaulty: Bool) {
    if let flight = self.tools[index].flight { return self.goOn(flight, index, isFaulty: isFaulty) }
    let tool = self.tools[index]
    switch tool.machine.next() {
    case .read(let place): self.read(tool.databases[place], index)
    case .close(let place, let seen, let token, let step):
      self.tools[index].hasClosed = true
      let request = Request.close(tag: tool.tag, seen: seen, token: token, step: step)
      if self.sabotage == .opensEarly && place == tool.databases.count - 1 {
        self.tools[index].machine.closed(.success(true))
      } else {
        self.tools[index].flight = Flight(database: tool.databases[place], request: request)
      }
    case .settle(let place, let token):
      self.tools[index].flight = Flight(
        database: tool.databases[place], request: .settle(tag: tool.tag, token: token))
    case .open(let place, let token, let residue, let lastID, let step):
      let request = Request.open(
        tag: tool.tag, token: token, residue: residue, lastID: lastID, step: step,
        layout: tool.new)
      self.tools[index].flight = Flight(database: tool.databases[place], request: request)
    case .done:
      self.counts.restripes += 1
      if !tool.hasClosed { self.counts.resumed += 1 }
      self.tools.remove(at: index)
    case .failed(let error):
      if error.message.contains("another restripe") { self.counts.overtaken += 1 }
      self.tools.remove(at: index)
    }
  }

  private mutating func read(_ database: Int, _ index: Int) {
    let tool = self.tools[index]
    guard !self.databases[database].isAway else { return self.tools[index].machine.read(.failure(Self.away)) }
    var row = self.databases[database].rows[tool.tag].map { row in
      StripeRow(
        state: row.closed ?? .open(row.record.residue), lastID: row.record.lastID,
        step: row.record.step)
    }
    self.tools[index].shown.append(row?.lastID ?? 0)
    // The second time round, once all are closed.
    let place = tool.shown.count - tool.databases.count
    if place >= 0 {
      if self.sabotage == .readsEarly { row?.lastID = tool.shown[place] }
      if self.sabotage == .opensEarly && place == tool.databases.count - 1 {
        row = StripeRow(
          state: .closed(token: tool.machine.token(of: place)), lastID: row?.lastID ?? 0, step: row?.step ?? 1)
      }
    }
    self.tools[index].machine.read(.success(row))
  }

  private mutating func goOn(_ flight: Flight, _ index: Int, isFaulty: Bool) {
    guard let answer = flight.answer else {
      let isAway = self.databases[flight.database].isAway
      if isAway || (isFaulty && self.random.below(30) == 0) {
        if self.random.below(2) == 0 { self.orphans.append((flight.database, flight.request)) }
        return self.hear(.failed(Self.away), flight, index)
      }
      let answer = self.serve(flight.request, flight.database)
      self.tools[index].flight?.answer = answer
      return
    }
    let isHeard = !isFaulty || self.random.below(30) > 0
    self.hear(isHeard ? answer : .failed(Self.away), flight, index)
  }

  private mutating func hear(_ answer: Answer, _ flight: Flight, _ index: Int) {
    self.tools[index].flight = nil
    let result: Result<Bool, IDError> =
      switch answer {
      case .done(let isDone): .success(isDone)
      case .failed(let error): .failure(error)
      case .range, .mismatch: preconditionFailure("a tool loads nothing")
      }
    // What was never closed can't be settled or opened, and the sabotaged tool does not notice.
    let told = self.sabotage == .opensEarly ? result.map { _ in true } : result
    switch flight.request {
    case .close: self.tools[index].machine.closed(result)
    case .settle: self.tools[index].machine.settled(told)
    case .open: self.tools[index].machine.opened(told)
    case .load, .giveBack: preconditionFailure("a tool loads nothing")
    }
  }
}
