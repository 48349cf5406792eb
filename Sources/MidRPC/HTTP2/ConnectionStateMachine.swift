import NIOCore
import NIOHPACK

/// The server's side of one HTTP/2 connection that carries gRPC calls with one reply for each message: bytes in, bytes out.
///
/// No socket, clock, lock or thread inside: ``receive(_:dispatcher:output:)`` takes whatever arrived, hands complete
/// messages to the dispatcher, and appends what is to be sent; ``now`` is set from outside. How the input is cut into
/// pieces makes no difference to the output. `ByteBuffer` is used as a growable array of bytes, nothing else of NIO is.
///
/// Frames are dealt with in place. A call whose HEADERS repeat known bytes and whose message comes in one DATA frame
/// takes no allocation, no HPACK decoding and no copy. Sources: RFC 9113, RFC 7541, gRPC's `PROTOCOL-HTTP2.md`.
///
/// The rules stand in extensions: `+Headers`, `+Data`, `+Control` for frames that come in, `+Messages` for calls of many
/// messages, `+Responses` and `+Held` for what goes out, `+Limits` for what a peer may cost.
struct ConnectionStateMachine {
  /// How far the connection has come.
  enum Phase: Hashable {
    case awaitingPreface
    case awaitingSettings
    case open
    /// GOAWAY with 2^31-1 has left; new calls are still served until the peer has seen it.
    case draining
    /// The final GOAWAY has left; later streams are ignored.
    case lastCalls
    case closed
  }

  /// A header block whose end has not come yet.
  struct OpenHeaderBlock {
    var streamID: UInt32
    var endsStream: Bool
    var block: [UInt8]
    var frames = 1
    /// When it began.
    var since: UInt64
  }

  /// A response that the peer's flow control holds back.
  struct HeldResponse {
    /// The rest of the DATA frames' contents.
    var data: ByteBuffer
    /// Whether the trailers follow.
    var endsCall: Bool

    /// What it takes in memory, in bytes: at most four times what it holds, and a little.
    var memory: Int { self.data.storageCapacity }

    /// Takes the next bytes. What is left moves once it is less than half of what it takes, so that a few bytes that no
    /// window lets leave do not keep the memory of all.
    mutating func take(_ length: Int) -> ByteBuffer? {
      let part = self.data.readSlice(length: length)
      if self.data.readableBytes * 2 < self.data.storageCapacity {
        self.data = ByteBuffer(bytes: self.data.readableBytesView)
      }
      return part
    }
  }

  let limits: RPCLimits
  let routes: [String: Int32]
  let streamingRoutes: Set<Int32>

  /// The time, in nanoseconds of a clock that never goes back. To be set before bytes are taken.
  var now: UInt64 = 0
  var phase = Phase.awaitingPreface
  var leftover: [UInt8] = []
  /// When the frame began that ``leftover`` holds the first bytes of.
  var unfinishedSince: UInt64 = 0
  var decoder: HPACKDecoder
  var knownBlocks = HeaderBlockCache()
  var openBlock: OpenHeaderBlock?
  var streams = StreamTable()
  var lastStreamID: UInt32 = 0
  /// Streams that we reset a moment ago: what the peer sent before it knew is ignored.
  var recentResets: [UInt32] = []
  /// Numbers that the peer has left out lately.
  var skippedStreams: [Range<UInt32>] = []
  var unproductiveFrames = 0
  var resets = 0
  var lastPing: UInt64?
  var pingStrikes = 0

  /// Messages that have not come whole, or not had their turn, by stream.
  var bodies: [UInt32: MessageBuffer] = [:]
  var bufferedBytes = 0
  /// What they take in memory.
  var bodyMemory = 0

  /// What we let the peer send on the connection, and what we owe it of that: together with the bytes that are buffered,
  /// always the whole window.
  var receiveWindow: Int
  var receiveCredit = 0

  /// What the peer lets us send.
  var sendWindow = 65_535
  var peerInitialWindow = 65_535
  var peerMaxFrameSize = 16_384
  var held: [UInt32: HeldResponse] = [:]
  var heldBytes = 0
  /// What they take in memory.
  var heldMemory = 0
  /// When one of them was last held, or moved.
  var heldMovedAt: UInt64 = 0
  /// Those of them that only the connection's window holds back, in the order of their turns.
  var heldOrder: [UInt32] = []
  /// What is kept free for answers that come later, in bytes of DATA.
  var reservedBytes = 0
  /// What the answer being written may take for certain, since it was kept free for it.
  var promisedBytes = 0
  /// Calls that wait for room for an answer, how long that is, and whether it comes later, in the order of their turns. Where
  /// not, the call's next message is handed over once there is room.
  var parked: [(stream: UInt32, bytes: Int, isLater: Bool)] = []
  /// Whether the call being served was the first of ``parked``.
  var isServingParked = false
  /// Calls of many messages that may go on, in the order of their turns.
  var ready: [UInt32] = []
  /// Whether input waits until the output has left, and others have had their turn.
  var isPaused = false
  /// Bytes of header blocks that have changed the decoder's table since this turn began.
  var tableWork = 0

  /// Why the connection was ended, where the peer broke a rule.
  var fault: ConnectionFault?

  /// Whether the next header block must say that our encoder uses no table: the peer has asked for a smaller one.
  var owesTableUpdate = false
  var hasGivenUpTable = false

  /// What every connection's decoder starts as. Each decoder made anew would fill a static table of its own, 2 KiB, and
  /// reserve the whole dynamic one, 2 KiB more; copies share the first for ever and the second until a header enters it.
  private static let unusedDecoder = HPACKDecoder(
    allocator: ByteBufferAllocator(), maxDynamicTableSize: 4096,
    maxHeaderListSize: HPACKDecoder.defaultMaxHeaderListSize)

  /// Creates the state of a new connection.
  ///
  /// - Parameters:
  ///   - limits: what the peer may ask for.
  ///   - routes: the methods' paths, with the number that calls are dispatched under.
  ///   - streamingRoutes: those whose calls carry many messages.
  init(limits: RPCLimits, routes: [String: Int32], streamingRoutes: Set<Int32> = []) {
    self.limits = limits
    self.routes = routes
    self.streamingRoutes = streamingRoutes
    self.decoder = Self.unusedDecoder
    self.decoder.maxHeaderListSize = limits.maxHeaderListBytes
    self.receiveWindow = limits.connectionWindow
  }

  /// Writes what a server says first: its settings, and the connection's larger window.
  mutating func open(output: inout ByteBuffer) {
    output.writeSettings([
      (SettingID.maxConcurrentStreams, UInt32(clamping: self.limits.maxConcurrentStreams)),
      (SettingID.initialWindowSize, UInt32(clamping: self.limits.streamWindow)),
      (SettingID.maxHeaderListSize, UInt32(clamping: self.limits.maxHeaderListBytes)),
    ])
    if self.receiveWindow > 65_535 {
      output.writeWindowUpdate(streamID: 0, increment: self.receiveWindow - 65_535)
    }
  }

  /// Whether the connection is over: what is in the output is the last, and no more input is wanted.
  var isClosed: Bool { self.phase == .closed }

  /// Whether the client's preface and settings have come.
  var isEstablished: Bool { self.phase != .awaitingPreface && self.phase != .awaitingSettings }

  /// How many calls are under way.
  var openStreams: Int { self.streams.count }

  /// Takes bytes from the peer.
  mutating func receive<Dispatcher: CallDispatcher>(
    _ bytes: UnsafeRawBufferPointer, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) {
    guard self.phase != .closed else { return }
    if self.leftover.isEmpty && !self.isPaused {
      let used = self.consume(bytes, dispatcher: &dispatcher, output: &output)
      if used < bytes.count {
        self.leftover.append(contentsOf: bytes[used...])
        self.unfinishedSince = self.now
      }
    } else {
      self.leftover.append(contentsOf: bytes)
      if !self.isPaused { self.consumeLeftover(dispatcher: &dispatcher, output: &output) }
    }
  }

  /// Goes on where ``isPaused`` had input wait. To be called once the output has left.
  mutating func resume<Dispatcher: CallDispatcher>(dispatcher: inout Dispatcher, output: inout ByteBuffer) {
    guard self.isPaused, self.phase != .closed else { return }
    self.isPaused = false
    self.proceed(dispatcher: &dispatcher, output: &output)
    if !self.isPaused { self.consumeLeftover(dispatcher: &dispatcher, output: &output) }
  }

  private mutating func consumeLeftover<Dispatcher: CallDispatcher>(
    dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) {
    var input: [UInt8] = []
    swap(&input, &self.leftover)
    let used = input.withUnsafeBytes { self.consume($0, dispatcher: &dispatcher, output: &output) }
    if used > 0 { self.unfinishedSince = self.now }
    guard self.phase != .closed else { return }
    // A large frame's memory is not kept once the frame is gone.
    if input.capacity > 1024 && (input.count - used) * 2 < input.capacity {
      self.leftover = Array(input[used...])
    } else {
      input.removeFirst(used)
      self.leftover = input
    }
  }

  /// Deals with all complete frames, or with as many as the output has room for; returns how many bytes that were.
  private mutating func consume<Dispatcher: CallDispatcher>(
    _ bytes: UnsafeRawBufferPointer, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) -> Int {
    var offset = 0
    self.tableWork = 0
    do throws(ConnectionFault) {
      if self.phase == .awaitingPreface {
        let expected = min(bytes.count, connectionPreface.count)
        guard bytes.prefix(expected).elementsEqual(connectionPreface.prefix(expected)) else {
          throw ConnectionFault(.protocolError, "this port speaks gRPC over HTTP/2; the connection preface is missing")
        }
        guard expected == connectionPreface.count else { return 0 }
        offset = expected
        self.phase = .awaitingSettings
      }
      while bytes.count - offset >= FrameHeader.size {
        // Looked at before the frame is, so that a frame that ends the connection is not dealt with before its turn.
        guard !self.isPaused, output.readableBytes <= RPCLimits.maxOutputBurst else {
          self.isPaused = true
          break
        }
        let frame = FrameHeader(bytes, at: offset)
        guard frame.length <= RPCLimits.maxFrameSize else {
          throw ConnectionFault(.frameSizeError, "a frame of \(frame.length) bytes; at most 16384 are taken")
        }
        guard bytes.count - offset - FrameHeader.size >= frame.length else { break }
        let start = offset + FrameHeader.size
        offset = start + frame.length
        try self.process(
          frame, UnsafeRawBufferPointer(rebasing: bytes[start..<offset]), dispatcher: &dispatcher, output: &output)
        if self.phase == .closed { return bytes.count }
        if self.hasTurns { try self.serveReady(dispatcher: &dispatcher, output: &output) }
        self.returnConnectionCredit(output: &output)
      }
    } catch {
      self.fail(error, dispatcher: &dispatcher, output: &output)
      return bytes.count
    }
    return offset
  }

  @inline(__always)
  private mutating func process<Dispatcher: CallDispatcher>(
    _ frame: FrameHeader, _ payload: UnsafeRawBufferPointer, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) throws(ConnectionFault) {
    if self.phase == .awaitingSettings {
      guard frame.type == FrameType.settings, !frame.has(FrameFlags.ack) else {
        throw ConnectionFault(.protocolError, "the first frame must be SETTINGS")
      }
      self.phase = .open
    }
    if self.openBlock != nil && frame.type != FrameType.continuation {
      throw ConnectionFault(.protocolError, "a header block must go on with CONTINUATION")
    }
    switch frame.type {
    case FrameType.headers:
      try self.receiveHeaders(frame, payload, dispatcher: &dispatcher, output: &output)
    case FrameType.data:
      try self.receiveData(frame, payload, dispatcher: &dispatcher, output: &output)
    case FrameType.continuation:
      try self.receiveContinuation(frame, payload, dispatcher: &dispatcher, output: &output)
    case FrameType.windowUpdate:
      try self.receiveWindowUpdate(frame, payload, dispatcher: &dispatcher, output: &output)
    case FrameType.resetStream:
      try self.receiveResetStream(frame, payload, dispatcher: &dispatcher)
    case FrameType.settings:
      try self.receiveSettings(frame, payload, output: &output)
    case FrameType.ping:
      try self.receivePing(frame, payload, output: &output)
    case FrameType.goAway:
      try self.receiveGoAway(frame, payload)
    case FrameType.priority:
      try self.receivePriority(frame, payload, dispatcher: &dispatcher, output: &output)
    case FrameType.pushPromise:
      throw ConnectionFault(.protocolError, "a client must not send PUSH_PROMISE")
    default:
      try self.countUnproductive()  // Unknown frames are ignored: RFC 9113, section 5.5.
    }
  }

  /// Ends the connection: GOAWAY with the reason, and nothing after it.
  mutating func fail<Dispatcher: CallDispatcher>(
    _ fault: ConnectionFault, dispatcher: inout Dispatcher, output: inout ByteBuffer
  ) {
    guard self.phase != .closed else { return }
    self.fault = fault
    output.writeGoAway(lastStreamID: self.lastStreamID, code: fault.code, debug: fault.reason)
    self.close(dispatcher: &dispatcher)
  }

  /// The connection is gone, for whatever reason: calls that wait for an answer are given up.
  mutating func close<Dispatcher: CallDispatcher>(dispatcher: inout Dispatcher) {
    guard self.phase != .closed else { return }
    self.phase = .closed
    self.streams.updateEach { stream in
      if stream.isAwaitingReply { dispatcher.cancelled(stream: stream.id) }
    }
    self.streams = StreamTable()
    self.bodies = [:]
    self.bufferedBytes = 0
    self.bodyMemory = 0
    self.held = [:]
    self.heldBytes = 0
    self.heldMemory = 0
    self.heldOrder = []
    self.reservedBytes = 0
    self.parked = []
    self.ready = []
    self.leftover = []
    self.openBlock = nil
    self.isPaused = false  // No input waits any more.
  }
}
