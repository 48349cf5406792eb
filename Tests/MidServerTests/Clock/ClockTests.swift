import MidServer
import NIOCore
import NIOPosix
import Testing

@Suite struct ClockTests {
  @Test func theWallClockIsPast2020AndBothReadingsAgree() {
    let clock = SystemClock()
    let milliseconds = clock.wallMilliseconds()
    let nanoseconds = clock.wallNanoseconds()
    #expect(milliseconds > 1_577_836_800_000)
    #expect(abs(nanoseconds / 1_000_000 - milliseconds) < 60_000)
  }

  @Test func theMonotonicClockNeverFalls() {
    let clock = SystemClock()
    var last = clock.monotonicNanoseconds()
    for _ in 0..<10_000 {
      let now = clock.monotonicNanoseconds()
      #expect(now >= last)
      last = now
    }
  }

  @Test func theKernelsViewIsExportedWhereItCanBeAsked() {
    let registry = PrometheusRegistry()
    KernelClock.register(in: registry) {
      KernelClock(isSynchronized: true, leap: -1, estimatedError: .microseconds(250), maximumError: .milliseconds(16))
    }
    let page = registry.scrape()
    #expect(page.contains("\nmid_clock_kernel_synchronized 1\n"))
    #expect(page.contains("\nmid_clock_kernel_leap -1\n"))
    #expect(page.contains("\nmid_clock_kernel_estimated_error_seconds 0.00025\n"))
    #expect(page.contains("\nmid_clock_kernel_maximum_error_seconds 0.016\n"))
    let silent = PrometheusRegistry()
    KernelClock.register(in: silent) { nil }
    #expect(silent.scrape().isEmpty)
  }

  @Test(.timeLimit(.minutes(10))) func aServerOnAnotherPortIsAskedOverUDP() async throws {
    let server = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(FakeNTPServer(ahead: 3_000_000_000))
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let port = try #require(server.localAddress?.port)
    let answer = await SNTPClient(clock: SystemClock()).ask(HostPort(host: "127.0.0.1", port: port))
    let sample = try answer.get()
    #expect(abs((sample.offset - .seconds(3)) / .milliseconds(1)) < 500)
    #expect(sample.stratum == 1)
    try await server.close()
    let closed = await SNTPClient(clock: SystemClock()).ask(HostPort(host: "127.0.0.1", port: port))
    // The system says that nobody listens, but no more often than it likes: then the question runs into its timeout.
    #expect(closed == .failure(.timeout) || closed == .failure(.unreachable("Connection refused")))
  }

  @Test(.timeLimit(.minutes(10))) func aSilentServerCostsOneTimeout() async throws {
    let server = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .bind(host: "127.0.0.1", port: 0).get()
    let port = try #require(server.localAddress?.port)
    let answer = await SNTPClient(clock: SystemClock()).ask(HostPort(host: "127.0.0.1", port: port))
    #expect(answer == .failure(.timeout))
    try await server.close()
  }
}

/// Answers each question with a forged answer first, then with the right one, by a clock that is ahead of ours.
private final class FakeNTPServer: ChannelInboundHandler {
  typealias InboundIn = AddressedEnvelope<ByteBuffer>
  typealias OutboundOut = AddressedEnvelope<ByteBuffer>

  private let ahead: Int64

  init(ahead: Int64) {
    self.ahead = ahead
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let envelope = self.unwrapInboundIn(data)
    guard let question = NTPPacket(Array(envelope.data.readableBytesView)) else { return }
    var answer = NTPPacket(requestWith: NTPTimestamp(unixNanoseconds: SystemClock().wallNanoseconds() + self.ahead))
    answer.mode = 4
    answer.stratum = 1
    answer.receive = answer.transmit
    for origin in [NTPTimestamp(bits: 1), question.transmit] {
      answer.origin = origin
      let reply = AddressedEnvelope(remoteAddress: envelope.remoteAddress, data: ByteBuffer(bytes: answer.bytes))
      context.writeAndFlush(self.wrapOutboundOut(reply), promise: nil)
    }
  }
}
