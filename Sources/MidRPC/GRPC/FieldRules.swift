/// What names and values a request's fields may have. Sources: RFC 9113, section 8.2; RFC 9110, sections 5.1, 5.5 and 5.6.2.
enum FieldRules {
  /// Whether a request, or its trailers, may have this field. Pseudo-header fields may not be asked about.
  static func allows(_ name: String, _ value: String) -> Bool {
    guard !name.isEmpty, name.utf8.allSatisfy(Self.isNameByte), Self.isValue(value) else { return false }
    switch name {
    case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade": return false
    case "te": return value.lowercased() == "trailers"
    default: return true
    }
  }

  /// Whether a field may have this value: no blank at either end, and of the control characters a tab at most.
  static func isValue(_ value: String) -> Bool {
    func isBlank(_ byte: UInt8?) -> Bool { byte == 0x20 || byte == 0x09 }
    let bytes = value.utf8
    return bytes.allSatisfy { $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 } && !isBlank(bytes.first) && !isBlank(bytes.last)
  }

  /// The characters of a token, of which RFC 9113 wants names to have the lower-case ones only.
  private static func isNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
    case UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "!"), UInt8(ascii: "#"),
      UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"), UInt8(ascii: "'"), UInt8(ascii: "*"),
      UInt8(ascii: "+"), UInt8(ascii: "^"), UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
      true
    default: false
    }
  }

  private static func isUpperCase(_ byte: UInt8) -> Bool { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) }

  /// Whether this can be a method: a token. Source: RFC 9110, section 9.1.
  static func isMethod(_ method: String) -> Bool {
    !method.isEmpty && method.utf8.allSatisfy { Self.isNameByte($0) || Self.isUpperCase($0) }
  }

  /// Whether this can be a URI's scheme. Source: RFC 3986, section 3.1.
  static func isScheme(_ scheme: String) -> Bool {
    func isLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) }
    func isOther(_ byte: UInt8) -> Bool {
      (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "+")
        || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".")
    }
    guard let first = scheme.utf8.first, isLetter(first) else { return false }
    return scheme.utf8.allSatisfy { isLetter($0) || isOther($0) }
  }

  /// Whether a path has only characters that a URI can have: printable ASCII.
  static func isPath(_ path: String) -> Bool { path.utf8.allSatisfy { (0x21...0x7e).contains($0) } }

  /// An authority in the form in which two of them are compared: lower case, without the scheme's own port. Source:
  /// RFC 3986, section 6.2.3.
  static func authority(_ text: String, scheme: String) -> String {
    let text = text.lowercased()
    let port =
      switch scheme.lowercased() {
      case "http": ":80"
      case "https": ":443"
      default: ":"
      }
    if text.hasSuffix(port) { return String(text.dropLast(port.utf8.count)) }
    return text.hasSuffix(":") ? String(text.dropLast()) : text
  }
}
