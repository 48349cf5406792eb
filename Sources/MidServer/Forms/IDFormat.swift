package import MidCore

/// What a caller wants ids written as, besides the number: the field `format` of a call.
package enum IDFormat: Sendable, Hashable, CustomStringConvertible {
  /// Digits of a base, as many for every id, so that texts sort as the numbers do; decimal ones without zeros before them.
  case digits(TextBase)
  /// Crockford's base 32 with his check character.
  case checked
  /// The number that stands for the id outside, decimal.
  case opaque
  /// As the tag's own form has it.
  case tag

  /// The names of all formats.
  package static let names = TextBase.allCases.map(\.rawValue) + ["crockford-check", "opaque", "tag"]

  /// Reads a format's name.
  ///
  /// - Throws: ``IDError/Code/invalidArgument``, naming the formats there are.
  package init(_ name: String) throws(IDError) {
    switch name {
    case "tag": self = .tag
    case "opaque": self = .opaque
    case "crockford-check": self = .checked
    default:
      guard let base = TextBase(rawValue: name) else {
        let shown = String(name.unicodeScalars.prefix(RequestFields.maximumModeTextLength))
        throw IDError(
          .invalidArgument, "unknown format '\(shown)'; allowed: \(Self.names.joined(separator: ", "))")
      }
      self = .digits(base)
    }
  }

  /// The name.
  package var description: String {
    switch self {
    case .digits(let base): base.rawValue
    case .checked: "crockford-check"
    case .opaque: "opaque"
    case .tag: "tag"
    }
  }

  /// The form of numbers of so many bits, or nil where it is the tag's own matter.
  func form(bits: Int) throws(IDError) -> TextForm? {
    switch self {
    case .digits(.decimal): try TextForm(.decimal, bits: bits)
    case .digits(let base): try TextForm(base, bits: bits, padding: .full)
    case .checked: try TextForm(.crockford, bits: bits, padding: .full, hasCheck: true)
    case .opaque, .tag: nil
    }
  }
}
