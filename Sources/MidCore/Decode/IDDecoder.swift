/// Says what an id says: its kind, time, worker, sequence and version, and what can't be known.
///
/// Nothing in an id tells its kind for sure; the length and the characters of the text do, mostly.
///
/// | text | read as |
/// | --- | --- |
/// | 1 to 19 decimal digits | Snowflake, by the layout given or by each preset; or a plain number |
/// | `0x` and hexadecimal digits, 16 of them, 13 of base 36 or Crockford's base 32, 14 with his check character, 11 of base 62 | the same; where they are all decimal digits too, decimal first |
/// | 36 characters with hyphens, braces, `urn:uuid:` | UUID |
/// | 32 hexadecimal digits | UUID first; or ULID |
/// | 26 characters of Crockford's base 32 | ULID first; or UUID |
/// | 25 digits of base 36, 22 of base 62, 27 of Crockford's base 32 with his check character, 20 to 39 decimal | UUID or ULID |
/// | 24 hexadecimal digits | ObjectId |
/// | 19 digits of base 36, 17 of base 62, 20 of Crockford's base 32, 21 with his check character, 20 to 29 decimal | ObjectId |
///
/// Of 128 bits that are a UUID's or a ULID's, those readings are given that are likely: a UUID with the variant and a version of
/// RFC 9562, and with either a time that has been. What is all decimal digits is read as those wider kinds where it is one of
/// them that is likely, or the kind asked for.
///
/// A pure value: it reads no clock. No text makes it trap.
public struct IDDecoder: Sendable {
  let layout: (name: String, layout: SnowflakeLayout)?
  let presumed: (name: String, layout: SnowflakeLayout)?
  let kind: IDKind?
  let now: Int64

  /// Creates a decoder.
  ///
  /// - Parameters:
  ///   - layout: the layout of Snowflake ids and its name, where it is known. Numbers are read by no other then.
  ///   - presumed: the layout of the Snowflake ids there are here, where nothing else is known: numbers are read by it and by
  ///     no other, as ids where their time has been, else as plain numbers first.
  ///   - kind: the kind of the ids, where it is known.
  ///   - now: milliseconds since 1970-01-01T00:00:00Z, to tell ids that have been from those that have not.
  public init(
    layout: (name: String, layout: SnowflakeLayout)? = nil, presumed: (name: String, layout: SnowflakeLayout)? = nil,
    kind: IDKind? = nil, now: Int64
  ) {
    self.layout = layout
    self.presumed = presumed
    self.kind = kind
    self.now = now
  }

  /// Reads a text.
  ///
  /// - Throws: ``IDError/Code/invalidArgument``, saying what is wrong, or what could be read, where it is none of these.
  public func decode(_ text: String) throws(IDError) -> DecodedID {
    try self.decoded(try self.readings(of: text))
  }

  /// Reads a number, whose digits are in no doubt.
  ///
  /// - Parameter number: not negative.
  /// - Throws: ``IDError/Code/invalidArgument`` where it is none of the kind or layout.
  public func decode(number: Int64) throws(IDError) -> DecodedID {
    guard number >= 0 else { throw IDError(.invalidArgument, "an id is never negative") }
    return try self.decoded(try self.readings(ofNumber: number, .decimal))
  }

  private func decoded(_ all: [IDReading]) throws(IDError) -> DecodedID {
    let readings = all.filter { self.kind == nil || $0.kind == self.kind }
    guard let first = readings.first else {
      let kinds = all.map(\.kind).reduce(into: [IDKind]()) { if !$0.contains($1) { $0.append($1) } }
      throw IDError(
        .invalidArgument,
        "the text is no \(self.kind.map { "\($0)" } ?? "id"), but may be: \(kinds.map(\.rawValue).joined(separator: ", "))"
      )
    }
    return DecodedID(readings: readings, ambiguity: self.ambiguity(first, readings))
  }

  private func readings(of text: String) throws(IDError) -> [IDReading] {
    // As bytes: a Swift character may be many of them.
    let bytes = Array(text.utf8)
    guard let first = bytes.first else { throw IDError(.invalidArgument, "the text is empty") }
    let isDecimal = bytes.allSatisfy { (0x30...0x39).contains($0) }
    if first == UInt8(ascii: "{") || bytes.starts(with: "urn:".utf8) || bytes.starts(with: "URN:".utf8)
      || (bytes.count == 36 && !isDecimal)
    {
      return [IDReading(try UUIDValue(parsing: text))]
    }
    let (wide, reason) = self.wideReadings(of: bytes, isDecimal: isDecimal)
    var own: [IDReading] = []
    do throws(IDError) {
      own = try self.ownReadings(of: text, bytes, isDecimal: isDecimal, reason)
    } catch {
      let others = self.chosen(wide, beside: [], isDecimal: isDecimal)
      guard others.isEmpty else { return others }
      guard isDecimal, !wide.isEmpty else { throw error }
      throw IDError(
        .invalidArgument,
        "\(error.message), and likely none of the ids of 96 or 128 bits that have been made: to read it as one, say its kind"
      )
    }
    let others = self.chosen(wide, beside: own, isDecimal: isDecimal)
    // Of digits that are no UUID's of RFC 9562, and a ULID's whose time has been.
    let isUUID = own.first?.variant == .rfc9562 && (1...8).contains(own.first?.version ?? 0)
    let isULID = own.first?.kind == .uuid && !isUUID && others.first?.kind == .ulid
    return isULID ? others + own : own + others
  }

  /// The readings that a text of this length has first.
  ///
  /// - Parameter reason: why it is no id of 96 or 128 bits, where that is known.
  private func ownReadings(
    of text: String, _ bytes: [UInt8], isDecimal: Bool, _ reason: IDError?
  ) throws(IDError) -> [IDReading] {
    switch bytes.count {
    case 32: [IDReading(try UUIDValue(parsing: text))]
    case 26: [IDReading(try ULID(parsing: text))]
    case 24: [IDReading(try ObjectID(parsing: text))]
    default: isDecimal ? try self.numbersOfDecimalDigits(bytes) : try self.numbers(bytes, reason)
    }
  }
}
