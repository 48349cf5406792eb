/// A ``TextForm`` as people write it down: `ORD-{day}-{decimal:10}`.
///
/// ```
/// PREFIX {day} SEPARATOR {opaque:base62:full:check}
/// ```
/// The last braces say what the number becomes: `decimal`, `hex`, `base36`, `base62` or `crockford`; before it `opaque:` where
/// it is the opaque number that stands for the id outside; after it how many digits there are at least, or `full` for as many
/// as the largest number has; and `check` for Crockford's check character. `{day}` or `{month}` may stand before it once.
public struct TextTemplate: Sendable, Hashable, CustomStringConvertible {
  /// How templates look, as the end of the sentence "a form looks like …".
  public static let usage =
    "PREFIX{day}SEPARATOR{opaque:base62:full}: {day} or {month} or neither, opaque or not, one of "
    + TextBase.allCases.map(\.rawValue).joined(separator: ", ")
    + ", then :full or a number of digits, then :check or nothing"

  /// Whether the number in the text is the opaque one.
  public let isOpaque: Bool
  /// The template itself.
  public let description: String

  private let base: TextBase
  private let padding: TextForm.Padding
  private let prefix: String
  private let date: TextForm.DateForm?
  private let separator: String
  private let hasCheck: Bool

  /// Reads a template.
  ///
  /// - Throws: ``IDError/Code/invalidArgument``, saying what is wrong.
  public init(_ text: String) throws(IDError) {
    // A prefix and a separator of 64 characters each, and the braces.
    guard text.utf8.count <= 192 else { throw Self.error("has \(text.utf8.count) characters, far too many") }
    let parts = try Self.parts(text)
    var pieces = parts.pieces
    guard parts.rest.isEmpty, let digits = pieces.popLast() else {
      throw Self.error("ends with braces that say what the number becomes, as in {decimal}")
    }
    var words = digits.word.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    self.isOpaque = words.first == "opaque"
    if self.isOpaque { words.removeFirst() }
    guard let name = words.first, let base = TextBase(rawValue: name) else {
      throw Self.error("has no digits '\(words.first ?? "")'")
    }
    self.base = base
    words.removeFirst()
    self.hasCheck = words.last == "check"
    if self.hasCheck { words.removeLast() }
    self.padding = try Self.padding(words)
    if let first = pieces.popLast() {
      guard let date = TextForm.DateForm(rawValue: first.word) else {
        throw Self.error("has {day} or {month} before the number, not {\(first.word)}")
      }
      guard pieces.isEmpty else { throw Self.error("has more braces than two") }
      self.date = date
      self.prefix = first.before
      self.separator = digits.before
    } else {
      self.date = nil
      self.prefix = digits.before
      self.separator = ""
    }
    self.description = text
    _ = try self.form(bits: 63)
  }

  /// The form.
  ///
  /// - Parameter bits: how many bits a number may have, 1 to 128.
  /// - Throws: ``IDError/Code/invalidArgument`` where there is no such form.
  public func form(bits: Int) throws(IDError) -> TextForm {
    try TextForm(
      self.base, bits: bits, padding: self.padding, prefix: self.prefix, date: self.date, separator: self.separator,
      hasCheck: self.hasCheck)
  }

  private typealias Pieces = (pieces: [(before: String, word: String)], rest: String)

  /// The braces, each with what stands before it, and what stands after all of them.
  private static func parts(_ text: String) throws(IDError) -> Pieces {
    var pieces: [(before: String, word: String)] = []
    var rest = Substring(text)
    while let open = rest.firstIndex(where: { $0 == "{" || $0 == "}" }) {
      let inner = rest[rest.index(after: open)...]
      guard rest[open] == "{", let close = inner.firstIndex(where: { $0 == "{" || $0 == "}" }), inner[close] == "}"
      else { throw Self.error("has a brace without its other one") }
      pieces.append((String(rest[..<open]), String(inner[..<close])))
      rest = inner[inner.index(after: close)...]
    }
    return (pieces, String(rest))
  }

  private static func padding(_ words: [String]) throws(IDError) -> TextForm.Padding {
    guard let word = words.first else { return .none }
    guard words.count == 1 else { throw Self.error("has ':\(words[1])' where it ends") }
    if word == "full" { return .full }
    guard word.utf8.count <= 2, word.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let digits = Int(word) else {
      throw Self.error("has 'full' or a number of digits after the base, not '\(word)'")
    }
    return .atLeast(digits)
  }

  private static func error(_ reason: String) -> IDError {
    IDError(.invalidArgument, "a form \(reason); it looks like \(Self.usage)")
  }
}
