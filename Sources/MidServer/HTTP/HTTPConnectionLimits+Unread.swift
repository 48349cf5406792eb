import MidRPC
import NIOCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Why the server ended an HTTP connection that broke a bound of time or memory.
enum HTTPConnectionEnd: String, Sendable, CaseIterable {
  /// A request did not come whole in time.
  case halfSent = "half_sent"
  /// All connections held too much together, and the client of this one did not take what it asked for.
  case memory
  /// The client took less of an answer than the least rate.
  case slow
  /// The client took nothing of an answer for too long.
  case stuck
}

/// What of a connection's answers its client does not take, and how long that may last.
extension HTTPConnectionLimits {
  /// What the connection does not get rid of.
  struct Unread {
    /// Requests that a connection may have sent ahead without being counted for them.
    static let fewRequests = 16
    /// What a request that waits for its turn takes, about: its header, decoded.
    static let request = 1024
    /// What the header of an answer takes, about.
    static let head = 256

    /// Bytes that were written since it was last seen how many the system has not taken.
    var unsettled = 0
    /// Bytes that the account knows of.
    var held = 0
    /// Whether nothing is waited for any more.
    var isClosing = false
    /// Whether the connection is gone, and holds nothing.
    fileprivate var isGone = false
    /// Whether the connection is to be closed once its client has taken all.
    var closesAfter = false
    fileprivate var watch: HTTPReadingWatch?
    fileprivate var timer: RepeatedTask?
  }

  /// Sees how much the connection holds, tells the account, and watches the client while it is any.
  func settle(_ context: ChannelHandlerContext) {
    guard !self.unread.isGone else { return }
    let channel = context.channel
    let waiting = channel.unsentBytes
    self.unread.unsettled = 0
    if waiting == 0 {
      self.unread.watch = nil
      if self.unread.closesAfter { return self.closeNow(channel, for: nil) }
    } else if self.unread.watch == nil {
      self.unread.watch = HTTPReadingWatch(
        unread: waiting + Self.untakenBytes(channel), at: context.eventLoop.now, patience: self.bounds.requestTimeout,
        rate: self.bounds.leastRate)
    } else {
      self.unread.watch?.wrote(unread: waiting + Self.untakenBytes(channel))
    }
    self.tellIfIdle(waiting)
    let requests = self.order.open > Unread.fewRequests ? self.order.open * Unread.request : 0
    self.hold(waiting + requests, context)
  }

  private func hold(_ bytes: Int, _ context: ChannelHandlerContext) {
    let (channel, loop) = (context.channel, context.eventLoop)
    let bound = NIOLoopBound((handler: self, context: context), eventLoop: loop)
    if bytes != self.unread.held {
      self.unread.held = bytes
      self.memory?.hold(bytes, by: ObjectIdentifier(channel)) {
        loop.execute { bound.value.handler.giveWay(bound.value.context) }
      }
    }
    if bytes == 0 {
      self.unread.timer?.cancel()
      self.unread.timer = nil
    } else if self.unread.timer == nil {
      let interval = min(.seconds(1), TimeAmount.nanoseconds(max(1, self.bounds.requestTimeout.nanoseconds / 4)))
      self.unread.timer = loop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
        bound.value.handler.look(bound.value.context)
      }
    }
  }

  /// Looks now and then whether the client takes enough, and ends a connection whose client does not.
  private func look(_ context: ChannelHandlerContext) {
    let channel = context.channel
    let unread = channel.unsentBytes + Self.untakenBytes(channel)
    switch self.unread.watch?.look(unread: unread, at: context.eventLoop.now) ?? .good {
    case .good: self.settle(context)
    case .slow: self.closeNow(channel, for: .slow)
    case .stuck: self.closeNow(channel, for: .stuck)
    }
  }

  /// What the client has taken until now counts for it, before more is written.
  func lookBeforeWriting(_ context: ChannelHandlerContext) {
    guard self.unread.watch != nil else { return }
    let unread = context.channel.unsentBytes + Self.untakenBytes(context.channel)
    _ = self.unread.watch?.look(unread: unread, at: context.eventLoop.now)
  }

  private func giveWay(_ context: ChannelHandlerContext) {
    guard !self.unread.isGone else { return }
    self.settle(context)
    if self.unread.held > 0 { self.closeNow(context.channel, for: .memory) }
  }

  /// Whether the connection, which the server is done with, is closed later: an answer that its client is still taking would
  /// be lost otherwise. No other request is taken from then on.
  func waitsToClose(_ context: ChannelHandlerContext, _ promise: EventLoopPromise<Void>?) -> Bool {
    guard !self.unread.isClosing, context.channel.unsentBytes > 0 else { return false }
    self.isBroken = true
    self.unread.closesAfter = true
    self.settle(context)
    context.channel.closeFuture.cascade(to: promise)
    return true
  }

  /// The connection is gone.
  func letGo(_ context: ChannelHandlerContext) {
    self.unread.isGone = true
    self.unread.watch = nil
    self.unread.timer?.cancel()
    self.unread.timer = nil
    if self.unread.held > 0 { self.memory?.hold(0, by: ObjectIdentifier(context.channel)) {} }
    self.unread.held = 0
  }

  /// How many bytes the system has taken, and the client's not yet.
  ///
  /// The system takes tens of kilobytes at once, and then none for as long as a slow client takes for these: only with this is
  /// such a client told from one that takes nothing.
  private static func untakenBytes(_ channel: any Channel) -> Int {
    var count: CInt = 0
    do {
      try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) { socket in
        #if os(Linux)
          if ioctl(socket, UInt(TIOCOUTQ), &count) != 0 { count = 0 }
        #endif
      }
    } catch {
      return 0  // The channel is closed.
    }
    return Int(count)
  }
}
