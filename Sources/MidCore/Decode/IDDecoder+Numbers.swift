/// Ids that are numbers: of Snowflake, of segments, of tickets.
extension IDDecoder {
  /// The readings of a text that is not all decimal digits.
  ///
  /// - Parameter reason: why it is no id of another kind, where that is known.
  func numbers(_ bytes: [UInt8], _ reason: IDError?) throws(IDError) -> [IDReading] {
    if bytes.count < 20, bytes.first == UInt8(ascii: "-"), bytes.dropFirst().allSatisfy({ (0x30...0x39).contains($0) })
    {
      throw IDError(.invalidArgument, "an id is never negative")
    }
    let padded = self.readings(ofPadded: bytes)
    if bytes.count > 2, bytes[0] == UInt8(ascii: "0"), ASCII.lowercased(bytes[1]) == UInt8(ascii: "x") {
      // The digits of a base may begin with these as well.
      do throws(IDError) {
        return Self.together(
          try self.readings(ofNumber: try Self.number(bytes.dropFirst(2), after: 2, .hex), .hex), padded.found)
      } catch {
        if padded.found.isEmpty { throw error }
      }
    }
    if !padded.found.isEmpty { return Self.likelyFirst(padded.found) }
    throw padded.reason ?? reason
      ?? IDError(
        .invalidArgument,
        """
        \(bytes.count) characters that are not all decimal digits are no id that is known: numbers have 11 (base 62), 13 \
        (base 36, Crockford's base 32), 14 (with his check character) or 16 (hex), ObjectIds 24, ULIDs 26, UUIDs 32 or 36; in \
        other digits ObjectIds have 17 to 21, ULIDs and UUIDs 22 to 32
        """)
  }

  /// The readings of a text that is all decimal digits: decimal ones first, as most texts are, then those of the bases whose
  /// padded texts have that length, where they make another number of it.
  func numbersOfDecimalDigits(_ bytes: [UInt8]) throws(IDError) -> [IDReading] {
    Self.together(
      try self.readings(ofNumber: try Self.number(bytes, after: 0, .decimal), .decimal),
      self.readings(ofPadded: bytes).found)
  }

  /// The readings of the digits that were most likely meant, and of others where they make another number.
  private static func together(_ first: [IDReading], _ padded: [IDReading]) -> [IDReading] {
    let all = first + Self.likelyFirst(padded).filter { $0.canonical != first.first?.canonical }
    return all.filter { $0.note == nil } + all.filter { $0.note != nil }
  }

  /// The readings of a text by the bases whose padded texts are that long, and why one of them has none.
  private func readings(ofPadded bytes: [UInt8]) -> (found: [IDReading], reason: IDError?) {
    var found: [IDReading] = []
    var reason: IDError?
    for digits in PaddedDigits.all where digits.length(bits: 63) == bytes.count {
      do throws(IDError) {
        found += try self.readings(ofNumber: Int64(try digits.number(of: bytes, bits: 63)), digits.base)
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

  /// The readings of a number that was written in some digits.
  func readings(ofNumber number: Int64, _ base: TextBase) throws(IDError) -> [IDReading] {
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
}
