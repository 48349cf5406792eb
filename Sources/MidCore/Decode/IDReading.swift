/// One way to read an id, and what it says that way.
///
/// What a kind does not have is nil.
public struct IDReading: Sendable, Hashable {
  /// A time as an id has it.
  public struct Time: Sendable, Hashable, CustomStringConvertible {
    /// Since 1970-01-01T00:00:00Z, rounded down.
    public let milliseconds: Int64
    /// What is past ``milliseconds``, in units of 100 ns: 0 to 9999.
    public let rest: Int

    /// Creates a time of whole milliseconds.
    init(milliseconds: Int64) {
      self.milliseconds = milliseconds
      self.rest = 0
    }

    /// Creates a time from units of 100 ns since 1970.
    init(units: Int64) {
      let (quotient, remainder) = units.quotientAndRemainder(dividingBy: 10_000)
      self.milliseconds = remainder < 0 ? quotient - 1 : quotient
      self.rest = Int(remainder < 0 ? remainder + 10_000 : remainder)
    }

    /// ISO 8601 in UTC: with milliseconds, and with 100 ns where there are any. Years past 9999 have a sign before them, as
    /// there; RFC 3339 has no such years.
    public var description: String {
      let text = WallTime(milliseconds: self.milliseconds).description
      guard self.rest > 0 else { return text }
      let digits = String(self.rest)
      return text.dropLast() + String(repeating: "0", count: 4 - digits.count) + digits + "Z"
    }
  }

  /// The kind.
  public let kind: IDKind
  /// The text that the kind writes this id as; of a number its decimal digits.
  public let canonical: String
  /// The digits of a number; of the other kinds those of the text, where they are not the kind's own.
  public internal(set) var base: TextBase?
  /// The layout's name, of a Snowflake id.
  public internal(set) var layout: String?
  /// When it was made in UTC, as its maker's clock had it.
  public internal(set) var time: Time?
  /// The worker number, of a Snowflake id.
  public internal(set) var worker: WorkerID?
  /// The sequence within a tick of a Snowflake id, the clock sequence of a UUID, the counter of an ObjectId.
  public internal(set) var sequence: Int64?
  /// The version, of a UUID of RFC 9562.
  public internal(set) var version: Int?
  /// The variant, of a UUID.
  public internal(set) var variant: UUIDValue.Variant?
  /// What tells one maker from another, in hexadecimal digits: a UUID's node, an ObjectId's process.
  public internal(set) var maker: String?
  /// What else has to be known to believe this reading.
  public internal(set) var note: String?

  init(_ kind: IDKind, canonical: String) {
    self.kind = kind
    self.canonical = canonical
  }
}

/// What is known of a text that is an id.
public struct DecodedID: Sendable, Hashable {
  /// The ways to read it, at least one, the likeliest first.
  public let readings: [IDReading]
  /// Why the first reading may be the wrong one; nil where there is no doubt.
  public let ambiguity: String?
}
