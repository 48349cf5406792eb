import MidCore
import MidRPC

/// Calls for tickets. Each waits for a statement that begins after it came.
extension IDMethods {
  /// Waits for `count` tickets, or for one where `count` is nil.
  @inline(never)
  func ticket(_ call: borrowing RPCCall, _ fields: RequestFields, count: Int64?) -> RPCOutcome {
    let generator: TicketGenerator
    do throws(IDError) {
      generator = try self.tickets.generator(for: try Self.tag(fields))
    } catch {
      return .failure(RPCStatus(error))
    }
    let waiting = StoreWait(reply: call.answerLater(), deadline: self.patience(call), count: count)
    waiting.reply.onCancel { waiting.cancel() }
    let id = generator.enqueue(count: count ?? 1) { result in
      switch result {
      case .success(let range):
        self.meter.issued(ticket: range.count)
        waiting.succeed(Self.message([range], isBatch: count != nil))
      case .failure(let error): waiting.fail(error)
      }
    }
    if let id { waiting.arm(.ids, giveUp: { generator.cancel(id) }, expire: { generator.expire(id) }) }
    return .later
  }
}
