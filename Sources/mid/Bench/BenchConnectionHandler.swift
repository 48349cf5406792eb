import MidRPC
import NIOCore

/// Joins a client connection's state machine to its socket: the requests of one burst leave in one write.
final class BenchConnectionHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let lane: BenchLane
  private(set) var machine: ClientConnectionStateMachine
  private var output = ByteBuffer()
  private var context: ChannelHandlerContext?
  /// Whether the server's settings have come.
  private(set) var wasReady = false
  private var isLeaving = false
  /// What broke the connection, where something is known.
  private(set) var failure: (any Error)?

  /// Creates a connection of `lane`, on the lane's event loop.
  init(lane: BenchLane) {
    self.lane = lane
    self.machine = ClientConnectionStateMachine(template: lane.template, calls: lane.plan.inFlight)
  }

  func handlerAdded(context: ChannelHandlerContext) {
    // Behind TLS it comes when the handshake is done.
    if context.channel.isActive { self.begin(context) }
  }

  func channelActive(context: ChannelHandlerContext) {
    self.begin(context)
    context.fireChannelActive()
  }

  private func begin(_ context: ChannelHandlerContext) {
    self.context = context
    self.lane.opened(self)
    self.machine.open(output: &self.output)
    self.flush()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let bytes = self.unwrapInboundIn(data)
    var receiver = Receiver(lane: self.lane, now: self.lane.now)
    bytes.withUnsafeReadableBytes { self.machine.receive($0, receiver: &receiver, output: &self.output) }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    if !self.wasReady && self.machine.isOpen {
      self.wasReady = true
      self.lane.ready(self)
    }
    if !self.machine.isOpen { self.lane.leaving(self) }
    self.lane.topUp()
    self.flush()
    context.fireChannelReadComplete()
  }

  func channelInactive(context: ChannelHandlerContext) {
    self.end(self.failure.map { "the connection broke: \($0)" } ?? "the server closed the connection")
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    self.failure = error
    context.close(promise: nil)
  }

  private func end(_ reason: String) {
    self.context = nil
    let farewell = self.machine.farewell.map { $0.reason.isEmpty ? "GOAWAY (\($0.code))" : "GOAWAY: \($0.reason)" }
    var receiver = Receiver(lane: self.lane, now: self.lane.now)
    self.machine.close(farewell ?? reason, receiver: &receiver)
    self.lane.closed(self)
  }

  // MARK: - For the lane

  /// Whether at least one reply came on it.
  var wasOfUse: Bool { self.machine.hasReplied }

  /// Begins a call; ``flush()`` sends it.
  @inline(__always)
  func start(_ ticket: CallTicket) { self.machine.start(ticket, output: &self.output) }

  /// Takes the streams whose reply has come and that may send their next request.
  func takeAnswered() -> [UInt32] {
    guard !self.machine.answered.isEmpty else { return [] }
    return self.machine.takeAnswered()
  }

  /// Sends the next request of a stream; false where it is over.
  func sendNext(_ stream: UInt32, _ ticket: CallTicket) -> Bool {
    self.machine.sendNext(stream, ticket, output: &self.output)
  }

  /// Ends a stream in order.
  func finish(_ stream: UInt32) { self.machine.finish(stream, output: &self.output) }

  /// Gives up calls that have waited too long.
  func expire(sentBefore time: UInt64) {
    var receiver = Receiver(lane: self.lane, now: self.lane.now)
    self.machine.expire(sentBefore: time, receiver: &receiver, output: &self.output)
  }

  /// Sends what has gathered, and closes the connection once nothing more will come of it.
  func flush() {
    guard let context = self.context else { return }
    if self.output.readableBytes > 0 {
      context.writeAndFlush(self.wrapOutboundOut(self.output), promise: nil)
      self.output.clear(minimumCapacity: self.output.capacity > 1 << 20 ? 0 : self.output.capacity)
    }
    if self.machine.isDone && !self.isLeaving {
      self.isLeaving = true
      context.close(promise: nil)
    }
  }

  /// Closes the connection at the run's end.
  func close() {
    guard let context = self.context, !self.isLeaving else { return }
    self.isLeaving = true
    self.machine.sayGoodbye(output: &self.output)
    context.writeAndFlush(self.wrapOutboundOut(self.output), promise: nil)
    self.output = ByteBuffer()
    context.close(promise: nil)
  }

  /// Leads what the machine tells to the lane.
  private struct Receiver: ClientCallReceiver {
    let lane: BenchLane
    let now: UInt64

    @inline(__always)
    mutating func received(_ message: UnsafeRawBufferPointer, ticket: inout CallTicket) {
      self.lane.received(message, ticket: &ticket, now: self.now)
    }

    @inline(__always)
    mutating func ended(_ ticket: CallTicket, status: RPCStatus) {
      self.lane.ended(ticket, status, now: self.now)
    }

    mutating func unprocessed(_ ticket: CallTicket) { self.lane.unprocessed(ticket, now: self.now) }
  }
}
