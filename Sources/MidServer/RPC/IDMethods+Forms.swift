import MidCore
import MidRPC
import NIOCore

/// Calls for ids that are wanted as texts, too, and for what an id says.
extension IDMethods {
  /// How many bytes the texts of one answer may have.
  static let maximumTextBytes = 1_048_576

  /// Answers a call with a format. One id that is at hand is answered at once; the rest by a task of its own.
  ///
  /// - Parameter count: the size of a batch, nil for one id.
  @inline(never)
  func formatted(
    _ call: borrowing RPCCall, _ fields: RequestFields, count: Int64?, _ response: inout ByteBuffer
  ) -> RPCOutcome {
    let format: IDFormat
    let tag: Tag
    let size: Int
    do throws(IDError) {
      guard fields.requestKey.isEmpty else {
        throw IDError(
          .invalidArgument, "request_key and format don't go together: a retry's texts could show another day")
      }
      format = try IDFormat(fields.formatText)
      tag = try Self.tag(fields)
      size = try self.check(fields.mode, format, tag, count: count ?? 1)
      if count == nil, let id = try self.atHand(fields.mode, tag) {
        let text = try self.forms.text(of: id, format, tag: tag, at: self.made(fields.mode)(id))
        GenerateIDResponse(id: id, text: text).encode(into: &response)
        return .reply
      }
    } catch {
      return .failure(RPCStatus(error))
    }
    let (mode, deadline) = (fields.mode, self.patience(call))
    return self.answerLater(call, count: Int(count ?? 1), size: size) { () throws(IDError) in
      let ranges = try await self.ids(of: mode, tag: tag, count: count ?? 1, deadline: deadline)
      return (ranges, self.made(mode))
    } make: { (ids: (ranges: [IDRange], made: @Sendable (Int64) -> Int64), reply: RPCReply) throws(IDError) in
      let texts = try self.forms.texts(
        of: ids.ranges, format, tag: tag, made: ids.made, isCancelled: { reply.isCancelled })
      guard count == nil else {
        return GenerateBatchResponse(ranges: ids.ranges.map(IDRangeMessage.init(_:)), texts: texts).encoded()
      }
      return GenerateIDResponse(id: ids.ranges.first?.start ?? 0, text: texts.first ?? "").encoded()
    }
  }

  /// Answers a call by a task that has what `prepare` does first, waits until its connection has room for the answer, and has
  /// that made in ``lane``. A call whose caller gave up before is not begun.
  ///
  /// Room is not kept while `prepare` waits: ids that don't come would stop every other call for texts on the connection.
  ///
  /// - Parameters:
  ///   - count: how many texts it is for. One waits for no room, as no call for a number does.
  ///   - size: how many bytes the answer takes at most.
  func answerLater<Prepared: Sendable>(
    _ call: borrowing RPCCall, count: Int, size: Int,
    prepare: @escaping @Sendable () async throws(IDError) -> Prepared,
    make: @escaping @Sendable (Prepared, RPCReply) throws(IDError) -> [UInt8]
  ) -> RPCOutcome {
    // Where the client is behind already, nothing is prepared.
    guard size <= call.room else { return .noRoom(size) }
    do throws(IDError) { try self.lane.check(count: count) } catch { return .failure(RPCStatus(error)) }
    let reply = call.answerLater()
    let task = Task {
      guard !reply.isCancelled else { return }
      do throws(IDError) {
        let prepared = try await prepare()
        if count > 1 { guard await reply.room(for: size) else { return } }
        reply.succeed(try await self.lane.run(count: count) { () throws(IDError) in try make(prepared, reply) })
      } catch {
        reply.fail(RPCStatus(error))
      }
    }
    reply.onCancel { task.cancel() }
    return .later
  }

  /// Ids and the text of each, in order, waiting as ``ids(of:tag:count:deadline:)`` does.
  ///
  /// - Parameter reserve: Is called once the ids are there, before any text is made.
  /// - Throws: as that does, and as ``TagForms``; ``MidCore/IDError/Code/overloaded`` where too many calls are under way; what
  ///   `reserve` throws.
  func ids(
    of mode: RequestFields.Mode, tag: Tag, count: Int64, _ format: IDFormat, reserve: () throws(IDError) -> Void
  ) async throws(IDError) -> (ranges: [IDRange], texts: [String]) {
    _ = try self.check(mode, format, tag, count: count)
    try self.lane.check(count: Int(count))
    let ranges = try await self.ids(of: mode, tag: tag, count: count, deadline: nil)
    try reserve()
    let made = self.made(mode)
    let texts = try await self.lane.run(count: Int(count)) { () throws(IDError) in
      try self.forms.texts(of: ranges, format, tag: tag, made: made)
    }
    return (ranges, texts)
  }

  /// Says what is wrong with a call before ids are used up for it.
  ///
  /// - Returns: how many bytes its answer takes at most.
  private func check(
    _ mode: RequestFields.Mode, _ format: IDFormat, _ tag: Tag, count: Int64
  ) throws(IDError) -> Int {
    let maximum = min(self.limits.maximumBatch, TextIDs.maximumBatch)
    guard (1...maximum).contains(count) else {
      throw IDError(.invalidArgument, "count is \(count); a batch with texts has 1 to \(maximum) ids")
    }
    let (length, largestID) = try self.forms.bounds(of: format, tag: tag)
    // A field's tag and its length stand before each.
    let size = Int(count) * (3 + length)
    guard size <= Self.maximumTextBytes else {
      throw IDError(
        .invalidArgument,
        "texts of this form have up to \(length) characters: a batch has at most \(Self.maximumTextBytes / (3 + length)) of them"
      )
    }
    if mode == .snowflake, let largestID {
      let layout = self.snowflake.layout
      let tick = (self.clock.wallMilliseconds() - layout.epochMilliseconds) / layout.tickMilliseconds
      guard tick <= largestID >> Int64(layout.workerBits + layout.sequenceBits) else {
        throw IDError(
          .invalidArgument,
          "Snowflake ids of this layout are past \(largestID), the largest that has an opaque number: "
            + "fewer \(Settings.opaqueSlotBits.key) leave more room")
      }
    }
    return size + Int(count) * Self.longestRange
  }

  /// What a range takes in an answer at most, and one id as well: three numbers of 63, 63 and 32 bits, their tags, and the
  /// message's own tag and length. A batch has as many ranges as ids at most.
  private static let longestRange = 28

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
  private func made(_ mode: RequestFields.Mode) -> @Sendable (Int64) -> Int64 {
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
