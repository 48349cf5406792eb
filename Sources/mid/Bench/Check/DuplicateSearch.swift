/// Finds ids that were given out more than once, by merging the sorted runs of all logs: no memory but a cursor for each
/// run.
struct DuplicateSearch {
  /// How many examples are kept.
  static let examples = 10

  /// How many ids had been given out before.
  private(set) var duplicates = 0
  /// The smallest of them.
  private(set) var found: [Int64] = []

  private struct Head {
    var entry: IDLog.Entry
    var cursor: IDLog.Cursor
  }

  /// A binary heap, the smallest first id at its top.
  private var heap: [Head] = []
  /// The largest id so far.
  private var reach: Int64 = 0

  /// Searches `logs`, which must be finished.
  init(_ logs: [IDLog]) {
    for log in logs {
      for run in log.runs {
        var cursor = IDLog.Cursor(log, run)
        if let entry = cursor.next() { self.heap.append(Head(entry: entry, cursor: cursor)) }
      }
    }
    self.heap.sort { $0.entry.first < $1.entry.first }
    while let entry = self.heap.first?.entry {
      self.take(entry)
      self.advance()
    }
  }

  private mutating func take(_ entry: IDLog.Entry) {
    if entry.first <= self.reach {
      let last = min(entry.last, self.reach)
      self.duplicates += Int(last - entry.first) + 1
      var id = entry.first
      while id <= last, self.found.count < Self.examples {
        if self.found.last != id { self.found.append(id) }
        id += 1
      }
    }
    self.reach = max(self.reach, entry.last)
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
