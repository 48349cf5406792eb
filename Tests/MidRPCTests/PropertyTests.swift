import NIOCore
import NIOHPACK
import Testing

@testable import MidRPC

@Suite("Whatever the input")
struct PropertyTests {
  /// A conversation of good and bad calls, windows, pings and resets.
  private func conversation(_ random: inout SplitMix64, peer: inout Peer) -> [UInt8] {
    var bytes: [UInt8] = []
    var stream: UInt32 = 1
    for _ in 0..<Int.random(in: 1...30, using: &random) {
      let indexing: HPACKIndexing = Bool.random(using: &random) ? .indexable : .nonIndexable
      let message = [UInt8](repeating: 7, count: Int.random(in: 0...300, using: &random))
      switch Int.random(in: 0..<10, using: &random) {
      case 0: bytes += Peer.frame(FrameType.ping, 0, 0, [UInt8](repeating: 1, count: 8))
      case 1: bytes += Peer.window(0, UInt32.random(in: 1...1000, using: &random))
      case 2: bytes += Peer.setting(SettingID.initialWindowSize, UInt32.random(in: 0...2000, using: &random))
      case 3:
        bytes += peer.headers(stream) + Peer.frame(FrameType.resetStream, 0, stream, [0, 0, 0, 8])
        stream += 2
      case 4:
        let body = Peer.message(message)
        let cut = Int.random(in: 0...body.count, using: &random)
        bytes += peer.headers(stream, indexing: indexing) + Peer.data(stream, Array(body[..<cut]))
        bytes += Peer.data(stream, Array(body[cut...]), end: true)
        stream += 2
      case 5:
        bytes += peer.call(stream, message, fields: Peer.head(path: "/no/thing"), indexing: indexing)
        stream += 2
      default:
        let timeout = [("grpc-timeout", "\(Int.random(in: 1...9, using: &random))S")]
        bytes += peer.call(stream, message, fields: Peer.head(extra: timeout), indexing: indexing)
        stream += 2
      }
    }
    return bytes
  }

  @Test func `any split of the input gives the same output`() throws {
    let seed = UInt64.random(in: 0 ... .max)
    var random = SplitMix64(seed: seed)
    for round in 0..<200 {
      var maker = try Peer.established()
      let bytes = self.conversation(&random, peer: &maker)
      var whole = try Peer.established()
      let expected = try whole.send(bytes)
      var split = try Peer.established()
      var seen: [SeenFrame] = []
      var rest = bytes[...]
      while !rest.isEmpty {
        let piece = rest.prefix(Int.random(in: 1...(Bool.random(using: &random) ? 5 : 700), using: &random))
        seen += try split.send(Array(piece))
        rest = rest.dropFirst(piece.count)
      }
      #expect(seen == expected, "seed \(seed), round \(round)")
      #expect(split.dispatcher.calls == whole.dispatcher.calls, "seed \(seed), round \(round)")
    }
  }

  @Test func `random bytes never do more than end the connection`() throws {
    let seed = UInt64.random(in: 0 ... .max)
    var random = SplitMix64(seed: seed)
    for _ in 0..<2000 {
      var peer = try Peer.established()
      var bytes: [UInt8] = []
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        let payload = (0..<Int.random(in: 0...20, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random)
        }
        bytes += Peer.frame(
          UInt8.random(in: 0...10, using: &random), UInt8.random(in: 0...255, using: &random),
          UInt32.random(in: 0...5, using: &random), payload)
      }
      var output = ByteBuffer()
      bytes.withUnsafeBytes { peer.machine.receive($0, dispatcher: &peer.dispatcher, output: &output) }
      #expect(throws: Never.self, "seed \(seed)") { try peer.reader.frames(output) }
    }
  }

  @Test func `a block said to leave the table alone does, and any other does not`() throws {
    let seed = UInt64.random(in: 0 ... .max)
    var random = SplitMix64(seed: seed)
    let kinds: [HPACKIndexing] = [.indexable, .nonIndexable, .neverIndexed]
    for _ in 0..<2000 {
      var encoder = HPACKEncoder(allocator: ByteBufferAllocator())
      var headers = HPACKHeaders()
      var addsToTable = false
      for _ in 0..<Int.random(in: 0...8, using: &random) {
        let kind = kinds.randomElement(using: &random) ?? .indexable
        if Bool.random(using: &random) {
          headers.add(name: ":method", value: "POST", indexing: .indexable)  // stands in the static table
        } else {
          let value = String(repeating: "v", count: Int.random(in: 0...400, using: &random))
          headers.add(name: "name\(Int.random(in: 0...99999, using: &random))", value: value, indexing: kind)
          addsToTable = addsToTable || kind == .indexable
        }
      }
      var buffer = ByteBuffer()
      try encoder.encode(headers: headers, to: &buffer)
      let block = Array(buffer.readableBytesView)
      #expect(block.withUnsafeBytes { HeaderBlock.leavesTableAlone($0) } == !addsToTable, "seed \(seed)")
      if !addsToTable {
        for cut in 0..<block.count {
          _ = block[..<cut].withUnsafeBytes { HeaderBlock.leavesTableAlone($0) }
        }
      }
    }
    #expect(![0x3f].withUnsafeBytes { HeaderBlock.leavesTableAlone($0) }, "a table-size update")
    #expect(![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1].withUnsafeBytes { HeaderBlock.leavesTableAlone($0) })
    #expect(![0x00, 0x05, 0x61].withUnsafeBytes { HeaderBlock.leavesTableAlone($0) }, "cut short")
    #expect(![0x0f].withUnsafeBytes { HeaderBlock.leavesTableAlone($0) }, "cut short in an integer")
  }

  /// Numbers from all over the place, so that many streams want the same slot.
  @Test func `the table of streams behaves as a dictionary`() {
    let seed = UInt64.random(in: 0 ... .max)
    var random = SplitMix64(seed: seed)
    var table = StreamTable()
    var model: [UInt32: Int32] = [:]
    for step in 0..<30_000 {
      let most = 1 << (step / 3000)
      if model.count < most && (model.isEmpty || Bool.random(using: &random)) {
        let id = UInt32.random(in: 0..<1 << 30, using: &random) * 2 + 1
        #expect(table.find(id) == nil || model[id] != nil, "seed \(seed), step \(step)")
        guard model[id] == nil else { continue }
        var stream = StreamState()
        stream.id = id
        stream.route = Int32(step)
        table.insert(stream)
        model[id] = Int32(step)
      } else if let id = model.keys.randomElement(using: &random) {
        let slot = table.find(id)
        #expect(slot.map { table[$0].route } == model[id], "seed \(seed), step \(step)")
        if let slot { table.remove(at: slot) }
        model[id] = nil
      }
      #expect(table.count == model.count, "seed \(seed), step \(step)")
      guard step % 50 == 0 else { continue }
      var seen: [UInt32: Int32] = [:]
      table.updateEach { seen[$0.id] = $0.route }
      #expect(seen == model, "seed \(seed), step \(step)")
      let areFound = model.allSatisfy { id, route in table.find(id).map { table[$0].route } == route }
      #expect(areFound, "seed \(seed), step \(step)")
    }
    for id in model.keys { if let slot = table.find(id) { table.remove(at: slot) } }
    #expect(table.count == 0)
    #expect(table.displaced == 0, "seed \(seed): removals would be slow for ever")
  }

  /// As a client uses it: numbers that grow, calls that end in any order, and a few that last, round which the numbers
  /// come again and again, so that streams stand now at their homes and now beside them.
  @Test func `the table of streams behaves as a dictionary where numbers grow`() {
    let seed = UInt64.random(in: 0 ... .max)
    var random = SplitMix64(seed: seed)
    var table = StreamTable()
    var model: [UInt32: Int32] = [:]
    var lasting: Set<UInt32> = []
    var next: UInt32 = 1
    var most = 0
    for step in 0..<50_000 {
      most = step % 1000 == 0 ? Int.random(in: 0...400, using: &random) : most
      if model.count < most {
        var stream = StreamState()
        stream.id = next
        stream.route = Int32(step)
        table.insert(stream)
        model[next] = Int32(step)
        if lasting.count < 3 && step % 50 == 0 { lasting.insert(next) }
        next += UInt32.random(in: 0..<20, using: &random) == 0 ? 6 : 2
      }
      let ending = model.keys.filter { !lasting.contains($0) }.randomElement(using: &random)
      if let id = ending, Bool.random(using: &random) || model.count > most {
        let slot = table.find(id)
        #expect(slot != nil, "seed \(seed), step \(step), stream \(id)")
        if let slot { table.remove(at: slot) }
        model[id] = nil
      }
      if step % 777 == 0 { lasting.removeAll() }
      if step % 100 == 0 {
        for (id, route) in model {
          #expect(table.find(id).map { table[$0].route } == route, "seed \(seed), step \(step), stream \(id)")
        }
        #expect(table.find(next) == nil, "seed \(seed), step \(step)")
        table.trim()
      }
      #expect(table.count == model.count, "seed \(seed), step \(step)")
    }
  }

  /// Numbers that all want one slot, as only a client that means harm leaves out; at any power of two.
  @Test(arguments: [2, 64, 4096, 1 << 16, 1 << 20])
  func `the table of streams stays quick whatever numbers are left out`(stride: UInt32) {
    var table = StreamTable()
    for number in 0..<1000 as Range<UInt32> {
      var stream = StreamState()
      stream.id = number * stride + 1
      table.insert(stream)
    }
    let farthest = (0..<1000 as Range<UInt32>).map { table.distance(of: $0 * stride + 1) ?? .max }.max() ?? .max
    #expect(farthest < 128, "\(farthest) slots from its home")
    for number in 0..<1000 as Range<UInt32> { if let slot = table.find(number * stride + 1) { table.remove(at: slot) } }
    #expect(table.count == 0 && table.displaced == 0)
  }

  @Test func `the table of streams gives its memory back when it is empty`() {
    var table = StreamTable()
    func fill(_ count: UInt32) {
      for number in 0..<count {
        var stream = StreamState()
        stream.id = number * 2 + 1
        table.insert(stream)
      }
      for number in 0..<count { if let slot = table.find(number * 2 + 1) { table.remove(at: slot) } }
    }
    fill(200)
    #expect(table.capacity == 512, "kept for the next burst")
    table.trim()
    #expect(table.capacity == 8)
    fill(300)
    #expect(table.capacity == 8, "too large to be kept")
  }
}

extension [Int] {
  /// The numbers as bytes.
  fileprivate func withUnsafeBytes<T>(_ body: (UnsafeRawBufferPointer) -> T) -> T {
    self.map { UInt8($0) }.withUnsafeBufferPointer { body(UnsafeRawBufferPointer($0)) }
  }
}

@Suite("A gRPC timeout")
struct GRPCTimeoutTests {
  @Test(
    arguments: [
      ("1n", 1), ("2u", 2_000), ("3m", 3_000_000), ("4S", 4_000_000_000), ("5M", 300_000_000_000),
      ("6H", 21_600_000_000_000), ("0S", 0), ("99999999n", 99_999_999), ("99999999H", UInt64.max),
    ] as [(String, UInt64)])
  func `is read in every unit`(_ text: String, _ nanoseconds: UInt64) {
    #expect(GRPCTimeout.nanoseconds(text) == nanoseconds)
  }
}

@Suite("A gRPC status")
struct RPCStatusTests {
  @Test func `has the numbers and names of the standard`() {
    let names = [
      "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
      "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
      "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
    ]
    #expect(RPCStatus.Code.allCases.map(\.description) == names)
    #expect(RPCStatus(.ok).description == "OK")
    #expect(RPCStatus(.notFound, "x").description == "NOT_FOUND: x")
  }
}
