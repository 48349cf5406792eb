import MidCore

/// The fields of a query or of a form (`application/x-www-form-urlencoded`), decoded strictly.
struct HTTPQuery: Sendable, Equatable {
  /// Name and value of each field, in order.
  let fields: [(name: String, value: String)]

  /// Reads the fields. An empty text has none; empty parts between `&` are skipped.
  ///
  /// - Throws: 400 for an escape that is none, and for bytes that are not UTF-8.
  init(_ text: String) throws(HTTPProblem) {
    var fields: [(name: String, value: String)] = []
    for part in text.split(separator: "&") {
      let ends = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard let name = Self.decoded(ends[0], isForm: true),
        let value = ends.count < 2 ? "" : Self.decoded(ends[1], isForm: true)
      else { throw .badRequest("the query is not percent-encoded UTF-8") }
      fields.append((name, value))
    }
    self.fields = fields
  }

  /// The value of the field of that name; of the first, where it is given twice.
  subscript(_ name: String) -> String? { self.fields.first { $0.name == name }?.value }

  /// Checks that there are only fields of these names, each once.
  ///
  /// - Throws: 400, naming the first other field, or the first that is given twice.
  func check(allowed: [String]) throws(HTTPProblem) {
    var seen: Set<String> = []
    for (name, _) in self.fields {
      guard allowed.contains(name) else {
        throw .badRequest("unknown query parameter '\(name.prefix(64))'; allowed: \(allowed.joined(separator: ", "))")
      }
      guard seen.insert(name).inserted else { throw .badRequest("query parameter '\(name)' is given twice") }
    }
  }

  /// Decodes percent-encoding, or returns nil for an escape that is none and bytes that are not UTF-8.
  ///
  /// - Parameter isForm: Whether `+` stands for a space, as in forms and queries but not in paths.
  static func decoded(_ text: some StringProtocol, isForm: Bool) -> String? {
    var bytes: [UInt8] = []
    var rest = text.utf8.makeIterator()
    while let byte = rest.next() {
      switch byte {
      case UInt8(ascii: "%"):
        guard let high = rest.next().flatMap(ASCII.hexDigit), let low = rest.next().flatMap(ASCII.hexDigit) else {
          return nil
        }
        bytes.append(high << 4 | low)
      case UInt8(ascii: "+") where isForm: bytes.append(UInt8(ascii: " "))
      default: bytes.append(byte)
      }
    }
    return String(validating: bytes, as: UTF8.self)
  }

  static func == (left: HTTPQuery, right: HTTPQuery) -> Bool {
    left.fields.elementsEqual(right.fields) { $0 == $1 }
  }
}
