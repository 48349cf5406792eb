import NIOCore

@testable import MidRPC

/// Serves calls as their messages say, and notes what happened.
struct FuzzDispatcher: CallDispatcher {
  /// Where calls lead.
  static let routes: [String: Int32] = ["/u": 0, "/s": 1, "/mid.v1.IDService/GenerateID": 0]
  static let streaming: Set<Int32> = [1]

  /// What the machine asked for.
  enum Event: Equatable {
    case dispatched(stream: UInt32, route: Int, message: [UInt8], reply: [UInt8]?)
    case failed(stream: UInt32)
    case cancelled(stream: UInt32)
    case rejected
  }

  /// Since they were last taken.
  var events: [Event] = []
  /// The calls whose answer is to come later, oldest first.
  var pending: [UInt32] = []
  /// Those of them that were told that room is kept for them.
  var rooms: Set<UInt32> = []
  /// The first thing that must not have been asked for.
  var finding: Finding?

  /// What a message is answered with; nil for later. Its first byte decides.
  static func reply(to message: [UInt8]) -> (result: CallResult, content: [UInt8]) {
    guard let first = message.first else { return (.message, []) }
    let second = message.count > 1 ? Int(message[1]) : 0
    switch first & 0x0f {
    case 8, 9: return (.later, [UInt8](repeating: 0xee, count: second))
    case 10: return (.failure(RPCStatus(.notFound, "100 % né\n\(second)")), [1, 2, 3])
    case 11, 13: return (.message, [UInt8](repeating: first, count: second * 100))
    case 12: return (.message, [])
    default: return (.message, message.reversed())
    }
  }

  mutating func dispatch(
    route: Int, stream: UInt32, deadline: UInt64, message: UnsafeRawBufferPointer, room: Int, output: inout ByteBuffer
  ) -> CallResult {
    let message = Array(message)
    let (result, content) = Self.reply(to: message)
    // Like a method that can tell how long its answer is.
    if case .message = result, message.first.map({ $0 & 0x0f }) == 13, content.count > room {
      return .noRoom(content.count)
    }
    output.writeBytes(content)
    switch result {
    case .message:
      self.events.append(.dispatched(stream: stream, route: route, message: message, reply: content))
    case .later:
      if self.pending.contains(stream) { self.finding = Finding("stream \(stream) asked twice at once") }
      self.pending.append(stream)
      self.events.append(.dispatched(stream: stream, route: route, message: message, reply: nil))
    case .noRoom: break
    case .failure:
      self.events.append(.dispatched(stream: stream, route: route, message: message, reply: nil))
      self.events.append(.failed(stream: stream))
    }
    return result
  }

  mutating func rejected(route: Int?, code: RPCStatus.Code) { self.events.append(.rejected) }

  mutating func hasRoom(stream: UInt32) {
    if !self.pending.contains(stream) || !self.rooms.insert(stream).inserted {
      self.finding = Finding("stream \(stream) has room, and did not ask for it")
    }
  }

  mutating func cancelled(stream: UInt32) {
    guard let index = self.pending.firstIndex(of: stream) else {
      self.finding = Finding("stream \(stream) was cancelled and waits for nothing")
      return
    }
    self.pending.remove(at: index)
    self.rooms.remove(stream)
    self.events.append(.cancelled(stream: stream))
  }
}
