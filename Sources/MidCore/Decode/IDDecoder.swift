/// Says what an id says: its kind, time, worker, sequence and version, and what can't be known.
///
/// Nothing in an id tells its kind for sure; the length and the characters of the text do, mostly.
///
/// | text | read as |
/// | --- | --- |
/// | 1 to 19 decimal digits | Snowflake, by the layout given or by each preset; or a plain number |
/// | `0x` and hexadecimal digits, 16 of them, 13 of base 36 or Crockford's base 32, 11 of base 62 | the same; where they are all decimal digits too, decimal first |
/// | 36 characters with hyphens, 32 hexadecimal digits, braces, `urn:uuid:` | UUID |
/// | 26 characters of Crockford's base 32 | ULID |
/// | 24 hexadecimal digits | ObjectId |
///
/// A pure value: it reads no clock. No text makes it trap.
public struct IDDecoder: Sendable {
  private let layout: (name: String, layout: SnowflakeLayout)?
  private let presumed: (name: String, layout: SnowflakeLayout)?
  private let kind: IDKind?
  private let now: Int64

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
    let all = try self.readings(of: text)
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
    if bytes.count == 36 || bytes.first == UInt8(ascii: "{") || bytes.starts(with: "urn:".utf8)
      || bytes.starts(with: "URN:".utf8)
    {
      return [IDReading(try UUIDValue(parsing: text))]
    }
    switch bytes.count {
    case 0: throw IDError(.invalidArgument, "the text is empty")
    case 32: return [IDReading(try UUIDValue(parsing: text))]
    case 26: return [IDReading(try ULID(parsing: text))]
    case 24: return [IDReading(try ObjectID(parsing: text))]
    default: return try self.numbers(bytes)
    }
  }

  // MARK: - Numbers

  private func numbers(_ bytes: [UInt8]) throws(IDError) -> [IDReading] {
    let isDecimal = bytes.allSatisfy { (0x30...0x39).contains($0) }
    if isDecimal { return try self.numbersOfDecimalDigits(bytes) }
    if bytes.count > 2, bytes[0] == UInt8(ascii: "0"), ASCII.lowercased(bytes[1]) == UInt8(ascii: "x") {
      return try self.readings(ofNumber: try Self.number(bytes.dropFirst(2), after: 2, .hex), .hex)
    }
    if bytes.count < 20, bytes.first == UInt8(ascii: "-"), bytes.dropFirst().allSatisfy({ (0x30...0x39).contains($0) })
    {
      throw IDError(.invalidArgument, "an id is never negative")
    }
    let (found, reason) = self.readings(ofPadded: bytes)
    if !found.isEmpty { return Self.likelyFirst(found) }
    throw reason
      ?? IDError(
        .invalidArgument,
        """
        \(bytes.count) characters that are not all decimal digits are no id that is known: numbers have 11 (base 62), 13 \
        (base 36, Crockford's base 32) or 16 (hex), ObjectIds 24, ULIDs 26, UUIDs 32 or 36
        """)
  }

  /// The readings of a text that is all decimal digits: decimal ones first, as most texts are, then those of the bases whose
  /// padded texts have that length, where they make another number of it.
  private func numbersOfDecimalDigits(_ bytes: [UInt8]) throws(IDError) -> [IDReading] {
    let decimal = try self.readings(ofNumber: try Self.number(bytes, after: 0, .decimal), .decimal)
    let others = Self.likelyFirst(self.readings(ofPadded: bytes).found)
      .filter { $0.canonical != decimal.first?.canonical }
    let all = decimal + others
    return all.filter { $0.note == nil } + all.filter { $0.note != nil }
  }

  /// The readings of a text by the bases whose padded texts are that long, and why one of them has none.
  private func readings(ofPadded bytes: [UInt8]) -> (found: [IDReading], reason: IDError?) {
    var found: [IDReading] = []
    var reason: IDError?
    for base in [TextBase.hex, .base36, .crockford, .base62] where bytes.count == base.width(bits: 63) {
      do throws(IDError) {
        found += try self.readings(ofNumber: try Self.number(bytes, after: 0, base), base)
      } catch {
        if reason == nil { reason = error }
      }
    }
    return (found, reason)
  }

  /// Of several bases the likely readings come first, then the plain numbers.
  private static func likelyFirst(_ found: [IDReading]) -> [IDReading] {
    found.filter { $0.kind == .snowflake && $0.note == nil } + found.filter { $0.kind == .number }
      + found.filter { $0.kind == .snowflake && $0.note != nil }
  }

  private static func number(
    _ digits: some Collection<UInt8>, after first: Int, _ base: TextBase
  ) throws(IDError) -> Int64 {
    Int64(try base.number(of: digits, after: first, bits: 63))
  }

  private func readings(ofNumber number: Int64, _ base: TextBase) throws(IDError) -> [IDReading] {
    var plain = IDReading(.number, canonical: String(number))
    plain.base = base
    if let (name, layout) = self.layout {
      return [try Self.reading(number, base, name, layout), plain]
    }
    var likely: [IDReading] = []
    var unlikely: [IDReading] = []
    for (name, layout) in self.presumed.map({ [$0] }) ?? Self.presets {
      var reading: IDReading
      do throws(IDError) { reading = try Self.reading(number, base, name, layout) } catch { continue }
      let made = reading.time?.milliseconds ?? 0
      // Nobody ran a service on the first day of its epoch; a day is also what clocks may be wrong by.
      let day: Int64 = 86_400_000
      if made - layout.epochMilliseconds < day {
        reading.note = "within a day of the layout's epoch: hardly one of its ids"
        unlikely.append(reading)
      } else if made - day > self.now {
        reading.note = "that time has not come yet: hardly one of its ids"
        unlikely.append(reading)
      } else {
        likely.append(reading)
      }
    }
    return likely + [plain] + unlikely
  }

  /// The presets, without one that has the bits of another.
  private static let presets: [(name: String, layout: SnowflakeLayout)] = [
    ("original", .original), ("twitter", .twitter), ("sonyflake", .sonyflake), ("javascript", .javascript),
  ]

  private static func reading(
    _ number: Int64, _ base: TextBase, _ name: String, _ layout: SnowflakeLayout
  ) throws(IDError) -> IDReading {
    let fields = try layout.decompose(number)
    var reading = IDReading(.snowflake, canonical: String(number))
    reading.base = base
    reading.layout = name
    reading.time = IDReading.Time(milliseconds: layout.wallMilliseconds(ofTick: fields.tick))
    reading.worker = try WorkerID(fields.worker, layout: layout)
    reading.sequence = fields.sequence
    return reading
  }

  // MARK: - What can't be known

  private func ambiguity(_ first: IDReading, _ readings: [IDReading]) -> String? {
    switch first.kind {
    case .snowflake, .number:
      if self.layout != nil && first.kind == .snowflake { return self.otherBases(readings) }
      let layouts = readings.filter { $0.kind == .snowflake && $0.note == nil && $0.base == first.base }
        .compactMap(\.layout)
      let doubt: String? =
        switch layouts.count {
        case 0:
          first.kind == .snowflake ? "the layout is not in the id, and by none of the presets its time has been" : nil
        case 1 where self.presumed != nil: nil
        case 1: "the layout is not in the id: \(layouts[0]) is the one preset by which its time has been"
        default: "the layout is not in the id: by \(layouts.joined(separator: ", ")) its time has been"
        }
      let all = [doubt, self.otherBases(readings)].compactMap { $0 }
      return all.isEmpty ? nil : all.joined(separator: "; ")
    case .objectid:
      return "whether the process is random, or machine and process id as before 2018, is not in the id"
    case .uuid where first.variant != .rfc9562 && first.note == nil:
      return "variants other than RFC 9562's say nothing that is known"
    case .uuid, .ulid: return nil
    }
  }

  private func otherBases(_ readings: [IDReading]) -> String? {
    let bases = readings.compactMap(\.base).reduce(into: [TextBase]()) { if !$0.contains($1) { $0.append($1) } }
    guard bases.count > 1 else { return nil }
    return "the digits may be of \(bases.map(\.rawValue).joined(separator: " or "))"
  }
}
