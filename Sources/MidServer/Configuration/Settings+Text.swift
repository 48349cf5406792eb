extension Settings {
  /// The settings as text for a terminal: key, default and variable on one line, the rest indented below.
  package static var helpText: String {
    self.all.map { setting in
      let value = setting.defaultText.isEmpty ? "(not set)" : setting.defaultText
      let flag = setting.flag.map { "\($0), " } ?? ""
      return """
          \(setting.key) = \(value)    [\(flag)\(setting.environmentName)]
              \(setting.help)
              Allowed: \(setting.allowed).
        """
    }.joined(separator: "\n")
  }

  /// The settings as a Markdown table, as the README carries it.
  package static var markdownTable: String {
    let head = "| key | default | flag, environment | what it does | allowed |\n| --- | --- | --- | --- | --- |"
    let rows = self.all.map { setting in
      let value = setting.defaultText.isEmpty ? "not set" : "`\(setting.defaultText)`"
      let flag = setting.flag.map { "`\($0)`, " } ?? ""
      let names = "`\(setting.key)` | \(value) | \(flag)`\(setting.environmentName)`"
      return "| \(names) | \(setting.help) | \(setting.allowed) |"
    }
    return ([head] + rows).joined(separator: "\n")
  }
}
