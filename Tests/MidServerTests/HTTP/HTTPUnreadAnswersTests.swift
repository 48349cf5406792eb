import HTTPTypes
import MidCore
import NIOCore
import NIOEmbedded
import NIOHTTPTypes
import Synchronization
import Testing

@testable import MidServer

/// Stands for the codec and the socket: of an answer, the body's bytes, which wait until the client takes all.
private final class Socket: ChannelOutboundHandler {
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = ByteBuffer

  var takes = false
  var flushes = 0

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    if case .body(let bytes) = self.unwrapOutboundIn(data) {
      context.write(self.wrapOutboundOut(bytes), promise: promise)
    }
  }

  func flush(context: ChannelHandlerContext) {
    self.flushes += 1
    if self.takes { context.flush() }
  }
}

/// A connection with a socket whose client takes what it is told to.
private struct Line {
  let channel: EmbeddedChannel
  let socket = Socket()
  let memory: HTTPMemory
  let ends = Ends()
  /// The account's.
  let time = Time()

  final class Time: Sendable {
    private let state = Mutex(NIODeadline.uptimeNanoseconds(1))
    var now: NIODeadline { self.state.withLock { $0 } }
    func advance(by seconds: Int64) { self.state.withLock { $0 = $0 + .seconds(seconds) } }
  }

  final class Ends: Sendable {
    private let list = Mutex<[HTTPConnectionEnd]>([])
    var all: [HTTPConnectionEnd] { self.list.withLock { $0 } }
    func add(_ end: HTTPConnectionEnd) { self.list.withLock { $0.append(end) } }
  }

  init(limit: Int = 1 << 20) throws {
    let (ends, time) = (self.ends, self.time)
    let memory = HTTPMemory(limit: limit, now: { time.now })
    let limits = HTTPConnectionLimits(
      .init(maximumBody: 10, requestTimeout: .seconds(5), leastRate: 10, grace: .seconds(8)), memory: memory,
      onEnd: { ends.add($0) })
    self.memory = memory
    self.channel = EmbeddedChannel(handlers: [self.socket, limits])
    try self.channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
  }

  func ask(_ count: Int = 1) throws {
    for _ in 0..<count {
      let head = HTTPRequest(method: .get, scheme: "http", authority: "x", path: "/")
      for part in [HTTPRequestPart.head(head), .end(nil)] { self.channel.pipeline.fireChannelRead(part) }
    }
    self.channel.pipeline.fireChannelReadComplete()
  }

  func answer(_ bytes: Int) {
    self.channel.write(HTTPResponsePart.head(HTTPResponse(status: .ok)), promise: nil)
    self.channel.write(HTTPResponsePart.body(ByteBuffer(repeating: 0, count: bytes)), promise: nil)
    self.channel.writeAndFlush(HTTPResponsePart.end(nil), promise: nil)
  }

  /// The client takes all that waits, and what comes after.
  func take() {
    self.socket.takes = true
    self.channel.flush()
  }

  func wait(_ seconds: Int64) { self.channel.embeddedEventLoop.advanceTime(by: .seconds(seconds)) }
}

@Suite("Answers that an HTTP client does not read")
struct HTTPUnreadAnswersTests {
  @Test func theyAreCountedUntilTheyAreTaken() throws {
    let line = try Line()
    try line.ask()
    line.answer(50_000)
    #expect(line.memory.total == 50_000)
    try line.ask()
    line.answer(10_000)
    #expect(line.memory.total == 60_000)
    line.take()
    #expect(line.memory.total == 0)
    line.wait(60)
    #expect(line.channel.isActive && line.ends.all.isEmpty)
  }

  @Test func shortOnesAreSeenOnceTheyAreMany() throws {
    let line = try Line()
    for _ in 0..<10 {
      try line.ask()
      line.answer(1_000)
    }
    #expect(line.memory.total == 0)
    for _ in 0..<10 {
      try line.ask()
      line.answer(1_000)
    }
    // Since the last time that it was looked at, no more than what is few.
    #expect(line.memory.total > 0 && line.memory.total + HTTPMemory.few >= 20_000)
  }

  @Test func oneThatNobodyReadsIsCutOff() throws {
    let line = try Line()
    try line.ask()
    line.answer(50_000)
    line.wait(4)
    #expect(line.channel.isActive)
    line.wait(1)
    #expect(!line.channel.isActive && line.ends.all == [.stuck] && line.memory.total == 0)
  }

  @Test func moreThatIsWrittenIsNoReasonToWait() throws {
    let line = try Line()
    for _ in 0..<5 {
      try line.ask()
      line.answer(50_000)
      line.wait(1)
    }
    #expect(!line.channel.isActive && line.ends.all == [.stuck])
  }

  @Test func whatTheClientTookInTimeIsForgotten() throws {
    let line = try Line()
    for _ in 0..<3 {
      line.socket.takes = false
      try line.ask()
      line.answer(50_000)
      line.wait(4)
      line.take()
    }
    line.wait(60)
    #expect(line.channel.isActive && line.memory.total == 0)
  }

  @Test func requestsThatWaitAreCountedOnceTheyAreMany() throws {
    let line = try Line()
    line.socket.takes = true
    try line.ask(16)
    #expect(line.memory.total == 0)
    try line.ask(84)
    #expect(line.memory.total == 100 * 1024)
    for _ in 0..<84 { line.answer(10) }
    #expect(line.memory.total == 0)
    // They wait for the server: nobody is cut off for that.
    line.wait(60)
    #expect(line.channel.isActive)
  }

  @Test func whoReadsNothingGivesWayToTheNext() throws {
    let line = try Line(limit: 100_000)
    try line.ask()
    line.answer(90_000)
    let other = ObjectIdentifier(line.socket)
    #expect(throws: IDError.self) { try line.memory.reserve(20_000, for: other) }
    line.channel.embeddedEventLoop.run()
    #expect(line.channel.isActive)
    line.time.advance(by: 1)
    let room = try line.memory.reserve(20_000, for: other)
    line.channel.embeddedEventLoop.run()
    #expect(!line.channel.isActive && line.ends.all == [.memory])
    #expect(line.memory.total == 20_000 && room != nil)
  }

  @Test func whoHasTakenAllByThenStays() throws {
    let line = try Line(limit: 100_000)
    try line.ask()
    line.answer(90_000)
    line.time.advance(by: 1)
    let room = try line.memory.reserve(20_000, for: ObjectIdentifier(line.socket))
    line.take()
    line.channel.embeddedEventLoop.run()
    #expect(line.channel.isActive && line.ends.all.isEmpty)
    #expect(line.memory.total == 20_000 && room != nil)
  }

  @Test func aHeaderLeavesWithWhatFollowsIt() throws {
    let line = try Line()
    line.channel.writeAndFlush(HTTPResponsePart.head(HTTPResponse(status: .ok)), promise: nil)
    #expect(line.socket.flushes == 0)
    line.channel.writeAndFlush(HTTPResponsePart.body(ByteBuffer(string: "x")), promise: nil)
    #expect(line.socket.flushes == 1)
    line.channel.writeAndFlush(HTTPResponsePart.end(nil), promise: nil)
    #expect(line.socket.flushes == 2)
    for (part, flushes) in [(HTTPResponsePart.head(HTTPResponse(status: .continue)), 3), (.end(nil), 4)] {
      line.channel.writeAndFlush(part, promise: nil)
      #expect(line.socket.flushes == flushes)
    }
  }

  @Test func aServerThatIsDoneWaitsForTheClientToTakeTheRest() throws {
    let line = try Line()
    try line.ask()
    line.answer(50_000)
    let closed = line.channel.close()
    line.wait(4)
    #expect(line.channel.isActive)
    // Nothing more is taken from it.
    try line.ask()
    _ = try line.channel.readInbound(as: HTTPRequestPart.self)
    _ = try line.channel.readInbound(as: HTTPRequestPart.self)
    #expect(try line.channel.readInbound(as: HTTPRequestPart.self) == nil)
    line.take()
    line.channel.embeddedEventLoop.run()
    #expect(!line.channel.isActive && line.ends.all.isEmpty)
    try closed.wait()
  }

  @Test func aServerThatIsDoneWaitsForNobodyWhoReadsNothing() throws {
    let line = try Line()
    try line.ask()
    line.answer(50_000)
    let closed = line.channel.close()
    line.wait(5)
    #expect(!line.channel.isActive && line.ends.all == [.stuck] && line.memory.total == 0)
    try closed.wait()
  }

  @Test func aRequestThatDoesNotComeWholeIsCountedAsSuch() throws {
    let line = try Line()
    line.channel.pipeline.fireChannelRead(
      HTTPRequestPart.head(HTTPRequest(method: .post, scheme: "http", authority: "x", path: "/")))
    line.channel.pipeline.fireChannelReadComplete()
    line.wait(5)
    #expect(!line.channel.isActive && line.ends.all == [.halfSent])
  }
}
