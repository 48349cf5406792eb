import NIOCore

/// Things with deadlines, the earliest at hand. A binary heap: inserting and taking out cost a logarithm of the count.
struct DeadlineHeap<ID: Sendable>: Sendable {
  private var entries: [(deadline: NIODeadline, id: ID)] = []

  /// How many there are.
  var count: Int { self.entries.count }

  /// The one with the earliest deadline.
  var first: (deadline: NIODeadline, id: ID)? { self.entries.first }

  /// Adds one.
  mutating func insert(_ id: ID, _ deadline: NIODeadline) {
    self.entries.append((deadline, id))
    var child = self.entries.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard self.entries[child].deadline < self.entries[parent].deadline else { return }
      self.entries.swapAt(child, parent)
      child = parent
    }
  }

  /// Takes out the one with the earliest deadline.
  mutating func popFirst() -> ID? {
    guard let last = self.entries.popLast() else { return nil }
    guard let first = self.entries.first else { return last.id }
    self.entries[0] = last
    self.sink(0)
    return first.id
  }

  /// Drops those that `isKept` does not want. Linear.
  mutating func keep(_ isKept: (ID) -> Bool) {
    self.entries.removeAll { !isKept($0.id) }
    for index in stride(from: self.entries.count / 2 - 1, through: 0, by: -1) { self.sink(index) }
  }

  private mutating func sink(_ start: Int) {
    var parent = start
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2]
      where child < self.entries.count && self.entries[child].deadline < self.entries[least].deadline {
        least = child
      }
      guard least != parent else { return }
      self.entries.swapAt(parent, least)
      parent = least
    }
  }
}
