#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

extension ServerConfiguration {
  /// The largest configuration file, in bytes.
  package static let maximumFileSize = 1_048_576

  /// Reads the configuration as ``load(flags:environment:file:)`` does, taking the file at `path`, or at the path in
  /// `MID_CONFIG` where `path` is nil, or none.
  ///
  /// - Throws: Every error there is; a file that can't be read is one of them.
  package static func load(
    flags: [String: String], environment: [String: String], filePath path: String?
  ) throws(ConfigurationErrors) -> ServerConfiguration {
    guard let path = path ?? environment[Settings.fileEnvironmentName], !path.isEmpty else {
      return try self.load(flags: flags, environment: environment)
    }
    let text: String
    switch self.read(path) {
    case .success(let contents): text = contents
    case .failure(let unreadable):
      // The other sources are still checked, so that one run shows everything.
      do throws(ConfigurationErrors) {
        _ = try self.load(flags: flags, environment: environment)
      } catch {
        throw ConfigurationErrors(error.errors + [unreadable])
      }
      throw ConfigurationErrors([unreadable])
    }
    return try self.load(flags: flags, environment: environment, file: (path, text))
  }

  private static func read(_ path: String) -> Result<String, ConfigurationError> {
    func failure(_ message: String) -> Result<String, ConfigurationError> {
      .failure(ConfigurationError(source: path, key: nil, message: message))
    }
    do {
      let data = try Data(contentsOf: URL(filePath: path))
      guard data.count <= self.maximumFileSize else {
        return failure("the file has \(data.count) bytes; at most \(self.maximumFileSize) are read")
      }
      guard let text = String(validating: data, as: UTF8.self) else { return failure("the file is not UTF-8") }
      return .success(text)
    } catch let error as CocoaError where error.code == .fileReadNoSuchFile {
      return failure("no such file")
    } catch let error as CocoaError where error.code == .fileReadNoPermission {
      return failure("no permission to read the file")
    } catch {
      return failure("the file can't be read: \(error)")
    }
  }
}
