import NIOCore

/// What became of a message that was handed over.
enum CallResult {
  /// The reply's message was appended to the output.
  case message
  /// Its call failed; nothing of use was appended.
  case failure(RPCStatus)
  /// It will be answered later, by its stream number.
  case later
  /// The answer takes so many bytes, more than there is room for: the message is to be handed over again once there is. It
  /// has had no effect, and nothing of use was appended.
  case noRoom(Int)
}

/// Where the connection's state machine hands complete messages. One synchronous call each, in the order of arrival.
protocol CallDispatcher {
  /// Serves a message of a call of method `route`.
  ///
  /// - Parameters:
  ///   - stream: names the call on this connection, for an answer that comes later.
  ///   - deadline: when the caller stops waiting, in nanoseconds of the machine's clock, `UInt64.max` for never.
  ///   - message: the request's message, without prefix. Valid only during this call.
  ///   - room: how many bytes the reply's message may have now, 0 or more; `Int.max` where nothing is held back. One that
  ///     is longer, and was not given back with ``CallResult/noRoom(_:)``, may end its call with RESOURCE_EXHAUSTED.
  ///   - output: takes the reply's message.
  mutating func dispatch(
    route: Int, stream: UInt32, deadline: UInt64, message: UnsafeRawBufferPointer, room: Int, output: inout ByteBuffer
  ) -> CallResult

  /// A call failed before it reached its method, or without one (`route` nil).
  mutating func rejected(route: Int?, code: RPCStatus.Code)

  /// Room is kept from now on for an answer that is to come later, as was asked for.
  mutating func hasRoom(stream: UInt32)

  /// The caller gave a call up whose answer was to come later. No answer is wanted any more.
  mutating func cancelled(stream: UInt32)
}
