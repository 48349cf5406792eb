/// A rule that did not hold: what a fuzz target throws besides crashing.
struct Finding: Error, CustomStringConvertible {
  /// What did not hold, with the values.
  let description: String

  init(_ description: String) { self.description = description }
}

/// Throws what `text` says where `condition` does not hold.
@inline(__always)
func require(_ condition: Bool, _ text: @autoclosure () -> String) throws(Finding) {
  if !condition { throw Finding(text()) }
}
