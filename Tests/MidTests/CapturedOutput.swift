import Foundation

@testable import mid

/// What `body` prints, by way of a temporary file; and the error it ended with, if any.
func captured(_ body: (inout OutputBuffer) async throws -> Void) async throws -> (text: String, error: (any Error)?) {
  let path = temporaryPath("out")
  guard FileManager.default.createFile(atPath: path, contents: nil), let file = FileHandle(forWritingAtPath: path)
  else {
    throw CocoaError(.fileWriteUnknown)
  }
  defer { try? FileManager.default.removeItem(atPath: path) }
  var output = OutputBuffer(descriptor: file.fileDescriptor)
  var failure: (any Error)?
  do { try await body(&output) } catch { failure = error }
  try output.flush()
  try file.close()
  return (try String(contentsOfFile: path, encoding: .utf8), failure)
}

/// A path in the temporary folder that nothing has yet.
func temporaryPath(_ kind: String) -> String {
  FileManager.default.temporaryDirectory.appendingPathComponent("mid-\(kind)-\(UUID().uuidString)").path
}
