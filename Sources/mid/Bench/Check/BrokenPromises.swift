/// What was wrong with ids, with examples of each.
struct BrokenPromises: Sendable, Hashable {
  /// An id that was not above one answered earlier.
  struct Disorder: Sendable, Hashable {
    /// The id.
    var id: Int64
    /// The one that had been answered before the id's call was sent.
    var floor: Int64
  }

  /// How many examples of each kind are kept.
  static let examples = 10

  /// Ids of 0 or less.
  private(set) var notPositive = 0
  private(set) var notPositiveExamples: [Int64] = []
  /// Ids (of batches: ranges) that were not above one answered before they were asked for.
  private(set) var outOfOrder = 0
  private(set) var outOfOrderExamples: [Disorder] = []
  /// Replies that did not hold what was asked for.
  private(set) var malformed = 0
  private(set) var malformedExample: String?

  mutating func add(notPositive id: Int64) {
    self.notPositive += 1
    if self.notPositiveExamples.count < Self.examples { self.notPositiveExamples.append(id) }
  }

  mutating func add(outOfOrder id: Int64, floor: Int64) {
    self.outOfOrder += 1
    if self.outOfOrderExamples.count < Self.examples { self.outOfOrderExamples.append(Disorder(id: id, floor: floor)) }
  }

  mutating func add(malformed text: @autoclosure () -> String) {
    self.malformed += 1
    if self.malformedExample == nil { self.malformedExample = text() }
  }

  /// Adds another event loop's findings.
  mutating func add(_ other: BrokenPromises) {
    self.notPositive += other.notPositive
    self.notPositiveExamples += other.notPositiveExamples.prefix(Self.examples - self.notPositiveExamples.count)
    self.outOfOrder += other.outOfOrder
    self.outOfOrderExamples += other.outOfOrderExamples.prefix(Self.examples - self.outOfOrderExamples.count)
    self.malformed += other.malformed
    self.malformedExample = self.malformedExample ?? other.malformedExample
  }
}
