/// Which free worker id a node takes.
///
/// One whose ids all lie behind the clock, so that it can issue at once: its own of the last time, then one that nobody
/// ever had, then the one that was left the longest ago, by the bound of its ids. Where none is, the one whose ids end
/// soonest.
struct WorkerChoice {
  /// A worker id that may be claimed.
  struct Candidate: Hashable {
    var worker: Int64
    /// Its row, or nil where nobody ever had it.
    var row: WorkerRecord?
    /// Above what a claim would have to issue, as it looks now.
    var floor: Int64
  }

  private let range: ClosedRange<Int64>
  private let token: String
  private let memory: WorkerMemory
  private let list: WorkerList

  init(among range: ClosedRange<Int64>, for token: String, remembering memory: WorkerMemory, from list: WorkerList) {
    self.range = range
    self.token = token
    self.memory = memory
    self.list = list
  }

  /// The best candidate.
  ///
  /// - Parameters:
  ///   - reach: the latest time that ids may carry now.
  ///   - patience: how much later than that the node's own id of the last time may have to wait until.
  ///   - skip: how many of the best to leave out, as others want the same: 0 where nobody was in the way.
  /// - Throws: ``IDError/Code/leaseLost`` where all are held, and by whom.
  func best(reach: Int64, patience: Int64, skip: Int) throws(IDError) -> Candidate {
    let rows = Dictionary(self.list.records.map { ($0.worker, $0) }) { $1 }
    if let worker = self.memory.worker, self.range.contains(worker) {
      let own = self.candidate(worker, rows[worker])
      let isOurs = own.row.map { $0.owner.token == self.token } ?? true
      if isOurs && own.floor <= reach + patience { return own }
    }
    var free = rows.values.filter { self.range.contains($0.worker) && self.isFree($0) }
      .map { self.candidate($0.worker, $0) }
    var number = self.range.lowerBound
    var unused = 0
    // As many as can be skipped, and one more.
    while unused <= skip, number <= self.range.upperBound {
      if rows[number] == nil {
        free.append(self.candidate(number, nil))
        unused += 1
      }
      number += 1
    }
    free.sort { ($0.floor, $0.worker) < ($1.floor, $1.worker) }
    guard !free.isEmpty else { throw self.noneFree() }
    let ready = free.prefix { $0.floor <= reach }
    return ready.isEmpty ? free[0] : ready[skip % ready.count]
  }

  private func candidate(_ worker: Int64, _ row: WorkerRecord?) -> Candidate {
    Candidate(worker: worker, row: row, floor: self.memory.floor(above: row, of: worker, token: self.token))
  }

  private func isFree(_ row: WorkerRecord) -> Bool {
    row.expiresAt <= self.list.storeTime || row.owner.token == self.token
  }

  /// Names the holders, those with most ids first.
  private func noneFree() -> IDError {
    let held = self.list.records.filter { self.range.contains($0.worker) }
    let hosts = Dictionary(grouping: held) { $0.owner.description }.mapValues(\.count)
      .sorted { ($1.value, $0.key) < ($0.value, $1.key) }
    var names = hosts.prefix(8).map { $0.value == 1 ? $0.key : "\($0.key) (\($0.value))" }.joined(separator: "; ")
    if hosts.count > 8 { names += " and \(hosts.count - 8) more" }
    let first = held.map(\.expiresAt).min() ?? 0
    return IDError(
      .leaseLost,
      "all \(held.count) worker ids from \(self.range.lowerBound) to \(self.range.upperBound) are held, by \(names); "
        + "the first lease ends at \(WallTime(milliseconds: first)) (now \(WallTime(milliseconds: self.list.storeTime)) "
        + "by the store's clock)")
  }
}
