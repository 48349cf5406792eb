import NIOCore
import NIOEmbedded
import NIOHPACK
import NIOHTTP2

@testable import MidRPC

/// swift-nio-http2's server, fed with bytes as the machine is. It never answers a call.
final class ReferencePeer {
  struct Request: Equatable {
    var path = ""
    var timeout: String?
    var body: [UInt8] = []
    var isComplete = false
  }

  private let channel = EmbeddedChannel()
  private var reader = FrameReader()
  private(set) var requests: [UInt32: Request] = [:]

  init(maxConcurrentStreams: Int, maxHeaderListBytes: Int) throws {
    var connection = NIOHTTP2Handler.ConnectionConfiguration()
    connection.initialSettings = [
      HTTP2Setting(parameter: .maxConcurrentStreams, value: maxConcurrentStreams),
      HTTP2Setting(parameter: .maxHeaderListSize, value: maxHeaderListBytes),
    ]
    // Both count what costs and carries nothing, each in its own way: that is not what is compared here.
    connection.maximumSequentialEmptyDataFrames = 1000
    let handler = NIOHTTP2Handler(
      mode: .server, connectionConfiguration: connection, streamConfiguration: .init())
    try self.channel.pipeline.syncOperations.addHandler(handler)
    self.channel.connect(to: try SocketAddress(unixDomainSocketPath: "/reference"), promise: nil)
  }

  deinit {
    do { _ = try self.channel.finish(acceptAlreadyClosed: true) } catch {}  // Errors have been read off the output.
  }

  /// Sends bytes, and reads what the server wrote.
  func send(_ bytes: [UInt8]) throws -> [SeenFrame] {
    do { try self.channel.writeInbound(ByteBuffer(bytes: bytes)) } catch {}  // It says so with GOAWAY or RST_STREAM.
    while let frame = try self.channel.readInbound(as: HTTP2Frame.self) { self.note(frame) }
    var frames: [SeenFrame] = []
    while let output = try self.channel.readOutbound(as: ByteBuffer.self) { frames += try self.reader.frames(output) }
    return frames
  }

  private func note(_ frame: HTTP2Frame) {
    let id = UInt32(Int(frame.streamID))
    switch frame.payload {
    case .headers(let content):
      if self.requests[id] == nil {
        self.requests[id] = Request(
          path: content.headers.first(name: ":path") ?? "", timeout: content.headers.first(name: "grpc-timeout"))
      }
      if content.endStream { self.requests[id]?.isComplete = true }
    case .data(let content):
      if case .byteBuffer(let data) = content.data { self.requests[id]?.body += Array(data.readableBytesView) }
      if content.endStream { self.requests[id]?.isComplete = true }
    default: break
    }
  }
}
