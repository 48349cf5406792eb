extension IDReading {
  /// What a UUID says.
  init(_ value: UUIDValue) {
    self.init(.uuid, canonical: value.description)
    let fields = UUIDFields(value)
    self.version = value.version
    self.variant = value.variant
    self.time = fields.time.map { Time(units: $0) }
    self.sequence = fields.clockSequence.map { Int64($0) }
    self.maker = fields.node.map { String(decoding: TextBase.hex.digits(of: UInt128($0), width: 12), as: UTF8.self) }
    self.note =
      switch value {
      case .zero: "the UUID of all zeros, which stands for none"
      case .max: "the UUID of all ones, which stands for none"
      default: Self.note(ofVersion: value.version, nodeIsRandom: fields.nodeIsRandom)
      }
  }

  private static func note(ofVersion version: Int?, nodeIsRandom: Bool?) -> String? {
    switch version {
    case 1, 6: nodeIsRandom == true ? "the node is random" : "the node may be a network card's address"
    case 2: "the time is known to seven minutes only; the first 32 bits are a user's or group's number"
    case 3: "the MD5 digest of a name"
    case 4: "random"
    case 5: "the SHA-1 digest of a name"
    case 8: "made by rules of its maker's own"
    case 0, 9, 10, 11, 12, 13, 14, 15: "no such version has been defined"
    default: nil
    }
  }

  /// What a ULID says.
  init(_ value: ULID) {
    self.init(.ulid, canonical: value.description)
    self.time = Time(milliseconds: value.milliseconds)
  }

  /// What an ObjectId says.
  init(_ value: ObjectID) {
    self.init(.objectid, canonical: value.description)
    self.time = Time(milliseconds: Int64(value.seconds) * 1000)
    self.sequence = Int64(value.counter)
    self.maker = String(decoding: TextBase.hex.digits(of: UInt128(value.process), width: 10), as: UTF8.self)
    self.note = "of the form before 2018: machine \(value.machineOfOldForm), process \(value.processOfOldForm)"
  }
}
