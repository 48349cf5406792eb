/// How many ids one call may ask for.
public enum BatchLimit {
  /// The most ids of one batch.
  public static let maximum: Int64 = 1_000_000

  /// The error of a batch of `count`, or nil where 1 to ``maximum`` are asked for.
  static func error(for count: Int64) -> IDError? {
    (1...Self.maximum).contains(count)
      ? nil : IDError(.invalidArgument, "a batch has 1 to \(Self.maximum) ids, not \(count)")
  }
}
