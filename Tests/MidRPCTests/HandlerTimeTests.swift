import NIOCore
import NIOEmbedded
import NIOHPACK
import Synchronization
import Testing

@testable import MidRPC

@Suite("A connection's times")
struct HandlerTimeTests {
  private static let echo = RPCMethod(path: "/test.Echo/Reverse") { _, message, response in
    response.writeBytes(message)
    return .reply
  }

  /// A connection on a loop whose time stands still until it is moved.
  private final class Connection {
    let loop = EmbeddedEventLoop()
    let channel: EmbeddedChannel
    let observer = RecordingObserver()
    let memory: RPCMemory
    var reader = FrameReader()

    init(_ timeouts: RPCTimeouts = RPCTimeouts(), limits: RPCLimits = RPCLimits(), memory: Int = 1 << 20) throws {
      self.channel = EmbeddedChannel(loop: self.loop)
      self.memory = RPCMemory(limit: memory, connections: 1000)
      try self.channel.pipeline.syncOperations.addHandler(
        RPCConnectionHandler(
          methods: [HandlerTimeTests.echo], routes: RPCRoutes([HandlerTimeTests.echo]), limits: limits,
          timeouts: timeouts, memory: self.memory, observer: self.observer, eventLoop: self.loop))
      try self.channel.connect(to: SocketAddress(unixDomainSocketPath: "/peer")).wait()
    }

    func send(_ bytes: [UInt8]) throws { try self.channel.writeInbound(ByteBuffer(bytes: bytes)) }

    func greet() throws { try self.send(connectionPreface + Peer.frame(FrameType.settings, 0, 0)) }

    func received() throws -> [SeenFrame] {
      var frames: [SeenFrame] = []
      while let bytes = try self.channel.readOutbound(as: ByteBuffer.self) { frames += try self.reader.frames(bytes) }
      return frames
    }

    func pass(_ time: TimeAmount) { self.loop.advanceTime(by: time) }

    var ends: [RPCConnectionEnd] { self.observer.state.withLock { $0.ends } }
  }

  @Test func `a connection that ends while input waits for its output gives its memory back`() throws {
    let connection = try Connection(memory: 20_000)
    try connection.greet()
    var peer = try Peer.established()
    // Twice what is answered in one turn; the rest is more than the connection's share of the memory.
    let calls = (0..<500).flatMap { peer.call(UInt32(2 * $0 + 1), [UInt8](repeating: 7, count: 1000)) }
    try connection.send(Peer.window(0, 1 << 24) + calls)
    connection.loop.run()
    #expect(try connection.received().goAwayCode == .enhanceYourCalm)
    #expect(connection.ends == [.memory])
    #expect(connection.memory.total == 0)
    // What still comes is read, so that the kernel has no reason to throw the GOAWAY away.
    try connection.send(calls)
    #expect(try connection.received().isEmpty)
  }

  @Test func `header blocks past their turn wait for the clock, as the loop alone would let nobody in between`() throws
  {
    let connection = try Connection()
    try connection.greet()
    _ = try connection.received()
    var peer = try Peer.established()
    let calls = (0..<100).flatMap { index in
      let field = ("k\(index)", String(repeating: "v", count: 100))
      return peer.call(UInt32(2 * index + 1), [7], fields: Peer.head(extra: [field]), indexing: .indexable)
    }
    try connection.send(calls)
    var turns = [try connection.received().count / 3]
    connection.loop.run()
    #expect(try connection.received().isEmpty)
    while turns.reduce(0, +) < 100, turns.count < 20 {
      connection.pass(.microseconds(20))
      turns.append(try connection.received().count / 3)
    }
    #expect(turns.reduce(0, +) == 100 && turns.allSatisfy { (1...60).contains($0) }, "\(turns)")
  }

  @Test func `a client that says nothing is closed in time, and one that does is not`() throws {
    let silent = try Connection()
    silent.pass(.seconds(9))
    #expect(silent.channel.isActive)
    silent.pass(.seconds(6))
    #expect(!silent.channel.isActive)
    #expect(silent.ends == [.handshake])
    let spoken = try Connection()
    try spoken.greet()
    spoken.pass(.seconds(50))
    #expect(spoken.channel.isActive)
  }

  @Test func `a quiet client is asked by PING, and closed when it does not answer`() throws {
    let connection = try Connection()
    try connection.greet()
    _ = try connection.received()
    connection.pass(.seconds(58))
    #expect(try connection.received() == [])
    connection.pass(.seconds(7))
    let seen = try connection.received()
    guard case .ping(let data, ack: false)? = seen.first, seen.count == 1 else {
      Issue.record("\(seen)")
      return
    }
    let answer = withUnsafeBytes(of: data.bigEndian) { Array($0) }
    try connection.send(Peer.frame(FrameType.ping, FrameFlags.ack, 0, answer))
    connection.pass(.seconds(50))
    #expect(try connection.received() == [])
    #expect(connection.channel.isActive)
    connection.pass(.seconds(40))
    #expect(!connection.channel.isActive)
    #expect(connection.ends == [.keepalive])
  }

  @Test func `an idle or old connection is asked to end`() throws {
    var timeouts = RPCTimeouts()
    timeouts.idle = .seconds(30)
    let idle = try Connection(timeouts)
    try idle.greet()
    idle.pass(.seconds(29))
    _ = try idle.received()
    idle.pass(.seconds(10))
    #expect(try idle.received().last == .goAway(last: 0, .noError))
    #expect(idle.ends == [.idle])
    timeouts = RPCTimeouts()
    timeouts.age = .seconds(100)
    let old = try Connection(timeouts)
    try old.greet()
    var peer = Peer()
    for index in 0..<12 {
      old.pass(.seconds(10))
      guard old.channel.isActive else { break }
      if old.ends.isEmpty { try old.send(peer.call(UInt32(2 * index + 1))) }
    }
    #expect(try old.received().contains(.goAway(last: 0x7fff_ffff, .noError)))
    #expect(old.ends == [.age])
  }

  @Test func `a request that does not come whole is refused in time`() throws {
    let connection = try Connection()
    var peer = Peer()
    try connection.greet()
    try connection.send(peer.headers(1))
    _ = try connection.received()
    connection.pass(.seconds(29))
    #expect(try connection.received() == [])
    connection.pass(.seconds(7))
    #expect(try connection.received().last == .reset(stream: 1, .noError))
  }

  @Test func `a frame or a header block that only trickles in ends its connection in time`() throws {
    let beginnings = [
      Array(Peer.data(1, [0]).prefix(3)),
      Array(Peer.frame(FrameType.headers, FrameFlags.endHeaders, 1, [UInt8](repeating: 0, count: 300)).prefix(20)),
      Peer.frame(FrameType.headers, 0, 1, [0x83]),
    ]
    let continuation = Peer.frame(FrameType.continuation, 0, 1)
    for (index, beginning) in beginnings.enumerated() {
      let connection = try Connection()
      try connection.greet()
      connection.pass(.seconds(40))
      try connection.send(beginning)
      for _ in 0..<5 {
        connection.pass(.seconds(5))
        if index > 0 { try connection.send(index == 1 ? [0] : continuation) }
      }
      #expect(connection.ends == [], "beginning \(index)")
      connection.pass(.seconds(11))
      #expect(try connection.received().last == .goAway(last: 0, .enhanceYourCalm), "beginning \(index)")
      #expect(connection.ends == [.stuck], "beginning \(index)")
    }
  }

  @Test func `a request that comes in pieces without end is not held against the frames it is made of`() throws {
    let connection = try Connection()
    var peer = Peer()
    try connection.greet()
    for index in 0..<30 {
      let call = peer.call(UInt32(2 * index + 1))
      // Each read ends with half a frame, which the next one completes.
      try connection.send(Array(call.prefix(5)))
      connection.pass(.seconds(4))
      try connection.send(Array(call.dropFirst(5)))
    }
    #expect(connection.channel.isActive)
    #expect(connection.ends == [])
  }

  /// Counts the reads that reach the socket.
  private final class ReadCounter: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer

    var reads = 0

    func read(context: ChannelHandlerContext) {
      self.reads += 1
      context.read()
    }
  }

  @Test func `a client that does not read is not read from until it does`() throws {
    let connection = try Connection()
    let counter = ReadCounter()
    try connection.channel.pipeline.syncOperations.addHandler(counter, position: .first)
    try connection.greet()
    connection.channel.isWritable = false
    connection.channel.pipeline.fireChannelWritabilityChanged()
    let before = counter.reads
    connection.channel.pipeline.read()
    #expect(counter.reads == before)
    connection.channel.isWritable = true
    connection.channel.pipeline.fireChannelWritabilityChanged()
    connection.loop.run()
    #expect(counter.reads == before + 1)
  }

  @Test func `a client that does not read is closed in time`() throws {
    let connection = try Connection()
    try connection.greet()
    connection.channel.isWritable = false
    connection.channel.pipeline.fireChannelWritabilityChanged()
    connection.pass(.seconds(29))
    #expect(connection.channel.isActive)
    connection.pass(.seconds(6))
    #expect(!connection.channel.isActive)
    #expect(connection.ends == [.stuck])
  }

  @Test func `a connection that holds more than its share of a full memory is ended`() throws {
    let connection = try Connection(memory: 20_000)
    var peer = Peer()
    try connection.greet()
    try connection.send(peer.headers(1) + Peer.data(1, [0, 0, 0, 0xff, 0] + [UInt8](repeating: 1, count: 16_000)))
    #expect((16_005...32_100).contains(connection.memory.total))
    #expect(connection.ends.isEmpty)
    try connection.send(Peer.data(1, [UInt8](repeating: 1, count: 10_000)))
    #expect(connection.ends == [.memory])
    #expect(try connection.received().goAwayCode == .enhanceYourCalm)
    #expect(connection.memory.total == 0)
  }

  @Test func `a flood and a broken rule are told apart`() throws {
    var limits = RPCLimits()
    limits.maxUnproductiveFrames = 10
    let flood = try Connection(limits: limits)
    try flood.greet()
    for _ in 0..<20 { try flood.send(Peer.frame(FrameType.settings, 0, 0)) }
    #expect(flood.ends == [.flood])
    let broken = try Connection()
    try broken.send([UInt8]("GET / HTTP/1.1\r\n\r\n\r\n\r\n\r\n\r\n".utf8))
    #expect(broken.ends == [.protocolError])
  }
}
