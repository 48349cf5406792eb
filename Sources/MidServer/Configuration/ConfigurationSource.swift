import Configuration

/// What one source says: texts by setting key, and where each was found.
struct ConfigurationSource {
  /// A text and the place to name when it is wrong.
  struct Entry {
    var text: String
    var place: String
  }

  /// Known keys only; unknown ones became errors when the source was read.
  var entries: [String: Entry] = [:]
  /// Whether this is the command line, which other users of the machine can read.
  var isPublic = false

  /// The entries as a provider of swift-configuration takes them.
  var providerValues: [AbsoluteConfigKey: ConfigValue] {
    var values: [AbsoluteConfigKey: ConfigValue] = [:]
    for (key, entry) in self.entries {
      let isSecret = Settings.byKey[key]?.isSecret ?? true
      values[AbsoluteConfigKey(ConfigKey(key))] = ConfigValue(.string(entry.text), isSecret: isSecret)
    }
    return values
  }

  /// Adds an error for each value that its setting does not allow, in the order in which settings are listed.
  func checkValues(_ errors: inout [ConfigurationError]) {
    for setting in Settings.all {
      guard let entry = self.entries[setting.key] else { continue }
      if self.isPublic, !setting.isAllowedAsFlag {
        errors.append(.visible(setting, source: entry.place))
      } else if !setting.accepts(entry.text) {
        errors.append(.notAllowed(entry.text, for: setting, source: entry.place))
      } else if self.isPublic, setting.key == Settings.storeURL.key, StoreLocation(entry.text)?.hasPassword == true {
        errors.append(.visible(Settings.storePassword, source: entry.place))
      }
    }
  }

  /// Takes the command line's values, by setting key.
  static func flags(_ flags: [String: String], _ errors: inout [ConfigurationError]) -> ConfigurationSource {
    var source = ConfigurationSource(isPublic: true)
    for (key, text) in flags.sorted(by: { $0.key < $1.key }) {
      if let setting = Settings.byKey[key] {
        source.entries[key] = Entry(text: text, place: setting.flagName)
      } else {
        errors.append(.unknown(key, source: "--set", candidates: Settings.all.map(\.key), kind: "setting"))
      }
    }
    return source
  }

  /// Takes the variables that start with `MID_`.
  static func environment(
    _ environment: [String: String], _ errors: inout [ConfigurationError]
  ) -> ConfigurationSource {
    var source = ConfigurationSource()
    let known = Settings.all.map(\.environmentName) + [Settings.fileEnvironmentName]
    for (name, text) in environment.sorted(by: { $0.key < $1.key }) where name.hasPrefix("MID_") {
      if let setting = Settings.byEnvironmentName[name] {
        source.entries[setting.key] = Entry(text: text, place: name)
      } else if name != Settings.fileEnvironmentName, !Self.isFromKubernetes(name) {
        errors.append(.unknown(name, source: "environment", candidates: known, kind: "variable"))
      }
    }
    return source
  }

  /// Whether Kubernetes sets a variable of this name in every pod beside a Service called `mid` or `mid-…`:
  /// `MID_SERVICE_HOST`, `MID_GRPC_SERVICE_PORT_HTTP`, `MID_PORT`, `MID_PORT_50051_TCP_ADDR`.
  static func isFromKubernetes(_ name: String) -> Bool {
    let words = name.split(separator: "_", omittingEmptySubsequences: false)[...]
    if let service = words.lastIndex(of: "SERVICE"), service > 0, service + 1 < words.count {
      return words[service + 1] == "HOST" ? service + 2 == words.count : words[service + 1] == "PORT"
    }
    guard let port = words.lastIndex(of: "PORT") else { return false }
    let rest = words[(port + 1)...]
    if rest.isEmpty { return true }
    // The last word may itself be PORT, as in MID_PORT_50051_TCP_PORT.
    let link = words.firstIndex(of: "PORT").map { words[($0 + 1)...] } ?? rest
    guard let number = link.first, Int(number) != nil, link.count >= 2 else { return false }
    return ["TCP", "UDP", "SCTP"].contains(String(link[link.startIndex + 1]))
  }
}

extension ConfigurationError {
  /// A value that its setting does not allow.
  static func notAllowed(_ text: String, for setting: any SettingDescription, source: String) -> ConfigurationError {
    let shown = text.isEmpty ? "an empty value" : "'\(setting.shown(text))'"
    let reason = setting.explanation(text).map { " (\($0))" } ?? ""
    return ConfigurationError(
      source: source, key: setting.key, message: "\(shown) is not allowed\(reason); allowed: \(setting.allowed)")
  }

  /// A name that no setting has.
  static func unknown(_ name: String, source: String, candidates: [String], kind: String) -> ConfigurationError {
    let hint = Suggestion.nearest(to: name, in: candidates).map { "; did you mean \($0)?" } ?? ""
    return ConfigurationError(source: source, key: name.hidingKeys, message: "no such \(kind)\(hint)")
  }

  /// A secret where others can read it.
  static func visible(_ setting: any SettingDescription, source: String) -> ConfigurationError {
    ConfigurationError(
      source: source, key: setting.key,
      message: "a password on the command line can be read by other users; use \(setting.environmentName) or the file")
  }
}
