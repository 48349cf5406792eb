import ArgumentParser

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// A failure to be told in one line on standard error.
struct CommandFailure: Error, CustomStringConvertible {
  /// The line, without an end of line.
  let description: String

  /// Creates a failure that says `description`.
  init(_ description: String) {
    self.description = description
  }
}

extension ExitCode {
  /// The configuration (environment or file) is broken.
  static let brokenConfiguration = ExitCode(2)
  /// The reader of our output went away: what a shell reports for a program that died of SIGPIPE.
  static let closedPipe = ExitCode(128 + SIGPIPE)
}
