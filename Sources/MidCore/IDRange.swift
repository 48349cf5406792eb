/// `count` ids that start at `start` and lie `stride` apart. Half-open, as Swift's ranges are: `end` is not part of it.
public struct IDRange: Sendable, Hashable {
  /// The first id.
  public let start: Int64
  /// The distance between neighbours, at least 1.
  public let stride: Int64
  /// How many ids, at least 0.
  public let count: Int64

  /// Creates a range.
  ///
  /// - Precondition: `count >= 0`, `stride >= 1`, and the end, `start + count * stride`, fits in an `Int64`.
  public init(start: Int64, count: Int64, stride: Int64 = 1) {
    precondition(count >= 0 && stride >= 1, "a range has a count of at least 0 and a stride of at least 1")
    let (length, tooLong) = count.multipliedReportingOverflow(by: stride)
    precondition(!tooLong && !start.addingReportingOverflow(length).overflow, "a range ends within Int64")
    self.start = start
    self.stride = stride
    self.count = count
  }

  /// The first number past the range on its stride.
  public var end: Int64 { self.start + self.count * self.stride }

  /// Whether the range holds no id.
  public var isEmpty: Bool { self.count == 0 }

  /// Which numbers of all the ids are among; nil where they lie further apart than a table's row can say.
  package var residue: TableDialect.Residue? {
    TableDialect.Residue(
      delta: self.stride, remainder: (self.start % self.stride + self.stride) % self.stride)
  }

  /// The last id, or nil for an empty range.
  public var last: Int64? { self.isEmpty ? nil : self.end - self.stride }
}
