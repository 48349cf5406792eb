import Logging
import MidCore
import MidRPC

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

extension MidServer {
  /// How ids look outside, with the keys that this takes, compared with what the data folder remembers of them.
  ///
  /// - Returns: the forms, and who compares them with the store; nil where there are no keys.
  /// - Throws: Everything that is wrong with the keys, what has to stay and was changed, and a data folder that can't be
  ///   read.
  func makeForms(_ supervisor: StoreSupervisor) throws(ConfigurationErrors) -> (forms: TagForms, keeper: OpaqueKeeper?)
  {
    let settings = self.configuration.forms
    for (slot, key) in settings.keys.sorted(by: { $0.key < $1.key }) where key.isOpenToOthers {
      self.logger.warning(
        "others than this program's user may read a key of opaque ids", metadata: ["slot": "\(slot)", "key": "\(key)"])
    }
    // Without keys there is nothing to remember, and nothing to be read by anybody.
    let environment = ProcessInfo.processInfo.environment
    guard !settings.keys.isEmpty else { return (try settings.make(environment: environment), nil) }
    guard let store = self.store as? any FactStore else {
      throw ConfigurationErrors([
        ConfigurationError(
          source: "settings", key: Settings.opaqueKeys.key,
          message: "a store of the kind \(self.store.kind) keeps no facts")
      ])
    }
    let path = OpaqueMemory.path(inFolder: self.configuration.dataDirectory)
    let remembered = try OpaqueMemory(readingFile: path)
    var wanted = remembered
    let forms = try settings.make(environment: environment, remembering: &wanted)
    let gate = OpaqueGate(
      OpaqueAgreement(
        remembered: remembered, wanted: wanted, currentSlot: settings.currentSlot ?? 0, store: self.storeLocation))
    let keeper = OpaqueKeeper(
      gate: gate, store: store, path: path, interval: self.configuration.segment.tagRefresh,
      storeReady: { try await supervisor.waitUntilReady() }, logger: self.logger)
    return (forms.guarded(by: gate), keeper)
  }
}

extension MidServer {
  /// Where the store is, whatever folder this was started in.
  fileprivate var storeLocation: String {
    self.store.kind == "sqlite" ? URL(filePath: self.store.location).standardizedFileURL.path : self.store.location
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

  /// Replaces the file, whole or not at all; nobody else may read it.
  ///
  /// - Throws: ``MidCore/IDError/Code/storeUnavailable`` where it can't be written.
  func write(toFile path: String) throws(IDError) {
    do {
      try Data(self.text.utf8).write(to: URL(filePath: path), options: .atomic)
      try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
    } catch {
      throw IDError(.storeUnavailable, "\(error)")
    }
  }

  private static func broken(_ message: String) -> ConfigurationErrors {
    ConfigurationErrors([
      ConfigurationError(source: "data folder", key: Settings.dataDirectory.key, message: message)
    ])
  }
}
