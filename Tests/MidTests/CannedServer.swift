import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix
import Synchronization

@testable import mid

/// A request as the canned server saw it.
struct CannedRequest: Sendable {
  var headers: HPACKHeaders
  var body: [UInt8]

  /// The message in the body, without the five bytes before it.
  var message: [UInt8] { Array(self.body.dropFirst(5)) }
}

/// What the canned server does on a stream, one after another.
enum CannedStep: Sendable {
  /// Sends a header block.
  case headers(HPACKHeaders, end: Bool)
  /// Sends a piece of the body.
  case data([UInt8], end: Bool)
  /// Resets the stream.
  case reset(HTTP2ErrorCode)
  /// Sends GOAWAY that disowns every stream, and closes the connection.
  case goAway(HTTP2ErrorCode, String)
  /// Closes the connection without a word.
  case close

  /// The headers of an ordinary answer.
  static let accepted = CannedStep.headers([":status": "200", "content-type": "application/grpc"], end: false)
  /// The trailers of a call that went well.
  static let done = CannedStep.headers(["grpc-status": "0"], end: true)

  /// A whole answer with one message.
  static func reply(_ message: [UInt8]) -> [CannedStep] { [.accepted, .data(framed(message), end: false), .done] }

  /// An answer of one header block that says how the call failed.
  static func failure(_ status: String, _ message: String) -> [CannedStep] {
    [
      .headers(
        [
          ":status": "200", "content-type": "application/grpc", "grpc-status": status, "grpc-message": message,
        ], end: true)
    ]
  }

  /// A message behind its flag and length.
  static func framed(_ message: [UInt8], flag: UInt8 = 0) -> [UInt8] {
    let count = UInt32(message.count)
    return [flag] + (0..<4).map { UInt8(truncatingIfNeeded: count >> (24 - 8 * $0)) } + message
  }
}

/// An HTTP/2 server on a free loopback port that answers each request with the frames a closure gives.
final class CannedServer: Sendable {
  typealias Script = @Sendable (CannedRequest) -> [CannedStep]

  private let channel: any Channel
  private let seen: Log

  /// The requests so far.
  var requests: [CannedRequest] { self.seen.all.withLock { $0 } }
  /// The port.
  var port: Int { self.channel.localAddress?.port ?? 0 }

  /// What the handlers write to.
  fileprivate final class Log: Sendable {
    let all = Mutex<[CannedRequest]>([])
  }

  private init(channel: any Channel, seen: Log) {
    self.channel = channel
    self.seen = seen
  }

  /// Runs `body` beside a server that follows `script`.
  static func run<Value>(
    _ script: @escaping Script, while body: (CannedServer) async throws -> Value
  ) async throws -> Value {
    let log = Log()
    let channel = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
      .childChannelInitializer { connection in
        connection.eventLoop.makeCompletedFuture {
          _ = try connection.pipeline.syncOperations.configureAsyncHTTP2Pipeline(mode: .server) { stream in
            stream.eventLoop.makeCompletedFuture {
              try stream.pipeline.syncOperations.addHandler(CannedHandler(script, log))
            }
          }
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let server = CannedServer(channel: channel, seen: log)
    do {
      let value = try await body(server)
      try await channel.close()
      return value
    } catch {
      try await channel.close()
      throw error
    }
  }
}

private final class CannedHandler: ChannelInboundHandler {
  typealias InboundIn = HTTP2Frame.FramePayload
  typealias OutboundOut = HTTP2Frame.FramePayload

  private let script: CannedServer.Script
  private let log: CannedServer.Log
  private var headers = HPACKHeaders()
  private var body: [UInt8] = []

  init(_ script: @escaping CannedServer.Script, _ log: CannedServer.Log) {
    self.script = script
    self.log = log
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch self.unwrapInboundIn(data) {
    case .headers(let frame): self.headers = frame.headers
    case .data(let frame):
      if case .byteBuffer(let buffer) = frame.data { self.body.append(contentsOf: buffer.readableBytesView) }
      guard frame.endStream else { return }
      let request = CannedRequest(headers: self.headers, body: self.body)
      self.log.all.withLock { $0.append(request) }
      for step in self.script(request) { self.perform(step, context) }
      context.flush()
    default: break
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {}

  private func perform(_ step: CannedStep, _ context: ChannelHandlerContext) {
    switch step {
    case .headers(let headers, let end):
      context.write(self.wrapOutboundOut(.headers(.init(headers: headers, endStream: end))), promise: nil)
    case .data(let bytes, let end):
      let data = HTTP2Frame.FramePayload.Data(data: .byteBuffer(ByteBuffer(bytes: bytes)), endStream: end)
      context.writeAndFlush(self.wrapOutboundOut(.data(data)), promise: nil)
    case .reset(let code): context.writeAndFlush(self.wrapOutboundOut(.rstStream(code)), promise: nil)
    case .goAway(let code, let text):
      let payload = HTTP2Frame.FramePayload.goAway(
        lastStreamID: .rootStream, errorCode: code, opaqueData: ByteBuffer(string: text))
      context.channel.parent?.writeAndFlush(HTTP2Frame(streamID: .rootStream, payload: payload), promise: nil)
      context.channel.parent?.close(promise: nil)
    case .close: context.channel.parent?.close(promise: nil)
    }
  }
}
