public import NIOCore

/// What a method did with a call.
public enum RPCOutcome: Sendable {
  /// The reply's message was appended to the response.
  case reply
  /// The call failed. Whatever was appended to the response is thrown away.
  case failure(RPCStatus)
  /// The call will be answered through the ``RPCReply`` that ``RPCCall/answerLater()`` gave out.
  case later
}

/// One method of a service: one reply for each message of a call.
public struct RPCMethod: Sendable {
  /// How many messages a call carries.
  public enum Kind: Sendable, Hashable {
    /// Exactly one.
    case unary
    /// Any number, answered in order, one after the other: the next is not looked at before the last has its reply.
    case streaming
  }

  /// Serves one message of a call on the connection's event loop. It must not block: no I/O, no waiting; answer later
  /// instead. A failure ends the whole call.
  ///
  /// The message is valid during the call only. The reply's message is appended to the response.
  public typealias Handler =
    @Sendable (_ call: borrowing RPCCall, _ message: UnsafeRawBufferPointer, _ response: inout ByteBuffer) -> RPCOutcome

  /// The request path: `/package.Service/Method`.
  public let path: String
  /// How many messages a call carries.
  public let kind: Kind
  /// Serves the method's calls.
  public let handler: Handler

  /// Creates a method.
  public init(path: String, kind: Kind = .unary, handler: @escaping Handler) {
    self.path = path
    self.kind = kind
    self.handler = handler
  }
}

/// A call as its method sees it.
public struct RPCCall {
  /// When the caller stops waiting, by `NIODeadline`'s clock, or nil where it set no deadline.
  public let deadline: NIODeadline?
  /// The event loop that the call is served on.
  public let eventLoop: any EventLoop

  let route: Int
  let stream: UInt32
  let started: NIODeadline
  let connection: RPCConnectionHandler

  /// Leaves the call open; it is answered through what this returns. The method must then return ``RPCOutcome/later``.
  public func answerLater() -> RPCReply {
    let reply = RPCReply(
      stream: self.stream, route: self.route, started: self.started, deadline: self.deadline,
      eventLoop: self.eventLoop, mailbox: self.connection.mailbox)
    self.connection.waiting[self.stream] = reply
    return reply
  }
}

/// What a server tells of its work. Called on event loops: return quickly.
public protocol RPCObserver: Sendable {
  /// A connection was accepted.
  func connectionOpened()
  /// A connection ended.
  func connectionClosed()
  /// Calls were answered.
  ///
  /// - Parameters:
  ///   - method: the index of the method in the server's list, or nil for a request that leads to none.
  ///   - code: how they ended.
  ///   - count: how many. Calls of one method that came in one read and went out in one write are told together.
  ///   - nanoseconds: from the read that completed the request to the hand-over of the reply to the socket.
  func completed(method: Int?, code: RPCStatus.Code, count: Int, nanoseconds: UInt64)
}
