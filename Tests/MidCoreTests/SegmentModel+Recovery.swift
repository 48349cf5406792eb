import MidCore
import MidTestKit

/// The end of a schedule: all is put right, and all serve.
extension SegmentModel {
  mutating func recover() throws {
    for database in self.databases.indices { self.databases[database].isAway = false }
    while !self.tools.isEmpty { self.work(0, isFaulty: false) }
    self.orphans = []
    for tag in 0..<self.tags where self.isClosedSomewhere(tag) {
      // An operator who knows of all runs that were begun, and which came furthest: that one may have to be ended.
      for (old, new) in [(self.layouts[tag], self.layouts[tag])] + self.runs[tag].reversed()
      where self.isClosedSomewhere(tag) {
        self.start(tag, old: old, new: new)
        while !self.tools.isEmpty { self.work(0, isFaulty: false) }
      }
      guard self.isClosedSomewhere(tag) else { continue }
      // Runs came between each other, and none can go on.
      self.counts.recoveries += 1
      let everywhere = self.databases.indices.filter { self.databases[$0].rows[tag] != nil }
      self.start(tag, old: everywhere, new: self.layouts[tag], isRecovery: true)
      while !self.tools.isEmpty { self.work(0, isFaulty: false) }
    }
    for index in self.nodes.indices { try self.finish(index) }
    try self.mend()
    for index in self.nodes.indices {
      try self.list(index, isConfirmed: true)
      try self.finish(index)
      for tag in 0..<self.tags { try self.expectService(of: index, tag) }
    }
  }

  private func isClosedSomewhere(_ tag: Int) -> Bool {
    self.layouts[tag].contains { self.databases[$0].rows[tag].map { $0.closed != nil } ?? true }
  }

  /// Lets all that is under way come to its end.
  private mutating func finish(_ index: Int) throws {
    for _ in 0..<2000 {
      let node = self.nodes[index]
      if node.loads.isEmpty && node.returns.isEmpty && !node.isStopping { return }
      self.carryOut(index)
      try self.deliver(index)
      self.settle()
      self.pass(1)
    }
  }

  private mutating func expectService(of index: Int, _ tag: Int) throws {
    guard let generator = self.nodes[index].generators[tag] else {
      self.violations.insert(.stuck(node: index, tag: tag))
      return
    }
    let before = self.nodes[index].last[tag]
    self.enqueue(1, tag, generator, index, patience: 100_000)
    try self.finish(index)
    // A call goes on with the generator that has taken the tag over.
    if let next = self.nodes[index].generators[tag], next !== generator {
      self.enqueue(1, tag, next, index, patience: 100_000)
      try self.finish(index)
    }
    if self.nodes[index].last[tag] == before { self.violations.insert(.stuck(node: index, tag: tag)) }
  }
}
