/// Compares names as RFC 9525, 6.3 does.
enum ServerIdentity {
  /// Whether a DNS name of a certificate is that of the server.
  ///
  /// Letters compare without case; a dot at the end of the server's name does not count; `*` stands for the whole first
  /// label and for nothing else.
  static func matches(_ name: String, pattern: String) -> Bool {
    let labels = name.lowercased().split(separator: ".", omittingEmptySubsequences: false)[...]
    let wanted = pattern.lowercased().split(separator: ".", omittingEmptySubsequences: false)
    let actual = labels.last == "" ? labels.dropLast() : labels
    guard actual.count == wanted.count, !actual.contains("") else { return false }
    if wanted.first == "*" {
      // Never a whole top-level domain.
      return wanted.count > 2 && actual.dropFirst().elementsEqual(wanted.dropFirst())
    }
    return actual.elementsEqual(wanted)
  }
}
