import MidCore
import MidOpaque

extension ServerConfiguration.Forms {
  func conflicts(_ add: (any SettingDescription, String) -> Void) {
    let byName = { (left: Tag, right: Tag) in left.name < right.name }
    for tag in self.templates.keys.sorted(by: byName) where self.templates[tag]?.isOpaque == true {
      guard self.opaqueTags[tag] == nil else { continue }
      add(Settings.textForms, "the form of tag '\(tag)' is opaque, and \(Settings.opaqueTags.key) has no such tag")
    }
    if !self.opaqueTags.isEmpty, self.keys.isEmpty {
      add(Settings.opaqueTags, "needs \(Settings.opaqueKeys.key), where the key stands")
    }
    for slot in self.keys.keys.sorted() where slot >= 1 << self.slotBits {
      add(
        Settings.opaqueKeys,
        "there is no slot \(slot): \(Settings.opaqueSlotBits.key) is \(self.slotBits), so slots are 0 to "
          + "\((1 << self.slotBits) - 1)")
    }
    switch self.current {
    case .some(let slot) where self.keys[slot] == nil:
      add(Settings.opaqueCurrent, "\(Settings.opaqueKeys.key) has no slot \(slot)")
    case nil where self.keys.count > 1:
      add(
        Settings.opaqueCurrent,
        "is needed where there are several keys: one of \(self.keys.keys.sorted().map(String.init).joined(separator: ", "))"
      )
    default: break
    }
  }

  /// The slot of the key that new numbers are made with.
  package var currentSlot: Int? { self.current ?? self.keys.keys.min() }

  /// Reads the keys and prepares the forms.
  ///
  /// - Parameter environment: the process's environment, where keys may be.
  /// - Throws: Everything that is wrong with the keys, and nothing of what is in them.
  package func make(environment: [String: String]) throws(ConfigurationErrors) -> TagForms {
    try self.forms(try self.ciphers(environment: environment))
  }

  /// The same as ``make(environment:)`` where a node remembers what it was started with before.
  ///
  /// - Parameter memory: what it remembers; what is new is added.
  /// - Throws: As ``make(environment:)``, and where what has to stay was changed.
  package func make(
    environment: [String: String], remembering memory: inout OpaqueMemory
  ) throws(ConfigurationErrors) -> TagForms {
    let ciphers = try self.ciphers(environment: environment)
    var now = OpaqueMemory()
    now.slotBits = self.keys.isEmpty ? nil : self.slotBits
    now.checks = ciphers.mapValues { UInt32(truncatingIfNeeded: $0.encrypt(OpaqueMemory.checkedBlock) >> 96) }
    now.tags = self.opaqueTags
    let changes = memory.merge(now)
    guard changes.isEmpty else {
      throw ConfigurationErrors(
        changes.map { ConfigurationError(source: "settings", key: $0.setting.key, message: $0.message) })
    }
    return try self.forms(ciphers)
  }

  private func ciphers(environment: [String: String]) throws(ConfigurationErrors) -> [Int: AES] {
    var errors: [ConfigurationError] = []
    func add(_ setting: any SettingDescription, _ message: String) {
      errors.append(ConfigurationError(source: "settings", key: setting.key, message: message))
    }
    var ciphers: [Int: AES] = [:]
    for (slot, reference) in self.keys.sorted(by: { $0.key < $1.key }) {
      do throws(IDError) { ciphers[slot] = try reference.cipher(environment: environment) } catch {
        add(Settings.opaqueKeys, "slot \(slot): \(error.message)")
      }
    }
    // One key in two slots would be a mistake of copying, and a change of keys that changes nothing.
    let marks = ciphers.mapValues { $0.encrypt(0) }
    if Set(marks.values).count < marks.count { add(Settings.opaqueKeys, "two slots have the same key") }
    guard errors.isEmpty else { throw ConfigurationErrors(errors) }
    return ciphers
  }

  private func forms(_ ciphers: [Int: AES]) throws(ConfigurationErrors) -> TagForms {
    do throws(IDError) {
      var opaque: [Tag: OpaqueIDs<AES>] = [:]
      for (tag, bits) in self.opaqueTags {
        opaque[tag] = try OpaqueIDs(
          tag: tag, bits: bits, slotBits: self.slotBits, keys: ciphers, currentSlot: self.currentSlot ?? 0)
      }
      return try TagForms(templates: self.templates, opaque: opaque)
    } catch {
      throw ConfigurationErrors([
        ConfigurationError(source: "settings", key: Settings.opaqueTags.key, message: error.message)
      ])
    }
  }
}
