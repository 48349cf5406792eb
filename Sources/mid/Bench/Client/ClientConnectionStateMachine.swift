import MidRPC
import NIOCore
import NIOHPACK

/// Who is told of replies and of calls' ends, in the order in which they came. Called in the middle of the machine's
/// work: it must not touch the machine.
protocol ClientCallReceiver {
  /// A reply came whole. The message is valid only during this call; what is changed in the ticket is kept.
  mutating func received(_ message: UnsafeRawBufferPointer, ticket: inout CallTicket)

  /// A call is over.
  mutating func ended(_ ticket: CallTicket, status: RPCStatus)

  /// A call is over that the server has certainly not looked at: it may be made again elsewhere.
  mutating func unprocessed(_ ticket: CallTicket)
}

/// The client's side of one HTTP/2 connection whose calls all send the same request: bytes in, bytes out.
///
/// No socket, clock or thread inside. ``start(_:output:)`` begins calls, ``receive(_:receiver:output:)`` takes whatever
/// arrived and tells the receiver; how the input is cut into pieces makes no difference. A call whose response repeats
/// known header blocks takes no allocation and no HPACK decoding. Sources: RFC 9113, RFC 7541, gRPC's
/// `PROTOCOL-HTTP2.md`.
///
/// What comes in stands in `+Responses` and `+Control`, what goes out in `+Requests`.
struct ClientConnectionStateMachine {
  /// How far the connection has come.
  enum Phase: Hashable {
    /// The server's SETTINGS have not come: how many calls it takes is not known.
    case awaitingSettings
    case open
    /// The server takes no new calls, or the stream numbers are used up; those under way go on.
    case goingAway
    case closed
  }

  /// A header block whose end has not come yet.
  struct OpenHeaderBlock {
    var streamID: UInt32
    var endsStream: Bool
    var block: [UInt8]
  }

  /// The longest reply taken, in bytes. A batch of a million ids is a few ranges.
  static let maxMessageBytes = 4 * 1024 * 1024
  /// The longest header block taken, in bytes.
  static let maxHeaderBytes = 64 * 1024
  /// The longest frame taken, in bytes: what HTTP/2 has where nobody says otherwise.
  static let maxFrameSize = 16_384
  /// The window of each stream: a whole reply and more, so that a call with one reply needs no update.
  static let streamWindow = 8 * 1024 * 1024
  /// The window of the connection.
  static let connectionWindow = 16 * 1024 * 1024
  /// The largest window of HTTP/2.
  static let maxWindow = 0x7fff_ffff

  let template: RequestTemplate

  var phase = Phase.awaitingSettings
  var leftover: [UInt8] = []
  var decoder: HPACKDecoder
  var knownBlocks = HeaderMeanings<ResponseHead>()
  var openBlock: OpenHeaderBlock?
  var calls: ClientCallTable
  var nextStreamID: UInt32 = 1
  /// Replies that have not come whole, by stream.
  var bodies: [UInt32: [UInt8]] = [:]
  /// Streams of calls with many requests whose reply has come: each may send its next.
  var answered: [UInt32] = []
  /// What the server said when it announced the connection's end.
  var farewell: ConnectionFault?

  /// Whether any reply has come.
  var hasReplied = false

  /// What the server may send on the connection.
  var receiveWindow = connectionWindow

  // What the server lets us send.
  var sendWindow = 65_535
  var peerInitialWindow = 65_535
  var peerMaxFrameSize = 16_384
  var peerMaxStreams = Int.max
  /// Calls whose request waits for a window, in the order of their beginning.
  var held: [UInt32] = []

  /// Creates the state of a new connection that is to carry about `calls` calls at once.
  init(template: RequestTemplate, calls: Int) {
    self.template = template
    self.calls = ClientCallTable(calls: calls)
    self.decoder = HPACKDecoder(
      allocator: ByteBufferAllocator(), maxDynamicTableSize: 4096, maxHeaderListSize: Self.maxHeaderBytes)
  }

  /// Writes what a client says first: the preface, its settings, and the connection's larger window.
  mutating func open(output: inout ByteBuffer) {
    output.writeBytes(connectionPreface)
    output.writeSettings([
      (SettingID.enablePush, 0),
      (SettingID.initialWindowSize, UInt32(Self.streamWindow)),
      (SettingID.maxHeaderListSize, UInt32(Self.maxHeaderBytes)),
    ])
    output.writeWindowUpdate(streamID: 0, increment: Self.connectionWindow - 65_535)
  }

  /// Whether the server's settings have come and the connection takes calls.
  var isOpen: Bool { self.phase == .open }

  /// Whether nothing more will come of the connection: it is to be closed once the output has left.
  var isDone: Bool { self.phase == .closed || (self.phase == .goingAway && self.calls.count == 0) }

  /// Takes bytes from the server.
  mutating func receive<Receiver: ClientCallReceiver>(
    _ bytes: UnsafeRawBufferPointer, receiver: inout Receiver, output: inout ByteBuffer
  ) {
    guard self.phase != .closed else { return }
    if self.leftover.isEmpty {
      let used = self.consume(bytes, receiver: &receiver, output: &output)
      if used < bytes.count { self.leftover.append(contentsOf: bytes[used...]) }
    } else {
      var input: [UInt8] = []
      swap(&input, &self.leftover)
      input.append(contentsOf: bytes)
      let used = input.withUnsafeBytes { self.consume($0, receiver: &receiver, output: &output) }
      input.removeFirst(used)
      self.leftover = input
    }
    guard self.phase != .closed, self.receiveWindow < Self.connectionWindow / 2 else { return }
    output.writeWindowUpdate(streamID: 0, increment: Self.connectionWindow - self.receiveWindow)
    self.receiveWindow = Self.connectionWindow
  }

  /// Deals with all complete frames; returns how many bytes that were.
  private mutating func consume<Receiver: ClientCallReceiver>(
    _ bytes: UnsafeRawBufferPointer, receiver: inout Receiver, output: inout ByteBuffer
  ) -> Int {
    var offset = 0
    do throws(ConnectionFault) {
      while bytes.count - offset >= FrameHeader.size {
        let frame = FrameHeader(bytes, at: offset)
        guard frame.length <= Self.maxFrameSize else {
          throw ConnectionFault(.frameSizeError, "a frame of \(frame.length) bytes; is this a gRPC server's port?")
        }
        guard bytes.count - offset - FrameHeader.size >= frame.length else { break }
        let start = offset + FrameHeader.size
        offset = start + frame.length
        let payload = UnsafeRawBufferPointer(rebasing: bytes[start..<offset])
        try self.process(frame, payload, receiver: &receiver, output: &output)
      }
    } catch {
      output.writeGoAway(lastStreamID: 0, code: error.code, debug: error.reason)
      self.close("the server broke a rule of HTTP/2: \(error.reason)", receiver: &receiver)
      return bytes.count
    }
    return offset
  }

  @inline(__always)
  private mutating func process<Receiver: ClientCallReceiver>(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer, receiver: inout Receiver, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    if self.phase == .awaitingSettings {
      guard frame.type == FrameType.settings, !frame.has(FrameFlags.ack) else {
        throw ConnectionFault(.protocolError, "the first frame is not SETTINGS")
      }
      self.phase = .open
    }
    if self.openBlock != nil && frame.type != FrameType.continuation {
      throw ConnectionFault(.protocolError, "a header block does not go on with CONTINUATION")
    }
    switch frame.type {
    case FrameType.headers: try self.receiveHeaders(frame, payload, receiver: &receiver, output: &output)
    case FrameType.data: try self.receiveData(frame, payload, receiver: &receiver, output: &output)
    default: try self.processOther(frame, payload, receiver: &receiver, output: &output)
    }
  }

  /// Frames that do not come with every call.
  @inline(never)
  private mutating func processOther<Receiver: ClientCallReceiver>(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer, receiver: inout Receiver, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    switch frame.type {
    case FrameType.continuation: try self.receiveContinuation(frame, payload, receiver: &receiver, output: &output)
    case FrameType.windowUpdate: try self.receiveWindowUpdate(frame, payload, receiver: &receiver, output: &output)
    case FrameType.resetStream: try self.receiveResetStream(frame, payload, receiver: &receiver)
    case FrameType.settings: try self.receiveSettings(frame, payload, output: &output)
    case FrameType.ping: try self.receivePing(frame, payload, output: &output)
    case FrameType.goAway: try self.receiveGoAway(frame, payload, receiver: &receiver)
    case FrameType.pushPromise: throw ConnectionFault(.protocolError, "PUSH_PROMISE, which we have turned off")
    default: break  // PRIORITY means nothing to a client. Unknown frames are ignored: RFC 9113, section 5.5.
    }
  }

  /// The connection is gone: every call ends with UNAVAILABLE and this reason.
  mutating func close<Receiver: ClientCallReceiver>(_ reason: String, receiver: inout Receiver) {
    guard self.phase != .closed else { return }
    self.phase = .closed
    let status = RPCStatus(.unavailable, reason)
    for stream in self.calls.streams {
      if let slot = self.calls.find(stream) { receiver.ended(self.calls[slot].ticket, status: status) }
    }
    self.calls = ClientCallTable()
    self.bodies = [:]
    self.held = []
    self.answered = []
    self.leftover = []
  }
}
