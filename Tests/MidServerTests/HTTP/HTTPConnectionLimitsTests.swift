import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTPTypes
import Testing

@testable import MidServer

@Suite("What one HTTP connection may cost")
struct HTTPConnectionLimitsTests {
  private func channel() throws -> EmbeddedChannel {
    let channel = EmbeddedChannel(
      handler: HTTPConnectionLimits(
        .init(maximumBody: 10, requestTimeout: .seconds(5), leastRate: 10, grace: .seconds(8))))
    try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    return channel
  }

  private func head(length: String? = nil) -> HTTPRequestPart {
    var request = HTTPRequest(method: .post, scheme: "http", authority: "x", path: "/")
    request.headerFields[.contentLength] = length
    return .head(request)
  }

  private func body(_ count: Int) -> HTTPRequestPart { .body(ByteBuffer(repeating: 0x61, count: count)) }

  /// The status of what was answered before the server was asked, if anything was.
  private func refusal(_ channel: EmbeddedChannel, hasContent: Bool = true) throws -> Int? {
    guard case .head(let head) = try channel.readOutbound(as: HTTPResponsePart.self) else { return nil }
    #expect(head.headerFields[.connection] == "close")
    guard hasContent else {
      guard case .end = try channel.readOutbound(as: HTTPResponsePart.self) else { return nil }
      return head.status.code
    }
    guard case .body(let bytes) = try channel.readOutbound(as: HTTPResponsePart.self) else { return nil }
    #expect(head.headerFields[.contentLength] == "\(bytes.readableBytes)")
    return head.status.code
  }

  @Test func aBodyWithinTheLimitIsPassedOn() throws {
    let channel = try self.channel()
    for part in [self.head(length: "10"), self.body(4), self.body(6), .end(nil)] { try channel.writeInbound(part) }
    var parts = 0
    while try channel.readInbound(as: HTTPRequestPart.self) != nil { parts += 1 }
    #expect(parts == 4 && channel.isActive)
    #expect(try self.refusal(channel) == nil)
    // Nothing is timed any more.
    channel.embeddedEventLoop.advanceTime(by: .seconds(60))
    #expect(channel.isActive)
  }

  @Test(arguments: ["11", "99999999999999999999", "-1", "x"])
  func aBodyThatIsAnnouncedTooLongIsNotRead(_ length: String) throws {
    let channel = try self.channel()
    try channel.writeInbound(self.head(length: length))
    // A length below zero or none at all is for the decoder to refuse.
    #expect(try self.refusal(channel) == (length == "-1" ? nil : 413))
    guard length != "-1" else { return }
    try channel.writeInbound(self.body(1))
    #expect(try channel.readInbound(as: HTTPRequestPart.self) == nil)
    channel.embeddedEventLoop.advanceTime(by: .seconds(1))
    #expect(!channel.isActive)
  }

  @Test(arguments: [HTTPRequest.Method.get, .head])
  func aRequestWithoutAHostIsNotRead(_ method: HTTPRequest.Method) throws {
    let channel = try self.channel()
    try channel.writeInbound(
      HTTPRequestPart.head(HTTPRequest(method: method, scheme: "http", authority: nil, path: "/")))
    #expect(try self.refusal(channel, hasContent: method != .head) == 400)
    #expect(try channel.readInbound(as: HTTPRequestPart.self) == nil)
    channel.embeddedEventLoop.advanceTime(by: .seconds(1))
    #expect(!channel.isActive)
  }

  @Test func aBodyThatGrowsTooLongIsRefusedWhereItDoes() throws {
    let channel = try self.channel()
    try channel.writeInbound(self.head())
    try channel.writeInbound(self.body(10))
    #expect(try self.refusal(channel) == nil)
    try channel.writeInbound(self.body(1))
    #expect(try self.refusal(channel) == 413)
  }

  private func answer(_ channel: EmbeddedChannel, _ status: HTTPResponse.Status = .ok) throws {
    channel.write(HTTPResponsePart.head(HTTPResponse(status: status)), promise: nil)
    try channel.writeOutbound(HTTPResponsePart.end(nil))
    guard case .head(let head) = try channel.readOutbound(as: HTTPResponsePart.self) else {
      Issue.record("no answer")
      return
    }
    #expect(head.status == status)
    guard case .end = try channel.readOutbound(as: HTTPResponsePart.self) else {
      Issue.record("no end")
      return
    }
  }

  /// A head whose client waits for a word before it sends the body.
  private func waiting(length: String = "10") -> HTTPRequestPart {
    guard case .head(var request) = self.head(length: length) else { return self.head() }
    request.headerFields[.expect] = "100-Continue"
    return .head(request)
  }

  private func isTold(_ channel: EmbeddedChannel) throws -> Bool {
    guard let part = try channel.readOutbound(as: HTTPResponsePart.self) else { return false }
    return part == .head(HTTPResponse(status: .continue))
  }

  @Test func aClientThatWaitsIsToldToSendItsBody() throws {
    let channel = try self.channel()
    try channel.writeInbound(self.waiting())
    #expect(try self.isTold(channel))
    try channel.writeInbound(self.body(4))
    try channel.writeInbound(self.body(6))
    try channel.writeInbound(HTTPRequestPart.end(nil))
    #expect(try channel.readOutbound(as: HTTPResponsePart.self) == nil)
    try self.answer(channel)
    #expect(try channel.readOutbound(as: HTTPResponsePart.self) == nil)
    // Its body comes at once: nobody waits.
    for part in [self.waiting(), self.body(4)] { channel.pipeline.fireChannelRead(part) }
    channel.pipeline.fireChannelReadComplete()
    #expect(try channel.readOutbound(as: HTTPResponsePart.self) == nil)
  }

  @Test func aClientThatWaitsIsToldInItsTurnOrNotAtAll() throws {
    let channel = try self.channel()
    for part in [self.head(), .end(nil), self.waiting()] { try channel.writeInbound(part) }
    #expect(try channel.readOutbound(as: HTTPResponsePart.self) == nil)
    try self.answer(channel)
    #expect(try self.isTold(channel))
    // What has its answer already needs no body.
    let other = try self.channel()
    for part in [self.head(), .end(nil), self.waiting()] { try other.writeInbound(part) }
    channel.pipeline.fireChannelReadComplete()
    try self.answer(other)
    #expect(try self.isTold(other))
    try self.answer(other, .methodNotAllowed)
    try other.writeInbound(self.body(1))
    #expect(try other.readOutbound(as: HTTPResponsePart.self) == nil)
    let tooLong = try self.channel()
    try tooLong.writeInbound(self.waiting(length: "11"))
    #expect(try self.refusal(tooLong) == 413)
  }

  @Test func aRefusalComesAfterTheAnswersToRequestsBefore() throws {
    for bodies in [[self.head(length: "11")], [self.head(), self.body(11)]] {
      let channel = try self.channel()
      for part in [self.head(), .end(nil)] + [self.head(), .end(nil)] + bodies { try channel.writeInbound(part) }
      #expect(try self.refusal(channel) == nil)
      try self.answer(channel)
      #expect(try self.refusal(channel) == nil)
      try self.answer(channel)
      #expect(try self.refusal(channel) == 413)
      // A late answer of the server's to the request itself goes nowhere.
      #expect(throws: (any Error).self) {
        try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
      }
      channel.embeddedEventLoop.advanceTime(by: .seconds(1))
      #expect(!channel.isActive)
    }
  }

  @Test func aRequestThatHasItsAnswerGetsNoSecondOne() throws {
    for isWhole in [true, false] {
      let channel = try self.channel()
      try channel.writeInbound(self.head())
      try channel.writeInbound(self.body(10))
      if isWhole {
        try self.answer(channel, .unsupportedMediaType)
        try channel.writeInbound(self.body(1))
      } else {
        channel.write(HTTPResponsePart.head(HTTPResponse(status: .unsupportedMediaType)), promise: nil)
        try channel.writeInbound(self.body(1))
        try channel.writeOutbound(HTTPResponsePart.end(nil))
        for _ in 0..<2 { #expect(try channel.readOutbound(as: HTTPResponsePart.self) != nil) }
      }
      #expect(try self.refusal(channel) == nil)
      channel.embeddedEventLoop.advanceTime(by: .seconds(1))
      #expect(!channel.isActive)
    }
  }

  @Test func eachRequestHasALimitOfItsOwn() throws {
    let channel = try self.channel()
    for _ in 0..<3 {
      for part in [self.head(), self.body(10), .end(nil)] { try channel.writeInbound(part) }
    }
    #expect(try self.refusal(channel) == nil && channel.isActive)
  }

  @Test func aRequestThatDoesNotComeToItsEndIsCutOff() throws {
    let channel = try self.channel()
    try channel.writeInbound(self.head())
    for _ in 0..<4 {
      channel.embeddedEventLoop.advanceTime(by: .seconds(1))
      try channel.writeInbound(self.body(1))
    }
    #expect(channel.isActive)
    // Bytes that trickle in do not start it anew.
    channel.embeddedEventLoop.advanceTime(by: .seconds(1))
    #expect(!channel.isActive)
  }

  @Test func aServerThatStopsWaitsForTheGraceTimeOnly() throws {
    let channel = try self.channel()
    channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
    channel.embeddedEventLoop.advanceTime(by: .seconds(7))
    #expect(channel.isActive)
    channel.embeddedEventLoop.advanceTime(by: .seconds(1))
    #expect(!channel.isActive)
  }
}
