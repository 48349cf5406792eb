import MidRPC
import NIOCore
import NIOHPACK
import Testing

@testable import mid

/// A frame that the client wrote, as a test reads it.
enum ClientFrame: Equatable {
  case settings
  case settingsAck
  case headers(stream: UInt32, [String: String])
  case data(stream: UInt32, [UInt8], end: Bool)
  case reset(stream: UInt32, UInt32)
  case ping(UInt64)
  case goAway(UInt32)
  case window(stream: UInt32, UInt32)
}

/// Reads what a client writes on one connection.
struct ClientFrameReader {
  struct Broken: Error {}

  private var decoder = HPACKDecoder(allocator: ByteBufferAllocator())

  /// All frames in `bytes`, which may begin with the preface.
  mutating func frames(_ bytes: ByteBuffer) throws -> [ClientFrame] {
    var bytes = bytes
    if bytes.getBytes(at: bytes.readerIndex, length: connectionPreface.count) == connectionPreface {
      bytes.moveReaderIndex(forwardBy: connectionPreface.count)
    }
    var seen: [ClientFrame] = []
    while bytes.readableBytes > 0 {
      guard let head = bytes.readInteger(as: UInt32.self), let flags = bytes.readInteger(as: UInt8.self),
        let stream = bytes.readInteger(as: UInt32.self), var payload = bytes.readSlice(length: Int(head >> 8))
      else { throw Broken() }
      seen.append(try self.frame(UInt8(head & 0xff), flags, stream, &payload))
    }
    return seen
  }

  private mutating func frame(
    _ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: inout ByteBuffer
  ) throws -> ClientFrame {
    func number<T: FixedWidthInteger>(_: T.Type) throws -> T {
      guard let value = payload.readInteger(as: T.self) else { throw Broken() }
      return value
    }
    switch type {
    case FrameType.settings: return flags & FrameFlags.ack != 0 ? .settingsAck : .settings
    case FrameType.headers:
      var fields: [String: String] = [:]
      for field in try self.decoder.decodeHeaders(from: &payload) { fields[field.name] = field.value }
      return .headers(stream: stream, fields)
    case FrameType.data:
      return .data(stream: stream, Array(payload.readableBytesView), end: flags & FrameFlags.endStream != 0)
    case FrameType.resetStream: return .reset(stream: stream, try number(UInt32.self))
    case FrameType.ping: return .ping(try number(UInt64.self))
    case FrameType.goAway:
      _ = try number(UInt32.self)
      return .goAway(try number(UInt32.self))
    case FrameType.windowUpdate: return .window(stream: stream, try number(UInt32.self))
    default: throw Broken()
    }
  }
}

/// The frames of a server, as bytes.
struct ServerFrames {
  private var encoder = HPACKEncoder(allocator: ByteBufferAllocator())

  static func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8] = []) -> [UInt8] {
    var buffer = ByteBuffer()
    buffer.writeFrameHeader(length: payload.count, type: type, flags: flags, streamID: stream)
    return Array(buffer.readableBytesView) + payload
  }

  static func settings(_ settings: (id: UInt16, value: UInt32)...) -> [UInt8] {
    var buffer = ByteBuffer()
    buffer.writeSettings(settings)
    return Array(buffer.readableBytesView)
  }

  static func bytes(_ number: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * $0)) } }

  static func window(_ stream: UInt32, _ increment: UInt32) -> [UInt8] {
    self.frame(FrameType.windowUpdate, 0, stream, self.bytes(increment))
  }

  static func reset(_ stream: UInt32, _ code: UInt32) -> [UInt8] {
    self.frame(FrameType.resetStream, 0, stream, self.bytes(code))
  }

  static func goAway(last: UInt32, _ code: UInt32 = 0, _ text: String = "") -> [UInt8] {
    self.frame(FrameType.goAway, 0, 0, self.bytes(last) + self.bytes(code) + Array(text.utf8))
  }

  static func data(_ stream: UInt32, _ bytes: [UInt8], end: Bool = false) -> [UInt8] {
    self.frame(FrameType.data, end ? FrameFlags.endStream : 0, stream, bytes)
  }

  mutating func block(_ fields: [(String, String)], _ indexing: HPACKIndexing = .nonIndexable) throws -> [UInt8] {
    var headers = HPACKHeaders()
    for (name, value) in fields { headers.add(name: name, value: value, indexing: indexing) }
    var block = ByteBuffer()
    try self.encoder.encode(headers: headers, to: &block)
    return Array(block.readableBytesView)
  }

  mutating func headers(
    _ stream: UInt32, _ fields: [(String, String)], end: Bool = false, _ indexing: HPACKIndexing = .nonIndexable
  ) throws -> [UInt8] {
    let flags = FrameFlags.endHeaders | (end ? FrameFlags.endStream : 0)
    return Self.frame(FrameType.headers, flags, stream, try self.block(fields, indexing))
  }

  static let opening = [(":status", "200"), ("content-type", "application/grpc")]

  /// A response that goes well.
  mutating func reply(
    _ stream: UInt32, _ message: [UInt8], _ indexing: HPACKIndexing = .nonIndexable
  ) throws -> [UInt8] {
    try self.headers(stream, Self.opening, indexing) + Self.data(stream, CannedStep.framed(message))
      + self.headers(stream, [("grpc-status", "0")], end: true, indexing)
  }
}

/// Notes what a connection tells. Calls are known by their tickets' `due`.
struct NotingReceiver: ClientCallReceiver {
  enum Event: Equatable {
    case message(UInt64, [UInt8])
    case ended(UInt64, RPCStatus.Code)
    case unprocessed(UInt64)
  }

  var events: [Event] = []
  var lastMessage = ""

  mutating func received(_ message: UnsafeRawBufferPointer, ticket: inout CallTicket) {
    self.events.append(.message(ticket.due, Array(message)))
  }

  mutating func ended(_ ticket: CallTicket, status: RPCStatus) {
    self.events.append(.ended(ticket.due, status.code))
    self.lastMessage = status.message
  }

  mutating func unprocessed(_ ticket: CallTicket) { self.events.append(.unprocessed(ticket.due)) }
}

/// A server made by hand, face to face with the client's machine.
struct BenchPeer {
  static let message: [UInt8] = [1, 2, 3]

  var machine: ClientConnectionStateMachine
  var receiver = NotingReceiver()
  var reader = ClientFrameReader()
  var frames = ServerFrames()

  init(isUnary: Bool = true) throws {
    let template = try RequestTemplate(
      path: "/a.B/C", authority: "host:1", isSecure: false, isUnary: isUnary, message: Self.message)
    self.machine = ClientConnectionStateMachine(template: template, calls: 4)
  }

  /// A peer whose settings the client has seen.
  static func open(isUnary: Bool = true, _ settings: (id: UInt16, value: UInt32)...) throws -> BenchPeer {
    var peer = try BenchPeer(isUnary: isUnary)
    var output = ByteBuffer()
    peer.machine.open(output: &output)
    _ = try peer.reader.frames(output)
    var buffer = ByteBuffer()
    buffer.writeSettings(settings)
    _ = try peer.receive(Array(buffer.readableBytesView))
    return peer
  }

  /// Begins a call known as `name`; returns what the client sent.
  mutating func start(_ name: UInt64) throws -> [ClientFrame] {
    var output = ByteBuffer()
    self.machine.start(CallTicket(due: name, sent: name), output: &output)
    return try self.reader.frames(output)
  }

  /// Lets the client have bytes; returns what it sent.
  mutating func receive(_ bytes: [UInt8]) throws -> [ClientFrame] {
    var output = ByteBuffer()
    bytes.withUnsafeBytes { self.machine.receive($0, receiver: &self.receiver, output: &output) }
    return try self.reader.frames(output)
  }

  /// What was told since the last time.
  mutating func events() -> [NotingReceiver.Event] {
    defer { self.receiver.events = [] }
    return self.receiver.events
  }
}
