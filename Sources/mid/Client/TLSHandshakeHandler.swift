import MidRPC
import NIOCore
import NIOSSL
import NIOTLS

/// Stands behind TLS on a client's connection and completes a promise when the handshake is done, or has failed.
final class TLSHandshakeHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private let name: String
  private let expectedName: String?
  private var promise: EventLoopPromise<Void>?
  /// Fulfilled when the handshake is done and the certificate is the right one, failed with a ``Failure``.
  let done: EventLoopFuture<Void>
  private var timer: Scheduled<Void>?
  private let timeout: TimeAmount

  /// Creates a handler. `promise` fails with a ``Failure``.
  ///
  /// - Parameters:
  ///   - name: whom we wanted to reach, for messages.
  ///   - expectedName: the DNS name that the certificate must have, or nil where NIOSSL's check of the address is enough.
  init(name: String, expectedName: String?, timeout: TimeAmount, promise: EventLoopPromise<Void>) {
    self.name = name
    self.expectedName = expectedName
    self.timeout = timeout
    self.promise = promise
    self.done = promise.futureResult
  }

  /// Fails ``done`` for a handler that enters no pipeline.
  func abandon(_ error: any Error) { self.finish { $0.fail(error) } }

  /// Why there is no connection, in words.
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  func handlerAdded(context: ChannelHandlerContext) {
    let timeout = self.timeout
    let channel = context.channel
    self.timer = context.eventLoop.assumeIsolated().scheduleTask(in: timeout) {
      self.fail("no TLS handshake within \(timeout.text); does the server serve with TLS?")
      channel.close(promise: nil)
    }
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.fail("the connection was closed during the TLS handshake")
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case TLSUserEvent.handshakeCompleted(let agreed) = event {
      if agreed != "h2" {
        self.fail("the server does not speak HTTP/2 over TLS (by ALPN); is this a gRPC server's port?")
        context.close(promise: nil)
      } else if !self.isForExpectedName(context) {
        self.errorCaught(context: context, error: NIOSSLExtraError.failedToValidateHostname)
        context.close(promise: nil)
      } else {
        self.finish { $0.succeed() }
      }
    }
    context.fireUserInboundEventTriggered(event)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    let reason = ClientTLSError.reason(error, name: self.name)
    self.fail(reason ?? "\(error)")
    context.fireErrorCaught(reason.map { Failure(description: $0) } ?? error)
  }

  /// NIOSSL also takes a certificate for the address that the name led to. Whoever answers on that address may well have
  /// one; it says nothing of the name.
  private func isForExpectedName(_ context: ChannelHandlerContext) -> Bool {
    guard let expected = self.expectedName else { return true }
    do {
      guard let certificate = try context.pipeline.syncOperations.nioSSL_peerCertificate() else { return false }
      return certificate._subjectAlternativeNames().contains { name in
        name.nameType == .dnsName
          && ServerIdentity.matches(expected, pattern: String(decoding: name.contents, as: UTF8.self))
      }
    } catch {
      return false
    }
  }

  private func fail(_ reason: String) {
    self.finish { $0.fail(Failure(description: reason)) }
  }

  private func finish(_ body: (EventLoopPromise<Void>) -> Void) {
    guard let promise = self.promise else { return }
    self.promise = nil
    self.timer?.cancel()
    body(promise)
  }
}
