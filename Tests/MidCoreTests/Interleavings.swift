/// A few threads that share state, as a value: a step is what one of them does atomically.
protocol InterleavingModel: Hashable {
  var threads: Int { get }
  /// Takes the next step of `thread`.
  ///
  /// - Returns: `false` where it has ended, or waits for another.
  mutating func step(_ thread: Int) -> Bool
  /// What has happened so far that must never happen.
  var violations: Set<String> { get }
}

extension InterleavingModel {
  /// Goes through all states that any order of steps leads to.
  ///
  /// Reads see the newest write, as under sequential consistency; a write that becomes visible too early or too late is a
  /// model of its own, with the steps in that order.
  ///
  /// - Returns: The violations of all orders, and the states in which no thread can go on.
  func explore() -> (violations: Set<String>, ends: [Self]) {
    var seen: Set<Self> = [self]
    var open = [self]
    var violations: Set<String> = []
    var ends: [Self] = []
    while let state = open.popLast() {
      violations.formUnion(state.violations)
      var isEnd = true
      for thread in 0..<state.threads {
        var next = state
        guard next.step(thread) else { continue }
        isEnd = false
        if seen.insert(next).inserted { open.append(next) }
      }
      if isEnd { ends.append(state) }
    }
    return (violations, ends)
  }
}
