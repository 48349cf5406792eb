import MidCore
import MidRPC
import NIOCore

/// Calls for ids that are texts. They are made within the call; nothing waits.
extension IDMethods {
  /// Answers a call for one id whose mode is none of the numbers'.
  @inline(never)
  func text(_ fields: RequestFields, kind: RequestFields.Kind, _ response: inout ByteBuffer) -> RPCOutcome {
    guard let mode = TextMode(rawValue: fields.modeText) else { return Self.unknownMode(fields, kind: kind) }
    guard kind != .id else {
      return .failure(
        RPCStatus(
          .invalidArgument,
          "ids of mode \(mode) are texts, for which pb.IDResponse has no field: call mid.v1.IDService/GenerateID; "
            + "allowed here: \(Self.modes)"))
    }
    do throws(IDError) {
      let text = try self.texts.next(mode)
      GenerateIDResponse(text: text).encode(into: &response)
    } catch {
      return .failure(RPCStatus(error))
    }
    self.meter.issued(mode, count: 1)
    return .reply
  }

  /// Answers a batch whose mode is none of the numbers'. It comes whole or the call fails.
  @inline(never)
  func textBatch(
    _ call: borrowing RPCCall, _ fields: RequestFields, _ response: inout ByteBuffer
  ) -> RPCOutcome {
    guard let mode = TextMode(rawValue: fields.modeText) else { return Self.unknownMode(fields, kind: .generateBatch) }
    let maximum = min(self.limits.maximumBatch, TextIDs.maximumBatch)
    guard (1...maximum).contains(Int64(fields.count)) else {
      return .failure(
        RPCStatus(.invalidArgument, "count is \(fields.count); a batch of mode \(mode) has 1 to \(maximum) ids"))
    }
    guard fields.requestKey.isEmpty else {
      return .failure(
        RPCStatus(.invalidArgument, "request_key is for modes whose ids are numbers: \(Self.modes)"))
    }
    // Each text stands as an element of field 2 of `mid.v1.GenerateBatchResponse`, behind the field's tag and its length.
    let head: [UInt8] = [0x12, UInt8(mode.length)]
    let count = Int(fields.count)
    let size = count * (head.count + mode.length)
    // A client that has several batches under way, or is slow to read, gets them one after the other.
    guard size <= call.room else { return .noRoom(size) }
    do throws(IDError) {
      try self.texts.write(mode, count: count, before: head, to: &response)
    } catch {
      return .failure(RPCStatus(error))
    }
    self.meter.issued(mode, count: Int64(count))
    return .reply
  }
}
