import MidCore
import NIOPosix
import Synchronization

/// Where many texts are made: neither on the event loops nor on the threads that tasks share, which health, metrics and the
/// worker id's time bound run on; and for a bounded number of calls, so that what waits is bounded too.
///
/// Calls for a few texts are no part of it: they are made where the call is.
final class TextLane: Sendable {
  /// How many calls for many texts may be under way at once.
  static let maximumCalls = 256
  /// How many texts are few: some tens of microseconds.
  static let few = 64

  private let calls = Atomic(0)

  /// Lets a call in, where it is for many texts.
  ///
  /// - Throws: ``MidCore/IDError/Code/overloaded`` where too many are under way. A call that was let in has to leave.
  func enter(count: Int) throws(IDError) {
    guard count > Self.few else { return }
    let calls = self.calls.wrappingAdd(1, ordering: .relaxed).newValue
    guard calls <= Self.maximumCalls else {
      self.leave(count: count)
      throw IDError(.overloaded, "\(Self.maximumCalls) calls for many texts are under way already")
    }
  }

  /// A call that was let in is over.
  func leave(count: Int) {
    guard count > Self.few else { return }
    self.calls.wrappingSubtract(1, ordering: .relaxed)
  }

  /// Runs `body`, which makes so many texts: many of them on a thread that may be kept busy.
  ///
  /// - Throws: What `body` throws; ``MidCore/IDError/Code/notReady`` where the process ends.
  func run<Value: Sendable>(
    count: Int, _ body: @escaping @Sendable () throws(IDError) -> Value
  ) async throws(IDError) -> Value {
    guard count > Self.few else { return try body() }
    let result: Result<Value, IDError>
    do {
      result = try await NIOThreadPool.singleton.runIfActive {
        Result { () throws(IDError) in try body() }
      }
    } catch {
      throw IDError(.notReady, "the service is stopping")
    }
    return try result.get()
  }

  /// Lets a call in, runs `body` as ``run(count:_:)`` does, and lets the call leave.
  ///
  /// - Throws: As ``enter(count:)`` and ``run(count:_:)``.
  func admit<Value: Sendable>(
    count: Int, _ body: @escaping @Sendable () throws(IDError) -> Value
  ) async throws(IDError) -> Value {
    try self.enter(count: count)
    defer { self.leave(count: count) }
    return try await self.run(count: count, body)
  }
}
