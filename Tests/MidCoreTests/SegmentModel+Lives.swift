import MidCore
import MidTestKit

/// How processes of the model end and begin, and how rests go back.
extension SegmentModel {
  /// A process begins, with what its folder holds.
  mutating func boot(_ index: Int) throws {
    let old = self.nodes[index]
    var node = Node(tags: self.tags, databases: self.databases.count)
    (node.marks, node.found, node.last) = (old.marks, old.marks, old.last)
    for tag in 0..<self.tags {
      node.favourite[tag] = self.random.below(self.databases.count)
      node.taken[tag] = node.marks[tag].map { $0?.last ?? .min }
    }
    self.nodes[index] = node
    try self.list(index, isConfirmed: false)
  }

  /// The process is gone with all that it knew; what it has sent may still be carried out.
  mutating func crash(_ index: Int) throws {
    self.counts.crashes += 1
    for wait in self.nodes[index].waiting { self.calls[wait.call].isOpen = false }
    self.nodes[index].waiting = []
    for flight in self.nodes[index].loads.map(\.flight) + self.nodes[index].returns.map(\.flight) {
      if let flight, flight.answer == nil { self.orphans.append((flight.database, flight.request)) }
    }
    if self.random.below(4) == 0 { self.emptyFolder(index) }
    try self.boot(index)
  }

  /// Another node, in effect. With one database that has lost nothing, its ids lie above those of its former life all the
  /// same.
  private mutating func emptyFolder(_ index: Int) {
    self.counts.emptyFolders += 1
    let empty = Node(tags: self.tags, databases: self.databases.count)
    self.nodes[index].marks = empty.marks
    if self.databases.count > 1 || self.losesCommits { self.nodes[index].last = empty.last }
  }

  /// A clean stop begins: loads under way are waited for, then the rests go back, then a new process begins.
  mutating func stop(_ index: Int) throws {
    guard !self.nodes[index].isStopping else { return }
    self.nodes[index].isStopping = true
    try self.goOnStopping(index)
  }

  mutating func goOnStopping(_ index: Int) throws {
    self.nodes[index].loads.removeAll { $0.pauseEnd != nil }
    guard self.nodes[index].loads.isEmpty else { return }
    for tag in 0..<self.tags {
      guard let generator = self.nodes[index].generators[tag] else { continue }
      let rests = generator.close()
      self.nodes[index].generators[tag] = nil
      self.settle()
      let kept = generator.snapshot.usedEnd ?? self.nodes[index].found[tag][0]?.end ?? 1
      self.giveBack(rests, tag, index, kept: kept)
    }
    for wait in self.nodes[index].waiting where self.calls[wait.call].isOpen {
      self.violations.insert(.notAnswered(call: wait.call))
    }
    if self.nodes[index].returns.isEmpty { try self.boot(index) }
  }

  /// - Parameter kept: The end of what the node keeps, where there is one database.
  mutating func giveBack(_ rests: [IDRange], _ tag: Int, _ index: Int, kept: Int64) {
    // The last to bring ids of this remainder: another may have had it in an older layout, and ranges of both may have been
    // joined, where they were neighbours.
    let residues = self.nodes[index].residues[tag]
    let homes = rests.reversed().compactMap { rest -> (database: Int, range: IDRange)? in
      residues.firstIndex { $0 != nil && $0 == Self.residue(of: rest) }.map { ($0, rest) }
    }
    self.nodes[index].returns.append(Return(tag: tag, rests: homes, kept: kept))
    self.sendReturn(self.nodes[index].returns.count - 1, index)
  }

  private mutating func sendReturn(_ place: Int, _ index: Int) {
    let work = self.nodes[index].returns[place]
    guard let (database, rest) = work.rests.first else {
      self.nodes[index].returns.remove(at: place)
      return
    }
    let next = work.rests.dropFirst().first { $0.database == database }?.range.end
    let end = next ?? (self.databases.count == 1 ? work.kept : self.kept(below: rest, work.tag, database, index))
    // Before, as a mark that is too low is the lesser evil; but not where more was received meanwhile.
    if self.nodes[index].marks[work.tag][database].map({ $0.end <= rest.end }) ?? true {
      self.nodes[index].marks[work.tag][database] = Mark(end: end, last: end - rest.stride)
    }
    // A process that goes on, as it gives back what came after its tag was restriped, claims no more than it keeps.
    if self.nodes[index].taken[work.tag][database] == rest.end - rest.stride {
      self.nodes[index].taken[work.tag][database] = end - rest.stride
    }
    self.nodes[index].returns[place].flight = Flight(
      database: database, request: .giveBack(tag: work.tag, rest))
  }

  /// The end of what a node has of a database below `rest`.
  private func kept(below rest: IDRange, _ tag: Int, _ database: Int, _ index: Int) -> Int64 {
    let received = self.nodes[index].received[tag][database]
    if received.contains(where: { $0.start < rest.start && rest.start < $0.end }) { return rest.start }
    return received.last { $0.end <= rest.start }?.end ?? self.nodes[index].found[tag][database]?.end ?? 1
  }

  mutating func hearReturn(_ answer: Answer, _ place: Int, _ index: Int) {
    let work = self.nodes[index].returns[place]
    let (database, rest) = work.rests[0]
    self.nodes[index].returns[place].flight = nil
    switch answer {
    case .done(true):
      self.counts.givenBack += 1
      self.nodes[index].returns[place].rests.removeFirst()
      self.sendReturn(place, index)
    case .done(false):
      self.counts.notGivenBack += 1
      let end = self.databases.count == 1 ? max(rest.end, work.kept) : rest.end
      if self.nodes[index].marks[work.tag][database].map({ $0.end <= end }) ?? true {
        self.nodes[index].marks[work.tag][database] = Mark(end: end, last: end - rest.stride)
      }
      self.nodes[index].taken[work.tag][database] = max(self.nodes[index].taken[work.tag][database], end - rest.stride)
      self.nodes[index].returns.remove(at: place)
    default: self.nodes[index].returns.remove(at: place)
    }
  }
}
