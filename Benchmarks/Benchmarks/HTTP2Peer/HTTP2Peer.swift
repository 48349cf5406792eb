import NIOCore
import NIOHPACK
import NIOHTTP2
import Peers

/// swift-nio-http2's own server with one constant gRPC reply: what `script/bench` measures mid beside.
///
///     HTTP2Peer PORT streams|frames LOOPS
///
/// `streams` is the way its documentation shows, a channel for each stream. `frames` leaves the channels out and takes
/// the connection's frames as they come: the least that can be had from the library.
@main
struct HTTP2Peer {
  static func main() async throws {
    let arguments = CommandLine.arguments.dropFirst()
    guard arguments.count == 3, let port = Int(arguments[1]), let loops = Int(arguments[3]), loops > 0,
      let variant = Variant(rawValue: arguments[2])
    else {
      print("usage: HTTP2Peer PORT streams|frames LOOPS")
      return
    }
    try await LoopbackServer.run(port: port, loops: loops) { channel in
      let pipeline = channel.pipeline.syncOperations
      switch variant {
      case .streams:
        _ = try pipeline.configureHTTP2Pipeline(
          mode: .server, connectionConfiguration: .init(), streamConfiguration: .init()
        ) { stream in
          stream.eventLoop.makeCompletedFuture {
            try stream.pipeline.syncOperations.addHandler(StreamAnswer())
          }
        }
      case .frames:
        try pipeline.addHandler(NIOHTTP2Handler(mode: .server))
        try pipeline.addHandler(ConnectionAnswer())
      }
    }
  }

  enum Variant: String {
    case streams
    case frames
  }
}

/// The reply: as long as that of mid to a call for one snowflake id.
enum Answer {
  static let headers: HPACKHeaders = [":status": "200", "content-type": "application/grpc"]
  static let trailers: HPACKHeaders = ["grpc-status": "0"]
  static let message = ByteBuffer(bytes: [0, 0, 0, 0, 10, 8] + [UInt8](repeating: 0xff, count: 8) + [0x7f])
}

/// Answers on a stream's own channel, once the request has come whole.
final class StreamAnswer: ChannelInboundHandler {
  typealias InboundIn = HTTP2Frame.FramePayload
  typealias OutboundOut = HTTP2Frame.FramePayload

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard case .data(let request) = self.unwrapInboundIn(data), request.endStream else { return }
    context.write(self.wrapOutboundOut(.headers(.init(headers: Answer.headers))), promise: nil)
    context.write(self.wrapOutboundOut(.data(.init(data: .byteBuffer(Answer.message)))), promise: nil)
    context.writeAndFlush(
      self.wrapOutboundOut(.headers(.init(headers: Answer.trailers, endStream: true))), promise: nil)
  }
}

/// Answers on the connection, and sends what one read brought about in one go.
final class ConnectionAnswer: ChannelInboundHandler {
  typealias InboundIn = HTTP2Frame
  typealias OutboundOut = HTTP2Frame

  private var owedWindow = 0

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let frame = self.unwrapInboundIn(data)
    guard case .data(let request) = frame.payload else { return }
    // Without stream channels the window is this handler's to keep open.
    self.owedWindow += request.data.readableBytes
    if self.owedWindow >= 32_768 {
      self.write(.windowUpdate(windowSizeIncrement: self.owedWindow), on: .rootStream, context)
      self.owedWindow = 0
    }
    guard request.endStream else { return }
    self.write(.headers(.init(headers: Answer.headers)), on: frame.streamID, context)
    self.write(.data(.init(data: .byteBuffer(Answer.message))), on: frame.streamID, context)
    self.write(.headers(.init(headers: Answer.trailers, endStream: true)), on: frame.streamID, context)
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    context.flush()
    context.fireChannelReadComplete()
  }

  private func write(_ payload: HTTP2Frame.FramePayload, on stream: HTTP2StreamID, _ context: ChannelHandlerContext) {
    context.write(self.wrapOutboundOut(HTTP2Frame(streamID: stream, payload: payload)), promise: nil)
  }
}
