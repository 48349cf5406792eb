import Foundation
import NIOCore
import NIOHPACK
import Testing

@testable import MidRPC

/// The same frames to our machine and to swift-nio-http2's server: what each makes of them must be the same, or be
/// listed with its reason.
@Suite("Beside swift-nio-http2")
struct DifferentialTests {
  /// A kind of frame, and where both may differ about it.
  struct Difference: Hashable {
    var frame: String
    var ours: String
    var theirs: String

    init(_ frame: String, _ ours: String, _ theirs: String) {
      self.frame = frame
      self.ours = ours
      self.theirs = theirs
    }
  }

  @Test func `the machine makes the same of random frames, or says why not`() throws {
    // The suite's is always the same; the long form looks further.
    let seed: UInt64 =
      ProcessInfo.processInfo.environment["MID_TEST_LONG"] == nil ? 20_261_124 : .random(in: 0 ... .max)
    print("differential test: seed \(seed)")
    var random = SplitMix64(seed: seed)
    var tally: [Difference: Int] = [:]
    var steps = 0
    var requests = 0
    for round in 0..<1500 {
      var conversation = try DifferentialConversation()
      for _ in 0..<40 {
        let (frame, bytes) = conversation.next(&random)
        steps += 1
        let verdicts = try conversation.play(bytes)
        if verdicts.ours != verdicts.theirs {
          let difference = Difference(frame, "\(verdicts.ours)", "\(verdicts.theirs)")
          tally[difference, default: 0] += 1
          if Self.reason(for: difference) == nil {
            Issue.record("\(frame): ours \(verdicts.ours), theirs \(verdicts.theirs); seed \(seed), round \(round)")
          }
          // From here on the two are in different states.
          break
        }
        if verdicts.ours.goAway != nil { break }
        requests += try conversation.compareRequests("seed \(seed), round \(round)")
      }
    }
    print("differential test: \(steps) frames, \(requests) requests compared")
    for (difference, count) in tally.sorted(by: { $0.value > $1.value }) {
      let reason = Self.reason(for: difference) ?? "NOT EXPLAINED"
      print("\(count) × \(difference.frame): ours \(difference.ours), theirs \(difference.theirs): \(reason)")
    }
    #expect(requests > 1000)
  }

  /// Why the two may differ so, by the standards.
  static func reason(for difference: Difference) -> String? {
    Self.allowed.first { rule, _ in
      difference.frame.hasPrefix(rule.frame) && rule.ours == difference.ours && rule.theirs == difference.theirs
    }?.reason
  }

  /// What may differ, by how the frame's name begins, and why.
  private static let allowed: [(rule: Difference, reason: String)] = [
    (
      Difference("a head with a value that begins", "resets the stream (protocolError)", "goes on"),
      "a blank at either end of a value makes a request malformed: RFC 9113, section 8.2.1"
    ),
    (
      Difference("a head with content-length twice", "resets the stream (protocolError)", "goes on"),
      "equal lengths may be taken as one or refused: RFC 9110, section 8.6"
    ),
    (
      Difference(
        "HEADERS without their priority", "ends the connection (frameSizeError)", "ends the connection (protocolError)"),
      "too short for its mandatory fields is FRAME_SIZE_ERROR: RFC 9113, section 4.2"
    ),
    (
      Difference("SETTINGS ACK", "goes on", "ends the connection (protocolError)"),
      "no rule forbids an ACK too many; it is counted as a frame that carries nothing"
    ),
    (
      Difference("trailers", "ends the connection (streamClosed)", "resets the stream (protocolError)"),
      "HEADERS after END_STREAM are STREAM_CLOSED, and a stream error may end the connection: RFC 9113, 5.1 and 5.4.1"
    ),
    (
      Difference("PRIORITY of 6 bytes", "resets the stream (frameSizeError)", "ends the connection (frameSizeError)"),
      "a stream error: RFC 9113, section 6.3"
    ),
    (
      Difference("DATA on a closed", "resets the stream (streamClosed)", "ends the connection (streamClosed)"),
      "either may be: the peer may not have known. RFC 9113, section 5.1"
    ),
    (
      Difference("padded DATA on a closed", "resets the stream (streamClosed)", "ends the connection (streamClosed)"),
      "either may be: the peer may not have known. RFC 9113, section 5.1"
    ),
    (
      Difference("empty DATA on a closed", "resets the stream (streamClosed)", "ends the connection (streamClosed)"),
      "either may be: the peer may not have known. RFC 9113, section 5.1"
    ),
    (
      Difference("a ", "resets the stream (refusedStream)", "ends the connection (protocolError)"),
      "one stream too many is a stream error, and REFUSED_STREAM tells the client it may try again: RFC 9113, 5.1.2"
    ),
    (
      Difference("a ", "resets the stream (refusedStream)", "resets the stream (protocolError)"),
      "one stream too many may get either code: RFC 9113, section 5.1.2"
    ),
  ]
}

/// One conversation, with both servers.
struct DifferentialConversation {
  private var ours: Peer
  private let theirs: ReferencePeer
  private var next: UInt32 = 1
  /// Requests whose end was sent, and that were compared.
  private var compared: Set<UInt32> = []

  init() throws {
    var limits = RPCLimits()
    // The windows of HTTP/2's defaults, as swift-nio-http2 has them.
    limits.maxMessageBytes = 1000
    limits.connectionWindowBytes = 1
    limits.maxConcurrentStreams = 12
    limits.minPingInterval = .nanoseconds(0)
    self.ours = try Peer.established(limits: limits)
    self.ours.dispatcher.answer = { _ in (.later, []) }
    self.theirs = try ReferencePeer(
      maxConcurrentStreams: limits.maxConcurrentStreams, maxHeaderListBytes: limits.maxHeaderListBytes)
    _ = try self.theirs.send(connectionPreface + Peer.frame(FrameType.settings, 0, 0))
    // swift-nio-http2 holds a client to its limits from this on.
    _ = try self.play(Peer.frame(FrameType.settings, FrameFlags.ack, 0))
  }

  /// Sends bytes to both.
  mutating func play(_ bytes: [UInt8]) throws -> (ours: Verdict, theirs: Verdict) {
    (Verdict(try self.ours.send(bytes)), Verdict(try self.theirs.send(bytes)))
  }

  /// Compares what both were handed of the unary calls that are complete; returns how many that were.
  mutating func compareRequests(_ comment: String) throws -> Int {
    var count = 0
    for call in self.ours.dispatcher.calls where call.route == 0 && self.compared.insert(call.stream).inserted {
      let reference = self.theirs.requests[call.stream]
      let timeout = reference?.timeout.flatMap { GRPCTimeout.nanoseconds($0) } ?? .max
      let expected = ReferencePeer.Request(
        path: "/test.Echo/Reverse", timeout: reference?.timeout, body: Peer.message(call.message), isComplete: true)
      #expect(reference == expected, "stream \(call.stream), \(comment)")
      #expect(call.deadline == timeout, "stream \(call.stream), \(comment)")
      count += 1
    }
    return count
  }

  // MARK: - What is sent

  /// The next frame or frames, and what they are.
  mutating func next(_ random: inout SplitMix64) -> (String, [UInt8]) {
    switch Int.random(in: 0..<40, using: &random) {
    case 0..<12: return self.unaryCall(&random)
    case 12..<18: return self.streamingCall(&random)
    case 18..<24: return self.onStream(&random)
    case 24..<28: return self.malformedHead(&random)
    case 28..<36: return self.control(&random)
    default: return self.broken(&random)
    }
  }

  private mutating func open() -> UInt32 {
    defer { self.next += 2 }
    return self.next
  }

  private mutating func unaryCall(_ random: inout SplitMix64) -> (String, [UInt8]) {
    let id = self.open()
    let message = (0..<Int.random(in: 0...300, using: &random)).map { UInt8(truncatingIfNeeded: $0) }
    let body = Peer.message(message)
    var extra: [(String, String)] = []
    if Bool.random(using: &random) { extra.append(("grpc-timeout", "\(Int.random(in: 1...99, using: &random))S")) }
    if Bool.random(using: &random) { extra.append(("content-length", "\(body.count)")) }
    if Bool.random(using: &random) { extra.append(("x-n", "\(Int.random(in: 0...9, using: &random))")) }
    let indexing: HPACKIndexing = Bool.random(using: &random) ? .indexable : .nonIndexable
    let block = self.ours.block(Peer.head(extra: extra), indexing: indexing)
    let cut = Int.random(in: 0...block.count, using: &random)
    var bytes: [UInt8]
    if Bool.random(using: &random) {
      bytes = Peer.frame(FrameType.headers, FrameFlags.endHeaders, id, block)
    } else {
      bytes = Peer.frame(FrameType.headers, 0, id, Array(block[..<cut]))
      bytes += Peer.frame(FrameType.continuation, FrameFlags.endHeaders, id, Array(block[cut...]))
    }
    let half = Int.random(in: 0...body.count, using: &random)
    if Bool.random(using: &random) { return ("a call", bytes + Peer.data(id, body, end: true)) }
    bytes += Peer.data(id, Array(body[..<half]))
    return ("a call", bytes + Peer.data(id, Array(body[half...]), end: true))
  }

  /// A call that stays open: its first message is never answered, so the rest waits.
  private mutating func streamingCall(_ random: inout SplitMix64) -> (String, [UInt8]) {
    let id = self.open()
    if Int.random(in: 0..<8, using: &random) == 0 { self.next += 4 }
    let bytes = self.ours.headers(id, fields: Peer.head(path: "/test.Echo/Stream")) + Peer.data(id, Peer.message([1]))
    return ("a call of many messages", bytes)
  }

  /// Any stream: one that was opened, left out, or never opened.
  private func anyStream(_ random: inout SplitMix64) -> (id: UInt32, kind: String) {
    let id = UInt32.random(in: 0...(self.next / 2 + 1), using: &random) * 2 + 1
    let kind: String
    if id >= self.next {
      kind = "an idle stream"
    } else if let slot = self.ours.machine.streams.find(id) {
      kind = self.ours.machine.streams[slot].isRemoteClosed ? "a half-closed stream" : "an open stream"
    } else {
      kind = "a closed stream"
    }
    return (id, kind)
  }

  private mutating func onStream(_ random: inout SplitMix64) -> (String, [UInt8]) {
    let (id, kind) = self.anyStream(&random)
    let isOpen = kind == "an open stream"
    switch Int.random(in: 0..<8, using: &random) {
    case 0, 1:
      let data = [UInt8](repeating: 3, count: Int.random(in: 1...200, using: &random))
      return ("DATA on \(kind)", Peer.data(id, data, end: Bool.random(using: &random)))
    case 2: return ("empty DATA on \(kind)", Peer.data(id, [], end: true))
    case 3:
      let padding = UInt8.random(in: 0...20, using: &random)
      let payload = [padding] + [UInt8](repeating: 0, count: 10)
      let isTooMuch = padding > 10
      return (
        "\(isTooMuch ? "over-" : "")padded DATA on \(kind)",
        Peer.frame(FrameType.data, FrameFlags.padded, id, payload)
      )
    case 4: return ("RST_STREAM on \(kind)", Peer.frame(FrameType.resetStream, 0, id, [0, 0, 0, 8]))
    case 5:
      let increment = [0, 1, 1000, 0x7fff_ffff].randomElement(using: &random) ?? 1
      let what = increment == 0 ? "by 0 " : increment == 0x7fff_ffff ? "past the limit " : ""
      return ("WINDOW_UPDATE \(what)on \(kind)", Peer.window(id, UInt32(increment)))
    case 6 where isOpen || kind == "a half-closed stream":
      let ends = Bool.random(using: &random)
      return (
        "trailers \(ends ? "" : "without an end ")on \(kind)", self.ours.headers(id, end: ends, fields: [("x-a", "b")])
      )
    default:
      let payload: [UInt8] = [0, 0, 0, 0, 9] + (Int.random(in: 0..<3, using: &random) == 0 ? [1] : [])
      return (
        "PRIORITY \(payload.count == 5 ? "" : "of 6 bytes ")on \(kind)", Peer.frame(FrameType.priority, 0, id, payload)
      )
    }
  }

  private mutating func malformedHead(_ random: inout SplitMix64) -> (String, [UInt8]) {
    let path = "/test.Echo/Stream"
    let heads: [(String, [(String, String)])] = [
      ("no :path", Peer.head().filter { $0.0 != ":path" }),
      ("no :scheme", Peer.head().filter { $0.0 != ":scheme" }),
      ("no :method", Peer.head().filter { $0.0 != ":method" }),
      (":path twice", [(":path", path)] + Peer.head(path: path)),
      (":path after others", Peer.head().filter { $0.0 != ":path" } + [(":path", path)]),
      ("an empty :path", Peer.head(path: "")),
      (":status", [(":status", "200")] + Peer.head(path: path)),
      ("an unknown pseudo-header", [(":other", "1")] + Peer.head(path: path)),
      ("upper case", Peer.head(path: path, extra: [("X-A", "b")])),
      ("connection", Peer.head(path: path, extra: [("connection", "close")])),
      ("te: gzip", Peer.head(path: path, extra: [("te", "gzip")])),
      ("a blank in a name", Peer.head(path: path, extra: [("x a", "b")])),
      ("a line feed in a value", Peer.head(path: path, extra: [("x-a", "b\nc")])),
      ("a NUL in a value", Peer.head(path: path, extra: [("x-a", "b\0c")])),
      ("a value that begins with a blank", Peer.head(path: path, extra: [("x-a", " b")])),
      ("content-length of no number", Peer.head(path: path, extra: [("content-length", "x")])),
      ("content-length twice", Peer.head(path: path, extra: [("content-length", "6"), ("content-length", "6")])),
    ]
    let (what, fields) = heads[Int.random(in: 0..<heads.count, using: &random)]
    return ("a head with \(what)", self.ours.headers(self.open(), fields: fields))
  }

  private mutating func control(_ random: inout SplitMix64) -> (String, [UInt8]) {
    let settings: [(String, UInt16, UInt32)] = [
      ("a small window", SettingID.initialWindowSize, 100),
      ("a window past the limit", SettingID.initialWindowSize, 1 << 31),
      ("a large frame", SettingID.maxFrameSize, 20_000), ("too small a frame", SettingID.maxFrameSize, 100),
      ("too large a frame", SettingID.maxFrameSize, 1 << 24), ("no push", SettingID.enablePush, 0),
      ("push of 2", SettingID.enablePush, 2), ("no table", SettingID.headerTableSize, 0),
      ("something unknown", 0x99, 7),
      ("few streams", SettingID.maxConcurrentStreams, 1),
    ]
    switch Int.random(in: 0..<9, using: &random) {
    case 0...3:
      // Mostly what is allowed, so that conversations go on.
      let index = Int.random(in: 0..<settings.count, using: &random)
      let (what, id, value) = settings[Bool.random(using: &random) ? 0 : index]
      return ("SETTINGS with \(what)", Peer.setting(id, value))
    case 4:
      return ("PING", Peer.frame(FrameType.ping, 0, 0, (0..<8).map { _ in UInt8.random(in: 0...255, using: &random) }))
    case 5:
      let increment = [0, 1, 1000, 0x7fff_ffff].randomElement(using: &random) ?? 1
      let what = increment == 0 ? "by 0 " : increment == 0x7fff_ffff ? "past the limit " : ""
      return ("WINDOW_UPDATE \(what)on the connection", Peer.window(0, UInt32(increment)))
    case 6: return ("an unknown frame", Peer.frame(0x42, 0xff, UInt32.random(in: 0...9, using: &random), [1, 2, 3]))
    case 7: return ("an answer to no PING", Peer.frame(FrameType.ping, FrameFlags.ack, 0, [0, 0, 0, 0, 0, 0, 0, 1]))
    default: return ("SETTINGS ACK", Peer.frame(FrameType.settings, FrameFlags.ack, 0))
    }
  }

  /// What ends a connection, most of it.
  private mutating func broken(_ random: inout SplitMix64) -> (String, [UInt8]) {
    let id = self.next
    let frames: [(String, [UInt8])] = [
      ("PING of 7 bytes", Peer.frame(FrameType.ping, 0, 0, [1, 2, 3, 4, 5, 6, 7])),
      ("PING on a stream", Peer.frame(FrameType.ping, 0, 1, [1, 2, 3, 4, 5, 6, 7, 8])),
      ("SETTINGS of 5 bytes", Peer.frame(FrameType.settings, 0, 0, [1, 2, 3, 4, 5])),
      ("SETTINGS on a stream", Peer.frame(FrameType.settings, 0, 1)),
      ("SETTINGS ACK with a payload", Peer.frame(FrameType.settings, FrameFlags.ack, 0, [0, 4, 0, 0, 0, 1])),
      ("RST_STREAM of 3 bytes", Peer.frame(FrameType.resetStream, 0, 1, [1, 2, 3])),
      ("RST_STREAM on stream 0", Peer.frame(FrameType.resetStream, 0, 0, [0, 0, 0, 8])),
      ("WINDOW_UPDATE of 3 bytes", Peer.frame(FrameType.windowUpdate, 0, 0, [1, 2, 3])),
      ("PRIORITY on stream 0", Peer.frame(FrameType.priority, 0, 0, [0, 0, 0, 0, 1])),
      ("GOAWAY of 7 bytes", Peer.frame(FrameType.goAway, 0, 0, [1, 2, 3, 4, 5, 6, 7])),
      ("GOAWAY on a stream", Peer.frame(FrameType.goAway, 0, 1, [0, 0, 0, 0, 0, 0, 0, 0])),
      ("DATA on stream 0", Peer.data(0, [1])),
      ("HEADERS on stream 0", self.ours.headers(0)),
      ("HEADERS on an even stream", self.ours.headers(id + 1)),
      ("CONTINUATION out of nothing", Peer.frame(FrameType.continuation, FrameFlags.endHeaders, 1, [])),
      ("PUSH_PROMISE", Peer.frame(FrameType.pushPromise, FrameFlags.endHeaders, 1, [0, 0, 0, 2, 0x82])),
      ("a frame that is too long", Peer.frame(0x42, 0, 0, [UInt8](repeating: 0, count: 16_385))),
      ("a header block that is cut", Peer.frame(FrameType.headers, FrameFlags.endHeaders, id, [0x40, 0x7f])),
      ("a header block with an index of 0", Peer.frame(FrameType.headers, FrameFlags.endHeaders, id, [0x80])),
      ("HEADERS without their priority", Peer.frame(FrameType.headers, 4 | FrameFlags.priority, id, [0, 0])),
      ("HEADERS, over-padded", Peer.frame(FrameType.headers, 4 | FrameFlags.padded, id, [9, 0])),
      (
        "a header block that is interrupted",
        Peer.frame(FrameType.headers, 0, id) + Peer.frame(FrameType.ping, 0, 0, [UInt8](repeating: 0, count: 8))
      ),
    ]
    return frames[Int.random(in: 0..<frames.count, using: &random)]
  }
}
