/// Ids of 96 and 128 bits in the digits of a base.
extension IDDecoder {
  /// A way to read digits.
  struct WideReading {
    let reading: IDReading
    /// Whether such an id has been made, as far as can be told.
    let isLikely: Bool
  }

  private static let day: Int64 = 86_400_000
  /// 2009-01-01T00:00:00Z: the year of MongoDB's first release.
  private static let firstObjectIDs: Int64 = 1_230_768_000_000

  /// All readings of a text as digits of an ObjectId, a UUID or a ULID, and why there are none of a length that there may be.
  func wideReadings(of bytes: [UInt8], isDecimal: Bool) -> (found: [WideReading], reason: IDError?) {
    var found: [WideReading] = []
    var reason: IDError?
    do throws(IDError) {
      // Decimal digits have no zeros before them, and fewer of them are a number.
      if isDecimal, bytes.count > TextBase.decimal.width(bits: 63), bytes.first != UInt8(ascii: "0") {
        let number = try TextBase.decimal.number(of: bytes, after: 0, bits: 128)
        if number >> 96 == 0 { found += self.readings(ofWide: number, bits: 96, .decimal) }
        found += self.readings(ofWide: number, bits: 128, .decimal)
      }
      for bits in [96, 128] {
        for digits in PaddedDigits.all where digits.length(bits: bits) == bytes.count {
          let number = try digits.number(of: bytes, bits: bits)
          // That all digits of an id happen to be below ten is less likely than any number; of 32 hexadecimal digits it is not.
          found += self.readings(ofWide: number, bits: bits, digits.base)
            .map { WideReading(reading: $0.reading, isLikely: $0.isLikely && (!isDecimal || digits.base == .hex)) }
        }
      }
    } catch { reason = error }
    return (found, reason)
  }

  /// What there is to say beside the readings of the text's own kind: what is likely, what is asked for, and where there is
  /// nothing else everything, noted as unlikely.
  func chosen(_ wide: [WideReading], beside own: [IDReading], isDecimal: Bool) -> [IDReading] {
    let others = wide.filter { other in
      !own.contains { $0.kind == other.reading.kind && $0.canonical == other.reading.canonical }
    }
    let chosen = others.filter { $0.isLikely || $0.reading.kind == self.kind }
    guard chosen.isEmpty, own.isEmpty, !isDecimal else { return chosen.map(\.reading) }
    return others.map { other in
      var reading = other.reading
      reading.note = [reading.note, "hardly one: likely none like it has been made"].compactMap { $0 }.joined(
        separator: "; ")
      return reading
    }
  }

  private func readings(ofWide number: UInt128, bits: Int, _ base: TextBase) -> [WideReading] {
    guard bits == 128 else {
      let id = ObjectID(
        seconds: UInt32(truncatingIfNeeded: number >> 64), process: UInt64(truncatingIfNeeded: number >> 24),
        counter: UInt32(truncatingIfNeeded: number))
      return [self.wide(IDReading(id), base, isLikely: self.hasBeen(Int64(id.seconds) * 1000, Self.firstObjectIDs))]
    }
    let (uuid, ulid) = (IDReading(UUIDValue(bits: number)), IDReading(ULID(bits: number)))
    // No version has its first 32 bits zero, but by a chance of that many.
    let isUUID =
      uuid.variant == .rfc9562 && (1...8).contains(uuid.version ?? 0) && number >> 96 != 0
      && self.hasBeen(uuid.time?.milliseconds ?? self.now, Self.day)
    return [
      self.wide(uuid, base, isLikely: isUUID),
      self.wide(ulid, base, isLikely: self.hasBeen(ulid.time?.milliseconds ?? 0, Self.day)),
    ]
  }

  private func wide(_ reading: IDReading, _ base: TextBase, isLikely: Bool) -> WideReading {
    var reading = reading
    reading.base = base
    return WideReading(reading: reading, isLikely: isLikely)
  }

  /// Whether a time has come, and not before `first`; a day is what clocks may be wrong by.
  private func hasBeen(_ milliseconds: Int64, _ first: Int64) -> Bool {
    milliseconds >= first && milliseconds - Self.day <= self.now
  }
}
