import MidCore
import NIOCore
import Synchronization

/// The account of what the connections of all HTTP ports hold together. Safe to use from any thread; what is short, as nearly
/// every answer is, does not come to it.
final class HTTPMemory: Sendable {
  /// Room for an answer, from before it is made until it is its connection's. It is given back at the latest once nobody knows
  /// of it any more.
  final class Reservation: Sendable {
    private let memory: HTTPMemory
    private let connection: ObjectIdentifier
    private let bytes: Mutex<Int>

    fileprivate init(_ bytes: Int, for connection: ObjectIdentifier, in memory: HTTPMemory) {
      self.memory = memory
      self.connection = connection
      self.bytes = Mutex(bytes)
    }

    /// The answer is made, and has this size.
    func settle(at size: Int) {
      let before = self.bytes.withLock { bytes in
        defer { bytes = size }
        return bytes
      }
      guard size != before else { return }
      let now = self.memory.now()
      self.memory.state.withLock { $0.book.resize(before, to: size, for: self.connection, at: now) }
    }

    /// The answer is its connection's, or nobody's.
    func giveBack() { self.settle(at: 0) }

    deinit { self.giveBack() }
  }

  private struct State {
    var book: HTTPMemoryBook
    var closers: [ObjectIdentifier: @Sendable () -> Void] = [:]
  }

  /// How many bytes are few. Answers and unread rests that are no longer are not counted: a connection may have as many
  /// whatever the others hold.
  static let few = 16 * 1024

  private let state: Mutex<State>
  private let now: @Sendable () -> NIODeadline

  /// - Parameters:
  ///   - limit: The bytes that all connections may hold together.
  ///   - now: The time.
  init(limit: Int, now: @escaping @Sendable () -> NIODeadline) {
    self.state = Mutex(State(book: HTTPMemoryBook(limit: limit)))
    self.now = now
  }

  /// The bytes that are held and reserved now.
  var total: Int { self.state.withLock { $0.book.total } }

  /// Room for an answer of up to so many bytes; nil where these are few.
  ///
  /// - Throws: ``MidCore/IDError/Code/overloaded`` where all connections hold too much, and none of them gives way.
  func reserve(_ bytes: Int, for connection: ObjectIdentifier) throws(IDError) -> Reservation? {
    guard bytes > Self.few else { return nil }
    let now = self.now()
    let (isGranted, closers) = self.state.withLock { state in
      let verdict = state.book.reserve(bytes, for: connection, at: now)
      return (verdict.isGranted, verdict.givingWay.compactMap { state.closers[$0] })
    }
    for close in closers { close() }
    guard isGranted else { throw Self.usedUp }
    return Reservation(bytes, for: connection, in: self)
  }

  /// Room for an answer of up to so many bytes, once what it answers with is there.
  ///
  /// Whether there would be room is asked first, so that hardly any ids are used up for nothing. None is kept while `body` waits,
  /// maybe for a store that is away: such calls would take it from all others.
  ///
  /// - Parameter body: Gets what the answer is made of.
  /// - Throws: As ``reserve(_:for:)``, before or after `body`, and what that throws.
  func reserve<Value: Sendable>(
    _ bytes: Int, for connection: ObjectIdentifier, once body: () async throws(IDError) -> Value
  ) async throws(IDError) -> (Value, Reservation?) {
    try self.check(bytes, for: connection)
    let value = try await body()
    return (value, try self.reserve(bytes, for: connection))
  }

  /// Says whether there would be room for an answer of up to so many bytes, which is reserved later.
  ///
  /// - Throws: As ``reserve(_:for:)``; nobody gives way.
  func check(_ bytes: Int, for connection: ObjectIdentifier) throws(IDError) {
    guard bytes > Self.few else { return }
    let now = self.now()
    guard self.state.withLock({ $0.book.hasRoom(bytes, for: connection, at: now) }) else { throw Self.usedUp }
  }

  private static var usedUp: IDError {
    IDError(.overloaded, "the server's memory for answers that are not read yet is used up; calls for fewer ids go on")
  }

  /// A connection holds so many bytes from now on.
  ///
  /// - Parameter giveWay: Closes it, on its own event loop, if it still holds something then.
  func hold(_ bytes: Int, by connection: ObjectIdentifier, giveWay: @escaping @Sendable () -> Void) {
    let now = self.now()
    let closers = self.state.withLock { state in
      state.closers[connection] = bytes > 0 ? giveWay : nil
      return state.book.hold(bytes, by: connection, at: now).compactMap { state.closers[$0] }
    }
    for close in closers { close() }
  }
}
