import NIOCore

@testable import MidRPC

/// Whatever bytes: the first byte of the input says under which limits and whether preface and settings came before, the
/// rest is what the peer sends.
enum ConnectionBytesTarget {
  static func run(_ input: UnsafeRawBufferPointer) throws(Finding) {
    guard let first = input.first else { return }
    let isEstablished = first & 1 != 0
    let bytes = Array(input.dropFirst())
    var harness = try ConnectionHarness(limits: .fuzzed(first >> 1), isEstablished: isEstablished)
    // Answers that were left for later come in the middle and at the end.
    let middle = bytes.count / 2
    try harness.perform(.bytes(Array(bytes[..<middle])))
    if first & 0x40 != 0 { try harness.perform(.reply(index: 0, [9])) }
    if first & 0x80 != 0 { try harness.perform(.drain) }
    try harness.perform(.bytes(Array(bytes[middle...])))
    while !harness.dispatcher.pending.isEmpty { try harness.perform(.reply(index: 0, [7, 7])) }
    try harness.perform(.time(1_000_000_000_000))
    try harness.perform(.endStuck(1))
    try harness.replaySplit(seed: ByteSource.seed(of: input), isEstablished: isEstablished)
  }
}

extension RPCLimits {
  /// Limits to fuzz with: the defaults, and tight ones that a short input can reach.
  static func fuzzed(_ choice: UInt8) -> RPCLimits {
    var limits = RPCLimits()
    if choice & 1 != 0 {
      limits.maxConcurrentStreams = 3
      limits.maxUnproductiveFrames = 40
      limits.maxResets = 4
    }
    if choice & 2 != 0 {
      limits.maxHeaderListBytes = 1024
      limits.maxMessageBytes = 100
      limits.maxHeldBytes = 2000
      limits.connectionWindowBytes = 1
    }
    return limits
  }
}
