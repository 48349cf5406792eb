package import NIOCore
import NIOPosix

/// Asks NTP servers for the time, one datagram each (SNTP, RFC 5905 section 14).
package struct SNTPClient: Sendable {
  /// How long an answer may take.
  package static let timeout: Duration = .seconds(1)

  private let clock: SystemClock
  private let group: any EventLoopGroup

  /// Creates a client.
  package init(clock: SystemClock, group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton) {
    self.clock = clock
    self.group = group
  }

  /// The system's resolver blocks, for as long as it likes: on threads that nobody else waits for.
  private static let resolver: NIOThreadPool = {
    let pool = NIOThreadPool(numberOfThreads: 2)
    pool.start()
    return pool
  }()

  /// Asks one server once. Takes twice ``timeout`` at most, the name's resolution included.
  package func ask(_ server: HostPort) async -> Result<SNTPSample, SNTPFailure> {
    let loop = self.group.next()
    let answer = loop.makePromise(of: Result<SNTPSample, SNTPFailure>.self)
    let clock = self.clock
    let limit = loop.scheduleTask(in: .milliseconds(2 * Self.timeout.wholeMilliseconds)) {
      answer.succeed(.failure(.timeout))
    }
    Self.resolver.runIfActive(eventLoop: loop) {
      try SocketAddress.makeAddressResolvingHost(server.host, port: server.port)
    }.flatMap { address in
      // Connected, so that the kernel passes on datagrams of the asked address only, and each question has a fresh port.
      DatagramBootstrap(group: loop)
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(SNTPHandler(server: address, clock: clock, answer: answer))
          }
        }
        .connect(to: address)
    }.whenFailure { error in
      let reason = (error as? IOError).map { SystemError.text($0.errnoCode) } ?? "\(error)"
      answer.succeed(.failure(.unreachable(reason)))
    }
    defer { limit.cancel() }
    do {
      return try await withTaskCancellationHandler {
        try await answer.futureResult.get()
      } onCancel: {
        answer.succeed(.failure(.unreachable("the question was given up")))
      }
    } catch {
      return .failure(.unreachable("\(error)"))
    }
  }
}

/// Sends the question, and waits for the datagram that answers it.
private final class SNTPHandler: ChannelInboundHandler {
  typealias InboundIn = AddressedEnvelope<ByteBuffer>
  typealias OutboundOut = AddressedEnvelope<ByteBuffer>

  private let server: SocketAddress
  private let clock: SystemClock
  private let answer: EventLoopPromise<Result<SNTPSample, SNTPFailure>>
  private var exchange: SNTPExchange?
  private var sentAt = ClockHealth.Moment(wall: 0, monotonic: 0)
  private var timer: Scheduled<Void>?

  init(server: SocketAddress, clock: SystemClock, answer: EventLoopPromise<Result<SNTPSample, SNTPFailure>>) {
    self.server = server
    self.clock = clock
    self.answer = answer
  }

  func channelActive(context: ChannelHandlerContext) {
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    self.timer = context.eventLoop.scheduleTask(in: .milliseconds(SNTPClient.timeout.wholeMilliseconds)) {
      let (handler, context) = bound.value
      handler.finish(.failure(.timeout), context: context)
    }
    self.sentAt = ClockMonitor.moment(of: self.clock)
    let exchange = SNTPExchange(nonce: .random(in: 1 ... .max), sentAt: self.sentAt.wall)
    self.exchange = exchange
    let envelope = AddressedEnvelope(remoteAddress: self.server, data: ByteBuffer(bytes: exchange.request))
    context.writeAndFlush(self.wrapOutboundOut(envelope), promise: nil)
    context.fireChannelActive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let arrivedAt = self.clock.monotonicNanoseconds()
    let envelope = self.unwrapInboundIn(data)
    guard envelope.remoteAddress == self.server, let exchange = self.exchange else { return }
    let elapsed = Int64(clamping: arrivedAt &- self.sentAt.monotonic)
    guard case .done(let result) = exchange.judge(Array(envelope.data.readableBytesView), elapsed: elapsed) else {
      return
    }
    let difference = self.sentAt.difference
    self.finish(
      result.map { sample in
        var sample = sample
        sample.clockDifference = difference
        return sample
      }, context: context)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // A closed port answers a connected socket by ICMP, which comes in as an error of the next system call.
    let reason = (error as? IOError).map { SystemError.text($0.errnoCode) } ?? "\(error)"
    self.finish(.failure(.unreachable(reason)), context: context)
  }

  func channelInactive(context: ChannelHandlerContext) {
    self.finish(.failure(.unreachable("the question was given up")), context: context)
    context.fireChannelInactive()
  }

  private func finish(_ result: Result<SNTPSample, SNTPFailure>, context: ChannelHandlerContext) {
    guard self.exchange != nil else { return }
    self.exchange = nil
    self.timer?.cancel()
    self.answer.succeed(result)
    context.close(promise: nil)
  }
}
