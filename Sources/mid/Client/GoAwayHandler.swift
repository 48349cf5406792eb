import NIOCore
import NIOHTTP2
import Synchronization

/// Why the server ended a connection, as its GOAWAY frame says. Written on the event loop, read by the caller.
final class GoAwayReason: Sendable {
  private let text = Mutex<String?>(nil)
  private let heard = Mutex(false)

  /// The reason, or nil while there is none.
  var value: String? { self.text.withLock { $0 } }

  /// Whether the server has sent any frame: one that has not may want to speak something else.
  var hasHeard: Bool { self.heard.withLock { $0 } }

  /// Notes a frame.
  func hear() { self.heard.withLock { $0 = true } }

  /// Keeps the first reason that is not a plain end.
  func set(_ reason: String) { self.text.withLock { $0 = $0 ?? reason } }
}

/// Stands behind the HTTP/2 handler on the connection: keeps the reason of a GOAWAY and closes on errors.
final class GoAwayHandler: ChannelInboundHandler {
  typealias InboundIn = HTTP2Frame

  /// How much of the debug text is kept, in bytes.
  private static let maximumDebugLength = 256
  private let reason: GoAwayReason

  /// Creates a handler that writes to `reason`.
  init(_ reason: GoAwayReason) {
    self.reason = reason
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    self.reason.hear()
    guard case .goAway(_, let code, let debug) = self.unwrapInboundIn(data).payload else { return }
    let text = debug.map { String(decoding: $0.readableBytesView.prefix(Self.maximumDebugLength), as: UTF8.self) } ?? ""
    self.reason.set("GOAWAY, \(code)\(text.isEmpty ? "" : ", \(text)")")
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    if error is any NIOHTTP2Error {
      self.reason.set(
        "what it sends is not proper HTTP/2 (\(type(of: error))); is this a gRPC server's port? Does "
          + "it want TLS (--tls)?")
    } else {
      self.reason.set("\(error)")
    }
    context.close(promise: nil)
  }
}
