/// One setting: its name in each source, its default, what is allowed, and what it does.
///
/// A value type that ``Settings`` lists; the help text, the README's table, the reading of values and the check for
/// unknown names are all made from it.
package struct Setting<Value: Sendable & Equatable>: SettingDescription {
  /// The key in the file, dots standing for nesting: `grpc.address`.
  package let key: String
  /// How its text is read.
  let type: SettingType<Value>
  /// The default, as a person would write it. Empty where the setting is off unless given.
  package let defaultText: String
  /// The command line's own flag for it, with dashes, or nil where only `--set KEY=VALUE` reaches it.
  package let flag: String?
  /// Whether it may be given on the command line at all. Other users of the machine can read that.
  package let isAllowedAsFlag: Bool
  /// What it does, one or two sentences.
  package let help: String

  init(
    _ key: String, _ type: SettingType<Value>, default defaultText: String, flag: String? = nil,
    isAllowedAsFlag: Bool = true, help: String
  ) {
    self.key = key
    self.type = type
    self.defaultText = defaultText
    self.flag = flag
    self.isAllowedAsFlag = isAllowedAsFlag
    self.help = help
  }

  package var allowed: String { self.type.allowed }

  package func explanation(_ text: String) -> String? { self.type.explain(text) }
  package var isSecret: Bool { self.type.isSecret }

  package func shown(_ text: String) -> String {
    self.type.redact(text)
  }

  package func accepts(_ text: String) -> Bool {
    self.type.parse(text) != nil
  }
}

/// What a list of settings of different types has in common.
package protocol SettingDescription: Sendable {
  /// The key in the file, dots standing for nesting.
  var key: String { get }
  /// The command line's own flag, with dashes, or nil.
  var flag: String? { get }
  /// Whether it may be given on the command line.
  var isAllowedAsFlag: Bool { get }
  /// The default as text; empty for "not set".
  var defaultText: String { get }
  /// What is allowed, in words.
  var allowed: String { get }
  /// What is wrong with a text that is not allowed, where that does not show.
  func explanation(_ text: String) -> String?
  /// What it does.
  var help: String { get }
  /// Whether its value must never be shown.
  var isSecret: Bool { get }
  /// `text` with anything secret in it replaced.
  func shown(_ text: String) -> String
  /// Whether `text` is a value of this setting.
  func accepts(_ text: String) -> Bool
}

extension SettingDescription {
  /// The environment variable: `MID_` and the key in capitals, dots as underscores.
  package var environmentName: String {
    "MID_" + String(self.key.uppercased().map { $0 == "." ? "_" : $0 })
  }

  /// What the command line calls it in messages.
  package var flagName: String {
    self.flag ?? "--set \(self.key)"
  }
}
