import MidRPC
import NIOCore
import NIOHPACK
import Testing

@testable import mid

@Suite("The load generator's connection, whatever the pieces")
struct BenchSplitTests {
  /// What six calls are answered with, in all kinds of frames.
  private func conversation(_ frames: inout ServerFrames) throws -> [UInt8] {
    let body = CannedStep.framed([UInt8](repeating: 5, count: 40))
    var bytes = try frames.reply(3, [1], .indexable) + ServerFrames.frame(FrameType.ping, 0, 0, [UInt8](1...8))
    bytes += try frames.headers(1, ServerFrames.opening, .indexable) + ServerFrames.data(1, Array(body[..<3]))
    bytes += try frames.headers(5, ServerFrames.opening + [("grpc-status", "14")], end: true)
    bytes += ServerFrames.data(1, Array(body[3..<20])) + ServerFrames.settings((SettingID.initialWindowSize, 9))
    bytes += ServerFrames.reset(7, 8) + ServerFrames.data(1, Array(body[20...]))
    bytes += try frames.headers(1, [("grpc-status", "0")], end: true, .indexable) + frames.reply(9, [2], .indexable)
    bytes += ServerFrames.goAway(last: 9, 0, "bye") + ServerFrames.data(0, [1])
    return bytes
  }

  private func run(_ cuts: [Int]) throws -> (events: [NotingReceiver.Event], sent: [ClientFrame]) {
    var peer = try BenchPeer.open()
    for name in UInt64(1)...6 { _ = try peer.start(name) }
    let bytes = try self.conversation(&peer.frames)
    var sent: [ClientFrame] = []
    var start = 0
    for cut in cuts + [bytes.count] where cut >= start && cut <= bytes.count {
      sent += try peer.receive(Array(bytes[start..<cut]))
      start = cut
    }
    return (peer.events(), sent)
  }

  @Test func `a cut at any byte, and at every byte, gives the same`() throws {
    var peer = try BenchPeer.open()
    let length = try self.conversation(&peer.frames).count
    let whole = try self.run([])
    #expect(whole.events.count == 9)
    for cut in 0...length {
      let split = try self.run([cut])
      #expect(split.events == whole.events, "cut at \(cut)")
      #expect(split.sent == whole.sent, "cut at \(cut)")
    }
    let single = try self.run(Array(0...length))
    #expect(single.events == whole.events)
    #expect(single.sent == whole.sent)
  }

  @Test func `noise never breaks more than the connection`() throws {
    let seed = UInt64.random(in: .min ... .max)
    print("seed \(seed)")
    var random = SplitMix(seed: seed)
    for _ in 0..<500 {
      var peer = try BenchPeer.open()
      for name in UInt64(1)...6 { _ = try peer.start(name) }
      var bytes = try self.conversation(&peer.frames)
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      _ = try peer.receive(bytes)
      var receiver = peer.receiver
      peer.machine.close("over", receiver: &receiver)
      // Every call ends once, whatever came.
      let ends = receiver.events.compactMap { event -> UInt64? in
        switch event {
        case .message: nil
        case .ended(let name, _), .unprocessed(let name): name
        }
      }
      #expect(ends.sorted() == [1, 2, 3, 4, 5, 6], "seed \(seed)")
    }
  }

  @Test func `the table of calls finds what it holds, in any order of ends`() {
    let seed = UInt64.random(in: .min ... .max)
    print("seed \(seed)")
    var random = SplitMix(seed: seed)
    var table = ClientCallTable(calls: 1)
    var model: Set<UInt32> = []
    var next: UInt32 = 1
    for _ in 0..<20_000 {
      if model.count < 200, Bool.random(using: &random) {
        var call = ClientCall()
        call.streamID = next
        table.insert(call)
        model.insert(next)
        next += 2
      } else if let stream = model.randomElement(using: &random), let slot = table.find(stream) {
        table.remove(slot)
        model.remove(stream)
      }
      #expect(table.count == model.count)
    }
    #expect(table.streams == model.sorted())
    #expect(model.allSatisfy { table.find($0).map { slot in table[slot].streamID } == $0 })
    #expect(table.find(next) == nil)
  }
}

/// A small seeded generator, so that a random test can be run again as it was.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  init(seed: UInt64) { self.state = seed }

  mutating func next() -> UInt64 {
    self.state &+= 0x9e37_79b9_7f4a_7c15
    var z = self.state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
