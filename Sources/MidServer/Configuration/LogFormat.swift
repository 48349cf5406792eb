/// How log lines look.
package enum LogFormat: String, Sendable, CaseIterable {
  /// Text where standard error is a terminal, JSON elsewhere.
  case auto
  /// One JSON object a line.
  case json
  /// One line of text for people.
  case text
}
