extension UUIDValue {
  /// A UUID of version 1.
  ///
  /// - Parameters:
  ///   - time: units of 100 ns since 1970-01-01T00:00:00Z.
  ///   - clockSequence: its lower 14 bits are taken.
  ///   - node: its lower 48 bits are taken.
  /// - Throws: ``IDError/Code/exhausted`` where the time is before 1582-10-15 or past the year 5236.
  public static func version1(time: Int64, clockSequence: UInt16, node: UInt64) throws(IDError) -> UUIDValue {
    let ticks = UInt128(try Self.gregorian(time))
    let head = (ticks & 0xFFFF_FFFF) << 32 | (ticks >> 32 & 0xFFFF) << 16 | ticks >> 48
    return .marked(head << 64 | Self.tail(clockSequence, node), version: 1)
  }

  /// A UUID of version 6: version 1 with the time in the order of its weight, so that it sorts by time.
  ///
  /// - Parameters:
  ///   - time: units of 100 ns since 1970-01-01T00:00:00Z.
  ///   - clockSequence: its lower 14 bits are taken.
  ///   - node: its lower 48 bits are taken.
  /// - Throws: ``IDError/Code/exhausted`` where the time is before 1582-10-15 or past the year 5236.
  public static func version6(time: Int64, clockSequence: UInt16, node: UInt64) throws(IDError) -> UUIDValue {
    let ticks = UInt128(try Self.gregorian(time))
    let head = (ticks >> 12) << 16 | ticks & 0xFFF
    return .marked(head << 64 | Self.tail(clockSequence, node), version: 6)
  }

  /// A UUID of version 4: 122 of the bits given, which have to be random and unpredictable.
  public static func version4(_ random: UInt128) -> UUIDValue { .marked(random, version: 4) }

  /// A UUID of version 7.
  ///
  /// - Parameters:
  ///   - milliseconds: since 1970-01-01T00:00:00Z.
  ///   - tail: what follows the time; its lower 74 bits are taken, the upper 12 of these before the variant.
  /// - Throws: ``IDError/Code/exhausted`` where the time is before 1970 or past 48 bits, the year 10889.
  public static func version7(milliseconds: Int64, tail: UInt128) throws(IDError) -> UUIDValue {
    try self.checkVersion7(milliseconds: milliseconds)
    return .version7(uncheckedMilliseconds: milliseconds, tail: tail)
  }

  /// - Throws: ``IDError/Code/exhausted`` where the time has no place in version 7.
  static func checkVersion7(milliseconds: Int64) throws(IDError) {
    guard (0..<1 << 48).contains(milliseconds) else {
      throw IDError(
        .exhausted, "a UUID of version 7 has 48 bits of milliseconds since 1970, \(milliseconds) does not fit")
    }
  }

  /// A UUID of version 7 whose time was checked.
  static func version7(uncheckedMilliseconds milliseconds: Int64, tail: UInt128) -> UUIDValue {
    let head = UInt128(milliseconds) << 16 | (tail >> 62) & 0xFFF
    let lowest62: UInt128 = 0x3FFF_FFFF_FFFF_FFFF
    return .marked(head << 64 | tail & lowest62, version: 7)
  }

  /// A UUID of version 3: the MD5 digest of a name within a namespace. The same name gives the same UUID, everywhere.
  /// Version 5 is the better choice where nothing old has to be met (RFC 9562, 5.3). About 1 µs for a short name.
  public static func version3(namespace: UUIDValue, name: String) -> UUIDValue {
    .marked(MD5.digest(namespace.bytes + Array(name.utf8)), version: 3)
  }

  /// A UUID of version 5: the SHA-1 digest of a name within a namespace. The same name gives the same UUID, everywhere;
  /// it hides the name from nobody who can guess it.
  public static func version5(namespace: UUIDValue, name: String) -> UUIDValue {
    .marked(SHA1.digest(namespace.bytes + Array(name.utf8)), version: 5)
  }

  /// The namespaces that RFC 9562 (6.6) names: of DNS names, URLs, ISO object identifiers and X.500 names.
  public static let namespaces: [String: UUIDValue] = [
    "dns": UUIDValue(bits: 0x6ba7_b810_9dad_11d1_80b4_00c0_4fd4_30c8),
    "url": UUIDValue(bits: 0x6ba7_b811_9dad_11d1_80b4_00c0_4fd4_30c8),
    "oid": UUIDValue(bits: 0x6ba7_b812_9dad_11d1_80b4_00c0_4fd4_30c8),
    "x500": UUIDValue(bits: 0x6ba7_b814_9dad_11d1_80b4_00c0_4fd4_30c8),
  ]

  private static func gregorian(_ time: Int64) throws(IDError) -> Int64 {
    let (ticks, overflow) = time.addingReportingOverflow(UUIDFields.gregorianOffset)
    guard !overflow, (0..<1 << 60).contains(ticks) else {
      throw IDError(
        .exhausted,
        "a UUID of version 1 or 6 has 60 bits of 100 ns since 1582-10-15, \(time) since 1970 does not fit")
    }
    return ticks
  }

  private static func tail(_ clockSequence: UInt16, _ node: UInt64) -> UInt128 {
    UInt128(clockSequence & 0x3FFF) << 48 | UInt128(node & 0xFFFF_FFFF_FFFF)
  }
}
