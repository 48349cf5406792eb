import NIOCore
import NIOHPACK
import NIOPosix
import Synchronization

@testable import MidRPC

/// A gRPC client of the bare minimum: one connection, frames by hand.
final class WireClient: Sendable {
  /// How a call ended: trailers and message.
  struct Reply: Sendable {
    var status: String
    var text: String
    /// The reply's messages, each after its prefix.
    var body: [UInt8]

    /// The one message of a unary call; empty where there is none.
    var message: [UInt8] { Array(self.body.dropFirst(5)) }

    /// The messages of a call of many.
    var messages: [[UInt8]] {
      var messages: [[UInt8]] = []
      var rest = ByteBuffer(bytes: self.body)
      while rest.readInteger(as: UInt8.self) != nil, let length = rest.readInteger(as: UInt32.self),
        let message = rest.readBytes(length: Int(length))
      {
        messages.append(message)
      }
      return messages
    }
  }

  struct Closed: Error {}

  private let channel: any Channel
  private let handler: NIOLoopBound<Handler>

  private init(channel: any Channel, handler: NIOLoopBound<Handler>) {
    self.channel = channel
    self.handler = handler
  }

  static func connect(to address: SocketAddress) async throws -> WireClient {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let handler = try await loop.submit { NIOLoopBound(Handler(), eventLoop: loop) }.get()
    let channel = try await ClientBootstrap(group: loop)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(handler.value) }
      }
      .connect(to: address).get()
    return WireClient(channel: channel, handler: handler)
  }

  /// Sends a call with one message or more. The reply comes later.
  func begin(
    _ path: String, _ messages: [UInt8]..., timeout: String? = nil
  ) async throws -> (stream: UInt32, reply: EventLoopFuture<Reply>) {
    try await self.channel.eventLoop.submit { [handler, channel] in
      try handler.value.begin(path, messages, timeout: timeout, on: channel)
    }.get()
  }

  /// Sends a call and waits for its reply.
  func call(_ path: String, _ message: [UInt8], timeout: String? = nil) async throws -> Reply {
    try await self.begin(path, message, timeout: timeout).reply.get()
  }

  /// Gives a call up. When this returns, the server has heard of it.
  func cancel(_ stream: UInt32) async throws {
    var buffer = ByteBuffer()
    buffer.writeResetStream(streamID: stream, code: .cancel)
    try await self.sendWithPing(buffer)
  }

  /// Returns once the server has read everything that was sent before.
  func ping() async throws { try await self.sendWithPing(ByteBuffer()) }

  private func sendWithPing(_ buffer: ByteBuffer) async throws {
    let promise = self.channel.eventLoop.makePromise(of: Void.self)
    try await self.channel.eventLoop.submit { [handler, channel] in
      var buffer = buffer
      buffer.writePing(1, acknowledge: false)
      handler.value.pings.append(promise)
      channel.writeAndFlush(buffer, promise: nil)
    }.get()
    try await promise.futureResult.get()
  }

  func close() async throws { try await self.channel.close().get() }

  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private struct Call {
      var promise: EventLoopPromise<Reply>
      var fields: [String: String] = [:]
      var body: [UInt8] = []
    }

    var pings: [EventLoopPromise<Void>] = []
    private var calls: [UInt32: Call] = [:]
    private var nextStream: UInt32 = 1
    private var input = ByteBuffer()
    private var windows = ByteBuffer()
    private var encoder = HPACKEncoder(allocator: ByteBufferAllocator())
    private var decoder = HPACKDecoder(allocator: ByteBufferAllocator())

    func channelActive(context: ChannelHandlerContext) {
      var buffer = ByteBuffer(string: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
      buffer.writeSettings([])
      context.writeAndFlush(NIOAny(buffer), promise: nil)
    }

    func begin(
      _ path: String, _ messages: [[UInt8]], timeout: String?, on channel: any Channel
    ) throws -> (stream: UInt32, reply: EventLoopFuture<Reply>) {
      var headers: HPACKHeaders = [
        ":method": "POST", ":scheme": "http", ":path": path, ":authority": "here", "content-type": "application/grpc",
        "te": "trailers",
      ]
      if let timeout { headers.add(name: "grpc-timeout", value: timeout) }
      var block = ByteBuffer()
      try self.encoder.encode(headers: headers, to: &block)
      let stream = self.nextStream
      self.nextStream += 2
      var buffer = ByteBuffer()
      buffer.writeFrameHeader(
        length: block.readableBytes, type: FrameType.headers, flags: FrameFlags.endHeaders, streamID: stream)
      buffer.writeBuffer(&block)
      buffer.writeFrameHeader(
        length: messages.reduce(0) { $0 + $1.count + 5 }, type: FrameType.data, flags: FrameFlags.endStream,
        streamID: stream)
      for message in messages {
        buffer.writeMultipleIntegers(UInt8(0), UInt32(message.count))
        buffer.writeBytes(message)
      }
      let promise = channel.eventLoop.makePromise(of: Reply.self)
      self.calls[stream] = Call(promise: promise)
      channel.writeAndFlush(buffer, promise: nil)
      return (stream, promise.futureResult)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      var bytes = self.unwrapInboundIn(data)
      self.input.writeBuffer(&bytes)
      do {
        while try self.readFrame() {}
        // What has been read makes room for more.
        if self.windows.readableBytes > 0 { context.writeAndFlush(NIOAny(self.windows), promise: nil) }
        self.windows = ByteBuffer()
      } catch {
        context.close(promise: nil)
      }
    }

    func channelInactive(context: ChannelHandlerContext) {
      for call in self.calls.values { call.promise.fail(Closed()) }
      for ping in self.pings { ping.fail(Closed()) }
      self.calls = [:]
      self.pings = []
    }

    private func readFrame() throws -> Bool {
      guard let head = self.input.getInteger(at: self.input.readerIndex, as: UInt32.self),
        self.input.readableBytes >= 9 + Int(head >> 8), self.input.readInteger(as: UInt32.self) != nil,
        let flags = self.input.readInteger(as: UInt8.self), let stream = self.input.readInteger(as: UInt32.self),
        var payload = self.input.readSlice(length: Int(head >> 8))
      else { return false }
      switch UInt8(head & 0xff) {
      case FrameType.headers:
        for field in try self.decoder.decodeHeaders(from: &payload) {
          self.calls[stream]?.fields[field.name] = field.value
        }
        if flags & FrameFlags.endStream != 0 { self.finish(stream) }
      case FrameType.data:
        self.calls[stream]?.body += Array(payload.readableBytesView)
        for each in [0, stream] where payload.readableBytes > 0 {
          self.windows.writeWindowUpdate(streamID: each, increment: payload.readableBytes)
        }
      case FrameType.ping where flags & FrameFlags.ack != 0: self.pings.removeFirst().succeed()
      default: break
      }
      return true
    }

    private func finish(_ stream: UInt32) {
      guard let call = self.calls.removeValue(forKey: stream) else { return }
      let text = call.fields["grpc-message"] ?? ""
      call.promise.succeed(
        Reply(
          status: call.fields["grpc-status"] ?? "none", text: text.removingPercentEncoding, body: call.body))
    }
  }
}

extension String {
  /// Percent-encoded bytes as the text they stand for.
  fileprivate var removingPercentEncoding: String {
    var bytes: [UInt8] = []
    var rest = Substring(self)
    while let character = rest.popFirst() {
      if character == "%", let byte = UInt8(rest.prefix(2), radix: 16) {
        bytes.append(byte)
        rest = rest.dropFirst(2)
      } else {
        bytes += Array(String(character).utf8)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
