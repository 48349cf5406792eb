/// JSON as text (RFC 8259), for objects whose keys are known to need no escaping.
enum JSONText {
  /// A string: quotation mark, backslash and everything below U+0020 escaped.
  static func string(_ text: String) -> String {
    var json = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": json += "\\\""
      case "\\": json += "\\\\"
      case "\u{0}"..."\u{1F}":
        let digits = String(scalar.value, radix: 16)
        json += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: json.unicodeScalars.append(scalar)
      }
    }
    return json + "\""
  }

  /// A string, or null.
  static func string(_ text: String?) -> String {
    text.map { (text: String) in self.string(text) } ?? "null"
  }

  /// An object on one line, of keys and values that are JSON already.
  static func object(_ members: KeyValuePairs<String, String>) -> String {
    "{" + members.map { "\"\($0.key)\": \($0.value)" }.joined(separator: ", ") + "}"
  }

  /// An array with an element a line.
  static func array(_ elements: [String]) -> String {
    elements.isEmpty ? "[]" : "[\n  " + elements.joined(separator: ",\n  ") + "\n]"
  }
}
