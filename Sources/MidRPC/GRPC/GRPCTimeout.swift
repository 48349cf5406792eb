/// The value of a `grpc-timeout` header: 1 to 8 digits and a unit. Source: gRPC's `PROTOCOL-HTTP2.md`.
enum GRPCTimeout {
  /// The timeout in nanoseconds, or nil for a text that is not one. Larger than 292 years becomes `UInt64.max`.
  static func nanoseconds(_ text: some StringProtocol) -> UInt64? {
    let bytes = Array(text.utf8)
    guard (2...9).contains(bytes.count) else { return nil }
    var amount: UInt64 = 0
    for byte in bytes.dropLast() {
      guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
      amount = amount * 10 + UInt64(byte - UInt8(ascii: "0"))
    }
    let unit: UInt64
    switch bytes[bytes.count - 1] {
    case UInt8(ascii: "n"): unit = 1
    case UInt8(ascii: "u"): unit = 1_000
    case UInt8(ascii: "m"): unit = 1_000_000
    case UInt8(ascii: "S"): unit = 1_000_000_000
    case UInt8(ascii: "M"): unit = 60_000_000_000
    case UInt8(ascii: "H"): unit = 3_600_000_000_000
    default: return nil
    }
    let (product, overflow) = amount.multipliedReportingOverflow(by: unit)
    return overflow ? .max : product
  }
}
