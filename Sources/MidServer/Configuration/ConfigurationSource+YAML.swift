import Yams

extension ConfigurationSource {
  /// How deep a file may nest; settings nest three deep.
  private static let maximumDepth = 8

  /// Reads a YAML file: a mapping of mappings whose path is a setting's key.
  ///
  /// Broken YAML and a key twice in one mapping end the reading of the file at once, because no values can be told then.
  static func yaml(_ text: String, name: String, _ errors: inout [ConfigurationError]) -> ConfigurationSource {
    var reading = Reading(file: name)
    do {
      if let root = try Yams.compose(yaml: text) {
        if let mapping = root.mapping {
          reading.flatten(mapping, prefix: "", depth: 1)
        } else if !root.isEmptyScalar {
          reading.fail(at: root.mark, key: nil, "the file must be a mapping of settings")
        }
      }
    } catch let error as YamlError {
      reading.errors.append(contentsOf: error.configurationErrors(file: name))
    } catch {
      reading.fail(at: nil, key: nil, "\(error)")
    }
    errors.append(contentsOf: reading.errors)
    return reading.source
  }

  /// The state of going through one file.
  private struct Reading {
    let file: String
    var source = ConfigurationSource()
    var errors: [ConfigurationError] = []

    init(file: String) {
      self.file = file
    }

    mutating func fail(at mark: Mark?, key: String?, _ message: String) {
      self.errors.append(ConfigurationError(source: self.place(mark), key: key, message: message))
    }

    func place(_ mark: Mark?) -> String {
      mark.map { "\(self.file):\($0.line)" } ?? self.file
    }

    mutating func flatten(_ mapping: Node.Mapping, prefix: String, depth: Int) {
      for (keyNode, value) in mapping {
        guard let name = keyNode.scalar?.string else {
          self.fail(at: keyNode.mark, key: prefix.isEmpty ? nil : prefix, "keys must be plain names")
          continue
        }
        let key = prefix.isEmpty ? name : "\(prefix).\(name)"
        if let setting = Settings.byKey[key] {
          self.take(value, for: setting, at: keyNode.mark)
        } else if Settings.all.contains(where: { $0.key.hasPrefix(key + ".") }) {
          self.descend(into: value, key: key, at: keyNode.mark, depth: depth)
        } else {
          self.errors.append(
            .unknown(
              key, source: self.place(keyNode.mark), candidates: Settings.all.map(\.key), kind: "setting"))
        }
      }
    }

    private mutating func descend(into value: Node, key: String, at mark: Mark?, depth: Int) {
      guard let mapping = value.mapping, depth < ConfigurationSource.maximumDepth else {
        let names = Settings.all.map(\.key).filter { $0.hasPrefix(key + ".") }.joined(separator: ", ")
        return self.fail(at: mark, key: key, "this is a group of settings, not a value: \(names)")
      }
      self.flatten(mapping, prefix: key, depth: depth + 1)
    }

    private mutating func take(_ value: Node, for setting: any SettingDescription, at mark: Mark?) {
      guard self.source.entries[setting.key] == nil else {
        return self.fail(at: mark, key: setting.key, "given twice")
      }
      let text: String
      if let scalar = value.scalar {
        guard !value.isEmptyScalar else {
          return self.fail(at: mark, key: setting.key, "has no value; allowed: \(setting.allowed)")
        }
        text = scalar.string
      } else if let sequence = value.sequence, sequence.allSatisfy({ $0.scalar != nil }) {
        text = sequence.compactMap { $0.scalar?.string }.joined(separator: ",")
      } else {
        return self.fail(at: mark, key: setting.key, "must be a value; allowed: \(setting.allowed)")
      }
      self.source.entries[setting.key] = Entry(text: text, place: self.place(mark))
    }
  }
}

extension Node {
  /// Whether this is a plain scalar without text, as in `key:`. A quoted empty string is a value.
  fileprivate var isEmptyScalar: Bool {
    guard let scalar = self.scalar else { return false }
    return scalar.style == .plain && (scalar.string.isEmpty || scalar.string == "~" || scalar.string == "null")
  }
}

extension YamlError {
  /// The error as lines of ours. Snippets of the file are left out: they may hold a password.
  fileprivate func configurationErrors(file: String) -> [ConfigurationError] {
    switch self {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      return [ConfigurationError(source: "\(file):\(mark.line)", key: nil, message: "not valid YAML: \(problem)")]
    case .reader(let problem, _, _, _):
      return [ConfigurationError(source: file, key: nil, message: "not valid YAML: \(problem)")]
    case .duplicatedKeysInMapping(let duplicates, let context):
      return duplicates.map {
        ConfigurationError(source: "\(file):\(context.mark.line)", key: $0, message: "given twice in one mapping")
      }
    default:
      return [ConfigurationError(source: file, key: nil, message: "not valid YAML")]
    }
  }
}
