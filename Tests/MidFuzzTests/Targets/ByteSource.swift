/// Reads a fuzz target's decisions off its input, so that changing bytes of the input changes decisions one by one.
/// At the end of the input it gives zeros.
struct ByteSource {
  private let bytes: UnsafeRawBufferPointer
  private var position = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  /// Whether nothing is left.
  var isAtEnd: Bool { self.position >= self.bytes.count }

  mutating func byte() -> UInt8 {
    guard self.position < self.bytes.count else { return 0 }
    defer { self.position += 1 }
    return self.bytes[self.position]
  }

  /// A number below `bound`, which is 1 to 256.
  mutating func below(_ bound: Int) -> Int { Int(self.byte()) % bound }

  /// One chance in `odds`, none at the input's end.
  mutating func chance(_ odds: Int) -> Bool { self.byte() % UInt8(clamping: odds) == 1 % UInt8(clamping: odds) }

  mutating func uint16() -> UInt16 { UInt16(self.byte()) << 8 | UInt16(self.byte()) }

  mutating func uint32() -> UInt32 { UInt32(self.uint16()) << 16 | UInt32(self.uint16()) }

  /// Up to `count` of the input's own bytes.
  mutating func take(_ count: Int) -> [UInt8] {
    let end = min(self.bytes.count, self.position + count)
    defer { self.position = end }
    return Array(self.bytes[self.position..<end])
  }

  /// A size, small in most cases: 0 to 65,535.
  mutating func size() -> Int {
    let byte = Int(self.byte())
    switch byte {
    case 0..<192: return byte & 0x3f
    case 192..<240: return (byte & 0x0f) << 8 | Int(self.byte())
    default: return Int(self.uint16())
    }
  }

  /// A seed for what need not be decided byte by byte: a hash of the whole input (FNV-1a).
  static func seed(of input: UnsafeRawBufferPointer) -> UInt64 {
    input.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }
}

/// A small seeded generator: the same input splits the same way every time.
struct SplitMix64: RandomNumberGenerator {
  var state: UInt64

  init(seed: UInt64) { self.state = seed }

  mutating func next() -> UInt64 {
    self.state &+= 0x9e37_79b9_7f4a_7c15
    var z = self.state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
