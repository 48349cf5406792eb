import HummingbirdCore
import NIOCore
import NIOPosix
import Synchronization

/// The connections of one HTTP port: no more than there may be, and room for the next where one of them waits for nothing.
/// Safe to use from any thread.
final class HTTPConnections: Sendable {
  /// How one connection tells what becomes of it.
  struct Member: Sendable {
    fileprivate let id: Int
    fileprivate let connections: HTTPConnections

    /// It waits for a request from now on.
    func becameIdle() {
      self.connections.state.withLock { $0.book.becameIdle(self.id, at: .now()) }
    }

    /// It has a request.
    func becameBusy() { self.connections.state.withLock { $0.book.becameBusy(self.id) } }

    /// It is gone.
    func left() {
      self.connections.state.withLock { state in
        state.book.becameBusy(self.id)
        state.closers[self.id] = nil
      }
    }
  }

  private struct State {
    var book: HTTPConnectionBook
    var nextID = 0
    var closers: [Int: @Sendable () -> Void] = [:]
    /// Whether somebody is to look again in a moment.
    var isLookDue = false
  }

  private let state: Mutex<State>

  /// - Parameter maximum: The most connections at once.
  init(maximum: Int) { self.state = Mutex(State(book: HTTPConnectionBook(maximum: maximum))) }

  /// Takes a connection in, which waits for its first request.
  ///
  /// - Parameter closeIfIdle: Closes it, on its own event loop, if it still waits then.
  func join(closeIfIdle: @escaping @Sendable () -> Void) -> Member {
    let id = self.state.withLock { state in
      state.nextID += 1
      state.closers[state.nextID] = closeIfIdle
      state.book.becameIdle(state.nextID, at: .now())
      return state.nextID
    }
    return Member(id: id, connections: self)
  }

  /// How many connections wait for a request.
  var idleCount: Int { self.state.withLock { $0.book.idleCount } }

  fileprivate func opened() {
    self.state.withLock { $0.book.opened() }
    self.makeRoom()
  }

  fileprivate func closed() { self.state.withLock { $0.book.closed() } }

  fileprivate var isFull: Bool { self.state.withLock { $0.book.isFull } }

  /// Has the connection that waited longest give way, where there is no room; and looks again a moment later while there is
  /// none, since others fall idle.
  private func makeRoom() {
    let (close, isAgain) = self.state.withLock { state -> ((@Sendable () -> Void)?, Bool) in
      let close = state.book.giveWay(at: .now()).flatMap { state.closers[$0] }
      let isAgain = state.book.isFull && !state.isLookDue
      if isAgain { state.isLookDue = true }
      return (close, isAgain)
    }
    close?()
    guard isAgain else { return }
    MultiThreadedEventLoopGroup.singleton.any().scheduleTask(in: HTTPConnectionBook.leastIdle) {
      self.state.withLock { $0.isLookDue = false }
      self.makeRoom()
    }
  }

  /// What asks before a connection is accepted.
  struct Delegate: AvailableConnectionsDelegate {
    let connections: HTTPConnections

    func connectionOpened() { self.connections.opened() }
    func connectionClosed() { self.connections.closed() }
    func isAcceptingNewConnections() -> Bool { !self.connections.isFull }
  }
}
