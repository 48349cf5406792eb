/// Bytes written as hex digits.
func bytes(_ hex: String) -> [UInt8] {
  let digits = hex.utf8.map { digit in UInt8(digit <= 0x39 ? digit - 0x30 : digit - 0x57) }
  precondition(digits.count.isMultiple(of: 2) && digits.allSatisfy { $0 < 16 }, "hex has pairs of 0-9 and a-f")
  return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

/// Hex digits of bytes.
func hex(_ bytes: [UInt8]) -> String {
  String(decoding: bytes.flatMap { [digit($0 >> 4), digit($0 & 15)] }, as: UTF8.self)
}

private func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }
