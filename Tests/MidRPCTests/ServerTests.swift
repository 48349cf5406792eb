import NIOCore
import NIOEmbedded
import NIOPosix
import Synchronization
import Testing

@testable import MidRPC

/// Notes what a server tells.
final class RecordingObserver: RPCObserver {
  struct State {
    var opened = 0
    var closed = 0
    var completed: [String: Int] = [:]
    var ends: [RPCConnectionEnd] = []
  }

  let state = Mutex(State())

  func connectionOpened() { self.state.withLock { $0.opened += 1 } }
  func connectionClosed() { self.state.withLock { $0.closed += 1 } }
  func connectionEnded(by reason: RPCConnectionEnd) { self.state.withLock { $0.ends.append(reason) } }
  func completed(method: Int?, code: RPCStatus.Code, count: Int, nanoseconds: UInt64) {
    self.state.withLock { $0.completed["\(method ?? -1) \(code)", default: 0] += count }
  }
}

/// Collects what a connection's other side receives.
final class Collector: ChannelInboundHandler, Sendable {
  typealias InboundIn = ByteBuffer

  struct State {
    var bytes = ByteBuffer()
    var isClosed = false
    var waiters: [(@Sendable (State) -> Bool, CheckedContinuation<ByteBuffer, Never>)] = []
  }

  private let state = Mutex(State())

  /// All bytes so far.
  var bytes: ByteBuffer { self.state.withLock { $0.bytes } }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = self.unwrapInboundIn(data)
    self.change { $0.bytes.writeBuffer(&bytes) }
  }

  func channelInactive(context: ChannelHandlerContext) { self.change { $0.isClosed = true } }

  private func change(_ body: (inout State) -> Void) {
    let ready: [(CheckedContinuation<ByteBuffer, Never>, ByteBuffer)] = self.state.withLock { state in
      body(&state)
      let snapshot = state
      let done = state.waiters.filter { $0.0(snapshot) || snapshot.isClosed }
      state.waiters.removeAll { $0.0(snapshot) || snapshot.isClosed }
      return done.map { ($0.1, snapshot.bytes) }
    }
    for (waiter, bytes) in ready { waiter.resume(returning: bytes) }
  }

  /// All bytes so far, as soon as `condition` holds or the connection is closed.
  func wait(_ condition: @escaping @Sendable (State) -> Bool) async -> ByteBuffer {
    await withCheckedContinuation { continuation in
      self.state.withLock { $0.waiters.append((condition, continuation)) }
      self.change { _ in }
    }
  }
}

@Suite("The server over a socket", .timeLimit(.minutes(10)))
struct ServerTests {
  private static let group = MultiThreadedEventLoopGroup.singleton

  private func withServer(
    _ methods: [RPCMethod], maxConnections: Int = 100, timeouts: RPCTimeouts = .patient,
    _ body: (RPCServer, SocketAddress, RecordingObserver) async throws -> Void
  ) async throws {
    let observer = RecordingObserver()
    let server = RPCServer(
      methods: methods, group: Self.group, maxConnections: maxConnections, timeouts: timeouts, observer: observer)
    let address = try await server.start(host: "127.0.0.1", port: 0)
    try await body(server, address, observer)
    await server.stop(grace: .seconds(5))
    #expect(server.openConnections == 0)
  }

  private func connect(_ address: SocketAddress) async throws -> (any Channel, Collector) {
    let collector = Collector()
    let channel = try await ClientBootstrap(group: Self.group)
      .channelInitializer { $0.pipeline.addHandler(collector) }
      .connect(to: address).get()
    return (channel, collector)
  }

  private static let echo = RPCMethod(path: "/test.Echo/Reverse") { _, message, response in
    response.writeBytes(message.reversed())
    return .reply
  }

  /// How many frames of `type` stand in the collected bytes.
  @Sendable private static func count(_ type: UInt8, in state: Collector.State) -> Int {
    var bytes = state.bytes
    var count = 0
    while let head = bytes.readInteger(as: UInt32.self), bytes.readSlice(length: 5 + Int(head >> 8)) != nil {
      if UInt8(head & 0xff) == type { count += 1 }
    }
    return count
  }

  @Test func `answers calls and tells of them in bursts`() async throws {
    try await self.withServer([Self.echo]) { server, address, observer in
      let (channel, collector) = try await self.connect(address)
      var peer = Peer()
      let calls = (0..<50).flatMap { peer.call(UInt32(2 * $0 + 1), [UInt8($0)]) }
      let bytes = connectionPreface + Peer.frame(FrameType.settings, 0, 0) + calls
      try await channel.writeAndFlush(ByteBuffer(bytes: bytes)).get()
      let received = await collector.wait { Self.count(FrameType.headers, in: $0) == 100 }
      let seen = try peer.reader.frames(received)
      for index in 0..<50 {
        let answer = Peer.answered(UInt32(2 * index + 1), [UInt8(index)])
        #expect(seen.contains(answer[1]) && seen.contains(answer[2]))
      }
      try await channel.writeAndFlush(
        ByteBuffer(bytes: peer.call(101, fields: Peer.head(path: "/no/thing")))
      ).get()
      _ = await collector.wait { Self.count(FrameType.headers, in: $0) == 101 }
      let told = observer.state.withLock { $0.completed }
      #expect(told == ["0 OK": 50, "-1 UNIMPLEMENTED": 1])
      try await channel.close().get()
    }
  }

  @Test func `answers later from other threads, and one call's wait holds up no other`() async throws {
    let replies = Mutex<[RPCReply]>([])
    let later = RPCMethod(path: "/test.Echo/Other") { call, _, _ in
      let reply = call.answerLater()
      replies.withLock { $0.append(reply) }
      return .later
    }
    try await self.withServer([Self.echo, later]) { _, address, observer in
      let (channel, collector) = try await self.connect(address)
      var peer = Peer()
      var bytes = connectionPreface + Peer.frame(FrameType.settings, 0, 0)
      bytes += peer.call(1, fields: Peer.head(path: "/test.Echo/Other", extra: [("grpc-timeout", "9S")]))
      bytes += peer.call(3, fields: Peer.head(path: "/test.Echo/Other")) + peer.call(5)
      try await channel.writeAndFlush(ByteBuffer(bytes: bytes)).get()
      _ = await collector.wait { Self.count(FrameType.data, in: $0) == 1 }
      let waiting = replies.withLock { $0 }
      #expect(waiting.map { $0.deadline == nil } == [false, true])
      for reply in waiting.reversed() {
        reply.succeed([42])
        reply.succeed([43])
        reply.fail(RPCStatus(.unknown))
      }
      let received = await collector.wait { Self.count(FrameType.data, in: $0) == 3 }
      let seen = try peer.reader.frames(received)
      for stream in [1, 3] as [UInt32] {
        #expect(seen.contains(.data(stream: stream, Peer.message([42]), end: false)))
      }
      #expect(observer.state.withLock { $0.completed } == ["0 OK": 1, "1 OK": 2])
      try await channel.close().get()
    }
  }

  @Test func `tells a method when its caller is gone`() async throws {
    let cancelled = AsyncStream<Bool>.makeStream()
    let later = RPCMethod(path: "/test.Echo/Other") { call, _, _ in
      let reply = call.answerLater()
      reply.onCancel { cancelled.continuation.yield(reply.isCancelled) }
      return .later
    }
    try await self.withServer([later]) { _, address, _ in
      let (channel, collector) = try await self.connect(address)
      var peer = Peer()
      let bytes = connectionPreface + Peer.frame(FrameType.settings, 0, 0)
      try await channel.writeAndFlush(
        ByteBuffer(
          bytes: bytes + peer.call(1, fields: Peer.head(path: "/test.Echo/Other"))
            + peer.call(3, fields: Peer.head(path: "/test.Echo/Other")))
      ).get()
      _ = await collector.wait { Self.count(FrameType.settings, in: $0) == 2 }
      try await channel.writeAndFlush(
        ByteBuffer(bytes: Peer.frame(FrameType.resetStream, 0, 1, [0, 0, 0, 8]))
      ).get()
      var told = cancelled.stream.makeAsyncIterator()
      #expect(await told.next() == true)
      try await channel.close().get()
      #expect(await told.next() == true)
    }
  }

  @Test func `sends GOAWAY to a client that speaks something else, and closes`() async throws {
    try await self.withServer([Self.echo]) { _, address, _ in
      let (channel, collector) = try await self.connect(address)
      try await channel.writeAndFlush(ByteBuffer(string: "GET / HTTP/1.1\r\nhost: x\r\n\r\n")).get()
      let received = await collector.wait { $0.isClosed }
      var reader = FrameReader()
      #expect(try reader.frames(received).goAwayCode == .protocolError)
      try await channel.closeFuture.get()
    }
  }

  @Test func `holds a burst of large replies back until its client reads, and loses and doubles none`() async throws {
    let large = [UInt8](repeating: 6, count: 20_000)
    let method = RPCMethod(path: "/test.Echo/Reverse") { _, message, response in
      response.writeBytes(message)
      response.writeBytes(large)
      return .reply
    }
    try await self.withServer([method]) { server, address, _ in
      let collector = Collector()
      let channel = try await ClientBootstrap(group: Self.group)
        .channelOption(.autoRead, value: false)
        .channelOption(.socketOption(.so_rcvbuf), value: 4096)
        .channelInitializer { $0.pipeline.addHandler(collector) }
        .connect(to: address).get()
      var peer = Peer()
      let calls = (0..<200).flatMap { peer.call(UInt32(2 * $0 + 1), [UInt8($0)]) }
      let open = Peer.setting(SettingID.initialWindowSize, 1 << 30) + Peer.window(0, 1 << 30)
      let bytes = connectionPreface + open + Peer.setting(SettingID.maxFrameSize, 1 << 20) + calls
      try await channel.writeAndFlush(ByteBuffer(bytes: bytes)).get()
      while server.heldMemory == 0 { await Task.yield() }
      #expect(server.heldMemory < 1_000_000, "four megabytes of replies are not made before they can leave")
      try await channel.setOption(.autoRead, value: true).get()
      let received = await collector.wait { Self.count(FrameType.headers, in: $0) == 400 }
      let seen = try peer.reader.frames(received)
      let replies = seen.compactMap { if case .data(_, let bytes, _) = $0 { bytes } else { nil } }
      #expect(replies == (0..<200).map { Peer.message([UInt8($0)] + large) })
      try await channel.close().get()
      while server.heldMemory > 0 { await Task.yield() }
    }
  }

  @Test func `closes a connection over the limit`() async throws {
    try await self.withServer([Self.echo], maxConnections: 1) { _, address, _ in
      let (first, collector) = try await self.connect(address)
      _ = await collector.wait { $0.bytes.readableBytes > 0 }
      let (second, other) = try await self.connect(address)
      let received = await other.wait { $0.isClosed }
      #expect(received.readableBytes == 0)
      try await second.closeFuture.get()
      try await first.close().get()
    }
  }

  @Test func `refills a quiet connection's budget by its timer`() throws {
    var limits = RPCLimits()
    limits.maxUnproductiveFrames = 50
    let loop = EmbeddedEventLoop()
    let channel = EmbeddedChannel(loop: loop)
    let handler = RPCConnectionHandler(
      methods: [Self.echo], routes: RPCRoutes([Self.echo]), limits: limits, timeouts: RPCTimeouts(),
      memory: RPCMemory(limit: 1 << 20, connections: 1), observer: nil, eventLoop: loop)
    try channel.pipeline.syncOperations.addHandler(handler)
    try channel.connect(to: SocketAddress(unixDomainSocketPath: "/quiet")).wait()
    try channel.writeInbound(ByteBuffer(bytes: connectionPreface + Peer.frame(FrameType.settings, 0, 0)))
    let settings = (0..<40).flatMap { _ in Peer.frame(FrameType.settings, 0, 0) }
    var answers = 0
    for _ in 0..<5 {
      loop.advanceTime(by: .seconds(15))
      try channel.writeInbound(ByteBuffer(bytes: settings))
    }
    while let bytes = try channel.readOutbound(as: ByteBuffer.self) {
      answers += Self.count(FrameType.settings, in: Collector.State(bytes: bytes))
    }
    #expect(answers == 2 + 200)
    _ = try channel.finish(acceptAlreadyClosed: true)
  }

  @Test func `closes a connection that says nothing in time`() async throws {
    var timeouts = RPCTimeouts()
    timeouts.firstRequest = .milliseconds(20)
    try await self.withServer([Self.echo], timeouts: timeouts) { _, address, _ in
      let (channel, _) = try await self.connect(address)
      try await channel.closeFuture.get()
    }
  }

  @Test func `stops gracefully: what is under way is answered`() async throws {
    let replies = Mutex<[RPCReply]>([])
    let later = RPCMethod(path: "/test.Echo/Other") { call, _, _ in
      let reply = call.answerLater()
      replies.withLock { $0.append(reply) }
      return .later
    }
    let server = RPCServer(methods: [later], group: Self.group, timeouts: .patient)
    let address = try await server.start(host: "127.0.0.1", port: 0)
    let (channel, collector) = try await self.connect(address)
    var peer = Peer()
    let bytes = connectionPreface + Peer.frame(FrameType.settings, 0, 0)
    try await channel.writeAndFlush(
      ByteBuffer(bytes: bytes + peer.call(1, fields: Peer.head(path: "/test.Echo/Other")))
    ).get()
    _ = await collector.wait { Self.count(FrameType.settings, in: $0) == 2 }
    async let stopped: Void = server.stop(grace: .minutes(5))
    _ = await collector.wait { Self.count(FrameType.goAway, in: $0) == 1 }
    for reply in replies.withLock({ $0 }) { reply.succeed([7]) }
    let received = await collector.wait { $0.isClosed }
    let seen = try peer.reader.frames(received)
    #expect(seen.contains(.data(stream: 1, Peer.message([7]), end: false)))
    #expect(seen.goAwayCode == .noError)
    await stopped
  }

  @Test func `says when the address is in use`() async throws {
    try await self.withServer([Self.echo]) { _, address, _ in
      let other = RPCServer(methods: [Self.echo], group: Self.group)
      await #expect(throws: (any Error).self) {
        _ = try await other.start(host: "127.0.0.1", port: address.port ?? 0)
      }
    }
  }
}

@Suite("The connections of a server")
struct ConnectionRegistryTests {
  @Test func `are taken in while there is room, and none once it stops`() throws {
    let registry = ConnectionRegistry(limit: 2, handshakes: 1)
    let channels = (0..<4).map { _ in EmbeddedChannel() }
    #expect(registry.add(channels[0], hasHandshake: false) == .taken)
    registry.handshakes.begin()
    #expect(registry.add(channels[1], hasHandshake: true) == .full(.handshakeLimit))
    registry.handshakes.end()
    #expect(registry.add(channels[1], hasHandshake: true) == .taken)
    #expect(registry.add(channels[2], hasHandshake: false) == .full(.connectionLimit))
    _ = try channels[0].finish()
    #expect(registry.count == 1)
    // Whoever is not among those that are told to end has not been taken in.
    #expect(registry.stop().map { ObjectIdentifier($0) } == [ObjectIdentifier(channels[1])])
    #expect(registry.add(channels[3], hasHandshake: false) == .stopping)
    _ = try channels[1].finish()
    #expect(registry.count == 0)
  }
}
