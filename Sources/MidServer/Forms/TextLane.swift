import MidCore
import NIOPosix
import Synchronization

/// Where many texts are made: neither on the event loops nor on the threads that tasks share, which health, metrics and the
/// worker id's time bound run on; and for a bounded number of calls, so that what waits is bounded too.
final class TextLane: Sendable {
  /// How many calls may be under way at once.
  static let maximumCalls = 256

  private let calls = Atomic(0)

  /// Lets a call in.
  ///
  /// - Throws: ``MidCore/IDError/Code/overloaded`` where too many are under way; it has to leave where it was let in.
  func enter() throws(IDError) {
    let count = self.calls.wrappingAdd(1, ordering: .relaxed).newValue
    guard count <= Self.maximumCalls else {
      self.leave()
      throw IDError(.overloaded, "\(Self.maximumCalls) calls for many texts are under way already")
    }
  }

  /// A call that was let in is over.
  func leave() { self.calls.wrappingSubtract(1, ordering: .relaxed) }

  /// Runs `body` on a thread that may be kept busy.
  ///
  /// - Throws: What `body` throws; ``MidCore/IDError/Code/notReady`` where the process ends.
  func run<Value: Sendable>(_ body: @escaping @Sendable () throws(IDError) -> Value) async throws(IDError) -> Value {
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
}
