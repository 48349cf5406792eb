import MidCore
import MidRPC
import NIOCore

/// Calls for ids that are texts. They are made within the call; nothing waits.
extension IDMethods {
  /// Answers a call for one id whose mode is none of the numbers'.
  @inline(never)
  func text(
    _ call: borrowing RPCCall, _ fields: RequestFields, kind: RequestFields.Kind, _ message: UnsafeRawBufferPointer,
    _ response: inout ByteBuffer
  ) -> RPCOutcome {
    let text = fields.modeText
    let named = NameMode(rawValue: text)
    let mode = TextMode(rawValue: text)
    guard mode != nil || named != nil else { return Self.unknownMode(fields, kind: kind) }
    guard kind != .id else {
      return .failure(
        RPCStatus(
          .invalidArgument,
          "ids of mode \(text) are texts, for which pb.IDResponse has no field: call mid.v1.IDService/GenerateID; "
            + "allowed here: \(Self.modes)"))
    }
    guard let mode else { return self.named(call, fields, message, isBatch: false, &response) }
    do throws(IDError) {
      let text =
        fields.format.isEmpty
        ? try self.texts.next(mode)
        : try self.texts.next(mode, count: 1, IDFormat(fields.formatText)).first ?? ""
      GenerateIDResponse(text: text).encode(into: &response)
    } catch {
      return .failure(RPCStatus(error))
    }
    self.meter.issued(mode, count: 1)
    return .reply
  }

  /// Answers a call for ids that are made of names.
  private func named(
    _ call: borrowing RPCCall, _ fields: RequestFields, _ message: UnsafeRawBufferPointer, isBatch: Bool,
    _ response: inout ByteBuffer
  ) -> RPCOutcome {
    guard let mode = NameMode(rawValue: fields.modeText) else {
      return Self.unknownMode(fields, kind: isBatch ? .generateBatch : .generateID)
    }
    do throws(ProtobufError) {
      // A batch's names are a single call's name, repeated.
      let request = try GenerateBatchRequest(decoding: message)
      return self.named(call, mode, request, isBatch: isBatch, &response)
    } catch {
      return Self.unreadable(error)
    }
  }

  private func named(
    _ call: borrowing RPCCall, _ mode: NameMode, _ request: GenerateBatchRequest, isBatch: Bool,
    _ response: inout ByteBuffer
  ) -> RPCOutcome {
    let names = isBatch ? request.names : request.names.suffix(1)
    let maximum = min(self.limits.maximumBatch, TextIDs.maximumBatch)
    do throws(IDError) {
      guard !isBatch || [0, names.count].contains(Int(request.count)), names.count <= maximum else {
        throw IDError(
          .invalidArgument,
          "there are \(names.count) names and count is \(request.count); a batch of mode \(mode) has 1 to \(maximum) names, "
            + "and as many ids")
      }
      guard request.requestKey.isEmpty else {
        throw IDError(.invalidArgument, "request_key is for modes whose ids are numbers: \(Self.modes)")
      }
      let format = request.format.isEmpty ? nil : try IDFormat(request.format)
      guard isBatch else {
        let texts = try mode.texts(of: Array(names), in: request.namespace, format)
        GenerateIDResponse(text: texts.first ?? "").encode(into: &response)
        self.meter.issued(mode, count: 1)
        return .reply
      }
      return self.answerLater(call, count: names.count, size: names.count * Self.longestText) {
        () throws(IDError) in
      } make: { (_, _) throws(IDError) in
        let texts = try mode.texts(of: Array(names), in: request.namespace, format)
        self.meter.issued(mode, count: Int64(texts.count))
        return GenerateBatchResponse(texts: texts).encoded()
      }
    } catch {
      return .failure(RPCStatus(error))
    }
  }

  /// Answers a batch whose mode is none of the numbers'. It comes whole or the call fails.
  @inline(never)
  func textBatch(
    _ call: borrowing RPCCall, _ fields: RequestFields, _ message: UnsafeRawBufferPointer,
    _ response: inout ByteBuffer
  ) -> RPCOutcome {
    guard let mode = TextMode(rawValue: fields.modeText) else {
      return self.named(call, fields, message, isBatch: true, &response)
    }
    let maximum = min(self.limits.maximumBatch, TextIDs.maximumBatch)
    guard (1...maximum).contains(Int64(fields.count)) else {
      return .failure(
        RPCStatus(.invalidArgument, "count is \(fields.count); a batch of mode \(mode) has 1 to \(maximum) ids"))
    }
    guard fields.requestKey.isEmpty else {
      return .failure(
        RPCStatus(.invalidArgument, "request_key is for modes whose ids are numbers: \(Self.modes)"))
    }
    guard fields.format.isEmpty else { return self.formattedTexts(call, fields, mode) }
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

  /// A batch of a size that is checked, in other digits than the kind's own.
  private func formattedTexts(
    _ call: borrowing RPCCall, _ fields: RequestFields, _ mode: TextMode
  ) -> RPCOutcome {
    let format: IDFormat
    do throws(IDError) { format = try IDFormat(fields.formatText) } catch { return .failure(RPCStatus(error)) }
    let count = Int(fields.count)
    return self.answerLater(call, count: count, size: count * Self.longestText) { () throws(IDError) in
    } make: { (_, _) throws(IDError) in
      let texts = try self.texts.next(mode, count: count, format)
      self.meter.issued(mode, count: Int64(count))
      return GenerateBatchResponse(texts: texts).encoded()
    }
  }

  /// What a text of 128 bits takes in an answer at most: decimal digits, a field's tag and its length.
  private static let longestText = TextBase.decimal.width(bits: 128) + 2
}
