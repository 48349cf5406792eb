/// JSON as text (RFC 8259), for objects whose keys are known to need no escaping.
package enum JSONText {
  /// A string: quotation mark, backslash and control characters escaped.
  package static func string(_ text: String) -> String {
    var json = ""
    LogLine.appendString(text, to: &json)
    return json
  }

  /// A string, or null.
  package static func string(_ text: String?) -> String {
    text.map { (text: String) in self.string(text) } ?? "null"
  }

  /// An object on one line, of keys and values that are JSON already.
  package static func object(_ members: KeyValuePairs<String, String>) -> String {
    "{" + members.map { "\"\($0.key)\": \($0.value)" }.joined(separator: ", ") + "}"
  }

  /// An array with an element a line.
  package static func array(_ elements: [String]) -> String {
    elements.isEmpty ? "[]" : "[\n  " + elements.joined(separator: ",\n  ") + "\n]"
  }
}
