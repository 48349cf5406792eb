import NIOCore

/// Leads the state machine's calls to their methods.
struct MethodDispatcher: CallDispatcher {
  let handler: RPCConnectionHandler

  @inline(__always)
  mutating func dispatch(
    route: Int, stream: UInt32, deadline: UInt64, message: UnsafeRawBufferPointer, room: Int, output: inout ByteBuffer
  ) -> CallResult {
    let handler = self.handler
    let start = handler.burstStart
    let call = RPCCall(
      deadline: deadline == .max ? nil : .uptimeNanoseconds(deadline), room: room,
      eventLoop: handler.eventLoop, route: route, stream: stream, started: start, connection: handler)
    switch handler.methods[route].handler(call, message, &output) {
    case .reply:
      if handler.burstMethod != route {
        handler.tellBurst()
        handler.burstMethod = route
      }
      handler.burstCount += 1
      return .message
    case .failure(let status):
      handler.tell(route, status.code, since: start)
      return .failure(status)
    case .later:
      precondition(handler.waiting[stream] != nil, "a method that answers later must call answerLater()")
      return .later
    case .noRoom(let bytes): return .noRoom(bytes)
    }
  }

  mutating func rejected(route: Int?, code: RPCStatus.Code) {
    self.handler.tell(route, code, since: self.handler.burstStart)
  }

  mutating func hasRoom(stream: UInt32) { self.handler.waiting[stream]?.hasRoom() }

  mutating func cancelled(stream: UInt32) {
    self.handler.waiting.removeValue(forKey: stream)?.cancel()
  }
}
