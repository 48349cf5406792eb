import Logging

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

extension MidServer {
  /// How ids look outside, with the keys that this takes.
  ///
  /// - Throws: Everything that is wrong with the keys.
  func makeForms() throws(ConfigurationErrors) -> TagForms {
    let settings = self.configuration.forms
    let forms = try settings.make(environment: ProcessInfo.processInfo.environment)
    for (slot, key) in settings.keys.sorted(by: { $0.key < $1.key }) where key.isOpenToOthers {
      self.logger.warning(
        "others than this program's user may read a key of opaque ids", metadata: ["slot": "\(slot)", "key": "\(key)"])
    }
    return forms
  }
}
