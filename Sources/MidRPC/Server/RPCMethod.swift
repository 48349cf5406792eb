public import NIOCore

/// What a method did with a call.
public enum RPCOutcome: Sendable {
  /// The reply's message was appended to the response.
  case reply
  /// The call failed. Whatever was appended to the response is thrown away.
  case failure(RPCStatus)
  /// The call will be answered through the ``RPCReply`` that ``RPCCall/answerLater()`` gave out.
  case later
  /// The response takes so many bytes, more than ``RPCCall/room``: the method is called again once there is room for them.
  /// The call must have had no effect; whatever was appended to the response is thrown away.
  case noRoom(Int)
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

/// Where calls lead, by path.
struct RPCRoutes: Sendable {
  /// The methods' places in the server's list.
  let numbers: [String: Int32]
  /// Those whose calls carry many messages.
  let streaming: Set<Int32>

  init(_ methods: [RPCMethod]) {
    var numbers: [String: Int32] = [:]
    var streaming: Set<Int32> = []
    for (index, method) in methods.enumerated() {
      precondition(numbers[method.path] == nil, "two methods with the path \(method.path)")
      numbers[method.path] = Int32(index)
      if method.kind == .streaming { streaming.insert(Int32(index)) }
    }
    self.numbers = numbers
    self.streaming = streaming
  }
}

/// A call as its method sees it; a call of many messages, as each of them sees it.
public struct RPCCall {
  /// When the caller stops waiting, by `NIODeadline`'s clock, or nil where it set no deadline.
  public let deadline: NIODeadline?
  /// How many bytes the response may have now, 0 or more: less than `Int.max` where the client leaves answers unread, or
  /// room is kept for some. A longer one may end the call with RESOURCE_EXHAUSTED; a method that can tell returns ``RPCOutcome/noRoom(_:)`` instead.
  public let room: Int
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

/// Why a server ends a connection on its own.
public enum RPCConnectionEnd: String, Sendable, Hashable, CaseIterable {
  /// There were as many connections as there may be.
  case connectionLimit = "connection_limit"
  /// There were as many TLS handshakes under way as there may be.
  case handshakeLimit = "handshake_limit"
  /// The peer broke a rule of HTTP/2.
  case protocolError = "protocol_error"
  /// The peer sent more of something than the limits allow.
  case flood
  /// All connections together held too much memory, and this one more than its share.
  case memory
  /// The client's first bytes did not come in time.
  case handshake
  /// The peer did not take what it was sent.
  case stuck
  /// The peer did not answer a PING.
  case keepalive
  /// The connection was quiet for too long.
  case idle
  /// The connection was old enough.
  case age
}

/// What a server tells of its work. Called on event loops: return quickly.
public protocol RPCObserver: Sendable {
  /// A connection was accepted and, with TLS, went through its handshake.
  func connectionOpened()
  /// A connection ended.
  func connectionClosed()
  /// The server ends a connection, or does not take it, for a reason of its own.
  func connectionEnded(by reason: RPCConnectionEnd)
  /// A connection ended in its TLS handshake; it was not told of as opened.
  func handshakeFailed(_ reason: RPCHandshakeFailure)
  /// Calls were answered; of a call with many messages, messages.
  ///
  /// - Parameters:
  ///   - method: the index of the method in the server's list, or nil for a request that leads to none.
  ///   - code: how they ended.
  ///   - count: how many. Calls of one method that came in one read and went out in one write are told together.
  ///   - nanoseconds: from the read that completed the request to the hand-over of the reply to the socket.
  func completed(method: Int?, code: RPCStatus.Code, count: Int, nanoseconds: UInt64)
}
