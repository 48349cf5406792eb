public import NIOCore
import Synchronization

/// The answer to a call that was left open: given once, from any thread, in any order with others.
public final class RPCReply: Sendable {
  private struct State {
    var isOver = false
    var onCancel: (@Sendable () -> Void)?
    /// Whoever waits for room.
    var waiter: CheckedContinuation<Bool, Never>?
  }

  /// When the caller stops waiting, by `NIODeadline`'s clock, or nil where it set no deadline.
  public let deadline: NIODeadline?
  /// The event loop of the call's connection, for timers.
  public let eventLoop: any EventLoop

  let stream: UInt32
  let route: Int
  let started: NIODeadline
  private let mailbox: RPCMailbox
  private let state = Mutex(State())

  init(
    stream: UInt32, route: Int, started: NIODeadline, deadline: NIODeadline?, eventLoop: any EventLoop,
    mailbox: RPCMailbox
  ) {
    self.stream = stream
    self.route = route
    self.started = started
    self.deadline = deadline
    self.eventLoop = eventLoop
    self.mailbox = mailbox
  }

  /// Answers with a message. Only the first answer counts.
  public func succeed(_ message: [UInt8]) {
    guard self.finish() else { return }
    self.mailbox.post(RPCMailbox.Letter(reply: self, content: .answer(.success(message))))
  }

  /// Ends the call with a status other than OK. Only the first answer counts.
  public func fail(_ status: RPCStatus) {
    guard self.finish() else { return }
    self.mailbox.post(RPCMailbox.Letter(reply: self, content: .answer(.failure(status))))
  }

  /// Waits until the connection has room for an answer of so many bytes beside those that its client leaves unread, and those
  /// that room is kept for. It is kept for this answer from then on, until that is given.
  ///
  /// For answers that are large: what is made together would else be refused where the client reads slowly. To be asked for
  /// once, when the answer is about to be made: others wait for the same room. A client that reads nothing for long, or whose
  /// deadline comes, has its call ended meanwhile.
  ///
  /// - Parameter bytes: how many the answer's message has at most.
  /// - Returns: Whether there is room; not where the call is over.
  public func room(for bytes: Int) async -> Bool {
    await withCheckedContinuation { waiter in
      let isTooLate = self.state.withLock { state in
        precondition(state.waiter == nil, "room is asked for twice")
        if !state.isOver { state.waiter = waiter }
        return state.isOver
      }
      guard !isTooLate else { return waiter.resume(returning: false) }
      self.mailbox.post(RPCMailbox.Letter(reply: self, content: .room(bytes)))
    }
  }

  /// There is room from now on.
  func hasRoom() { self.takeWaiter()?.resume(returning: true) }

  private func takeWaiter() -> CheckedContinuation<Bool, Never>? {
    self.state.withLock { state in
      defer { state.waiter = nil }
      return state.waiter
    }
  }

  /// Has `body` called when the caller gives up or its connection ends before an answer: at once if that is past.
  ///
  /// Called at most once, on the event loop or on the thread that registers it. Only the last registration counts.
  public func onCancel(_ body: @escaping @Sendable () -> Void) {
    let isTooLate = self.state.withLock { state in
      guard !state.isOver else { return true }
      state.onCancel = body
      return false
    }
    if isTooLate && self.isCancelled { body() }
  }

  private let cancelled = Mutex(false)

  /// Whether the caller has given up.
  public var isCancelled: Bool { self.cancelled.withLock { $0 } }

  func cancel() {
    let body: (@Sendable () -> Void)? = self.state.withLock { state in
      guard !state.isOver else { return nil }
      state.isOver = true
      self.cancelled.withLock { $0 = true }
      defer { state.onCancel = nil }
      return state.onCancel ?? {}
    }
    body?()
    self.takeWaiter()?.resume(returning: false)
  }

  private func finish() -> Bool {
    self.state.withLock { state in
      guard !state.isOver else { return false }
      state.isOver = true
      state.onCancel = nil
      return true
    }
  }
}

extension RPCConnectionHandler {
  /// Where answers come that are given later; made for the first of them.
  var mailbox: RPCMailbox {
    if let mailbox = self.openMailbox { return mailbox }
    let mailbox = RPCMailbox(handler: self, eventLoop: self.eventLoop)
    self.openMailbox = mailbox
    return mailbox
  }
}

/// Answers on their way to a connection's event loop: many that come together wake it once and leave in one write.
final class RPCMailbox: Sendable {
  struct Letter: Sendable {
    enum Content {
      case answer(Result<[UInt8], RPCStatus>)
      /// So many bytes of room are wanted.
      case room(Int)
    }

    var reply: RPCReply
    var content: Content
  }

  private let letters = Mutex<[Letter]>([])
  private let eventLoop: any EventLoop
  /// Strong, until ``close()``: an object with a weak reference pays for it at each retain and release, and the handler is
  /// retained some times for each call.
  private let handler: NIOLoopBoundBox<RPCConnectionHandler?>

  init(handler: RPCConnectionHandler, eventLoop: any EventLoop) {
    self.eventLoop = eventLoop
    self.handler = NIOLoopBoundBox(handler, eventLoop: eventLoop)
  }

  /// Lets go of the handler, which has no connection any more. On the event loop.
  func close() { self.handler.value = nil }

  func post(_ letter: Letter) {
    let isFirst = self.letters.withLock { letters in
      letters.append(letter)
      return letters.count == 1
    }
    guard isFirst else { return }
    self.eventLoop.execute { self.handler.value?.deliver() }
  }

  func take() -> [Letter] {
    self.letters.withLock { letters in
      defer { letters = [] }
      return letters
    }
  }
}
