import MidRPC
import NIOCore

/// What goes out: requests, within the server's windows, and the early ends of calls.
extension ClientConnectionStateMachine {
  /// Whether the server takes one more call now.
  var canStart: Bool {
    self.phase == .open && self.calls.count < self.peerMaxStreams && self.nextStreamID <= 0x7fff_ffff
  }

  /// Begins a call. ``canStart`` must hold.
  @inline(__always)
  mutating func start(_ ticket: CallTicket, output: inout ByteBuffer) {
    precondition(self.canStart, "the server takes no more calls")
    var call = ClientCall()
    call.streamID = self.nextStreamID
    call.ticket = ticket
    call.endsStream = self.template.isUnary
    call.sendWindow = Int32(clamping: self.peerInitialWindow)
    call.receiveWindow = Int32(Self.streamWindow)
    self.nextStreamID += 2
    if self.nextStreamID > 0x7fff_ffff { self.phase = .goingAway }
    let size = self.template.body.count
    if self.held.isEmpty && size <= self.sendWindow && size <= self.peerInitialWindow {
      self.template.write(streamID: call.streamID, to: &output)
      self.sendWindow -= size
      call.sendWindow -= Int32(size)
      self.calls.insert(call)
    } else {
      self.template.writeHeaders(streamID: call.streamID, to: &output)
      call.unsent = Int32(size)
      self.calls.insert(call)
      self.held.append(call.streamID)
      self.pump(output: &output)
    }
  }

  /// Takes the streams that may send their next request.
  mutating func takeAnswered() -> [UInt32] {
    var streams: [UInt32] = []
    swap(&streams, &self.answered)
    return streams
  }

  /// Sends the next request of a call with many. Its former reply must have come (see ``answered``).
  ///
  /// - Returns: false where the call is over by now, so that nothing was sent.
  mutating func sendNext(_ streamID: UInt32, _ ticket: CallTicket, output: inout ByteBuffer) -> Bool {
    guard let slot = self.calls.find(streamID) else { return false }
    self.calls[slot].ticket = ticket
    self.calls[slot].unsent = Int32(self.template.body.count)
    self.held.append(streamID)
    self.pump(output: &output)
    return true
  }

  /// Ends a call with many requests in order: the server's trailers follow.
  mutating func finish(_ streamID: UInt32, output: inout ByteBuffer) {
    guard let slot = self.calls.find(streamID), !self.calls[slot].endsStream else { return }
    self.calls[slot].endsStream = true
    output.writeFrameHeader(length: 0, type: FrameType.data, flags: FrameFlags.endStream, streamID: streamID)
  }

  /// Sends what the windows let through of the requests that wait for them.
  mutating func pump(output: inout ByteBuffer) {
    var index = 0
    while index < self.held.count && self.sendWindow > 0 {
      let streamID = self.held[index]
      guard let slot = self.calls.find(streamID) else {
        self.held.remove(at: index)
        continue
      }
      let call = self.calls[slot]
      let room = min(Int(call.unsent), self.sendWindow, Int(call.sendWindow), self.peerMaxFrameSize)
      if room > 0 {
        let start = self.template.body.count - Int(call.unsent)
        let isLast = room == Int(call.unsent)
        output.writeFrameHeader(
          length: room, type: FrameType.data, flags: isLast && call.endsStream ? FrameFlags.endStream : 0,
          streamID: streamID)
        output.writeBytes(self.template.body[start..<(start + room)])
        self.sendWindow -= room
        self.calls[slot].sendWindow -= Int32(room)
        self.calls[slot].unsent -= Int32(room)
      }
      if self.calls[slot].unsent == 0 { self.held.remove(at: index) } else { index += 1 }
    }
  }

  /// Gives up every call whose request was sent before `time`: RST_STREAM, and DEADLINE_EXCEEDED for the receiver.
  mutating func expire<Receiver: ClientCallReceiver>(
    sentBefore time: UInt64, receiver: inout Receiver, output: inout ByteBuffer
  ) {
    guard self.calls.count > 0 else { return }
    for stream in self.calls.streams {
      guard let slot = self.calls.find(stream) else { continue }
      let ticket = self.calls[slot].ticket
      guard ticket.isPending, ticket.sent < time else { continue }
      let status = RPCStatus(.deadlineExceeded, "no answer in time")
      self.abandon(slot, .cancel, status, receiver: &receiver, output: &output)
    }
  }

  /// Ends a call from our side, before the server has.
  mutating func abandon<Receiver: ClientCallReceiver>(
    _ slot: Int, _ code: HTTP2ErrorCode, _ status: RPCStatus, receiver: inout Receiver, output: inout ByteBuffer
  ) {
    output.writeResetStream(streamID: self.calls[slot].streamID, code: code)
    self.remove(slot, status, receiver: &receiver)
  }

  /// Forgets a call and tells how it ended.
  @inline(__always)
  mutating func remove<Receiver: ClientCallReceiver>(
    _ slot: Int, _ status: RPCStatus, receiver: inout Receiver
  ) {
    let ticket = self.calls[slot].ticket
    if self.calls[slot].hasBody { self.bodies[self.calls[slot].streamID] = nil }
    self.calls.remove(slot)
    receiver.ended(ticket, status: status)
  }

  /// Says that we close the connection. Nothing may be sent after it.
  mutating func sayGoodbye(output: inout ByteBuffer) {
    output.writeGoAway(lastStreamID: 0, code: .noError, debug: "done")
  }
}
