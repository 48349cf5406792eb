import Testing

@testable import MidRPC

/// A frame or request that a rule speaks of. `docs/http2.md` names cases by their text.
struct RuleCase<Value: Sendable>: Sendable, CustomTestStringConvertible {
  let what: String
  let value: Value
  let code: HTTP2ErrorCode

  /// - Parameters:
  ///   - what: names the case in the table of rules.
  ///   - value: what is sent.
  ///   - code: the error that it must lead to, where it leads to one.
  init(_ what: String, _ value: Value, _ code: HTTP2ErrorCode = .protocolError) {
    self.what = what
    self.value = value
    self.code = code
  }

  var testDescription: String { self.what }
}

extension Peer {
  /// The bytes of a number, high byte first.
  static func bytes(_ number: UInt32) -> [UInt8] { withUnsafeBytes(of: number.bigEndian) { Array($0) } }

  /// A header block of literals, just as they are: an encoder would put some names right, and refuse others.
  static func literals(_ fields: [(String, String)]) -> [UInt8] {
    var block: [UInt8] = []
    for (name, value) in fields {
      block += [0, UInt8(name.utf8.count)]
      block += Array(name.utf8)
      block.append(UInt8(value.utf8.count))
      block += Array(value.utf8)
    }
    return block
  }

  /// A call whose head is made of such literals.
  static func literalCall(_ stream: UInt32, _ fields: [(String, String)]) -> [UInt8] {
    let data = Self.data(stream, Self.message([1, 2, 3]), end: true)
    return Self.frame(FrameType.headers, FrameFlags.endHeaders, stream, Self.literals(fields)) + data
  }

  /// HEADERS of such literals that end their stream.
  static func literalEnd(_ stream: UInt32, _ fields: [(String, String)]) -> [UInt8] {
    Self.frame(FrameType.headers, FrameFlags.endHeaders | FrameFlags.endStream, stream, Self.literals(fields))
  }

  static func reset(_ stream: UInt32, code: UInt32 = 8) -> [UInt8] {
    Self.frame(FrameType.resetStream, 0, stream, Self.bytes(code))
  }

  static let ping = Self.frame(FrameType.ping, 0, 0, [1, 2, 3, 4, 5, 6, 7, 8])
  static let pong = SeenFrame.ping(0x0102_0304_0506_0708, ack: true)

  /// Expects that the connection still answers a call.
  mutating func expectService(
    on stream: UInt32 = 1001, _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    self.dispatcher.answer = { (.message, $0.message.reversed()) }
    let call = self.call(stream)
    try self.expect(call, gives: Self.answered(stream, [3, 2, 1]), comment, sourceLocation: sourceLocation)
  }
}
