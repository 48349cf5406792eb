import NIOCore
import NIOHPACK
import Testing

@testable import MidRPC

/// Serves calls in a test: notes them, and answers as told.
struct RecordingDispatcher: CallDispatcher {
  struct Call: Equatable {
    var route: Int
    var stream: UInt32
    var deadline: UInt64
    var message: [UInt8]
    var room = Int.max
  }

  var calls: [Call] = []
  var rejections: [RPCStatus.Code] = []
  var cancellations: [UInt32] = []
  /// The calls that were told that room is kept for their answer.
  var rooms: [UInt32] = []
  var answer: (Call) -> (CallResult, [UInt8]) = { (.message, $0.message.reversed()) }

  mutating func dispatch(
    route: Int, stream: UInt32, deadline: UInt64, message: UnsafeRawBufferPointer, room: Int, output: inout ByteBuffer
  ) -> CallResult {
    let call = Call(route: route, stream: stream, deadline: deadline, message: Array(message), room: room)
    self.calls.append(call)
    let (result, reply) = self.answer(call)
    output.writeBytes(reply)
    return result
  }

  mutating func rejected(route: Int?, code: RPCStatus.Code) { self.rejections.append(code) }
  mutating func hasRoom(stream: UInt32) { self.rooms.append(stream) }
  mutating func cancelled(stream: UInt32) { self.cancellations.append(stream) }
}

/// A client made by hand, face to face with the machine.
struct Peer {
  static let routes: [String: Int32] = ["/test.Echo/Reverse": 0, "/test.Echo/Other": 1, "/test.Echo/Stream": 2]

  var machine: ConnectionStateMachine
  var dispatcher = RecordingDispatcher()
  var encoder = HPACKEncoder(allocator: ByteBufferAllocator())
  var reader = FrameReader()
  var sent: [UInt8] = []

  init(limits: RPCLimits = RPCLimits()) {
    self.machine = ConnectionStateMachine(limits: limits, routes: Self.routes, streamingRoutes: [2])
  }

  /// A peer whose connection is past preface and settings.
  static func established(limits: RPCLimits = RPCLimits()) throws -> Peer {
    var peer = Peer(limits: limits)
    var output = ByteBuffer()
    peer.machine.open(output: &output)
    _ = try peer.reader.frames(output)
    let seen = try peer.send(connectionPreface + Self.frame(FrameType.settings, 0, 0))
    #expect(seen == [.settingsAck])
    return peer
  }

  static func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8] = []) -> [UInt8] {
    var buffer = ByteBuffer()
    buffer.writeFrameHeader(length: payload.count, type: type, flags: flags, streamID: stream)
    return Array(buffer.readableBytesView) + payload
  }

  /// Sends bytes, and reads what the machine wrote.
  mutating func send(_ bytes: [UInt8]) throws -> [SeenFrame] {
    self.sent += bytes
    var output = ByteBuffer()
    bytes.withUnsafeBytes { self.machine.receive($0, dispatcher: &self.dispatcher, output: &output) }
    return try self.reader.frames(output)
  }

  /// Answers a call that was left for later; reads what the machine wrote, or nil where it did not take the answer.
  mutating func reply(_ stream: UInt32, _ message: [UInt8] = []) throws -> [SeenFrame]? {
    var output = ByteBuffer()
    let isTaken = self.machine.reply(
      stream: stream, message: message, dispatcher: &self.dispatcher, output: &output)
    let frames = try self.reader.frames(output)
    return isTaken ? frames : nil
  }

  /// Has room kept for the answer of a call that was left for later.
  mutating func keepRoom(_ stream: UInt32, _ bytes: Int) {
    self.machine.keepRoom(stream: stream, bytes: bytes, dispatcher: &self.dispatcher)
  }

  /// Fails a call that was left for later; reads what the machine wrote, or nil where it did not take the status.
  mutating func fail(_ stream: UInt32, _ status: RPCStatus) throws -> [SeenFrame]? {
    var output = ByteBuffer()
    let isTaken = self.machine.fail(stream: stream, status: status, dispatcher: &self.dispatcher, output: &output)
    let frames = try self.reader.frames(output)
    return isTaken ? frames : nil
  }

  /// Lets the machine go on once its output has left.
  mutating func resume() throws -> [SeenFrame] {
    var output = ByteBuffer()
    self.machine.resume(dispatcher: &self.dispatcher, output: &output)
    return try self.reader.frames(output)
  }

  /// Has the machine end what stands still.
  mutating func endStuck(olderThan age: UInt64) throws -> [SeenFrame] {
    var output = ByteBuffer()
    self.machine.endStuck(olderThan: age, dispatcher: &self.dispatcher, output: &output)
    return try self.reader.frames(output)
  }

  static func head(
    path: String = "/test.Echo/Reverse", method: String = "POST", type: String = "application/grpc",
    extra: [(String, String)] = []
  ) -> [(String, String)] {
    [(":method", method), (":scheme", "http"), (":path", path), (":authority", "here")]
      + [("content-type", type), ("te", "trailers")] + extra
  }

  mutating func block(_ fields: [(String, String)], indexing: HPACKIndexing = .nonIndexable) -> [UInt8] {
    var headers = HPACKHeaders()
    for (name, value) in fields { headers.add(name: name, value: value, indexing: indexing) }
    var buffer = ByteBuffer()
    do { try self.encoder.encode(headers: headers, to: &buffer) } catch { Issue.record(error) }
    return Array(buffer.readableBytesView)
  }

  static func message(_ bytes: [UInt8], flag: UInt8 = 0) -> [UInt8] {
    [flag] + withUnsafeBytes(of: UInt32(bytes.count).bigEndian) { Array($0) } + bytes
  }

  /// HEADERS and DATA of one call.
  mutating func call(
    _ stream: UInt32, _ message: [UInt8] = [1, 2, 3], fields: [(String, String)]? = nil,
    indexing: HPACKIndexing = .nonIndexable
  ) -> [UInt8] {
    Self.frame(
      FrameType.headers, FrameFlags.endHeaders, stream, self.block(fields ?? Self.head(), indexing: indexing))
      + Self.frame(FrameType.data, FrameFlags.endStream, stream, Self.message(message))
  }

  /// HEADERS alone, with the stream left open or not.
  mutating func headers(
    _ stream: UInt32, end: Bool = false, fields: [(String, String)]? = nil, indexing: HPACKIndexing = .nonIndexable
  ) -> [UInt8] {
    Self.frame(
      FrameType.headers, FrameFlags.endHeaders | (end ? FrameFlags.endStream : 0), stream,
      self.block(fields ?? Self.head(), indexing: indexing))
  }

  static func data(_ stream: UInt32, _ bytes: [UInt8], end: Bool = false) -> [UInt8] {
    Self.frame(FrameType.data, end ? FrameFlags.endStream : 0, stream, bytes)
  }

  static func window(_ stream: UInt32, _ increment: UInt32) -> [UInt8] {
    Self.frame(FrameType.windowUpdate, 0, stream, withUnsafeBytes(of: increment.bigEndian) { Array($0) })
  }

  static func setting(_ id: UInt16, _ value: UInt32) -> [UInt8] {
    let payload = withUnsafeBytes(of: id.bigEndian) { Array($0) } + withUnsafeBytes(of: value.bigEndian) { Array($0) }
    return Self.frame(FrameType.settings, 0, 0, payload)
  }

  /// What a call that went well is answered with.
  static func answered(_ stream: UInt32, _ message: [UInt8]) -> [SeenFrame] {
    [
      .headers(stream: stream, fields: [":status": "200", "content-type": "application/grpc"], end: false),
      .data(stream: stream, Self.message(message), end: false),
      .headers(stream: stream, fields: ["grpc-status": "0"], end: true),
    ]
  }
}

extension [SeenFrame] {
  /// The gRPC status that a Trailers-Only response carries.
  var trailersOnlyStatus: String? {
    guard self.count == 1, case .headers(_, let fields, true) = self[0], fields[":status"] == "200" else { return nil }
    return fields["grpc-status"]
  }

  var goAwayCode: HTTP2ErrorCode? {
    guard case .goAway(_, let code)? = self.last else { return nil }
    return code
  }
}

/// Expectations as plain calls: the macro takes minutes to type-check long expressions of bytes.
extension Peer {
  /// Sends bytes and expects exactly these frames.
  mutating func expect(
    _ bytes: [UInt8], gives frames: [SeenFrame], _ comment: Comment? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let seen = try self.send(bytes)
    #expect(seen == frames, comment, sourceLocation: sourceLocation)
  }

  /// Sends bytes and expects that they end the connection.
  mutating func expect(
    _ bytes: [UInt8], ends code: HTTP2ErrorCode, _ comment: Comment? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let seen = try self.send(bytes)
    #expect(seen.goAwayCode == code, comment, sourceLocation: sourceLocation)
    #expect(self.machine.isClosed, comment, sourceLocation: sourceLocation)
  }
}
