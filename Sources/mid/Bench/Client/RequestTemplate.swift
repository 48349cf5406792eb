import MidRPC
import MidServer
import NIOCore
import NIOHPACK

/// A request as bytes: HEADERS and one DATA frame, the same for every call but for the stream's number.
///
/// No field enters the dynamic table, so the block does not depend on what was sent before, and nothing has to be encoded
/// during a run.
struct RequestTemplate: Sendable {
  /// Both frames, stream number 0.
  private let bytes: [UInt8]
  /// Where the DATA frame begins.
  private let dataOffset: Int
  /// Whether the connection has TLS.
  let isSecure: Bool
  /// Whether a call is one request, so that its DATA ends the stream.
  let isUnary: Bool
  /// The DATA frame's contents: a gRPC message with its prefix.
  let body: [UInt8]

  /// Encodes a request.
  ///
  /// - Parameters:
  ///   - path: service and method.
  ///   - authority: the server's name and port.
  ///   - isSecure: whether the connection has TLS.
  ///   - isUnary: whether a call is one request.
  ///   - message: the request's message, at most 16,000 bytes.
  init(path: String, authority: String, isSecure: Bool, isUnary: Bool, message: [UInt8]) throws {
    var headers = HPACKHeaders()
    let fields = [
      (":method", "POST"), (":scheme", isSecure ? "https" : "http"), (":path", path), (":authority", authority),
      ("te", "trailers"), ("content-type", "application/grpc"), ("user-agent", "mid-bench/\(MidVersion.current)"),
    ]
    for (name, value) in fields { headers.add(name: name, value: value, indexing: .nonIndexable) }
    var encoder = HPACKEncoder(allocator: ByteBufferAllocator())
    var block = ByteBuffer()
    try encoder.encode(headers: headers, to: &block)
    precondition(block.readableBytes + message.count < 16_000, "a request has to fit the smallest frames")

    var prefix = ByteBuffer()
    prefix.writeInteger(UInt8(0))
    prefix.writeInteger(UInt32(message.count))
    self.body = Array(prefix.readableBytesView) + message
    self.isSecure = isSecure
    self.isUnary = isUnary
    var frames = ByteBuffer()
    frames.writeFrameHeader(
      length: block.readableBytes, type: FrameType.headers, flags: FrameFlags.endHeaders, streamID: 0)
    frames.writeImmutableBuffer(block)
    self.dataOffset = frames.readableBytes
    frames.writeFrameHeader(
      length: self.body.count, type: FrameType.data, flags: isUnary ? FrameFlags.endStream : 0, streamID: 0)
    frames.writeBytes(self.body)
    self.bytes = Array(frames.readableBytesView)
  }

  /// Writes the whole request.
  @inline(__always)
  func write(streamID: UInt32, to output: inout ByteBuffer) {
    let dataOffset = self.dataOffset
    self.bytes.withUnsafeBytes { template in
      _ = output.writeWithUnsafeMutableBytes(minimumWritableBytes: template.count) { target in
        target.copyMemory(from: template)
        target.storeBytes(of: streamID.bigEndian, toByteOffset: 5, as: UInt32.self)
        target.storeBytes(of: streamID.bigEndian, toByteOffset: dataOffset + 5, as: UInt32.self)
        return template.count
      }
    }
  }

  /// Writes the HEADERS frame alone.
  func writeHeaders(streamID: UInt32, to output: inout ByteBuffer) {
    let start = output.writerIndex
    output.writeBytes(self.bytes[..<self.dataOffset])
    output.setInteger(streamID, at: start + 5)
  }
}
