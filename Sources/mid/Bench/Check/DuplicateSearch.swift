/// Finds ids that were given out more than once, by merging the sorted runs of all logs: no memory but a cursor for each
/// run.
struct DuplicateSearch {
  /// How many examples are kept.
  static let examples = 10

  /// How many ids of the searched logs had been given out before: in these logs or in the earlier ones.
  private(set) var duplicates = 0
  /// Examples of them, each once.
  private(set) var found: [Int64] = []

  private struct Head {
    var entry: IDLog.Entry
    var isEarlier: Bool
    var cursor: IDLog.Cursor
  }

  /// A binary heap, the smallest first id at its top.
  private var heap: [Head] = []
  /// The largest id so far of the searched logs, and of the earlier ones.
  private var reach: Int64 = 0
  private var earlierReach: Int64 = 0

  /// Searches `logs`, which must be finished.
  ///
  /// - Parameter earlier: logs of runs before, finished as well. What repeats itself within them was theirs to find.
  init(_ logs: [IDLog], earlier: [IDLog] = []) {
    for (log, isEarlier) in logs.map({ ($0, false) }) + earlier.map({ ($0, true) }) {
      for run in log.runs {
        var cursor = IDLog.Cursor(log, run)
        if let entry = cursor.next() { self.heap.append(Head(entry: entry, isEarlier: isEarlier, cursor: cursor)) }
      }
    }
    self.heap.sort { $0.entry.first < $1.entry.first }
    while let head = self.heap.first {
      if head.isEarlier { self.takeEarlier(head.entry) } else { self.take(head.entry) }
      self.advance()
    }
  }

  private mutating func take(_ entry: IDLog.Entry) {
    let known = max(self.reach, self.earlierReach)
    if entry.first <= known { self.add(entry.first, min(entry.last, known)) }
    self.reach = max(self.reach, entry.last)
  }

  /// Of ids that stand here and have come from the searched logs already, one each has not been counted: the first one
  /// in the merged order, unless an earlier log had the id before.
  private mutating func takeEarlier(_ entry: IDLog.Entry) {
    let last = min(entry.last, self.reach)
    if self.earlierReach < last { self.add(max(entry.first, self.earlierReach + 1), last) }
    self.earlierReach = max(self.earlierReach, entry.last)
  }

  /// Counts the ids from `first` to `last`, where there are any.
  private mutating func add(_ first: Int64, _ last: Int64) {
    guard first <= last else { return }
    self.duplicates += Int(last - first) + 1
    // As ids may be the largest that there are, a range's end is not gone past.
    for id in first...last {
      guard self.found.count < Self.examples else { return }
      if !self.found.contains(id) { self.found.append(id) }
    }
  }

  /// Moves the top's cursor on and puts it where it now belongs.
  private mutating func advance() {
    if let entry = self.heap[0].cursor.next() {
      self.heap[0].entry = entry
    } else {
      let last = self.heap.removeLast()
      if self.heap.isEmpty { return }
      self.heap[0] = last
    }
    var parent = 0
    while true {
      var smallest = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < self.heap.count {
        if self.heap[child].entry.first < self.heap[smallest].entry.first { smallest = child }
      }
      guard smallest != parent else { return }
      self.heap.swapAt(parent, smallest)
      parent = smallest
    }
  }
}
