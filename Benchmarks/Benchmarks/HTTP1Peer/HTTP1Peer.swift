import NIOCore
import NIOHTTP1
import Peers

/// A bare server by NIO's HTTP/1.1 with one constant answer, as many bytes as mid's: what `script/bench http` measures mid
/// beside.
///
///     HTTP1Peer PORT LOOPS BODY
@main
struct HTTP1Peer {
  static func main() async throws {
    let arguments = CommandLine.arguments.dropFirst()
    guard arguments.count == 3, let port = Int(arguments[1]), let loops = Int(arguments[2]), loops > 0 else {
      print("usage: HTTP1Peer PORT LOOPS BODY")
      return
    }
    let body = ByteBuffer(string: arguments[3])
    try await LoopbackServer.run(port: port, loops: loops) { channel in
      let pipeline = channel.pipeline.syncOperations
      try pipeline.configureHTTPServerPipeline(withPipeliningAssistance: false, withErrorHandling: false)
      try pipeline.addHandler(Answer(body))
    }
  }
}

/// Answers once the request has come whole.
final class Answer: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let body: ByteBuffer
  private let head: HTTPResponseHead

  init(_ body: ByteBuffer) {
    self.body = body
    // The fields of mid's answers, the date's value apart.
    self.head = HTTPResponseHead(
      version: .http1_1, status: .ok,
      headers: [
        "Content-Type": "application/json", "Cache-Control": "no-store", "Content-Length": "\(body.readableBytes)",
        "Date": "Thu, 01 Jan 2026 00:00:00 GMT", "Server": "mid",
      ])
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard case .end = self.unwrapInboundIn(data) else { return }
    context.write(self.wrapOutboundOut(.head(self.head)), promise: nil)
    context.write(self.wrapOutboundOut(.body(.byteBuffer(self.body))), promise: nil)
    context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
  }
}
