import Foundation

/// A folder of its own for one test.
struct TemporaryFolder {
  let url: URL

  init() throws {
    self.url = FileManager.default.temporaryDirectory.appendingPathComponent("mid-sqlite-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: self.url, withIntermediateDirectories: false)
  }

  func file(_ name: String) -> String { self.url.appendingPathComponent(name).path }

  func remove() throws { try FileManager.default.removeItem(at: self.url) }
}
