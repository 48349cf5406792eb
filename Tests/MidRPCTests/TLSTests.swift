import Foundation
import MidTestKit
import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import Synchronization
import Testing

@testable import MidRPC

/// Notes how a client's handshake ended.
private final class HandshakeNote: ChannelInboundHandler, Sendable {
  typealias InboundIn = ByteBuffer

  private let promise: EventLoopPromise<String?>
  private let isDone = Mutex(false)

  init(_ promise: EventLoopPromise<String?>) { self.promise = promise }

  private func finish(_ result: Result<String?, any Error>) {
    let isFirst = self.isDone.withLock { isDone in
      defer { isDone = true }
      return !isDone
    }
    if isFirst { self.promise.completeWith(result) }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case TLSUserEvent.handshakeCompleted(let agreed) = event { self.finish(.success(agreed)) }
    context.fireUserInboundEventTriggered(event)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    self.finish(.failure(error))
    context.fireErrorCaught(error)
  }

  func handlerRemoved(context: ChannelHandlerContext) { self.finish(.failure(ChannelError.eof)) }
}

/// Keeps the reasons for which handshakes failed.
private final class HandshakeObserver: RPCObserver {
  let inner = RecordingObserver()
  let reasons = AsyncStream<RPCHandshakeFailure>.makeStream()

  func connectionOpened() { self.inner.connectionOpened() }
  func connectionClosed() { self.inner.connectionClosed() }
  func connectionEnded(by reason: RPCConnectionEnd) { self.inner.connectionEnded(by: reason) }
  func handshakeFailed(_ reason: RPCHandshakeFailure) { self.reasons.continuation.yield(reason) }
  func completed(method: Int?, code: RPCStatus.Code, count: Int, nanoseconds: UInt64) {
    self.inner.completed(method: method, code: code, count: count, nanoseconds: nanoseconds)
  }
}

@Suite("The server with TLS", .timeLimit(.minutes(10)))
struct TLSTests {
  private static let group = MultiThreadedEventLoopGroup.singleton
  private let files: TestCertificates

  init() throws { self.files = try TestCertificates.shared }

  private static let echo = RPCMethod(path: "/test.Echo/Reverse") { _, message, response in
    response.writeBytes(message.reversed())
    return .reply
  }

  private func settings(
    _ name: String = "server", clients: RPCTLS.ClientCertificates = .none, version: RPCTLS.Version = .tls12
  ) -> RPCTLS {
    var settings = RPCTLS(certificateFile: self.files.certificate(name), keyFile: self.files.key(name))
    settings.clientCertificates = clients
    settings.minimumVersion = version
    if clients != .none { settings.clientCAFile = self.files.certificate("ca") }
    return settings
  }

  private func withServer(
    _ tls: RPCTLS, timeouts: RPCTimeouts = .patient,
    _ body: (RPCServer, SocketAddress, HandshakeObserver, RPCTLSContext) async throws -> Void
  ) async throws {
    let observer = HandshakeObserver()
    let context = try RPCTLSContext(tls)
    let server = RPCServer(methods: [Self.echo], group: Self.group, timeouts: timeouts, observer: observer)
    let address = try await server.start(host: "127.0.0.1", port: 0, tls: context)
    try await body(server, address, observer, context)
    await server.stop(grace: .seconds(5))
    #expect(server.openConnections == 0)
  }

  /// A connection over TLS, and what its handshake agreed on.
  private struct Client {
    var channel: any Channel
    var collector: Collector
    var agreed: String?

    func certificate() async throws -> String? {
      let certificate = try await self.channel.nioSSL_peerCertificate().get()
      return try certificate.map { try RPCCertificate($0).subject }
    }

    /// Makes one call and checks its answer; then the peer may make more.
    func call(_ peer: inout Peer, _ stream: UInt32, first: Bool = true) async throws {
      let start = first ? connectionPreface + Peer.frame(FrameType.settings, 0, 0) : []
      let before = self.collector.frames(FrameType.headers)
      try await self.channel.writeAndFlush(ByteBuffer(bytes: start + peer.call(stream, [1, 2, 3]))).get()
      let received = await self.collector.wait { Collector.count(FrameType.headers, in: $0) == before + 2 }
      let answer: [SeenFrame] = Peer.answered(stream, [3, 2, 1])
      var reader = FrameReader()
      let seen = try reader.frames(received)
      #expect(seen.contains(answer[1]))
      #expect(seen.contains(answer[2]))
    }
  }

  private func connect(
    _ address: SocketAddress, protocols: [String] = ["h2"], as client: String? = nil,
    _ change: (inout TLSConfiguration) -> Void = { _ in }
  ) async throws -> Client {
    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.applicationProtocols = protocols
    configuration.trustRoots = .file(self.files.certificate("ca"))
    if let client {
      configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(self.files.certificate(client))
        .map { .certificate($0) }
      configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: self.files.key(client), format: .pem))
    }
    change(&configuration)
    let context = try NIOSSLContext(configuration: configuration)
    let collector = Collector()
    let promise = Self.group.any().makePromise(of: String?.self)
    let channel = try await ClientBootstrap(group: Self.group)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          try pipeline.addHandler(NIOSSLClientHandler(context: context, serverHostname: "localhost"))
          try pipeline.addHandlers([HandshakeNote(promise), collector])
        }
      }
      .connect(to: address).get()
    return Client(channel: channel, collector: collector, agreed: try await promise.futureResult.get())
  }

  private func firstReason(_ observer: HandshakeObserver) async -> RPCHandshakeFailure? {
    var reasons = observer.reasons.stream.makeAsyncIterator()
    return await reasons.next()
  }

  @Test(arguments: [(TLSVersion.tlsv12, RPCTLS.Version.tls12), (.tlsv13, .tls12), (.tlsv13, .tls13)])
  func `serves calls over TLS 1.2 and 1.3`(version: TLSVersion, least: RPCTLS.Version) async throws {
    try await self.withServer(self.settings(version: least)) { _, address, observer, _ in
      let client = try await self.connect(address) {
        $0.minimumTLSVersion = version
        $0.maximumTLSVersion = version
      }
      #expect(client.agreed == "h2")
      #expect(try await client.channel.nioSSL_tlsVersion().get() == version)
      var peer = Peer()
      try await client.call(&peer, 1)
      try await client.call(&peer, 3, first: false)
      try await client.channel.close().get()
      #expect(observer.inner.state.withLock { $0.opened } == 1)
    }
  }

  @Test(arguments: [
    (TLSVersion.tlsv11, RPCTLS.Version.tls12), (.tlsv12, .tls13),
  ])
  func `refuses versions below the least one`(version: TLSVersion, least: RPCTLS.Version) async throws {
    try await self.withServer(self.settings(version: least)) { _, address, observer, _ in
      let error = await #expect(throws: NIOSSLError.self) {
        _ = try await self.connect(address) { $0.maximumTLSVersion = version }
      }
      #expect("\(String(describing: error))".contains("ALERT_PROTOCOL_VERSION"))
      #expect(await self.firstReason(observer) == .refused)
    }
  }

  @Test(arguments: [
    // Plain RSA, CBC and what else RFC 9113, appendix A lists; the last is what it asks for, with an ECDSA key.
    ("ECDHE-ECDSA-AES128-SHA", false), ("ECDHE-ECDSA-AES256-SHA", false), ("AES128-GCM-SHA256", false),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", true), ("ECDHE-ECDSA-CHACHA20-POLY1305", true),
  ])
  func `offers only AEAD suites with ECDHE in TLS 1.2`(suite: String, isOffered: Bool) async throws {
    try await self.withServer(self.settings()) { _, address, _, _ in
      var agreed: String?
      do {
        let client = try await self.connect(address) {
          $0.maximumTLSVersion = .tlsv12
          $0.cipherSuites = suite
        }
        agreed = client.agreed
        try await client.channel.close().get()
      } catch {
        // Nothing was agreed on.
      }
      #expect(agreed == (isOffered ? "h2" : nil))
    }
  }

  // With an RSA key the suites without ECDHE could be agreed on; the last is what RFC 9113, 9.2.2 asks for.
  @Test func `offers no other suites where the key is RSA`() async throws {
    try self.files.openssl(
      "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", "10", "-subj", "/CN=localhost",
      "-addext", "subjectAltName=DNS:localhost", "-keyout", "suites.key", "-out", "suites.pem")
    try await self.withServer(self.settings("suites")) { _, address, _, _ in
      let suites = [
        ("AES128-GCM-SHA256", false), ("AES256-GCM-SHA384", false), ("AES128-SHA", false),
        ("ECDHE-RSA-AES128-SHA", false), ("ECDHE-RSA-AES128-GCM-SHA256", true),
      ]
      for (suite, isOffered) in suites {
        var agreed: String?
        do {
          let client = try await self.connect(address) {
            $0.maximumTLSVersion = .tlsv12
            $0.cipherSuites = suite
            $0.trustRoots = .file(self.files.certificate("suites"))
          }
          agreed = client.agreed
          try await client.channel.close().get()
        } catch {
          // Nothing was agreed on.
        }
        #expect(agreed == (isOffered ? "h2" : nil), "\(suite)")
      }
    }
  }

  @Test(arguments: [[], ["http/1.1"], ["h2c", "h3"]])
  func `closes a connection that does not agree on h2, without a byte of HTTP 2`(protocols: [String]) async throws {
    try await self.withServer(self.settings()) { _, address, observer, _ in
      let client = try await self.connect(address, protocols: protocols)
      #expect(client.agreed == nil)
      // What it sends all the same is not looked at.
      var peer = Peer()
      let bytes = connectionPreface + Peer.frame(FrameType.settings, 0, 0) + peer.call(1)
      client.channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
      let received = await client.collector.wait { $0.isClosed }
      #expect(received.readableBytes == 0)
      #expect(await self.firstReason(observer) == .noHTTP2)
      #expect(observer.inner.state.withLock { $0.opened + $0.completed.count } == 0)
    }
  }

  @Test func `takes h2 from among others`() async throws {
    try await self.withServer(self.settings()) { _, address, _, _ in
      let client = try await self.connect(address, protocols: ["http/1.1", "h2"])
      #expect(client.agreed == "h2")
      var peer = Peer()
      try await client.call(&peer, 1)
      try await client.channel.close().get()
    }
  }

  @Test(arguments: [TLSVersion.tlsv12, .tlsv13])
  func `required client certificates are required`(version: TLSVersion) async throws {
    try await self.withServer(self.settings(clients: .required)) { _, address, observer, _ in
      let client = try await self.connect(address, as: "client") { $0.maximumTLSVersion = version }
      var peer = Peer()
      try await client.call(&peer, 1)
      try await client.channel.close().get()
      for other in [nil, "strange-client", "server"] as [String?] {
        // In TLS 1.3 a client is done before the server has looked at its certificate.
        let refused = try? await self.connect(address, as: other) { $0.maximumTLSVersion = version }
        if let refused {
          let received = await refused.collector.wait { $0.isClosed }
          #expect(received.readableBytes == 0, "\(other ?? "none")")
        }
        #expect(await self.firstReason(observer) == .refused, "\(other ?? "none")")
      }
      #expect(observer.inner.state.withLock { $0.opened } == 1)
    }
  }

  @Test func `optional client certificates are checked when given`() async throws {
    try await self.withServer(self.settings(clients: .optional)) { _, address, observer, _ in
      for name in [nil, "client"] as [String?] {
        let client = try await self.connect(address, as: name)
        var peer = Peer()
        try await client.call(&peer, 1)
        try await client.channel.close().get()
      }
      let refused = try? await self.connect(address, as: "strange-client")
      if let refused { _ = await refused.collector.wait { $0.isClosed } }
      #expect(await self.firstReason(observer) == .refused)
      #expect(observer.inner.state.withLock { $0.opened } == 2)
    }
  }

  @Test func `a reload gives new connections the new certificate and leaves old ones alone`() async throws {
    let folder = self.files.folder.appending(path: UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let certificate = folder.appending(path: "now.pem")
    let key = folder.appending(path: "now.key")
    func install(_ name: String) throws {
      try Data(contentsOf: URL(filePath: self.files.certificate(name))).write(to: certificate)
      try Data(contentsOf: URL(filePath: self.files.key(name))).write(to: key)
    }
    try install("server")
    let settings = RPCTLS(certificateFile: certificate.path, keyFile: key.path)
    try await self.withServer(settings) { _, address, _, context in
      let old = try await self.connect(address)
      var oldPeer = Peer()
      try await old.call(&oldPeer, 1)
      #expect(try await old.certificate() == "O=Tests\\, Ltd,CN=server")

      // Half of a renewal is no use, and changes nothing.
      try Data(contentsOf: URL(filePath: self.files.certificate("renewed"))).write(to: certificate)
      let error = #expect(throws: RPCTLSError.self) { try context.reload() }
      #expect(error?.problems.map(\.role) == [.key])
      let between = try await self.connect(address)
      #expect(try await between.certificate() == "O=Tests\\, Ltd,CN=server")
      try await between.channel.close().get()

      try install("renewed")
      #expect(try context.reload().subject == "CN=renewed")
      let new = try await self.connect(address)
      #expect(try await new.certificate() == "CN=renewed")
      var newPeer = Peer()
      try await new.call(&newPeer, 1)
      try await old.call(&oldPeer, 3, first: false)
      try await new.channel.close().get()
      try await old.channel.close().get()
    }
  }

  @Test(arguments: [[], [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]] as [[UInt8]])
  func `a handshake that does not end in time is cut off`(start: [UInt8]) async throws {
    var timeouts = RPCTimeouts()
    timeouts.firstRequest = .milliseconds(50)
    try await self.withServer(self.settings(), timeouts: timeouts) { _, address, observer, _ in
      let collector = Collector()
      let channel = try await ClientBootstrap(group: Self.group)
        .channelInitializer { $0.pipeline.addHandler(collector) }
        .connect(to: address).get()
      if !start.isEmpty { channel.writeAndFlush(ByteBuffer(bytes: start), promise: nil) }
      let received = await collector.wait { $0.isClosed }
      #expect(received.readableBytes == 0)
      #expect(await self.firstReason(observer) == .timeout)
    }
  }

  @Test func `a client that is silent after its handshake is cut off`() async throws {
    var timeouts = RPCTimeouts()
    timeouts.firstRequest = .seconds(2)
    try await self.withServer(self.settings(), timeouts: timeouts) { _, address, _, _ in
      let client = try await self.connect(address)
      try await client.channel.closeFuture.get()
    }
  }

  @Test func `a client without TLS is refused`() async throws {
    try await self.withServer(self.settings()) { _, address, observer, _ in
      let collector = Collector()
      let channel = try await ClientBootstrap(group: Self.group)
        .channelInitializer { $0.pipeline.addHandler(collector) }
        .connect(to: address).get()
      channel.writeAndFlush(ByteBuffer(bytes: connectionPreface), promise: nil)
      _ = await collector.wait { $0.isClosed }
      #expect(await self.firstReason(observer) == .refused)
    }
  }

  @Test func `a connection that comes and goes is told apart`() async throws {
    try await self.withServer(self.settings()) { _, address, observer, _ in
      let channel = try await ClientBootstrap(group: Self.group).connect(to: address).get()
      try await channel.close().get()
      #expect(await self.firstReason(observer) == .closed)
    }
  }

  @Test func `ends a connection with GOAWAY and close_notify`() async throws {
    try await self.withServer(self.settings()) { _, address, _, _ in
      let ended = Self.group.any().makePromise(of: Void.self)
      let client = try await self.connect(address)
      try await client.channel.pipeline.addHandler(CloseNotifyNote(ended), position: .before(client.collector)).get()
      try await client.channel.writeAndFlush(ByteBuffer(string: "GET / HTTP/1.1\r\nhost: x\r\n\r\n")).get()
      let received = await client.collector.wait { $0.isClosed }
      var reader = FrameReader()
      #expect(try reader.frames(received).goAwayCode == .protocolError)
      // Fails with an unclean end where the connection was cut off.
      try await ended.futureResult.get()
    }
  }

  @Test func `handshakes under way are bounded, and one that ends makes room`() async throws {
    let observer = HandshakeObserver()
    let server = RPCServer(
      methods: [Self.echo], group: Self.group, maxHandshakes: 2, timeouts: .patient, observer: observer)
    let address = try await server.start(host: "127.0.0.1", port: 0, tls: try RPCTLSContext(self.settings()))
    var silent: [any Channel] = []
    for count in 1...2 {
      silent.append(try await ClientBootstrap(group: Self.group).connect(to: address).get())
      while server.openConnections < count { await Task.yield() }
    }
    let third = try await ClientBootstrap(group: Self.group).connect(to: address).get()
    try await third.closeFuture.get()
    #expect(observer.inner.state.withLock { $0.ends } == [.handshakeLimit])
    try await silent[0].close().get()
    while server.openConnections > 1 { await Task.yield() }
    // Those that are through do not count.
    var clients: [Client] = []
    for _ in 0..<3 {
      let client = try await self.connect(address)
      var peer = Peer()
      try await client.call(&peer, 1)
      clients.append(client)
    }
    #expect(server.openConnections == 4)
    await server.stop(grace: .seconds(30))
    #expect(server.openConnections == 0)
  }

  @Test func `a stop ends handshakes at once`() async throws {
    let observer = HandshakeObserver()
    let server = RPCServer(methods: [Self.echo], group: Self.group, timeouts: .patient, observer: observer)
    let address = try await server.start(host: "127.0.0.1", port: 0, tls: try RPCTLSContext(self.settings()))
    let client = try await self.connect(address)
    let silent = try await ClientBootstrap(group: Self.group).connect(to: address).get()
    var peer = Peer()
    try await client.call(&peer, 1)
    await server.stop(grace: .seconds(30))
    #expect(server.openConnections == 0)
    try await silent.closeFuture.get()
  }
}

/// Completes a promise with how the TLS connection ended.
private final class CloseNotifyNote: ChannelInboundHandler, Sendable {
  typealias InboundIn = ByteBuffer
  private let promise: EventLoopPromise<Void>

  init(_ promise: EventLoopPromise<Void>) { self.promise = promise }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { self.promise.fail(error) }
  func channelInactive(context: ChannelHandlerContext) {
    self.promise.succeed()
    context.fireChannelInactive()
  }
}

extension Collector {
  /// How many frames of `type` stand in the collected bytes.
  @Sendable static func count(_ type: UInt8, in state: State) -> Int {
    var bytes = state.bytes
    var count = 0
    while let head = bytes.readInteger(as: UInt32.self), bytes.readSlice(length: 5 + Int(head >> 8)) != nil {
      if UInt8(head & 0xff) == type { count += 1 }
    }
    return count
  }

  /// How many frames of `type` have come so far.
  func frames(_ type: UInt8) -> Int { Self.count(type, in: State(bytes: self.bytes)) }
}
