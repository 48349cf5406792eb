import NIOCore
import NIOHPACK

@testable import MidRPC

/// What a client knows of its connection that keeps strict count: what it sent, what it may send, what it lets the
/// server send, and what it has been answered. It is told each frame before the machine sees it and judges all that the
/// machine writes then, by RFC 9113's rules for what a server may send.
///
/// It is written from the client's side and shares nothing with the machine but the numbers of frame types.
struct ClientModel {
  struct Stream {
    /// What the client lets the server send.
    var sendWindow: Int
    /// What the server lets the client send.
    var receiveWindow: Int
    /// The contents of the DATA frames sent, without padding.
    var body: [UInt8] = []
    /// How many bytes of those the dispatcher has been handed.
    var dispatched = 0
    var messages = 0
    /// What the replies' DATA frames must contain, and how much of it has come.
    var expected: [UInt8] = []
    var received = 0
    /// Whether the answer is to be a status other than OK: no more replies are expected.
    var hasFailed = false
    var isAwaiting = false
    var isRemoteClosed = false
    var hasHeaders = false
    /// The server has ended it, by END_STREAM or RST_STREAM, or the client has by RST_STREAM.
    var isOver = false
    var isReset = false
    var isResetByClient = false
  }

  let limits: RPCLimits
  var streams: [UInt32: Stream] = [:]
  var highest: UInt32 = 0
  /// What the client lets the server send on the connection, and the server the client.
  var sendWindow = 65_535
  var receiveWindow = 65_535
  var initialWindow = 65_535
  var maxFrameSize = 16_384
  var openBlock: UInt32?
  var owedSettingsAcks = 0
  var owedPings: [[UInt8]] = []
  /// The server's own PINGs that have no answer yet.
  var pingsToAnswer: [[UInt8]] = []
  /// Whether the next header block must begin with a table-size update.
  var mayExpectTableUpdate = false
  var hasAskedForTableUpdate = false
  var isOver = false
  var sawSettings = false
  var lastPromised: UInt32 = 0x7fff_ffff
  private var decoder = HPACKDecoder(allocator: ByteBufferAllocator())

  init(limits: RPCLimits) { self.limits = limits }

  /// The streams that wait for something.
  var live: Set<UInt32> { Set(self.streams.lazy.filter { !$0.value.isOver }.map(\.key)) }

  // MARK: - What the client sends

  /// Notes a frame that goes to the machine next.
  ///
  /// - Parameter isTakingCalls: whether the server still takes new calls.
  mutating func sends(_ frame: FrameHeader, _ payload: [UInt8], isTakingCalls: Bool) {
    switch frame.type {
    case FrameType.headers: self.sendsHeaders(frame, isTakingCalls: isTakingCalls)
    case FrameType.continuation:
      if self.openBlock == frame.streamID, frame.has(FrameFlags.endHeaders) { self.openBlock = nil }
    case FrameType.data: self.sendsData(frame, payload)
    case FrameType.windowUpdate where payload.count == 4:
      let increment = Self.number(payload[0..<4]) & 0x7fff_ffff
      if frame.streamID == 0 { self.sendWindow += increment }
      self.streams[frame.streamID]?.sendWindow += increment
    case FrameType.resetStream where payload.count == 4:
      self.streams[frame.streamID]?.isOver = true
      self.streams[frame.streamID]?.isResetByClient = true
    case FrameType.settings where frame.flags & FrameFlags.ack == 0: self.sendsSettings(payload)
    case FrameType.ping where frame.flags & FrameFlags.ack == 0: self.owedPings.append(payload)
    default: break
    }
  }

  private mutating func sendsHeaders(_ frame: FrameHeader, isTakingCalls: Bool) {
    if !frame.has(FrameFlags.endHeaders) { self.openBlock = frame.streamID }
    if frame.streamID > self.highest, frame.streamID & 1 == 1, isTakingCalls {
      self.highest = frame.streamID
      self.streams[frame.streamID] = Stream(sendWindow: self.initialWindow, receiveWindow: self.limits.streamWindow)
    }
    if frame.has(FrameFlags.endStream) { self.streams[frame.streamID]?.isRemoteClosed = true }
  }

  private mutating func sendsData(_ frame: FrameHeader, _ payload: [UInt8]) {
    if frame.streamID != 0 { self.receiveWindow -= payload.count }
    guard let stream = self.streams[frame.streamID], !stream.isOver else { return }
    var content = payload[...]
    if frame.has(FrameFlags.padded), let padding = content.popFirst() { content = content.dropLast(Int(padding)) }
    // In place, as the body may be long.
    self.streams[frame.streamID]?.receiveWindow -= payload.count
    if !stream.isRemoteClosed { self.streams[frame.streamID]?.body += content }
    if frame.has(FrameFlags.endStream) { self.streams[frame.streamID]?.isRemoteClosed = true }
  }

  private mutating func sendsSettings(_ payload: [UInt8]) {
    guard payload.count % 6 == 0 else { return }
    self.owedSettingsAcks += 1
    let former = self.initialWindow
    for entry in stride(from: 0, to: payload.count, by: 6) {
      let value = Self.number(payload[(entry + 2)..<(entry + 6)])
      switch UInt16(payload[entry]) << 8 | UInt16(payload[entry + 1]) {
      case SettingID.initialWindowSize: self.initialWindow = value
      case SettingID.maxFrameSize where (16_384...16_777_215).contains(value): self.maxFrameSize = value
      case SettingID.headerTableSize where value < 4096 && !self.hasAskedForTableUpdate:
        self.hasAskedForTableUpdate = true
        self.mayExpectTableUpdate = true
      default: break
      }
    }
    let change = self.initialWindow - former
    guard change != 0 else { return }
    for id in Array(self.streams.keys) { self.streams[id]?.sendWindow += change }
  }

  static func number(_ bytes: ArraySlice<UInt8>) -> Int { bytes.reduce(0) { $0 << 8 | Int($1) } }

  // MARK: - What the machine did with it

  /// Notes what the machine asked of the dispatcher.
  mutating func sees(_ event: FuzzDispatcher.Event) throws(Finding) {
    switch event {
    case .dispatched(let id, let route, let message, let reply):
      guard var stream = self.streams[id] else { throw Finding("a message of stream \(id), which is not open") }
      try require(!stream.isOver, "a message of stream \(id), which is over")
      try require(!stream.isAwaiting, "a message of stream \(id) before the last one was answered")
      try require(route != 0 || stream.messages == 0, "two messages of unary call \(id)")
      let whole = [0] + withUnsafeBytes(of: UInt32(message.count).bigEndian) { Array($0) } + message
      try require(
        stream.body[stream.dispatched...].starts(with: whole), "stream \(id) was handed a message that was not sent")
      stream.dispatched += whole.count
      if route == 0 {
        try require(stream.isRemoteClosed && stream.dispatched == stream.body.count, "unary call \(id) came early")
      }
      self.streams[id]?.dispatched += whole.count
      self.streams[id]?.messages += 1
      self.streams[id]?.isAwaiting = reply == nil
      if let reply { self.streams[id]?.expected += Self.framed(reply) }
    case .failed(let id):
      self.streams[id]?.hasFailed = true
      self.streams[id]?.isAwaiting = false
    case .cancelled(let id): self.streams[id]?.isAwaiting = false
    case .rejected: break
    }
  }

  /// Notes the answer that was given for a call that was left for later.
  mutating func wasAnswered(_ id: UInt32, with reply: [UInt8]?) {
    self.streams[id]?.isAwaiting = false
    if let reply { self.streams[id]?.expected += Self.framed(reply) } else { self.streams[id]?.hasFailed = true }
  }

  private static func framed(_ message: [UInt8]) -> [UInt8] {
    [0] + withUnsafeBytes(of: UInt32(message.count).bigEndian) { Array($0) } + message
  }

  /// Reads what the machine wrote.
  mutating func receives(_ output: [UInt8]) throws(Finding) {
    var rest = output[...]
    while !rest.isEmpty {
      try require(rest.count >= FrameHeader.size, "a frame header cut short")
      let header = rest.withUnsafeBytes { FrameHeader($0, at: 0) }
      rest = rest.dropFirst(FrameHeader.size)
      try require(rest.count >= header.length, "a frame cut short")
      try self.receives(header, Array(rest.prefix(header.length)))
      rest = rest.dropFirst(header.length)
    }
  }

  private mutating func receives(_ frame: FrameHeader, _ payload: [UInt8]) throws(Finding) {
    try require(!self.isOver, "a frame of type \(frame.type) after the connection's end")
    try require(payload.count <= self.maxFrameSize, "a frame of \(payload.count) bytes; at most \(self.maxFrameSize)")
    if !self.sawSettings {
      try require(frame.type == FrameType.settings && frame.flags == 0, "the first frame is no SETTINGS")
    }
    switch frame.type {
    case FrameType.settings: try self.receivesSettings(frame, payload)
    case FrameType.ping:
      try require(frame.streamID == 0 && payload.count == 8, "a malformed PING")
      if frame.flags == FrameFlags.ack {
        try require(self.owedPings.first == payload, "an answer to a PING that was not sent")
        self.owedPings.removeFirst()
      } else {
        self.pingsToAnswer.append(payload)
      }
    case FrameType.windowUpdate: try self.receivesWindow(frame, payload)
    case FrameType.headers: try self.receivesHeaders(frame, payload)
    case FrameType.data: try self.receivesData(frame, payload)
    case FrameType.resetStream: try self.receivesReset(frame, payload)
    case FrameType.goAway:
      try require(frame.streamID == 0 && payload.count >= 8, "a malformed GOAWAY")
      let last = UInt32(Self.number(payload[0..<4]))
      try require(last <= self.lastPromised, "GOAWAY takes a promise back: \(last) after \(self.lastPromised)")
      self.lastPromised = last
      if Self.number(payload[4..<8]) != 0 { self.isOver = true }
      let dispatched = self.streams.filter { $0.value.messages > 0 }.keys.max() ?? 0
      try require(dispatched <= last, "GOAWAY up to \(last), but stream \(dispatched) was served")
    default: throw Finding("a frame of type \(frame.type) from the server")
    }
  }

  private mutating func receivesSettings(_ frame: FrameHeader, _ payload: [UInt8]) throws(Finding) {
    try require(frame.streamID == 0, "SETTINGS on a stream")
    guard frame.flags & FrameFlags.ack != 0 else {
      try require(!self.sawSettings && payload.count % 6 == 0, "SETTINGS a second time, or malformed")
      self.sawSettings = true
      return
    }
    try require(payload.isEmpty && self.owedSettingsAcks > 0, "a SETTINGS ACK for nothing")
    self.owedSettingsAcks -= 1
  }

  private mutating func receivesWindow(_ frame: FrameHeader, _ payload: [UInt8]) throws(Finding) {
    try require(payload.count == 4, "a malformed WINDOW_UPDATE")
    let increment = Self.number(payload[0..<4])
    try require(increment > 0 && increment <= 0x7fff_ffff, "WINDOW_UPDATE by \(increment)")
    if frame.streamID == 0 {
      self.receiveWindow += increment
      try require(
        self.receiveWindow <= self.limits.connectionWindow,
        "the connection's window was opened to \(self.receiveWindow)")
    } else {
      guard let stream = self.streams[frame.streamID], !stream.isOver else {
        throw Finding("WINDOW_UPDATE for stream \(frame.streamID), which is not open")
      }
      try require(
        stream.receiveWindow + increment <= self.limits.streamWindow, "stream \(frame.streamID)'s window grows too far")
      self.streams[frame.streamID]?.receiveWindow += increment
    }
  }

  private mutating func receivesHeaders(_ frame: FrameHeader, _ payload: [UInt8]) throws(Finding) {
    let id = frame.streamID
    guard var stream = self.streams[id], !stream.isOver else {
      throw Finding("HEADERS on stream \(id), which is not open")
    }
    try require(frame.has(FrameFlags.endHeaders), "HEADERS without their end")
    let isUpdate = (payload.first ?? 0) & 0xe0 == 0x20
    try require(isUpdate == self.mayExpectTableUpdate, "a table-size update is missing or too many")
    self.mayExpectTableUpdate = false
    let ends = frame.has(FrameFlags.endStream)
    let fields: HPACKHeaders
    do {
      var buffer = ByteBuffer(bytes: payload)
      fields = try self.decoder.decodeHeaders(from: &buffer)
    } catch {
      throw Finding("a header block that can't be decoded: \(error)")
    }
    let status = fields.first(name: "grpc-status")
    if stream.hasHeaders {
      try require(ends && status != nil && !fields.contains(name: ":status"), "malformed trailers on stream \(id)")
    } else {
      try require(fields.contains(name: ":status"), "HEADERS without :status on stream \(id)")
    }
    if ends && status == "0" {
      try require(stream.received == stream.expected.count, "stream \(id) was ended before all replies had left")
      try require(!stream.isAwaiting && !stream.hasFailed, "stream \(id) was ended with OK and should not")
      try require(stream.dispatched == stream.body.count, "stream \(id) was ended with OK before all was served")
    }
    stream.hasHeaders = true
    stream.isOver = ends
    self.streams[id] = stream
  }

  private mutating func receivesData(_ frame: FrameHeader, _ payload: [UInt8]) throws(Finding) {
    let id = frame.streamID
    guard var stream = self.streams[id], !stream.isOver, stream.hasHeaders else {
      throw Finding("DATA on stream \(id), which has no response under way")
    }
    try require(frame.flags == 0 && !payload.isEmpty, "DATA with flags \(frame.flags), \(payload.count) bytes")
    self.sendWindow -= payload.count
    stream.sendWindow -= payload.count
    try require(self.sendWindow >= 0, "DATA past the connection's window, by \(-self.sendWindow)")
    try require(stream.sendWindow >= 0, "DATA past stream \(id)'s window, by \(-stream.sendWindow)")
    try require(stream.expected[stream.received...].starts(with: payload), "stream \(id) was sent the wrong bytes")
    stream.received += payload.count
    self.streams[id] = stream
  }

  private mutating func receivesReset(_ frame: FrameHeader, _ payload: [UInt8]) throws(Finding) {
    let id = frame.streamID
    try require(payload.count == 4, "a malformed RST_STREAM")
    let code = Self.number(payload[0..<4])
    guard var stream = self.streams[id] else {
      // Those that the client left out are closed as well: RFC 9113, section 5.1.1.
      let isLeftOut = id & 1 == 1 && id < self.highest && code == Int(HTTP2ErrorCode.streamClosed.rawValue)
      return try require(isLeftOut, "RST_STREAM on stream \(id), which is idle")
    }
    // A stream that is over may be reset for what the client went on sending; one that was told why, only for that.
    let isForStray =
      code == Int(HTTP2ErrorCode.streamClosed.rawValue) || code == Int(HTTP2ErrorCode.frameSizeError.rawValue)
    try require(!stream.isReset && !stream.isResetByClient || isForStray, "stream \(id) was reset twice: \(code)")
    stream.isReset = true
    stream.isOver = true
    self.streams[id] = stream
  }
}
