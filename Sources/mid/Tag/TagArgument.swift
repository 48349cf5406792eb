import ArgumentParser
import MidCore

/// Checks of what stands on the command line about tags.
enum TagArgument {
  /// The tag named `name`.
  ///
  /// - Throws: A usage error where it can't be one.
  static func tag(_ name: String) throws(ValidationError) -> Tag {
    do { return try Tag(name) } catch { throw ValidationError("\(error.message).") }
  }

  /// Checks that `number` is at least 1.
  static func check(_ number: Int64, _ option: String) throws(ValidationError) {
    guard number >= 1 else { throw ValidationError("\(option) takes a number from 1, not \(number).") }
  }
}
