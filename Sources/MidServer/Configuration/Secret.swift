extension StringProtocol {
  /// The text without what may be a key: 32 hexadecimal digits in a row or more.
  package var hidingKeys: String {
    var text = ""
    var run = ""
    for character in self {
      if character.isASCII, character.isHexDigit {
        run.append(character)
        continue
      }
      text += (run.count < 32 ? run : "<hidden>") + String(character)
      run = ""
    }
    return text + (run.count < 32 ? run : "<hidden>")
  }
}

/// A text that no log, error or dump shows.
package struct Secret: Sendable, Equatable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  private let text: String

  /// Wraps `text`.
  package init(_ text: String) {
    self.text = text
  }

  /// The text itself, for the one place that hands it on.
  package func reveal() -> String { self.text }

  /// `<secret>`, whatever the text.
  package var description: String { "<secret>" }

  /// `<secret>`, whatever the text.
  package var debugDescription: String { self.description }

  /// A mirror without children, so that `dump` shows nothing either.
  package var customMirror: Mirror { Mirror(self, children: []) }
}
