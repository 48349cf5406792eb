public import NIOCore

/// How long a server waits for its peers. All are looked at every few seconds, so ends may come a little later.
public struct RPCTimeouts: Sendable, Hashable {
  /// From the accept to the client's preface and settings, a TLS handshake included. Default 10 s.
  public var firstRequest: TimeAmount = .seconds(10)
  /// How long a connection may be quiet, without a call or any other byte, before it is asked to end. nil for ever.
  /// Default nil: gRPC clients keep connections open on purpose.
  public var idle: TimeAmount?
  /// How old a connection may become before it is asked to end, give or take a tenth, so that clients spread anew over
  /// the servers there are. nil for ever, the default.
  public var age: TimeAmount?
  /// How long a call may stand still: a request that does not come whole, a response that the peer does not take, a
  /// socket that it does not read. Default 30 s.
  public var stuck: TimeAmount = .seconds(30)
  /// How long a connection may be quiet before it is sent a PING. nil for never. Default 60 s.
  public var keepalive: TimeAmount? = .seconds(60)
  /// How long the peer may take to answer that PING. Default 20 s.
  public var keepaliveAnswer: TimeAmount = .seconds(20)
  /// How long the peer may take to close its side of a connection that ended. Default 1 s.
  public var linger: TimeAmount = .seconds(1)

  /// The default timeouts.
  public init() {}

  /// How often a connection's times are looked at.
  var interval: TimeAmount {
    let all = [self.firstRequest, self.idle, self.age, self.stuck, self.keepalive, self.keepaliveAnswer]
    let shortest = all.compactMap(\.self).min() ?? .seconds(10)
    return max(.milliseconds(10), min(.seconds(5), .nanoseconds(shortest.nanoseconds / 2)))
  }
}
