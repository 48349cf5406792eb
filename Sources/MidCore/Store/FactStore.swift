/// What all who share a store have to believe alike, and keep there: a text for each name, written once and never changed.
/// Names are told apart by their bytes there; whoever makes them of others' names keeps to ASCII, as a dictionary does not.
///
/// Every change is one durable transaction. Where the table is missing, the first fact makes it. Errors are as for
/// ``SegmentStore``; where the outcome of a commit is unknown the call throws, and can be made again.
public protocol FactStore: Sendable {
  /// All facts, by name; none where there is no table yet.
  func facts() async throws(IDError) -> [String: String]

  /// Puts those of `facts` that are not there, unless one is there with another value: then nothing is put.
  ///
  /// Of two callers that put one name with two values at once, one alone puts it, and both are told that one's value.
  ///
  /// - Parameter facts: Values by name. Names and values have 1 to ``Facts/maximumLength`` bytes of UTF-8.
  /// - Returns: What is there afterwards of the names in `facts`. They agree where it equals `facts`.
  /// - Throws: ``IDError/Code/invalidArgument`` for a name or value that is empty or too long.
  func agree(on facts: [String: String]) async throws(IDError) -> [String: String]
}

/// The rules of facts, in one place for every store.
public enum Facts {
  /// The longest name and the longest value, in bytes of UTF-8.
  public static let maximumLength = 400

  /// Checks the lengths.
  ///
  /// - Throws: ``IDError/Code/invalidArgument`` for one that is empty or too long.
  package static func validate(_ facts: [String: String]) throws(IDError) {
    for text in facts.flatMap({ [$0.key, $0.value] }) {
      guard (1...Self.maximumLength).contains(text.utf8.count) else {
        throw IDError(
          .invalidArgument,
          "names and values of facts have 1 to \(Self.maximumLength) bytes, this one has \(text.utf8.count)")
      }
    }
  }

  /// What of `facts` has to be put beside what was `found`, or nil where one of them is there with another value.
  package static func additions(of facts: [String: String], to found: [String: String]) -> [String: String]? {
    guard facts.allSatisfy({ (found[$0.key] ?? $0.value) == $0.value }) else { return nil }
    return facts.filter { found[$0.key] == nil }
  }
}
