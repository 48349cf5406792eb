import NIOCore
import NIOHPACK

@testable import MidRPC

/// gRPC's texts and frames: the first byte says which.
enum FramingTarget {
  static func run(_ input: UnsafeRawBufferPointer) throws(Finding) {
    guard let first = input.first else { return }
    let bytes = UnsafeRawBufferPointer(rebasing: input[1...])
    switch first % 4 {
    case 0: try Self.tryTimeout(bytes)
    case 1: try Self.tryPercent(bytes)
    case 2: try Self.tryMessages(bytes, isStreaming: true)
    default: try Self.tryMessages(bytes, isStreaming: false)
    }
  }

  // MARK: - Timeouts

  /// The units of `PROTOCOL-HTTP2.md`, by another way of reckoning.
  private static let units: [Character: Double] = [
    "H": 3600e9, "M": 60e9, "S": 1e9, "m": 1e6, "u": 1e3, "n": 1,
  ]

  private static func tryTimeout(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
    let text = String(decoding: bytes, as: UTF8.self)
    let nanoseconds = GRPCTimeout.nanoseconds(text)
    let digits = text.dropLast()
    let isDigits = (1...8).contains(digits.utf8.count) && digits.unicodeScalars.allSatisfy { ("0"..."9").contains($0) }
    guard isDigits, let unit = text.last.flatMap({ Self.units[$0] }), let amount = Double(String(digits)) else {
      return try require(nanoseconds == nil, "'\(text)' is taken for \(nanoseconds ?? 0) ns")
    }
    guard let nanoseconds else { throw Finding("'\(text)' is not taken for a timeout") }
    let expected = amount * unit
    if expected >= 0x1p64 {
      try require(nanoseconds == .max, "'\(text)' is \(nanoseconds) ns")
    } else {
      try require(abs(Double(nanoseconds) - expected) <= expected * 1e-12, "'\(text)' is \(nanoseconds) ns")
    }
  }

  // MARK: - Percent coding

  /// Any text comes back from its coded form, as far as that was let grow, and the form is plain ASCII.
  private static func tryPercent(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
    let text = String(decoding: bytes, as: UTF8.self)
    let coded = ResponseEncoding.percentEncoded(text)
    try require(coded.utf8.allSatisfy { $0 >= 0x20 && $0 <= 0x7e }, "a coded message that is not plain ASCII")
    try require(coded.utf8.count <= 1_024, "a coded message of \(coded.utf8.count) bytes")
    var decoded: [UInt8] = []
    var rest = Array(coded.utf8)[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        decoded.append(byte)
        continue
      }
      guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else {
        throw Finding("a stray % in '\(coded)'")
      }
      rest = rest.dropFirst(2)
      decoded.append(value)
    }
    let original = Array(text.utf8)
    try require(original.starts(with: decoded), "'\(text)' comes back as something else")
    // Cut between characters, of which one takes up to 12 bytes, and before blanks.
    let blanks = original.dropFirst(decoded.count).prefix { $0 == 0x20 }.count
    try require(
      decoded.count == original.count || coded.utf8.count + blanks >= 1_013, "'\(text)' was cut too early")
    // As the trailers of a response: whatever the text, the block says what was meant.
    var output = ByteBuffer()
    ResponseEncoding.writeStatus(RPCStatus(.notFound, text), streamID: 1, to: &output)
    output.moveReaderIndex(forwardBy: FrameHeader.size)
    var decoder = HPACKDecoder(allocator: ByteBufferAllocator())
    do {
      let fields = try decoder.decodeHeaders(from: &output)
      try require(fields.first(name: "grpc-status") == "5", "the status is lost")
      try require(fields.first(name: "grpc-message") ?? "" == coded, "the message is lost")
    } catch let finding as Finding {
      throw finding
    } catch {
      throw Finding("a status that can't be decoded: \(error)")
    }
  }

  // MARK: - Messages

  /// The body of a call in one DATA frame after another, held against a reading of it that knows nothing of frames.
  private static func tryMessages(_ bytes: UnsafeRawBufferPointer, isStreaming: Bool) throws(Finding) {
    var source = ByteSource(bytes)
    var limits = RPCLimits()
    limits.maxMessageBytes = 1 + source.size()
    let frames = 1 + source.below(4)
    let body = source.take(2_000)
    var harness = try ConnectionHarness(limits: limits, isEstablished: true)
    var headers = HeaderWriter()
    try harness.perform(.bytes(headers.request(stream: 1, path: isStreaming ? "/s" : "/u")))
    try harness.perform(.bytes(FrameBytes.settings([(SettingID.initialWindowSize, 1 << 30)])))
    try harness.perform(.bytes(FrameBytes.window(0, 1 << 30)))
    for index in 0..<frames {
      let part = body[(body.count * index / frames)..<(body.count * (index + 1) / frames)]
      let isLast = index == frames - 1
      // Once it is refused nothing more is sent, as a client that has read the answer would do.
      guard harness.model.streams[1]?.isOver == false else { break }
      try harness.perform(.bytes(FrameBytes.data(1, Array(part), end: isLast)))
      while !harness.dispatcher.pending.isEmpty { try harness.perform(.reply(index: 0, [])) }
    }
    try require(!harness.machine.isClosed, "a body ended the connection")
    let handed = harness.events.compactMap { event -> [UInt8]? in
      guard case .dispatched(_, _, let message, _) = event else { return nil }
      return message
    }
    let (messages, isClean) = Self.read(body, limit: limits.maxMessageBytes, isStreaming: isStreaming)
    try require(handed == messages, "\(messages.count) messages were sent, \(handed.count) were handed over")
    try require(harness.model.streams[1]?.isOver == true, "the call has no end")
    let isRefused = harness.events.contains(.rejected)
    try require(
      isRefused == !isClean, "the body is \(isClean ? "whole" : "broken") and was \(isRefused ? "" : "not ")refused")
    if frames == 1 || isStreaming { try harness.replaySplit(seed: ByteSource.seed(of: bytes), isEstablished: true) }
  }

  /// The messages of a body that a method has to be handed, and whether the body ends with the last of them. A message
  /// that fails its call is the last.
  private static func read(_ body: [UInt8], limit: Int, isStreaming: Bool) -> (messages: [[UInt8]], isClean: Bool) {
    var messages: [[UInt8]] = []
    var rest = body[...]
    while !rest.isEmpty {
      guard rest.count >= 5, rest.first == 0 else { return (isStreaming ? messages : [], false) }
      let length = ClientModel.number(rest.dropFirst().prefix(4))
      guard length <= limit, rest.count - 5 >= length else { return (isStreaming ? messages : [], false) }
      let message = Array(rest.dropFirst(5).prefix(length))
      messages.append(message)
      rest = rest.dropFirst(5 + length)
      if isStreaming, case .failure = FuzzDispatcher.reply(to: message).result { return (messages, true) }
    }
    guard !isStreaming else { return (messages, true) }
    return messages.count == 1 ? (messages, true) : ([], false)
  }
}
