import MidRPC
import MidServer
import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix
import Testing

@testable import mid

@Suite("The gRPC client")
struct RPCClientTests {
  private func call(
    _ timeout: Duration = .seconds(20), limit: Int = 1024, answer: [CannedStep]
  ) async throws -> Result<[UInt8], RPCStatus> {
    try await CannedServer.run { _ in
      answer
    } while: { server in
      let client = try await RPCClient.connect(
        to: HostPort(host: "127.0.0.1", port: server.port), timeout: .seconds(20), maximumMessageLength: limit)
      let result = await Self.result { () throws(RPCStatus) in
        try await client.unary(path: "/pb.IDMaker/MakeIDService", message: [1, 2, 3], timeout: timeout)
      }
      await client.close()
      return result
    }
  }

  private static func result(
    _ body: () async throws(RPCStatus) -> [UInt8]
  ) async -> Result<[UInt8], RPCStatus> {
    do { return .success(try await body()) } catch { return .failure(error) }
  }

  @Test func `a call is a gRPC request, and its answer comes back`() async throws {
    try await CannedServer.run {
      CannedStep.reply($0.message + [9])
    } while: { server in
      let address = HostPort(host: "127.0.0.1", port: server.port)
      let client = try await RPCClient.connect(to: address, timeout: .seconds(20))
      #expect(try await client.unary(path: "/a.B/C", message: [7, 8], timeout: .milliseconds(2500)) == [7, 8, 9])
      #expect(try await client.unary(path: "/a.B/C", message: [], timeout: .seconds(20)) == [9])
      await client.close()
      let request = try #require(server.requests.first)
      #expect(request.body == [0, 0, 0, 0, 2, 7, 8])
      #expect(
        request.headers == [
          ":method": "POST", ":scheme": "http", ":path": "/a.B/C", ":authority": address.description,
          "te": "trailers", "content-type": "application/grpc", "user-agent": "mid/0.1.0", "grpc-timeout": "2500m",
        ])
    }
  }

  @Test func `a message may come in pieces`() async throws {
    let pieces = CannedStep.framed([5, 6, 7]).map { CannedStep.data([$0], end: false) }
    #expect(try await self.call(answer: [.accepted] + pieces + [.done]) == .success([5, 6, 7]))
  }

  @Test func `the server's status and its decoded message come through, from one block or from trailers`() async throws
  {
    let status = RPCStatus(.notFound, "there is no tag größe, 100% sure")
    let encoded = "there is no tag gr%C3%B6%C3%9Fe, 100%25 sure"
    #expect(try await self.call(answer: CannedStep.failure("5", encoded)) == .failure(status))
    let trailers = CannedStep.headers(["grpc-status": "5", "grpc-message": encoded], end: true)
    #expect(try await self.call(answer: [.accepted, trailers]) == .failure(status))
  }

  @Test(arguments: [
    (NIOHTTP2.HTTP2ErrorCode.refusedStream, RPCStatus.Code.unavailable), (.cancel, .cancelled),
    (.enhanceYourCalm, .resourceExhausted), (.inadequateSecurity, .permissionDenied), (.protocolError, .internalError),
  ])
  func `a reset has the code gRPC gives it`(code: NIOHTTP2.HTTP2ErrorCode, expected: RPCStatus.Code) async throws {
    #expect(try await self.code([.accepted, .reset(code)]) == expected)
    #expect(try await self.code([.reset(code)]) == expected)
  }

  @Test func `an answer that is not gRPC's has a code that says so`() async throws {
    let answers: [([CannedStep], RPCStatus.Code)] = [
      ([.accepted, .data(CannedStep.framed([1]), end: true)], .unknown),
      ([.accepted, .data(CannedStep.framed([1]), end: false), .headers(["x": "y"], end: true)], .unknown),
      ([.accepted, .headers(["grpc-status": "99"], end: true)], .unknown),
      ([.accepted, .done], .internalError),
      ([.accepted, .data([0, 0, 0, 0, 2, 1], end: false), .done], .internalError),
      ([.accepted, .data(CannedStep.framed([1]) + [0], end: false), .done], .internalError),
      ([.accepted, .data(CannedStep.framed([1], flag: 1), end: false), .done], .internalError),
      ([.accepted, .data(CannedStep.framed(Array(repeating: 0, count: 1025)), end: false), .done], .resourceExhausted),
      ([.headers([":status": "404"], end: true)], .unimplemented),
      ([.headers([":status": "503", "content-type": "text/html"], end: false)], .unavailable),
      ([.headers([":status": "503", "grpc-status": "8"], end: true)], .resourceExhausted),
      ([.headers([":status": "200", "content-type": "text/html"], end: false)], .unknown),
    ]
    for (answer, expected) in answers {
      #expect(try await self.code(answer) == expected, "\(answer)")
    }
    let largest = Array(repeating: UInt8(4), count: 1024)
    #expect(try await self.call(answer: CannedStep.reply(largest)) == .success(largest))
  }

  @Test func `GOAWAY is told with its reason, a bare end as unavailable`() async throws {
    let result = try await self.call(answer: [.goAway(.enhanceYourCalm, "too_many_pings")])
    guard case .failure(let status) = result else {
      Issue.record("expected a failure")
      return
    }
    #expect(status.code == .unavailable)
    #expect(status.message.contains("GOAWAY") && status.message.contains("too_many_pings"))
    #expect(try await self.code([.close]) == .unavailable)
  }

  @Test func `a call after the connection ended is unavailable`() async throws {
    try await CannedServer.run { _ in
      [.close]
    } while: { server in
      let client = try await RPCClient.connect(
        to: HostPort(host: "127.0.0.1", port: server.port), timeout: .seconds(20))
      for _ in 0..<2 {
        let result = await Self.result { () throws(RPCStatus) in
          try await client.unary(path: "/a.B/C", message: [], timeout: .seconds(20))
        }
        #expect(throws: RPCStatus.self) { try result.get() }
        if case .failure(let status) = result { #expect(status.code == .unavailable) }
      }
      await client.close()
    }
  }

  @Test func `a server of another protocol is told from a gRPC server`() async throws {
    let listener = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
      .childChannelInitializer { connection in
        connection.eventLoop.makeCompletedFuture {
          try connection.pipeline.syncOperations.addHandler(OldProtocolHandler())
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let client = try await RPCClient.connect(
      to: HostPort(host: "127.0.0.1", port: try #require(listener.localAddress?.port)), timeout: .seconds(20))
    let result = await Self.result { () throws(RPCStatus) in
      try await client.unary(path: "/a.B/C", message: [], timeout: .seconds(20))
    }
    await client.close()
    try await listener.close()
    guard case .failure(let status) = result else {
      Issue.record("expected a failure")
      return
    }
    #expect(status.code == .unavailable)
    #expect(status.message.contains("not proper HTTP/2") && status.message.contains("is this a gRPC server's port?"))
  }

  @Test func `no answer is a deadline exceeded`() async throws {
    #expect(
      try await self.call(.milliseconds(30), answer: [])
        == .failure(RPCStatus(.deadlineExceeded, "no answer within 0.03 s")))
  }

  @Test func `a port where nobody listens is unavailable, with advice`() async throws {
    let port = try await CannedServer.run { _ in
      []
    } while: {
      $0.port
    }
    let error = await #expect(throws: RPCStatus.self) {
      _ = try await RPCClient.connect(to: HostPort(host: "127.0.0.1", port: port), timeout: .seconds(20))
    }
    #expect(error?.code == .unavailable)
    #expect(error?.message.contains("Connection refused; is `mid serve` running there?") == true)
  }

  private func code(_ answer: [CannedStep]) async throws -> RPCStatus.Code? {
    if case .failure(let status) = try await self.call(answer: answer) { status.code } else { nil }
  }
}

/// Answers whatever comes as a server of HTTP/1.1 does, and hangs up.
private final class OldProtocolHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let answer = ByteBuffer(string: "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    context.writeAndFlush(self.wrapOutboundOut(answer), promise: nil)
    context.close(promise: nil)
  }
}

@Suite("The parts of the gRPC client")
struct RPCClientPartsTests {
  @Test(arguments: [
    (Duration.milliseconds(1), "1m"), (.zero, "1m"), (.microseconds(1500), "2m"), (.seconds(5), "5000m"),
    (.seconds(99_998), "99998000m"), (.seconds(99_999), "99999S"), (.seconds(1_000_000_000), "99999999S"),
  ])
  func `a timeout's header has at most 8 digits`(timeout: Duration, expected: String) {
    #expect(GRPCTimeoutHeader.text(timeout) == expected)
  }

  @Test(arguments: [
    ("plain", "plain"), ("50%25", "50%"), ("%", "%"), ("%4", "%4"), ("%zz%41", "%zzA"), ("%e2%82%AC", "€"),
    ("%ff", "\u{fffd}"),
  ])
  func `a message is percent-decoded, what is broken stays`(text: String, expected: String) {
    #expect(GRPCStatusHeaders.percentDecoded(text) == expected)
  }

  @Test func `an informational block before the headers is skipped`() {
    var response = UnaryResponse(maximumMessageLength: 10)
    #expect(response.receive(headers: [":status": "103"], endStream: false) == nil)
    #expect(
      response.receive(headers: [":status": "200", "content-type": "application/grpc+proto"], endStream: false) == nil)
    #expect(response.receive(data: .init(bytes: [0, 0, 0, 0, 1, 5]), endStream: false) == nil)
    #expect(response.receive(headers: ["grpc-status": "0"], endStream: true) == .success([5]))
  }

  @Test func `headers twice, and a body before them, are the server's faults`() {
    var response = UnaryResponse(maximumMessageLength: 10)
    guard case .failure(let early) = response.receive(data: .init(bytes: [0]), endStream: false) else {
      Issue.record("a body before its headers was taken")
      return
    }
    #expect(early.code == .internalError)
    #expect(response.receive(headers: [":status": "200", "content-type": "application/grpc"], endStream: false) == nil)
    guard case .failure(let twice) = response.receive(headers: ["grpc-status": "0"], endStream: false) else {
      Issue.record("trailers that end nothing were taken")
      return
    }
    #expect(twice.code == .internalError)
  }
}
