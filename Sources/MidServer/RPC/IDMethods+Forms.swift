import MidCore
import MidRPC
import NIOCore

/// Calls for ids that are wanted as texts, too, and for what an id says.
extension IDMethods {
  /// Answers a call with a format. One id that is at hand is answered at once; the rest by a task of its own, so that making
  /// many texts holds no event loop.
  ///
  /// - Parameter count: the size of a batch, nil for one id.
  @inline(never)
  func formatted(
    _ call: borrowing RPCCall, _ fields: RequestFields, count: Int64?, _ response: inout ByteBuffer
  ) -> RPCOutcome {
    let format: IDFormat
    let tag: Tag
    do throws(IDError) {
      format = try IDFormat(fields.formatText)
      tag = try Self.tag(fields)
      try self.check(fields, format, tag, count: count ?? 1)
      if count == nil, let id = try self.atHand(fields.mode, tag) {
        let text = try self.forms.text(of: id, format, tag: tag, at: self.made(fields.mode)(id))
        GenerateIDResponse(id: id, text: text).encode(into: &response)
        return .reply
      }
    } catch {
      return .failure(RPCStatus(error))
    }
    let reply = call.answerLater()
    let (mode, deadline) = (fields.mode, self.patience(call))
    let task = Task {
      do throws(IDError) {
        let (ranges, texts) = try await self.ids(of: mode, tag: tag, count: count ?? 1, format, deadline: deadline)
        guard count == nil else {
          return reply.succeed(
            GenerateBatchResponse(ranges: ranges.map(IDRangeMessage.init(_:)), texts: texts).encoded())
        }
        reply.succeed(GenerateIDResponse(id: ranges.first?.start ?? 0, text: texts.first ?? "").encoded())
      } catch {
        reply.fail(RPCStatus(error))
      }
    }
    reply.onCancel { task.cancel() }
    return .later
  }

  /// Ids and the text of each, in order, waiting as ``ids(of:tag:count:deadline:)`` does.
  ///
  /// - Throws: as that does, and as ``TagForms``; what was taken is lost as a gap then.
  func ids(
    of mode: RequestFields.Mode, tag: Tag, count: Int64, _ format: IDFormat, deadline: NIODeadline? = nil
  ) async throws(IDError) -> (ranges: [IDRange], texts: [String]) {
    try self.forms.check(format, tag: tag)
    let ranges = try await self.ids(of: mode, tag: tag, count: count, deadline: deadline)
    return (ranges, try self.forms.texts(of: ranges, format, tag: tag, made: self.made(mode)))
  }

  private func check(
    _ fields: RequestFields, _ format: IDFormat, _ tag: Tag, count: Int64
  ) throws(IDError) {
    guard fields.requestKey.isEmpty else {
      throw IDError(
        .invalidArgument, "request_key and format don't go together: a retry's texts could show another day")
    }
    let maximum = min(self.limits.maximumBatch, TextIDs.maximumBatch)
    guard (1...maximum).contains(count) else {
      throw IDError(.invalidArgument, "count is \(count); a batch with texts has 1 to \(maximum) ids")
    }
    try self.forms.check(format, tag: tag)
  }

  /// An id that is there already; nil where the call has to wait.
  private func atHand(_ mode: RequestFields.Mode, _ tag: Tag) throws(IDError) -> Int64? {
    switch mode {
    case .snowflake:
      switch self.snowflake.next() {
      case .id(let id):
        self.meter.issued(snowflake: 1)
        return id
      case .wait: return nil
      case .failure(let error): throw error
      }
    case .segment:
      guard let id = self.segments.cached(tag)?.next() else { return nil }
      self.meter.issued(segment: 1)
      return id
    case .ticket, .other: return nil
    }
  }

  /// When ids of a mode were made, in milliseconds since 1970: Snowflake ids say so themselves, the others are of now.
  private func made(_ mode: RequestFields.Mode) -> (Int64) -> Int64 {
    let now = self.clock.wallMilliseconds()
    guard mode == .snowflake else { return { _ in now } }
    let layout = self.snowflake.layout
    return { id in
      do throws(IDError) { return layout.wallMilliseconds(ofTick: try layout.decompose(id).tick) } catch { return now }
    }
  }

  // MARK: - What an id says

  /// Answers `mid.v1.IDService/DecodeID`.
  func decode(_ message: UnsafeRawBufferPointer, _ response: inout ByteBuffer) -> RPCOutcome {
    let request: DecodeIDRequest
    do throws(ProtobufError) { request = try DecodeIDRequest(decoding: message) } catch {
      return Self.unreadable(error)
    }
    let call = IDReader.Call(text: request.id, tag: request.tag, kind: request.kind, layout: request.layout)
    do throws(IDError) {
      DecodeIDResponse(try self.reader.read(call)).encode(into: &response)
    } catch {
      return .failure(RPCStatus(error))
    }
    return .reply
  }
}
