import MidCore
import MidRPC

/// Calls for tickets. Each waits for a statement that begins after it came.
extension IDMethods {
  /// Waits for `count` tickets, or for one where `count` is nil.
  @inline(never)
  func ticket(_ call: borrowing RPCCall, _ fields: RequestFields, count: Int64?) -> RPCOutcome {
    do throws(IDError) {
      return self.ticket(call, call.answerLater(), tag: try Self.tag(fields), count: count, key: nil)
    } catch {
      return .failure(RPCStatus(error))
    }
  }

  /// The same with the call's reply taken already, and the key that its answer is kept under.
  func ticket(_ call: borrowing RPCCall, _ reply: RPCReply, tag: Tag, count: Int64?, key: [UInt8]?) -> RPCOutcome {
    let waiting = StoreWait(reply: reply, deadline: self.patience(call), count: count, key: key, keys: self.keys)
    let generator: TicketGenerator
    do throws(IDError) { generator = try self.tickets.generator(for: tag) } catch {
      waiting.fail(error)
      return .later
    }
    waiting.reply.onCancel { waiting.cancel() }
    let id = generator.enqueue(count: count ?? 1) { result in
      switch result {
      case .success(let range):
        self.meter.issued(ticket: range.count)
        waiting.succeed([range], Self.message([range], isBatch: count != nil))
      case .failure(let error): waiting.fail(error)
      }
    }
    if let id { waiting.arm(waiting.begin(), giveUp: { generator.cancel(id) }, expire: { generator.expire(id) }) }
    return .later
  }
}
