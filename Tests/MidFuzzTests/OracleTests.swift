import Testing

@testable import MidRPC

@Suite("The rules that fuzzing checks")
struct OracleTests {
  @Test func `notice a machine whose books do not balance`() throws {
    var harness = try ConnectionHarness(limits: .fuzzed(0), isEstablished: true)
    harness.machine.receiveCredit += 1
    #expect(throws: Finding.self) { try harness.machine.checkInvariants() }
  }

  @Test func `notice a window that the client does not know of`() throws {
    var harness = try ConnectionHarness(limits: .fuzzed(0), isEstablished: true)
    harness.machine.sendWindow += 1
    #expect(throws: Finding.self) { try harness.perform(.keepalive) }
  }

  @Test func `notice a stream that is forgotten without a word`() throws {
    var harness = try ConnectionHarness(limits: .fuzzed(0), isEstablished: true)
    var headers = HeaderWriter()
    try harness.perform(.bytes(headers.request(stream: 1, path: "/u")))
    harness.machine.streams = .init()
    #expect(throws: Finding.self) { try harness.perform(.keepalive) }
  }

  @Test(
    arguments: [
      ("a frame cut short", [0, 0, 9, 6, 0]), ("DATA out of nothing", [0, 0, 1, 0, 0, 0, 0, 0, 1, 7]),
      ("an answer to no PING", [0, 0, 8, 6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
      ("RST_STREAM on an idle stream", [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 1]),
      ("a window past its size", [0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0]),
    ] as [(String, [UInt8])])
  func `notice what no server may write`(_ what: String, _ bytes: [UInt8]) throws {
    var harness = try ConnectionHarness(limits: .fuzzed(0), isEstablished: true)
    #expect(throws: Finding.self, "\(what)") { try harness.model.receives(bytes) }
  }

  @Test func `notice output that depends on how the input was cut`() throws {
    var harness = try ConnectionHarness(limits: .fuzzed(0), isEstablished: true)
    var headers = HeaderWriter()
    let call = headers.request(stream: 1, path: "/u") + FrameBytes.data(1, FrameBytes.message([1, 2]), end: true)
    try harness.perform(.bytes(call))
    try harness.replaySplit(seed: 1, isEstablished: true)
    harness.written[harness.written.count - 1] ^= 1
    #expect(throws: Finding.self) { try harness.replaySplit(seed: 1, isEstablished: true) }
  }
}
