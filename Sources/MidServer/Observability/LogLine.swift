import Logging

/// One log event, as text.
struct LogLine {
  var time: String
  var level: Logger.Level
  var logger: String
  var message: String
  var fields: Logger.Metadata

  /// The names that the line itself uses. A field of the same name gets `metadata_` in front.
  private static let reserved: Set<String> = ["time", "level", "logger", "message"]

  /// The event as a JSON object (RFC 8259), without a line feed.
  var json: String {
    var text = "{\"time\":\"\(self.time)\",\"level\":\"\(self.level.rawValue)\",\"logger\":"
    Self.appendString(self.logger, to: &text)
    text += ",\"message\":"
    Self.appendString(self.message, to: &text)
    for (key, value) in self.fields.sorted(by: { $0.key < $1.key }) {
      text += ","
      Self.appendString(Self.reserved.contains(key) ? "metadata_\(key)" : key, to: &text)
      text += ":"
      Self.append(value, to: &text)
    }
    return text + "}"
  }

  /// The event as text for people, without a line feed. Control characters are escaped, so that one event stays one line.
  var text: String {
    let level = self.level.rawValue.uppercased()
    var text = "\(self.time) \(level)\(String(repeating: " ", count: max(0, 8 - level.count))) "
    text += "\(Self.withoutControls(self.logger)): \(Self.withoutControls(self.message))"
    for (key, value) in self.fields.sorted(by: { $0.key < $1.key }) {
      let shown = "\(value)"
      text += " \(Self.withoutControls(key))="
      if shown.isEmpty || shown.unicodeScalars.contains(where: { $0 == " " || $0 == "\"" || $0 == "=" }) {
        Self.appendString(shown, to: &text)
      } else {
        text += Self.withoutControls(shown)
      }
    }
    return text
  }

  private static func append(_ value: Logger.Metadata.Value, to text: inout String) {
    switch value {
    case .string(let string): self.appendString(string, to: &text)
    case .stringConvertible(let value): self.append(value, to: &text)
    case .array(let values):
      text += "["
      for (index, value) in values.enumerated() {
        if index > 0 { text += "," }
        self.append(value, to: &text)
      }
      text += "]"
    case .dictionary(let fields):
      text += "{"
      for (index, field) in fields.sorted(by: { $0.key < $1.key }).enumerated() {
        if index > 0 { text += "," }
        self.appendString(field.key, to: &text)
        text += ":"
        self.append(field.value, to: &text)
      }
      text += "}"
    }
  }

  /// Numbers and Booleans stay what they are; anything else becomes a string.
  private static func append(_ value: any CustomStringConvertible, to text: inout String) {
    if let flag = value as? Bool {
      text += flag ? "true" : "false"
    } else if let number = value as? any BinaryInteger {
      text += number.description
    } else if let number = value as? Double, number.isFinite {
      text += number.description
    } else {
      self.appendString(value.description, to: &text)
    }
  }

  /// A JSON string: quote, backslash and everything below U+0020 escaped.
  static func appendString(_ string: String, to text: inout String) {
    text += "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      default: self.appendEscapingControls(scalar, to: &text)
      }
    }
    text += "\""
  }

  private static func withoutControls(_ string: String) -> String {
    var text = ""
    for scalar in string.unicodeScalars {
      self.appendEscapingControls(scalar, to: &text)
    }
    return text
  }

  /// C1 controls and DEL can steer a terminal as C0 ones do; the line separators break lines in some viewers.
  private static func appendEscapingControls(_ scalar: Unicode.Scalar, to text: inout String) {
    switch scalar {
    case "\n": text += "\\n"
    case "\r": text += "\\r"
    case "\t": text += "\\t"
    case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}", "\u{2028}", "\u{2029}":
      let digits = String(scalar.value, radix: 16)
      text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
    default: text.unicodeScalars.append(scalar)
    }
  }
}
