/// An address as people write it: `HOST:PORT`, an IPv6 host in brackets.
package struct HostPort: Sendable, Hashable, CustomStringConvertible {
  /// A host name or numeric address, without brackets.
  package var host: String
  /// 0...65535; 0 asks the system for a free port.
  package var port: Int

  /// Creates an address.
  package init(host: String, port: Int) {
    self.host = host
    self.port = port
  }

  /// Reads `HOST:PORT`. Returns nil where `text` is anything else, or where the port is missing and `defaultPort` is nil.
  package init?(_ text: String, defaultPort: Int? = nil) {
    let host: Substring
    let rest: Substring
    if text.hasPrefix("[") {
      guard let end = text.firstIndex(of: "]") else { return nil }
      host = text[text.index(after: text.startIndex)..<end]
      rest = text[text.index(after: end)...]
      guard host.contains(":"), host.utf8.allSatisfy(Self.isIPv6Byte) else { return nil }
    } else {
      let colon = text.firstIndex(of: ":") ?? text.endIndex
      host = text[..<colon]
      rest = text[colon...]
      guard host.utf8.allSatisfy(Self.isNameByte) else { return nil }
    }
    guard !host.isEmpty, host.utf8.count <= 255 else { return nil }
    if rest.isEmpty {
      guard let defaultPort else { return nil }
      self.init(host: String(host), port: defaultPort)
      return
    }
    let digits = rest.dropFirst()
    guard rest.first == ":", !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
      let port = Int(digits), port <= 65_535
    else { return nil }
    self.init(host: String(host), port: port)
  }

  /// `HOST:PORT`, an IPv6 host in brackets.
  package var description: String {
    self.host.contains(":") ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)"
  }

  /// Whether only this machine can reach the address: `127.0.0.0/8`, `::1` or `localhost`.
  package var isLoopback: Bool {
    self.host == "localhost" || self.host == "::1"
      || (self.host.hasPrefix("127.") && self.host.utf8.allSatisfy { $0 == 0x2E || (0x30...0x39).contains($0) })
  }

  /// Hex digits, colons, dots of an embedded IPv4 address, and `%` with what a zone name is made of.
  private static func isIPv6Byte(_ byte: UInt8) -> Bool {
    byte == 0x3A || byte == 0x25 || self.isNameByte(byte)
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
    default: false
    }
  }
}
