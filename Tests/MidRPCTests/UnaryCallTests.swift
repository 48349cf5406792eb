import NIOCore
import NIOHPACK
import Testing

@testable import MidRPC

@Suite("A unary call")
struct UnaryCallTests {
  @Test func `is handed to its method and answered with headers, message and status`() throws {
    var peer = try Peer.established()
    let seen = try peer.send(peer.call(1))
    #expect(seen == Peer.answered(1, [3, 2, 1]))
    #expect(peer.dispatcher.calls == [.init(route: 0, stream: 1, deadline: .max, message: [1, 2, 3])])
    #expect(peer.machine.openStreams == 0)
  }

  @Test func `goes to the method of its path`() throws {
    var peer = try Peer.established()
    _ = try peer.send(peer.call(1, fields: Peer.head(path: "/test.Echo/Other")))
    #expect(peer.dispatcher.calls.map(\.route) == [1])
  }

  @Test func `may come with an empty message`() throws {
    var peer = try Peer.established()
    try peer.expect(peer.call(1, []), gives: Peer.answered(1, []))
  }

  @Test func `may follow others at once, in one read`() throws {
    var peer = try Peer.established()
    let bytes = (0..<100).flatMap { peer.call(UInt32(2 * $0 + 1), [UInt8($0)]) }
    let seen = try peer.send(bytes)
    let expected: [SeenFrame] = (0..<100).flatMap { Peer.answered(UInt32(2 * $0 + 1), [UInt8($0)]) }
    #expect(seen == expected)
  }

  @Test func `is understood by the same bytes again without decoding, and after the table has changed`() throws {
    var peer = try Peer.established()
    _ = try peer.send(peer.call(1, indexing: .indexable))  // fills the table
    let repeated = peer.headers(3, indexing: .indexable)
    _ = try peer.send(repeated + Peer.data(3, Peer.message([]), end: true))
    _ = try peer.send(peer.call(5, indexing: .indexable))
    _ = try peer.send(peer.call(7, fields: Peer.head(path: "/test.Echo/Other"), indexing: .indexable))
    _ = try peer.send(peer.call(9, fields: Peer.head(path: "/test.Echo/Other"), indexing: .indexable))
    _ = try peer.send(peer.call(11, indexing: .indexable))
    #expect(peer.dispatcher.calls.map(\.route) == [0, 0, 0, 1, 1, 0])
  }

  @Test func `is understood anew by the same bytes after others have changed the table, in trailers too`() throws {
    var peer = try Peer.established()
    func text(_ text: String) -> [UInt8] { [UInt8(text.utf8.count)] + Array(text.utf8) }
    func call(_ stream: UInt32, _ block: [UInt8], end: Bool = true) -> [UInt8] {
      Peer.frame(FrameType.headers, FrameFlags.endHeaders, stream, block)
        + Peer.data(stream, Peer.message([]), end: end)
    }
    let type = [0x0f, 0x10] + text("application/grpc")
    let other = [0x83, 0x86, 0x44] + text("/test.Echo/Other") + type
    let reverse = [0x83, 0x86, 0x44] + text("/test.Echo/Reverse") + type
    // POST, http, and as the path the entry before the newest: Reverse, until one more is added.
    let same = [0x83, 0x86, 0xbf] + type
    let end = FrameFlags.endHeaders | FrameFlags.endStream
    let trailers = Peer.frame(FrameType.headers, end, 9, [0x40] + text("x") + text("y"))
    _ = try peer.send(call(1, reverse) + call(3, other) + call(5, same) + call(7, same))
    _ = try peer.send(call(9, same, end: false) + trailers + call(11, same))
    #expect(peer.dispatcher.calls.map(\.route) == [0, 1, 0, 0, 0, 1])
    var requests = try Peer.established()
    _ = try requests.send(call(1, reverse) + call(3, other) + call(5, same) + call(7, other) + call(9, same))
    #expect(requests.dispatcher.calls.map(\.route) == [0, 1, 0, 1, 1])
  }

  @Test func `of more kinds than the cache keeps is still understood`() throws {
    var peer = try Peer.established()
    for round in 0..<3 {
      for timeout in 1...8 {
        let stream = UInt32(2 * (round * 8 + timeout) + 1)
        _ = try peer.send(peer.call(stream, fields: Peer.head(extra: [("grpc-timeout", "\(timeout)S")])))
      }
    }
    let expected: [UInt64] = (0..<24).map { UInt64($0 % 8 + 1) * 1_000_000_000 }
    #expect(peer.dispatcher.calls.map(\.deadline) == expected)
  }

  @Test func `tells its timeout`() throws {
    var peer = try Peer.established()
    _ = try peer.send(peer.call(1, fields: Peer.head(extra: [("grpc-timeout", "250m")])))
    #expect(peer.dispatcher.calls.map(\.deadline) == [250_000_000])
  }

  @Test(arguments: ["", "5", "m", "123456789m", "5x", "5.5S", "-1S", "５S"])
  func `with a timeout that is none fails with INTERNAL`(_ text: String) throws {
    var peer = try Peer.established()
    let seen = try peer.send(peer.call(1, fields: Peer.head(extra: [("grpc-timeout", text)])))
    #expect(seen.trailersOnlyStatus == "13")
    #expect(peer.dispatcher.calls.isEmpty)
  }

  @Test func `fails with the status that its method gives, and nothing of the message leaves`() throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.failure(RPCStatus(.notFound, "no tag “ä”: 100 %")), [9, 9, 9]) }
    let seen = try peer.send(peer.call(1))
    let fields = [
      ":status": "200", "content-type": "application/grpc", "grpc-status": "5",
      "grpc-message": "no tag %E2%80%9C%C3%A4%E2%80%9D: 100 %25",
    ]
    #expect(seen == [.headers(stream: 1, fields: fields, end: true)])
    #expect(peer.machine.openStreams == 0)
  }

  @Test func `with a long error text is answered with the start of it`() throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.failure(RPCStatus(.unknown, String(repeating: "é", count: 4000))), []) }
    guard case .headers(_, let fields, _)? = try peer.send(peer.call(1)).first else { throw FrameReader.Broken() }
    #expect((fields["grpc-message"] ?? "").utf8.count <= 1024)
    #expect(fields["grpc-message"]?.hasPrefix("%C3%A9%C3%A9") == true)
  }

  @Test func `can be answered later, in any order`() throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.later, []) }
    try peer.expect(peer.call(1) + peer.call(3) + peer.call(5), gives: [])
    #expect(peer.machine.openStreams == 3)
    #expect(try peer.reply(5, [5]) == Peer.answered(5, [5]))
    #expect(try peer.fail(1, RPCStatus(.unavailable))?.trailersOnlyStatus == "14")
    #expect(try peer.reply(3, [3]) == Peer.answered(3, [3]))
    #expect(peer.machine.openStreams == 0)
  }

  @Test func `is answered once`() throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.later, []) }
    _ = try peer.send(peer.call(1))
    #expect(try peer.reply(1) != nil)
    #expect(try peer.reply(1) == nil)
    #expect(try peer.fail(1, RPCStatus(.unknown)) == nil)
    #expect(try peer.reply(99) == nil)
  }

  @Test func `given up by the caller is not answered`() throws {
    var peer = try Peer.established()
    peer.dispatcher.answer = { _ in (.later, []) }
    _ = try peer.send(peer.call(1))
    _ = try peer.send(Peer.frame(FrameType.resetStream, 0, 1, [0, 0, 0, 8]))
    #expect(peer.dispatcher.cancellations == [1])
    #expect(try peer.reply(1) == nil)
  }

  @Test func `whose message comes in parts is put together`() throws {
    var peer = try Peer.established()
    let message = (0..<40_000).map { UInt8(truncatingIfNeeded: $0) }
    let body = Peer.message(message)
    var seen = try peer.send(peer.headers(1))
    seen += try peer.send(Peer.data(1, Array(body[..<3])))
    seen += try peer.send(Peer.data(1, Array(body[3..<16_000])))
    seen += try peer.send(Peer.data(1, Array(body[16_000..<32_000])))
    seen += try peer.send(Peer.data(1, Array(body[32_000...])))
    seen += try peer.send(Peer.data(1, [], end: true))
    #expect(peer.dispatcher.calls.map(\.message) == [message])
    #expect(seen.contains { if case .window(1, _) = $0 { true } else { false } }, "the stream's window is given back")
    #expect(peer.machine.bufferedBytes == 0)
  }

  @Test func `may end with trailers`() throws {
    var peer = try Peer.established()
    _ = try peer.send(peer.headers(1) + Peer.data(1, Peer.message([7])))
    let seen = try peer.send(peer.headers(1, end: true, fields: [("x-note", "bye")], indexing: .indexable))
    #expect(seen == Peer.answered(1, [7]))
    try peer.expect(peer.call(3), gives: Peer.answered(3, [3, 2, 1]))
  }

  @Test func `may be padded and carry a priority`() throws {
    var peer = try Peer.established()
    let block = peer.block(Peer.head())
    let flags = FrameFlags.endHeaders | FrameFlags.padded | FrameFlags.priority
    let headers = Peer.frame(FrameType.headers, flags, 1, [4, 0, 0, 0, 0, 16] + block + [0, 0, 0, 0])
    let data = Peer.frame(
      FrameType.data, FrameFlags.endStream | FrameFlags.padded, 1, [2] + Peer.message([1, 2]) + [0, 0])
    try peer.expect(headers + data, gives: Peer.answered(1, [2, 1]))
  }
}

@Suite("A request that no method can serve")
struct RefusedRequestTests {
  private func status(
    _ make: (inout Peer) -> [UInt8], limits: RPCLimits = RPCLimits()
  ) throws -> (String?, Peer) {
    var peer = try Peer.established(limits: limits)
    let seen = try peer.send(make(&peer))
    try peer.expect(peer.call(101), gives: Peer.answered(101, [3, 2, 1]), "the connection goes on")
    return (Array(seen.prefix(1)).trailersOnlyStatus, peer)
  }

  @Test func `for an unknown path is UNIMPLEMENTED`() throws {
    let (status, peer) = try self.status { $0.call(1, fields: Peer.head(path: "/test.Echo/Nothing")) }
    #expect(status == "12")
    #expect(peer.dispatcher.rejections == [.unimplemented])
  }

  @Test func `with an unknown encoding is UNIMPLEMENTED, with identity it is served`() throws {
    let (status, _) = try self.status { $0.call(1, fields: Peer.head(extra: [("grpc-encoding", "gzip")])) }
    #expect(status == "12")
    var peer = try Peer.established()
    let seen = try peer.send(peer.call(1, fields: Peer.head(extra: [("grpc-encoding", "identity")])))
    #expect(seen == Peer.answered(1, [3, 2, 1]))
  }

  @Test func `without a message or with two is UNIMPLEMENTED, cut short or with a wild prefix INTERNAL`() throws {
    #expect(try self.status { $0.headers(1, end: true) }.0 == "12")
    #expect(try self.status { $0.headers(1) + Peer.data(1, [0, 0, 0], end: true) }.0 == "13")
    #expect(try self.status { $0.headers(1) + Peer.data(1, [0, 0, 0, 0, 9, 1], end: true) }.0 == "13")
    #expect(
      try self.status { $0.headers(1) + Peer.data(1, Peer.message([1]) + Peer.message([2]), end: true) }.0 == "12")
    #expect(try self.status { $0.headers(1) + Peer.data(1, Peer.message([1], flag: 7), end: true) }.0 == "13")
  }

  @Test func `over the message limit is RESOURCE_EXHAUSTED, at the limit it is served`() throws {
    var limits = RPCLimits()
    limits.maxMessageBytes = 10
    let over = try self.status({ $0.call(1, [UInt8](repeating: 0, count: 11)) }, limits: limits)
    #expect(over.0 == "8")
    var peer = try Peer.established(limits: limits)
    #expect(try peer.send(peer.call(1, [UInt8](repeating: 1, count: 10))).count == 3)
  }

  @Test func `that announces more than the limit is refused before it is read, and the rest ignored`() throws {
    var limits = RPCLimits()
    limits.maxMessageBytes = 10
    var peer = try Peer.established(limits: limits)
    let seen = try peer.send(peer.headers(1) + Peer.data(1, [0, 0, 1, 0, 0, 1, 2]))
    #expect(Array(seen.prefix(1)).trailersOnlyStatus == "8")
    #expect(Array(seen.dropFirst()) == [.reset(stream: 1, .noError)])
    try peer.expect(Peer.data(1, [1, 2, 3], end: true), gives: [])
    try peer.expect(peer.call(3), gives: Peer.answered(3, [3, 2, 1]))
  }

  @Test func `that is not gRPC is answered in HTTP's terms`() throws {
    var peer = try Peer.established()
    for (stream, type) in [(1, "application/json"), (3, "application/grpcweb")] as [(UInt32, String)] {
      let seen = try peer.send(peer.call(stream, fields: Peer.head(type: type)))
      #expect(seen == [.headers(stream: stream, fields: [":status": "415"], end: true)])
    }
    let get = try peer.send(peer.headers(5, end: true, fields: Peer.head(method: "GET")))
    #expect(get == [.headers(stream: 5, fields: [":status": "405", "allow": "POST"], end: true)])
  }

  @Test(arguments: ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"])
  func `is not one with a content type of gRPC`(_ type: String) throws {
    var peer = try Peer.established()
    try peer.expect(peer.call(1, fields: Peer.head(type: type)), gives: Peer.answered(1, [3, 2, 1]))
  }

  @Test func `is read to its end when it was refused by its head`() throws {
    var peer = try Peer.established()
    var seen = try peer.send(peer.headers(1, fields: Peer.head(path: "/no/thing")))
    seen += try peer.send(Peer.data(1, [UInt8](repeating: 0, count: 9000)))
    #expect(seen.isEmpty)
    #expect(peer.machine.bufferedBytes == 0)
    #expect(try peer.send(Peer.data(1, [], end: true)).trailersOnlyStatus == "12")
  }
}
