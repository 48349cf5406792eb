import ArgumentParser

/// Printing for the commands that print a few lines.
enum CommandOutput {
  /// Lets `body` print and writes it out. Quiet where the reader has gone.
  static func print(_ body: (inout OutputBuffer) async throws -> Void) async throws {
    var output = OutputBuffer()
    do {
      try await body(&output)
      try output.flush()
    } catch OutputBuffer.Failure.closed {
      throw ExitCode.closedPipe
    }
  }
}
