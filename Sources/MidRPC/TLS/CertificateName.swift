/// The subject of a certificate as text, read from its DER form.
///
/// Only for certificates that BoringSSL has taken already. What is not as RFC 5280, 4.1 has it gives no name rather than
/// a wrong one.
enum CertificateName {
  /// The subject in the order in which it stands, `CN=ids.example,O=Example`: short names as in RFC 4514, 2.3.
  static func subject(der: [UInt8]) -> String {
    var file = DER(der[...])
    guard var certificate = file.open(DER.sequence), var body = certificate.open(DER.sequence) else { return "" }
    if body.tag == 0xa0 { _ = body.next() }  // The version.
    // Serial number, algorithm, issuer and validity stand before it.
    for _ in 0..<4 { guard body.next() != nil else { return "" } }
    guard var subject = body.open(DER.sequence) else { return "" }
    var parts: [String] = []
    while var set = subject.open(DER.set) {
      while var attribute = set.open(DER.sequence) {
        guard let (tag, type) = attribute.next(), tag == DER.objectIdentifier, let (_, value) = attribute.next() else {
          return ""
        }
        guard let name = Self.shortNames[Array(type)] else { continue }
        parts.append("\(name)=\(Self.escaped(String(decoding: value, as: UTF8.self)))")
      }
    }
    return parts.joined(separator: ",")
  }

  /// The attributes of the arc 2.5.4 that names are made of.
  private static let shortNames: [[UInt8]: String] = [
    [0x55, 4, 3]: "CN", [0x55, 4, 6]: "C", [0x55, 4, 7]: "L", [0x55, 4, 8]: "ST", [0x55, 4, 10]: "O",
    [0x55, 4, 11]: "OU",
  ]

  /// Escapes what separates parts, as RFC 4514, 2.4 does.
  private static func escaped(_ text: String) -> String {
    var result = ""
    for character in text {
      if ",+\"\\<>;=".contains(character) { result.append("\\") }
      result.append(character)
    }
    return result
  }
}

/// Reads tag, length and value one after the other (X.690, definite lengths). nil at the end and at anything broken.
private struct DER {
  static let sequence: UInt8 = 0x30
  static let set: UInt8 = 0x31
  static let objectIdentifier: UInt8 = 0x06

  private var rest: ArraySlice<UInt8>

  init(_ bytes: ArraySlice<UInt8>) { self.rest = bytes }

  /// The next value's tag.
  var tag: UInt8? { self.rest.first }

  /// Takes the next value.
  mutating func next() -> (tag: UInt8, value: ArraySlice<UInt8>)? {
    guard let tag = self.rest.popFirst(), let first = self.rest.popFirst() else { return nil }
    var length = Int(first)
    if first >= 0x80 {
      let count = Int(first & 0x7f)
      guard (1...4).contains(count), self.rest.count >= count else { return nil }
      length = self.rest.prefix(count).reduce(0) { $0 << 8 | Int($1) }
      self.rest = self.rest.dropFirst(count)
    }
    guard self.rest.count >= length else { return nil }
    defer { self.rest = self.rest.dropFirst(length) }
    return (tag, self.rest.prefix(length))
  }

  /// Takes the next value if it has this tag, to read what is in it.
  mutating func open(_ tag: UInt8) -> DER? {
    guard self.tag == tag, let (_, value) = self.next() else { return nil }
    return DER(value)
  }
}
