import MidCore
import NIOPosix
import Synchronization

/// Where many texts are made: neither on the event loops nor on the threads that tasks share, which health, metrics and the
/// worker id's time bound run on. Calls that wait for ids, or for room for their answer, are no part of it; where many texts
/// wait to be made already, no other call for many begins.
///
/// Calls for a few texts are no part of it: they are made where the call is.
final class TextLane: Sendable {
  /// From how many calls on whose texts are being made, or wait for that, no other begins.
  static let maximumCalls = 256
  /// How many texts are few: some tens of microseconds.
  static let few = 64

  private let calls = Atomic(0)

  /// The texts of how many calls for many are being made, or wait for that.
  var count: Int { self.calls.load(ordering: .relaxed) }

  /// Says whether another call for so many texts may begin; to be asked before ids are used up for it.
  ///
  /// - Throws: ``MidCore/IDError/Code/overloaded`` where as many are being made, or wait for their turn, as may be.
  func check(count: Int) throws(IDError) {
    guard count > Self.few, self.calls.load(ordering: .relaxed) >= Self.maximumCalls else { return }
    throw IDError(.overloaded, "the texts of \(Self.maximumCalls) calls for many are being made already")
  }

  /// Runs `body`, which makes so many texts: many of them on a thread that may be kept busy.
  ///
  /// - Throws: What `body` throws; ``MidCore/IDError/Code/notReady`` where the process ends.
  func run<Value: Sendable>(
    count: Int, _ body: @escaping @Sendable () throws(IDError) -> Value
  ) async throws(IDError) -> Value {
    guard count > Self.few else { return try body() }
    self.calls.wrappingAdd(1, ordering: .relaxed)
    defer { self.calls.wrappingSubtract(1, ordering: .relaxed) }
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

  /// Checks, and runs `body`.
  ///
  /// - Throws: As ``check(count:)`` and ``run(count:_:)``.
  func admit<Value: Sendable>(
    count: Int, _ body: @escaping @Sendable () throws(IDError) -> Value
  ) async throws(IDError) -> Value {
    try self.check(count: count)
    return try await self.run(count: count, body)
  }
}
