package import MidCore
package import MidRPC
import NIOCore

/// The methods that hand out ids: `pb.IDMaker/MakeIDService`, and `mid.v1.IDService/GenerateID`, `/GenerateBatch`,
/// `/StreamIDs` and `/DecodeID`.
///
/// What is cached is answered within the call, on the event loop, without a lock or an allocation. The rest waits: in the
/// generator's queue for a segment or a ticket, on a timer for a Snowflake tick; see `IDMethods+Waiting.swift`.
package final class IDMethods: Sendable {
  /// Counts ids handed out.
  package protocol Meter: Sendable {
    /// Notes `count` ids of a mode.
    func issued(snowflake count: Int64)
    /// Notes `count` ids of a mode.
    func issued(segment count: Int64)
    /// Notes `count` ids of a mode.
    func issued(ticket count: Int64)
    /// Notes `count` ids of a mode.
    func issued(_ mode: TextMode, count: Int64)
    /// Notes `count` ids of a mode.
    func issued(_ mode: NameMode, count: Int64)
  }

  /// What bounds a call's wait.
  package struct Limits: Sendable, Hashable {
    /// How long a call without a deadline of its own waits.
    package var maximumWait: Duration
    /// The most ids of one batch, up to ``MidCore/BatchLimit/maximum``.
    package var maximumBatch: Int64
    /// How many calls may wait for the clock at once.
    package var maximumWaiters: Int

    /// Creates limits.
    package init(maximumWait: Duration, maximumBatch: Int64, maximumWaiters: Int) {
      self.maximumWait = maximumWait
      self.maximumBatch = maximumBatch
      self.maximumWaiters = maximumWaiters
    }
  }

  /// The modes whose ids are numbers, as error messages name them.
  static let modes = "snowflake, segment, ticket"
  /// All modes, as error messages name them.
  static let allModes =
    ([IDMethods.modes] + TextMode.allCases.map(\.rawValue) + NameMode.allCases.map(\.rawValue)).joined(separator: ", ")

  let snowflake: SnowflakeNode
  let segments: SegmentDirectory
  let tickets: TicketDirectory
  let texts: TextIDs
  let forms: TagForms
  let clock: any TimeSource
  /// Says what an id says.
  let reader: IDReader
  /// Where many texts are made.
  let lane = TextLane()
  let limits: Limits
  let meter: any Meter
  let clockQueue: ClockQueue
  let keys = RequestKeys()

  /// Creates the methods.
  package init(
    snowflake: SnowflakeNode, segments: SegmentDirectory, tickets: TicketDirectory, texts: TextIDs,
    forms: TagForms, clock: any TimeSource, limits: Limits, meter: any Meter
  ) {
    self.snowflake = snowflake
    self.clockQueue = ClockQueue(snowflake: snowflake, maximumWaiters: limits.maximumWaiters)
    self.segments = segments
    self.tickets = tickets
    self.texts = texts
    self.forms = forms
    self.clock = clock
    self.reader = IDReader(forms: forms, layout: snowflake.layout, clock: clock)
    self.limits = limits
    self.meter = meter
  }

  /// The methods for a server.
  package var all: [RPCMethod] {
    [
      RPCMethod(path: "/pb.IDMaker/MakeIDService") { call, message, response in
        self.single(call, message, kind: .id, &response)
      },
      RPCMethod(path: "/mid.v1.IDService/GenerateID") { call, message, response in
        self.single(call, message, kind: .generateID, &response)
      },
      RPCMethod(path: "/mid.v1.IDService/GenerateBatch") { call, message, response in
        self.batch(call, message, &response)
      },
      // Each message is a batch of its own: one response per request, in order, and the first failure ends the call.
      RPCMethod(path: "/mid.v1.IDService/StreamIDs", kind: .streaming) { call, message, response in
        self.batch(call, message, &response)
      },
      RPCMethod(path: "/mid.v1.IDService/DecodeID") { _, message, response in self.decode(message, &response) },
    ]
  }

  // MARK: - One id

  @inline(__always)
  private func single(
    _ call: borrowing RPCCall, _ message: UnsafeRawBufferPointer, kind: RequestFields.Kind, _ response: inout ByteBuffer
  ) -> RPCOutcome {
    let fields: RequestFields
    do throws(ProtobufError) {
      fields = try RequestFields(decoding: message, as: kind)
    } catch {
      return Self.unreadable(error)
    }
    guard fields.format.isEmpty || fields.mode == .other else {
      return self.formatted(call, fields, count: nil, &response)
    }
    switch fields.mode {
    case .snowflake:
      switch self.snowflake.next() {
      case .id(let id):
        self.meter.issued(snowflake: 1)
        response.writeIDResponse(id)
        return .reply
      case .wait: return self.waitForClock(call, count: nil)
      case .failure(let error): return .failure(RPCStatus(error))
      }
    case .segment:
      if fields.tag.isEmpty, let id = self.segments.defaultGenerator?.next() {
        self.meter.issued(segment: 1)
        response.writeIDResponse(id)
        return .reply
      }
      return self.singleOfTag(call, fields, &response)
    case .ticket: return self.ticket(call, fields, count: nil)
    case .other: return self.text(call, fields, kind: kind, message, &response)
    }
  }

  @inline(never)
  private func singleOfTag(
    _ call: borrowing RPCCall, _ fields: RequestFields, _ response: inout ByteBuffer
  ) -> RPCOutcome {
    do throws(IDError) {
      let tag = try Self.tag(fields)
      if let id = self.segments.cached(tag)?.next() {
        self.meter.issued(segment: 1)
        response.writeIDResponse(id)
        return .reply
      }
      return self.waitForSegment(call, tag: tag, count: nil)
    } catch {
      return .failure(RPCStatus(error))
    }
  }

  // MARK: - Many ids

  private func batch(
    _ call: borrowing RPCCall, _ message: UnsafeRawBufferPointer, _ response: inout ByteBuffer
  ) -> RPCOutcome {
    let fields: RequestFields
    do throws(ProtobufError) {
      fields = try RequestFields(decoding: message, as: .generateBatch)
    } catch {
      return Self.unreadable(error)
    }
    guard fields.mode != .other else { return self.textBatch(call, fields, message, &response) }
    let count = Int64(fields.count)
    guard fields.format.isEmpty else { return self.formatted(call, fields, count: count, &response) }
    guard (1...self.limits.maximumBatch).contains(count) else {
      return .failure(
        RPCStatus(.invalidArgument, "count is \(count); a batch has 1 to \(self.limits.maximumBatch) ids"))
    }
    if !fields.requestKey.isEmpty { return self.keyedBatch(call, fields, count: count) }
    if fields.mode == .snowflake { return self.snowflakeBatch(call, count: count, &response) }
    if fields.mode == .ticket { return self.ticket(call, fields, count: count) }
    do throws(IDError) {
      let tag = try Self.tag(fields)
      // All or nothing: a batch that can't be had whole leaves what is cached to others.
      guard let taken = self.segments.cached(tag)?.take(exactly: count) else {
        return self.waitForSegment(call, tag: tag, count: count)
      }
      self.meter.issued(segment: count)
      response.writeBatchResponse([taken])
      return .reply
    } catch {
      return .failure(RPCStatus(error))
    }
  }

  /// A batch whose retry gets the same ids.
  @inline(never)
  private func keyedBatch(_ call: borrowing RPCCall, _ fields: RequestFields, count: Int64) -> RPCOutcome {
    let key = Array(fields.requestKey)
    guard key.count <= RequestKeys.Machine.longestKey else {
      return .failure(
        RPCStatus(
          .invalidArgument,
          "request_key has \(key.count) bytes, at most \(RequestKeys.Machine.longestKey) are allowed"))
    }
    let tag: Tag?
    do throws(IDError) { tag = fields.mode == .snowflake ? nil : try Self.tag(fields) } catch {
      return .failure(RPCStatus(error))
    }
    let reply = call.answerLater()
    switch self.keys.begin(key, .init(mode: fields.mode, tag: tag, count: count), reply: reply) {
    case .first:
      guard let tag else { return self.waitForClock(call, reply, count: count, key: key) }
      if fields.mode == .ticket { return self.ticket(call, reply, tag: tag, count: count, key: key) }
      return self.waitForSegment(call, reply, tag: tag, count: count, key: key)
    case .again(let ranges): reply.succeed(Self.message(ranges, isBatch: true))
    case .waits: break
    case .conflict:
      reply.fail(
        RPCStatus(.invalidArgument, "request_key was used with another mode, tag or count; take a new key"))
    case .full:
      reply.fail(
        RPCStatus(
          .resourceExhausted,
          "this node remembers as many request keys as it can; call without one, later, or another node"))
    }
    return .later
  }

  // MARK: - Bad requests

  static func tag(_ fields: RequestFields) throws(IDError) -> Tag {
    fields.tag.isEmpty ? .default : try Tag(fields.tagText)
  }

  @inline(never)
  static func unknownMode(_ fields: RequestFields, kind: RequestFields.Kind) -> RPCOutcome {
    let text = fields.modeText
    let what = text.isEmpty ? "no mode is given" : "unknown mode '\(text)'"
    return .failure(RPCStatus(.invalidArgument, "\(what); allowed: \(kind == .id ? Self.modes : Self.allModes)"))
  }

  @inline(never)
  static func unreadable(_ error: ProtobufError) -> RPCOutcome {
    .failure(RPCStatus(.internalError, "the request is not a protobuf message: \(error)"))
  }
}

extension [IDRange] {
  /// How many ids they hold together.
  var total: Int64 { self.reduce(0) { $0 + $1.count } }
}

extension ByteBuffer {
  /// Writes `pb.IDResponse` or `mid.v1.GenerateIDResponse`, whose field 1 is the id. `id` is above 0.
  @inline(__always)
  mutating func writeIDResponse(_ id: Int64) {
    _ = self.writeWithUnsafeMutableBytes(minimumWritableBytes: 11) { target in
      target[0] = 0x08
      var rest = UInt64(bitPattern: id)
      var length = 1
      while rest >= 0x80 {
        target[length] = UInt8(truncatingIfNeeded: rest) | 0x80
        rest >>= 7
        length += 1
      }
      target[length] = UInt8(truncatingIfNeeded: rest)
      return length + 1
    }
  }

  /// Writes `mid.v1.GenerateBatchResponse`.
  mutating func writeBatchResponse(_ ranges: [IDRange]) {
    GenerateBatchResponse(ranges: ranges.map(IDRangeMessage.init(_:))).encode(into: &self)
  }
}

extension IDRangeMessage {
  /// The message of a range.
  init(_ range: IDRange) {
    self.init(start: range.start, stride: range.stride, count: UInt32(clamping: range.count))
  }
}
