import MidCore
import MidRPC
import NIOCore
import Synchronization

/// The keys of ``IDMethods``' batches; see ``RequestKeyStateMachine``.
final class RequestKeys: Sendable {
  typealias Machine = RequestKeyStateMachine<RPCReply>

  private let machine = Mutex(Machine())

  func begin(_ key: [UInt8], _ request: Machine.Request, reply: RPCReply) -> Machine.Begin {
    self.machine.withLock { $0.begin(key, request, reply: reply, now: Self.now) }
  }

  /// Notes the answer, and gives it to the calls that waited for it.
  func succeed(_ key: [UInt8]?, _ ranges: [IDRange], message: [UInt8]) {
    guard let key else { return }
    for reply in self.machine.withLock({ $0.finish(key, ranges: ranges, now: Self.now) }) { reply.succeed(message) }
  }

  /// Forgets the call, and gives its error to the calls that waited for it.
  func fail(_ key: [UInt8]?, _ status: RPCStatus) {
    guard let key else { return }
    for reply in self.machine.withLock({ $0.fail(key) }) { reply.fail(status) }
  }

  private static var now: UInt64 { NIODeadline.now().uptimeNanoseconds }
}
