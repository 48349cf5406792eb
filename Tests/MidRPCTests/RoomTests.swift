import NIOCore
import Testing

@testable import MidRPC

/// Calls whose answer has to wait for room, since others of the connection are held back. The method takes 40 bytes for each.
@Suite("An answer that has no room")
struct RoomTests {
  private static let path = "/test.Echo/Stream"

  /// A peer that takes nothing of any answer, and has two of 45 bytes held for it where 100 may be.
  private func full(_ streams: [UInt32] = [1, 3]) throws -> Peer {
    var limits = RPCLimits()
    limits.maxHeldBytes = 100
    var peer = try Peer.established(limits: limits)
    peer.dispatcher.answer = { call in
      call.room < 40 ? (.noRoom(40), [9, 9]) : (.message, [UInt8](repeating: 1, count: 40))
    }
    _ = try peer.send(Peer.setting(SettingID.initialWindowSize, 0))
    for stream in streams { _ = try peer.send(peer.call(stream)) }
    #expect(peer.machine.heldBytes == 90)
    return peer
  }

  /// The streams that ended, with their gRPC status.
  private func ends(_ frames: [SeenFrame]?) -> [String]? {
    frames?.compactMap { frame in
      guard case .headers(let stream, let fields, true) = frame else { return nil }
      return "\(stream): \(fields["grpc-status"] ?? "none")"
    }
  }

  private func account(_ peer: Peer) -> Int {
    peer.machine.receiveWindow + peer.machine.receiveCredit + peer.machine.bufferedBytes
  }

  @Test func `waits for it, and the calls are answered in their turns`() throws {
    var peer = try self.full()
    for stream in [5, 7, 9] as [UInt32] { try peer.expect(peer.call(stream), gives: []) }
    #expect(peer.machine.heldBytes == 90 && peer.machine.openStreams == 5)
    #expect(peer.machine.parked.map(\.stream) == [5, 7, 9])
    #expect(peer.machine.bufferedBytes == 3 * 8, "the requests are kept")
    #expect(peer.dispatcher.calls.map(\.room) == [.max, 50, 5, 0, 0])
    // The one that makes room need not be the first.
    #expect(self.ends(try peer.send(Peer.window(3, 45))) == ["3: 0"])
    #expect(
      peer.dispatcher.calls.last
        == .init(route: 0, stream: 5, deadline: .max, message: [1, 2, 3], room: 50))
    #expect(peer.machine.heldBytes == 90 && peer.machine.parked.map(\.stream) == [7, 9])
    for stream in [5, 7, 1, 9] as [UInt32] {
      let seen = try peer.send(Peer.window(stream, 45))
      #expect(self.ends(seen) == ["\(stream): 0"])
      let data = seen.flatMap { if case .data(stream, let bytes, _) = $0 { bytes } else { [UInt8]() } }
      #expect(data == Peer.message([UInt8](repeating: 1, count: 40)))
    }
    #expect(peer.machine.openStreams == 0 && peer.machine.memory == 0)
    #expect(self.account(peer) == peer.machine.limits.connectionWindow)
  }

  @Test func `is not begun in a call of many messages either, and the rest stay where they are`() throws {
    var peer = try self.full()
    let messages = Peer.message([1]) + Peer.message([2])
    try peer.expect(peer.headers(5, fields: Peer.head(path: Self.path)) + Peer.data(5, messages), gives: [])
    try peer.expect(Peer.data(5, Peer.message([3]), end: true), gives: [])
    #expect(peer.machine.bufferedBytes == 18 && peer.dispatcher.calls.count == 3)
    var seen = try peer.send(Peer.window(1, 45))
    #expect(peer.machine.heldBytes == 90 && peer.machine.bufferedBytes == 12)
    seen += try peer.send(Peer.window(5, 45))
    #expect(peer.machine.heldBytes == 90 && peer.machine.bufferedBytes == 6)
    seen += try peer.send(Peer.window(5, 45))
    seen += try peer.send(Peer.window(5, 45))
    #expect(self.ends(seen) == ["1: 0", "5: 0"])
    #expect(peer.dispatcher.calls.filter { $0.stream == 5 && $0.room >= 40 }.map(\.message) == [[1], [2], [3]])
    #expect(peer.machine.heldBytes == 45 && self.account(peer) == peer.machine.limits.connectionWindow)
  }

  @Test func `is no longer waited for once its caller gives up`() throws {
    var peer = try self.full()
    _ = try peer.send(peer.call(5) + peer.call(7))
    try peer.expect(Peer.frame(FrameType.resetStream, 0, 5, [0, 0, 0, 8]), gives: [])
    #expect(peer.machine.parked.map(\.stream) == [7] && peer.machine.bufferedBytes == 8)
    // Whoever held the room gives up: the next has it.
    try peer.expect(
      Peer.frame(FrameType.resetStream, 0, 1, [0, 0, 0, 8]),
      gives: [.headers(stream: 7, fields: [":status": "200", "content-type": "application/grpc"], end: false)])
    #expect(peer.machine.parked.isEmpty && peer.machine.heldBytes == 90 && peer.dispatcher.cancellations.isEmpty)
    #expect(self.account(peer) == peer.machine.limits.connectionWindow)
  }

  @Test func `is waited for until the caller's deadline`() throws {
    var peer = try self.full()
    let hurried = Peer.head(extra: [("grpc-timeout", "30n")])
    _ = try peer.send(peer.call(5, fields: hurried) + peer.call(7))
    peer.machine.now = 29
    #expect(try peer.endStuck(olderThan: 100) == [])
    peer.machine.now = 30
    let seen = try peer.endStuck(olderThan: 100)
    #expect(self.ends(seen) == ["5: 4"])
    #expect(seen.description.contains("there was no room for the answer in time"))
    #expect(peer.machine.parked.map(\.stream) == [7])
  }

  @Test func `is waited for as long as anything moves, and not much longer`() throws {
    var peer = try self.full()
    _ = try peer.send(peer.call(5))
    // A byte now and then, for longer than a held answer may stand still; then none.
    for _ in 0..<10 {
      peer.machine.now += 33
      #expect(try peer.endStuck(olderThan: 100) == [])
      _ = try peer.send(Peer.window(1, 1) + Peer.window(3, 1))
    }
    #expect(peer.machine.heldBytes == 70 && peer.machine.parked.map(\.stream) == [5])
    peer.machine.now += 34
    let seen = try peer.endStuck(olderThan: 100)
    #expect(self.ends(seen) == ["5: 8"])
    #expect(seen.description.contains("take 70 bytes; at most 100 are kept"))
    #expect(peer.machine.heldBytes == 70 && peer.machine.parked.isEmpty, "what is held has more time")
  }

  @Test func `is made once those before it are given up`() throws {
    var peer = try self.full()
    peer.machine.now = 90
    _ = try peer.send(peer.call(5))
    peer.machine.now = 101
    let freed = try peer.endStuck(olderThan: 100)
    #expect(freed.filter { $0 == .reset(stream: 1, .cancel) || $0 == .reset(stream: 3, .cancel) }.count == 2)
    #expect(peer.dispatcher.calls.last?.stream == 5 && peer.machine.heldBytes == 45)
    #expect(self.ends(try peer.send(Peer.window(5, 45))) == ["5: 0"])
  }

  @Test func `lets others pass that can leave at once`() throws {
    var peer = try self.full()
    _ = try peer.send(peer.call(5))
    for (stream, window, room) in [(7, 44, 39), (9, 45, 40)] as [(UInt32, UInt32, Int)] {
      let begin = peer.headers(stream) + Peer.window(stream, window)
      let seen = try peer.send(begin + Peer.data(stream, Peer.message([1, 2, 3]), end: true))
      #expect(peer.dispatcher.calls.last?.room == room)
      #expect(self.ends(seen) == (room < 40 ? [] : ["\(stream): 0"]))
    }
    #expect(peer.machine.heldBytes == 90 && peer.machine.parked.map(\.stream) == [5, 7])
  }

  @Test func `is made whatever its length where nothing is held`() throws {
    var peer = try self.full([1, 3])
    peer.dispatcher.answer = { call in
      call.room < 500 ? (.noRoom(500), []) : (.message, [UInt8](repeating: 1, count: 500))
    }
    _ = try peer.send(peer.call(5) + peer.call(7) + Peer.window(1, 45))
    #expect(peer.machine.parked.map(\.stream) == [5, 7])
    _ = try peer.send(Peer.window(3, 45))
    #expect(peer.machine.heldBytes == 505 && peer.machine.parked.map(\.stream) == [7])
    #expect(self.ends(try peer.send(Peer.window(5, 505))) == ["5: 0"])
    #expect(peer.machine.heldBytes == 505 && peer.machine.parked.isEmpty)
  }

  // Answers that come later.

  /// A peer that takes nothing of any answer, whose calls are answered later, by 40 bytes at most, where 100 may be held.
  private func patient(_ streams: [UInt32]) throws -> Peer {
    var limits = RPCLimits()
    limits.maxHeldBytes = 100
    var peer = try Peer.established(limits: limits)
    peer.dispatcher.answer = { _ in (.later, [9, 9]) }
    _ = try peer.send(Peer.setting(SettingID.initialWindowSize, 0))
    for stream in streams {
      _ = try peer.send(peer.call(stream))
      peer.keepRoom(stream, 40)
    }
    return peer
  }

  private func bytes(_ count: Int) -> [UInt8] { [UInt8](repeating: 1, count: count) }

  @Test func `is kept free for those that come later, and given back`() throws {
    var peer = try self.patient([1, 3, 5, 7])
    #expect(peer.dispatcher.rooms == [1, 3] && peer.machine.reservedBytes == 90)
    #expect(peer.machine.parked.map(\.stream) == [5, 7])
    // A shorter answer than was asked for, which is held back; what is left is still too little.
    _ = try peer.reply(1, self.bytes(20))
    #expect(peer.machine.heldBytes == 25 && peer.machine.reservedBytes == 45)
    #expect(peer.machine.parked.map(\.stream) == [5, 7])
    // One that fails takes nothing, one that is given up neither.
    #expect(self.ends(try peer.fail(3, RPCStatus(.notFound, "none"))) == ["3: 5"])
    #expect(peer.dispatcher.rooms == [1, 3, 5] && peer.machine.reservedBytes == 45)
    try peer.expect(Peer.frame(FrameType.resetStream, 0, 5, [0, 0, 0, 8]), gives: [])
    #expect(peer.dispatcher.cancellations == [5] && peer.dispatcher.rooms == [1, 3, 5, 7])
    #expect(peer.machine.reservedBytes == 45 && peer.machine.parked.isEmpty && peer.machine.heldBytes == 25)
    _ = try peer.reply(7, self.bytes(40))
    #expect(peer.machine.reservedBytes == 0 && peer.machine.heldBytes == 70)
    #expect(self.ends(try peer.send(Peer.window(7, 45) + Peer.window(1, 25))) == ["7: 0", "1: 0"])
    #expect(peer.machine.openStreams == 0 && peer.machine.memory == 0)
    #expect(self.account(peer) == peer.machine.limits.connectionWindow)
  }

  @Test func `is not kept before it is asked for, nor after the call`() throws {
    var peer = try self.patient([])
    for stream in [1, 3, 5] as [UInt32] { _ = try peer.send(peer.call(stream)) }
    #expect(peer.machine.reservedBytes == 0 && peer.dispatcher.calls.map(\.room) == [.max, .max, .max])
    for stream in [1, 1, 3, 5, 7] as [UInt32] { peer.keepRoom(stream, 40) }
    #expect(peer.dispatcher.rooms == [1, 3] && peer.machine.parked.map(\.stream) == [5])
    // One that waits and is answered all the same, one that fails meanwhile, one that is gone.
    _ = try peer.reply(5, self.bytes(5))
    #expect(peer.machine.parked.isEmpty && peer.machine.heldBytes == 10)
    _ = try peer.reply(1, self.bytes(40))
    peer.keepRoom(1, 40)
    #expect(peer.machine.reservedBytes == 45 && peer.machine.heldBytes == 55)
  }

  @Test func `is not taken by others that come meanwhile`() throws {
    var peer = try self.patient([1, 3])
    // Short answers at once, held back until there are as many as may be: the promised ones are held all the same.
    peer.dispatcher.answer = { _ in (.message, [UInt8](repeating: 2, count: 45)) }
    for stream in [5, 7, 9] as [UInt32] { _ = try peer.send(peer.call(stream)) }
    #expect(peer.machine.heldBytes == 100 && peer.machine.held.count == 2)
    for stream in [1, 3] as [UInt32] { #expect(try self.ends(peer.reply(stream, self.bytes(40))) == []) }
    #expect(peer.machine.heldBytes == 190 && peer.machine.reservedBytes == 0)
    for stream in [1, 3] as [UInt32] { #expect(self.ends(try peer.send(Peer.window(stream, 45))) == ["\(stream): 0"]) }
  }

  @Test func `is not promised to a longer answer than was asked for`() throws {
    var peer = try self.patient([1, 3])
    _ = try peer.reply(1, self.bytes(40))
    #expect(self.ends(try peer.reply(3, self.bytes(60))) == ["3: 8"])
    #expect(peer.machine.heldBytes == 45 && peer.machine.reservedBytes == 0)
  }

  @Test func `is shared in their turns by those that come later and those whose message waits`() throws {
    var peer = try self.patient([1, 3])
    peer.dispatcher.answer = { call in call.room < 40 ? (.noRoom(40), []) : (.message, self.bytes(40)) }
    _ = try peer.send(peer.call(5))
    peer.dispatcher.answer = { _ in (.later, []) }
    _ = try peer.send(peer.call(7))
    peer.keepRoom(7, 20)
    #expect(peer.machine.parked.map(\.stream) == [5, 7])
    peer.dispatcher.answer = { call in call.room < 40 ? (.noRoom(40), []) : (.message, self.bytes(40)) }
    _ = try peer.fail(1, RPCStatus(.notFound, "none"))
    #expect(peer.machine.heldBytes == 45 && peer.machine.parked.map(\.stream) == [7])
    _ = try peer.fail(3, RPCStatus(.notFound, "none"))
    #expect(peer.dispatcher.rooms == [1, 3, 7] && peer.machine.reservedBytes == 25)
  }

  @Test func `is waited for as long as others are promised theirs`() throws {
    var peer = try self.patient([1, 3, 5])
    peer.machine.now = 1_000
    #expect(try peer.endStuck(olderThan: 100) == [])
    _ = try peer.reply(1, self.bytes(40))
    _ = try peer.reply(3, self.bytes(40))
    peer.machine.now = 1_033
    #expect(try peer.endStuck(olderThan: 100) == [])
    peer.machine.now = 1_034
    #expect(self.ends(try peer.endStuck(olderThan: 100)) == ["5: 8"])
    #expect(peer.dispatcher.cancellations == [5] && peer.machine.parked.isEmpty)
    #expect(peer.dispatcher.rejections == [.resourceExhausted])
  }

  @Test func `is waited for until the caller's deadline by those that come later, too`() throws {
    var peer = try self.patient([1, 3])
    _ = try peer.send(peer.call(5, fields: Peer.head(extra: [("grpc-timeout", "30n")])))
    peer.machine.now = 30
    #expect(try peer.endStuck(olderThan: 100) == [], "it does not wait for room")
    peer.keepRoom(5, 40)
    // There would be room for this one, which does not pass.
    _ = try peer.send(peer.call(7))
    peer.keepRoom(7, 5)
    #expect(peer.dispatcher.rooms == [1, 3] && peer.machine.parked.map(\.stream) == [5, 7])
    #expect(self.ends(try peer.endStuck(olderThan: 100)) == ["5: 4"])
    #expect(peer.dispatcher.cancellations == [5] && peer.dispatcher.rooms == [1, 3, 7])
  }

  @Test func `is kept in a call of many messages for one after the other`() throws {
    var peer = try self.patient([1])
    let messages = Peer.message([1]) + Peer.message([2])
    _ = try peer.send(peer.headers(3, fields: Peer.head(path: Self.path)) + Peer.data(3, messages, end: true))
    peer.keepRoom(3, 40)
    #expect(peer.machine.reservedBytes == 90)
    _ = try peer.reply(3, self.bytes(40))
    #expect(peer.machine.reservedBytes == 45 && peer.machine.heldBytes == 45)
    _ = try peer.send(Peer.window(3, 45))
    peer.keepRoom(3, 40)
    #expect(peer.machine.reservedBytes == 90 && peer.machine.heldBytes == 0)
    _ = try peer.reply(3, self.bytes(40))
    #expect(self.ends(try peer.send(Peer.window(3, 45))) == ["3: 0"])
    #expect(peer.machine.reservedBytes == 45)
    try peer.expect(Peer.frame(FrameType.ping, 0, 0, [1]), ends: .frameSizeError)
    #expect(peer.machine.reservedBytes == 0)
  }

  @Test func `is forgotten with its connection`() throws {
    var peer = try self.full()
    _ = try peer.send(peer.call(5))
    try peer.expect(Peer.frame(FrameType.ping, 0, 0, [1]), ends: .frameSizeError)
    #expect(peer.machine.parked.isEmpty && peer.machine.memory == 0)
  }
}
