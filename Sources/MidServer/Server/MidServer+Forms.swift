import Logging
import MidRPC

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

extension MidServer {
  /// How ids look outside, with the keys that this takes, compared with what the data folder remembers of them.
  ///
  /// - Returns: the forms, and what has new settings of keys remembered: to be called once the server listens, since no number
  ///   was made before.
  /// - Throws: Everything that is wrong with the keys, what has to stay and was changed, and a data folder that can't be
  ///   read or written.
  func makeForms() throws(ConfigurationErrors) -> (forms: TagForms, remember: @Sendable () -> Void) {
    let settings = self.configuration.forms
    for (slot, key) in settings.keys.sorted(by: { $0.key < $1.key }) where key.isOpenToOthers {
      self.logger.warning(
        "others than this program's user may read a key of opaque ids", metadata: ["slot": "\(slot)", "key": "\(key)"])
    }
    // Without keys there is nothing to remember, and nothing to be read by anybody.
    let environment = ProcessInfo.processInfo.environment
    guard !settings.keys.isEmpty else { return (try settings.make(environment: environment), {}) }
    let path = OpaqueMemory.path(inFolder: self.configuration.dataDirectory)
    let found = try OpaqueMemory(readingFile: path)
    var memory = found
    let forms = try settings.make(environment: environment, remembering: &memory)
    return (
      forms,
      { [memory, logger] in
        guard memory != found else { return }
        do {
          try Data(memory.text.utf8).write(to: URL(filePath: path), options: .atomic)
          try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        } catch {
          logger.error(
            "the check values of the keys of opaque ids can't be kept: a changed key would not be found out",
            metadata: ["path": "\(path)", "reason": "\(error)"])
        }
      }
    )
  }
}

extension OpaqueMemory {
  /// Where a data folder keeps it.
  package static func path(inFolder folder: String) -> String { "\(folder)/opaque.state" }

  /// What a file holds; nothing where there is none.
  ///
  /// - Throws: where it can't be read, or is another file.
  package init(readingFile path: String) throws(ConfigurationErrors) {
    self.init()
    guard FileManager.default.fileExists(atPath: path) else { return }
    let bytes: [UInt8]
    do throws(PEMFile.Failure) { bytes = try PEMFile.read(path) } catch { throw Self.broken("\(path): \(error)") }
    guard let memory = OpaqueMemory(String(decoding: bytes, as: UTF8.self)) else {
      throw Self.broken("\(path) is no file of this program: move it away where the keys are known to be the same")
    }
    self = memory
  }

  private static func broken(_ message: String) -> ConfigurationErrors {
    ConfigurationErrors([
      ConfigurationError(source: "data folder", key: Settings.dataDirectory.key, message: message)
    ])
  }
}
