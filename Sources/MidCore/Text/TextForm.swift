/// How a number is written as a text, and read back: `ORD-20260102-0000000042`.
///
/// ```
/// ┌────────┬──────┬───────────┬────────┬───────┐
/// │ prefix │ date │ separator │ digits │ check │
/// └────────┴──────┴───────────┴────────┴───────┘
/// ```
/// All but the digits may be left out. What ``text(of:at:)`` writes is what ``parse(_:)`` reads, and nothing else is read, so
/// that a number and day have one text; only letters' case is free where the base has one case, and Crockford's base takes
/// hyphens among the digits, I and L for 1 and O for 0, also as the check character, as its author laid down.
///
/// Texts sort as their numbers do where prefix and date are the same and the padding is ``Padding/full``.
public struct TextForm: Sendable, Hashable {
  /// How many digits there are.
  public enum Padding: Sendable, Hashable {
    /// As many as the number needs.
    case none
    /// At least so many, 1 to 64, with zeros before the number.
    case atLeast(Int)
    /// As many as the largest number of the form's bits needs.
    case full
  }

  /// The day or month of an id, in UTC.
  public enum DateForm: String, Sendable, Hashable, CaseIterable {
    /// `20260102`.
    case day
    /// `202601`.
    case month

    var length: Int { self == .day ? 8 : 6 }
  }

  /// A text that was read.
  public struct Parsed: Sendable, Hashable {
    /// The id.
    public let number: UInt128
    /// When the text's day or month begins in UTC, in milliseconds since 1970-01-01T00:00:00Z; nil for forms without a date.
    public let startMilliseconds: Int64?
  }

  /// The digits.
  public let base: TextBase
  /// How many bits a number may have: 1 to 128.
  public let bits: Int
  /// How many digits there are.
  public let padding: Padding
  /// What every text begins with: at most 64 characters of ASCII, no white space.
  public let prefix: String
  /// Whether the day or month is in the text.
  public let date: DateForm?
  /// What stands between date and digits; as ``prefix``.
  public let separator: String
  /// Whether Crockford's check character ends the text: the number modulo 37, which finds every wrong digit and every
  /// exchange of neighbours.
  public let hasCheck: Bool

  let width: Int

  /// Checks and takes a form.
  ///
  /// - Throws: ``IDError/Code/invalidArgument`` with every reason at once.
  public init(
    _ base: TextBase, bits: Int = 63, padding: Padding = .none, prefix: String = "", date: DateForm? = nil,
    separator: String = "", hasCheck: Bool = false
  ) throws(IDError) {
    var reasons: [String] = []
    if !(1...128).contains(bits) { reasons.append("a number has 1 to 128 bits, not \(bits)") }
    if case .atLeast(let digits) = padding, !(1...64).contains(digits) {
      reasons.append("padding takes 1 to 64 digits, not \(digits)")
    }
    for (name, text) in [("prefix", prefix), ("separator", separator)] {
      if text.utf8.count > 64 || !text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) {
        reasons.append("a \(name) has at most 64 characters of ASCII, without white space")
      }
    }
    if hasCheck, base != .crockford { reasons.append("only Crockford's base 32 has a check character, not \(base)") }
    if date == nil, !separator.isEmpty { reasons.append("a separator stands after a date, and there is none") }
    guard reasons.isEmpty else { throw IDError(.invalidArgument, "text form: " + reasons.joined(separator: "; ")) }
    self.base = base
    self.bits = bits
    self.padding = padding
    self.prefix = prefix
    self.date = date
    self.separator = separator
    self.hasCheck = hasCheck
    self.width =
      switch padding {
      case .none: 1
      case .atLeast(let digits): digits
      case .full: base.width(bits: bits)
      }
  }

  /// How many characters a text has at most.
  public var maximumLength: Int {
    let date = self.date.map { $0.length + self.separator.utf8.count } ?? 0
    return self.prefix.utf8.count + date + Swift.max(self.width, self.base.width(bits: self.bits))
      + (self.hasCheck ? 1 : 0)
  }

  /// The text of a number.
  ///
  /// - Parameters:
  ///   - number: 0 up to, not including, 2^``bits``.
  ///   - milliseconds: since 1970-01-01T00:00:00Z; whose date is written, where the form has one.
  /// - Throws: ``IDError/Code/invalidArgument`` where the number has more bits, or the year not four digits.
  public func text(of number: UInt128, at milliseconds: Int64) throws(IDError) -> String {
    guard number <= UInt128.max >> UInt128(128 - self.bits) else {
      throw IDError(.invalidArgument, "text form: \(number) is past \(self.bits) bits")
    }
    var text = self.prefix
    if let date = self.date {
      let time = WallTime(milliseconds: milliseconds)
      guard Self.years.contains(time.year) else {
        throw IDError(.invalidArgument, "text form: a date has the years 1 to 9999, not \(time.year)")
      }
      text += time.digits(ofDay: date == .day) + self.separator
    }
    text += String(decoding: self.base.digits(of: number, width: self.width), as: UTF8.self)
    if self.hasCheck { text.unicodeScalars.append(Unicode.Scalar(Self.checkCharacters[Int(number % 37)])) }
    return text
  }

  /// The years of a date: the calendar has none before 1, and more than four digits are no date.
  static let years: ClosedRange<Int64> = 1...9999

  /// Crockford's check characters: his 32 digits and five more.
  static let checkCharacters = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ*~$=U".utf8)
}
