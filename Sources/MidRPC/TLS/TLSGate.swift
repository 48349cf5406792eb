import NIOCore
import NIOSSL
import NIOTLS

/// Stands behind TLS until its handshake is done and has agreed on HTTP/2, then makes room for the connection's handler.
///
/// Nothing of HTTP/2 is written or read before that: RFC 9113, 3.2 and 3.3 begin a connection with ALPN `h2`.
/// A handshake that ends without it is answered with close_notify, and takes part in nothing.
final class TLSGate: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer

  private let timeouts: RPCTimeouts
  private let observer: (any RPCObserver)?
  private let handler: RPCConnectionHandler
  private var timer: Scheduled<Void>?
  private var isOver = false
  private let handshakes: HandshakeCount

  /// Creates a gate.
  ///
  /// - Parameters:
  ///   - handler: the connection's handler. Made when the connection is accepted, as its time for the first request counts
  ///     from then.
  ///   - handshakes: counts this one while the gate stands.
  init(
    handler: RPCConnectionHandler, timeouts: RPCTimeouts, observer: (any RPCObserver)?,
    handshakes: HandshakeCount
  ) {
    self.handshakes = handshakes
    self.handler = handler
    self.timeouts = timeouts
    self.observer = observer
  }

  func handlerAdded(context: ChannelHandlerContext) {
    self.handshakes.begin()
    let context = NIOLoopBound(context, eventLoop: context.eventLoop)
    let gate = NIOLoopBound(self, eventLoop: context.value.eventLoop)
    self.timer = context.value.eventLoop.scheduleTask(in: self.timeouts.firstRequest) {
      gate.value.fail(.timeout)
      context.value.close(promise: nil)
    }
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.timer?.cancel()
    self.timer = nil
    self.handshakes.end()
  }

  /// Kept back: the connection begins for its handler when the handshake is done.
  func channelActive(context: ChannelHandlerContext) {}

  func channelInactive(context: ChannelHandlerContext) {
    self.fail(.closed)
    context.fireChannelInactive()
  }

  /// What came with the end of a handshake that is refused.
  func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case TLSUserEvent.handshakeCompleted(let agreed) = event {
      if agreed == "h2" { self.open(context) } else { self.refuse(context) }
    } else if event is RPCConnectionHandler.DrainEvent {
      // No call has been taken, so none is lost.
      self.isOver = true
      context.close(promise: nil)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    switch error {
    case NIOSSLError.handshakeFailed(.sslError(let stack)) where stack == [.eofDuringHandshake]: self.fail(.closed)
    case NIOSSLError.handshakeFailed: self.fail(.refused)
    default: break
    }
    context.close(promise: nil)
  }

  private func open(_ context: ChannelHandlerContext) {
    self.isOver = true
    do {
      let pipeline = context.pipeline.syncOperations
      try pipeline.addHandler(self.handler, position: .after(self))
      context.fireChannelActive()
      pipeline.removeHandler(context: context, promise: nil)
    } catch {
      // The channel closed meanwhile.
      context.close(promise: nil)
    }
  }

  /// Ends our side, so that the client sees a connection that was closed on purpose, and the rest a moment later.
  private func refuse(_ context: ChannelHandlerContext) {
    self.fail(.noHTTP2)
    self.timer?.cancel()
    let channel = context.channel
    context.close(mode: .output, promise: nil)
    self.timer = context.eventLoop.scheduleTask(in: self.timeouts.linger) { channel.close(promise: nil) }
  }

  private func fail(_ reason: RPCHandshakeFailure) {
    guard !self.isOver else { return }
    self.isOver = true
    self.observer?.handshakeFailed(reason)
  }
}

/// Why a connection ended in its TLS handshake.
public enum RPCHandshakeFailure: String, Sendable, Hashable, CaseIterable {
  /// One side refused the other: no common version or suite, a certificate that is not trusted or missing, no TLS at all.
  case refused
  /// The client did not offer HTTP/2 by ALPN.
  case noHTTP2 = "no_http2"
  /// It took longer than ``RPCTimeouts/firstRequest``.
  case timeout
  /// The client closed the connection, as port scanners and health checks by TCP do.
  case closed
}

extension RPCObserver {
  /// By default nothing is done.
  public func handshakeFailed(_ reason: RPCHandshakeFailure) {}
}
